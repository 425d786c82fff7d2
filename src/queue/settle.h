/*
 * queue/settle.h: outcomes become states: policy is asked at `attempt`, the sender is told what it has to know, all of it is recorded.
 * On the loop.
 *
 *   attempt? (for all that ended the same way) ──▶ states ──▶ failure report ──▶ delay notice ──▶ success report ──▶ recorded
 *
 * A report is durable before the state that says so: a crash between may tell the sender twice, never not at all. While the queue stops
 * nobody is asked and no failure is reported: what was given up stays so.
 */
#ifndef QUEUE_SETTLE_H
#define QUEUE_SETTLE_H

#include "base/list.h"
#include "queue/outcome.h"

struct ask;
struct notice;
struct suspect_slot;

struct settling {
    struct work *work;
    struct outcome *v;
    size_t n;
    struct suspect_slot *slot; /* cleared when it is recorded; NULL = none */
    /* rc: 0, or what the spool said: then nothing is recorded and the units stay leased. */
    void (*done)(struct settling *s, int rc);

    /* Private. */
    struct list node; /* in queue.unrecorded */
    int stage;
    bool is_going, moved;
    size_t recorded; /* of v */
    struct settle_ask *asking;
    struct notice *notice;
};

void settle_start(struct settling *s);
/* Recipients of all its units: at least 1, as an array that long is made. The mail is decoded. */
size_t settling_rcpts(const struct settling *s);
/* Once more, where memory was out. */
void settle_again(struct settling *s);

#endif
