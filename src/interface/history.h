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
#define HISTORY_KINDS 14 /* with none of them, 0 */
/* "spooled", ...; "?" for what is none. */
static inline const char *history_kind_name(enum history_kind kind)
{
    static const char *const names[HISTORY_KINDS] = {"?", "spooled", "routed", "delivered", "deferred", "failed", "reported", "held",
                                                     "released", "removed", "recovered", "quarantined", "erased", "gone"};

    return (unsigned)kind < HISTORY_KINDS ? names[kind] : names[0];
}

#define HISTORY_TEXT_MAX 65536 /* of one field: longer is cut */

struct history_entry {
    enum history_kind kind;
    uint64_t id;
    int64_t time_us;     /* 0 = now */
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
struct history_feed; /* one who listens to all that is noted from now on */

struct history_ops {
    void (*note)(struct history *h, const struct history_entry *e);

    /* The rest is for those who look on (src/control, the command line); a history that only takes notes leaves it NULL. */

    /* All that is kept about one mail, in order, also what was noted a moment ago. each: false = enough; its slices live until it
     * returns. Reads files: pool thread or command line. 0, BARID_ENOMEM, BARID_EIO. */
    int (*read)(struct history *h, uint64_t id, bool (*each)(void *user, const struct history_entry *e), void *user);
    /* wake: from a thread of the history, when there is something again after feed_next answered 0; it must not block and not call back:
     * post to your loop. BARID_ENOMEM; BARID_ELIMIT: HISTORY_FEEDS_MAX listen already. */
    int (*feed_open)(struct history *h, void (*wake)(void *user), void *user, struct history_feed **feed_r);
    /* 1 = *entry_r is the next one, its slices live until the next call; 0 = none now; BARID_ELIMIT: it was too slow, what follows would
     * not be all: close it. */
    int (*feed_next)(struct history_feed *f, struct history_entry *entry_r);
    void (*feed_close)(struct history_feed **f); /* wake is not called any more; accepts NULL */
};

#define HISTORY_FEEDS_MAX 8         /* each costs its queue, and a copy of every entry */
#define HISTORY_FEED_MAX  (1u << 20) /* octets that wait for one that does not listen: seconds of a busy server */

/* NULL is a history that nobody keeps. */
static inline void history_note(struct history *h, const struct history_entry *e)
{
    if (h != NULL)
        h->ops->note(h, e);
}

#endif
