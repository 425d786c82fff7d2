/*
 * barid/reply.h: the replies of replies.def and catalogues that replace them.
 */
#ifndef BARID_REPLY_H
#define BARID_REPLY_H

#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum barid_reply_id {
#define X(NAME, name, code, enhanced, text) BARID_REPLY_##NAME,
#include "barid/replies.def"
    BARID_REPLY_IDS
};

/* One reply as it goes on the wire: text may hold several lines separated by '\n'. */
typedef struct barid_reply {
    uint16_t code;        /* 200-599 */
    barid_slice enhanced; /* "2.1.0" or empty */
    barid_slice text;
} barid_reply;

/* A catalogue: entries with code 0 keep the row of replies.def. Borrowed by sessions. */
typedef struct barid_replies {
    barid_reply row[BARID_REPLY_IDS];
} barid_replies;

/* The row of replies.def. */
BARID_API const barid_reply *barid_reply_default(enum barid_reply_id id);
BARID_API const char *barid_reply_name(enum barid_reply_id id);
/* BARID_REPLY_NONE when there is no such name. */
BARID_API enum barid_reply_id barid_reply_by_name(barid_slice name);

#ifdef __cplusplus
}
#endif
#endif
