/*
 * interface/history.h: what became of each mail, told as it happens: for `barid trace`, `barid queue events` and whoever asks after
 * the mail is gone. Implementation: src/history. Not synced: no mail waits for it, and a crash may lose the last lines.
 *
 * note may be called from any thread, never blocks and copies; what finds no room is dropped and counted.
 */
#ifndef INTERFACE_HISTORY_H
#define INTERFACE_HISTORY_H

#include "barid/types.h"

enum history_kind {
    HISTORY_SPOOLED = 1, /* durable; text: the explain trace as in the record */
    HISTORY_ROUTED,      /* policy chose the next hops: hop */
    HISTORY_DELIVERED,   /* these recipients are done */
    HISTORY_DEFERRED,    /* again at due_us */
    HISTORY_FAILED,      /* given up for good */
    HISTORY_REPORTED,    /* a report was made: other is its id, text says which ("failure", "delay", ...) */
    HISTORY_HELD,
    HISTORY_RELEASED,
    HISTORY_REMOVED,
    HISTORY_RECOVERED,
    HISTORY_QUARANTINED,
    HISTORY_ERASED,      /* for good, by an operator */
    HISTORY_GONE         /* nothing is left to do: the last line about this id */
};
const char *history_kind_name(enum history_kind kind); /* "spooled", ... (src/history) */

#define HISTORY_TEXT_MAX 65536 /* of one field: longer is cut */

struct history_entry {
    enum history_kind kind;
    uint64_t id;
    int64_t time_us;
    barid_slice sender;  /* address; SPOOLED */
    barid_slice rcpts;   /* addresses, separated by spaces */
    barid_slice hop;     /* next hop, or the file that was written */
    barid_slice remote;  /* "mx.example.com (192.0.2.1:25)": who said reply */
    barid_slice reply;   /* "250 2.0.0 ok" */
    barid_slice where;   /* "policy.lua:17": which line of policy decided; else empty */
    barid_slice text;
    uint64_t other;      /* id of a mail that belongs to it; 0 = none */
    int64_t due_us;
    uint32_t attempts;
    bool suspect;        /* may have been delivered twice */
};

struct history {
    const struct history_ops *ops;
};
struct history_ops {
    void (*note)(struct history *h, const struct history_entry *e);
};

/* NULL is a history that nobody keeps. */
static inline void history_note(struct history *h, const struct history_entry *e)
{
    if (h != NULL)
        h->ops->note(h, e);
}

#endif
