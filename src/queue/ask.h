/*
 * queue/ask.h: one question of the queue to the policy. On the loop.
 *
 * Embedded in who asks. call is filled but for session, mail and done; the verdict is there in answered and its slices only until it
 * returns. Where nobody handles the event, the answer is CONTINUE at once.
 */
#ifndef QUEUE_ASK_H
#define QUEUE_ASK_H

#include "interface/policy.h"
#include "queue/work.h"

struct ask {
    struct policy_call call;
    struct work *work;
    struct list node; /* in queue.asking */
    void (*answered)(struct ask *a);
};

bool ask_is_heard(const struct work *w, enum barid_event_id event);
/* answered follows, now or later. Without memory the answer is TEMPFAIL. */
void ask_start(struct ask *a, struct work *w);
/* The queue stops: what waits is answered with CONTINUE. */
void asks_stop(struct queue *q);

#endif
