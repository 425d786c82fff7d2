/*
 * control/client.h: asking a running daemon, from the command line: one blocking HTTP request over its control socket.
 */
#ifndef CONTROL_CLIENT_H
#define CONTROL_CLIENT_H

#include <jansson.h>

#include "base/err.h"

/* A page of the largest limit is far below it; a peer that is no daemon of ours must not fill our memory. */
#define CONTROL_ANSWER_MAX (256u << 20)
#define CONTROL_CLIENT_MS  30000

/*
 * address: "unix:PATH" or "127.0.0.1:8025" / "[::1]:8025". path: with the query, already encoded. 0 and a new reference in
 * *answer_r, *status_r the HTTP status; BARID_ECLOSED (nobody answers there), BARID_EIO, BARID_ETIMEOUT, BARID_ESYNTAX (not a
 * daemon of ours), BARID_ELIMIT with *err.
 */
int control_ask(const char *address, const char *method, const char *path, unsigned *status_r, json_t **answer_r,
                struct err *err);

/* The same for an answer that does not end: line is called for each line of it, without its LF, until it says false or the daemon ends
 * the answer: 0. An answer of another status than 200 is in *answer_r, as above. BARID_ETIMEOUT: not even a ping came. */
#define CONTROL_LINE_MAX (8u << 20) /* an entry of the history whose fields are as long as can be, and escaped */
int control_listen(const char *address, const char *path, unsigned *status_r, json_t **answer_r,
                   bool (*line)(void *user, const char *p, size_t n), void *user, struct err *err);

/* Append name=value, percent-encoded, with "?" or "&" in front. */
struct buf;
int control_query(struct buf *path, const char *name, const char *value);

#endif
