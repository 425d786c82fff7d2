/*
 * control/queue_change.h: what an operator does to mail in the spool: hold, release, retry, remove, recover, bounce. Each verb is a plan (a
 * file of its own); this carries it out, tells the history, and says what became of each message. Waits for the disk: pool thread.
 */
#ifndef CONTROL_QUEUE_CHANGE_H
#define CONTROL_QUEUE_CHANGE_H

#include "control/queue_view.h"
#include "interface/history.h"

/* Messages that one request changes: a few syncs of the spool, and their answers. */
#define QUEUE_CHANGE_MAX 256

struct queue_change {
    const struct queue_verb *verb;
    struct spool *spool;
    struct history *history;
    int64_t now_us;
    bool quarantined; /* release, bounce: quarantined mail, too; by id always */
    /* retry */
    uint32_t ahead_s[UNIT_AHEAD_MAX]; /* ahead_s[0] 0 = as they are */
    bool held;                        /* what is held, and nothing else; not by id */
};

extern const struct queue_verb queue_hold, queue_release, queue_retry, queue_remove,
    queue_recover, queue_bounce;

/* {"changed":[ids], "refused":[{"id","code","text"}]}; by id every message that it cannot be done to is refused with a reason. n at most
 * QUEUE_CHANGE_MAX. New reference; NULL = no memory: some may be changed. */
json_t *queue_change_ids(const struct queue_change *c, const uint64_t *ids, size_t n);
/* The same with "examined" and "next" as in queue_view_list, for up to f->limit messages; those that it does not apply to are passed
 * over. */
json_t *queue_change_all(const struct queue_change *c, const struct queue_filter *f);

#endif
