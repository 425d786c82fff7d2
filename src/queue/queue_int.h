/* queue/queue_int.h: what the files of the queue share. */
#ifndef QUEUE_QUEUE_INT_H
#define QUEUE_QUEUE_INT_H

#include <stdatomic.h>

#include "base/list.h"
#include "interface/history.h"
#include "io/timer.h"
#include "queue/lane.h"
#include "queue/queue.h"

/* Messages for several next hops at once: each may wait in memory for the slowest of them. */
#define QUEUE_MIXED_RUNNING 250

/* No memory, no room in the pool: try again so much later. */
#define QUEUE_PAUSE_MS 1000

/* At a stop: how long a server may take to answer for a mail that it has received whole. */
#define QUEUE_STOP_MS 10000

struct suspects;
struct work;

struct queue {
    struct queue_options o; /* routing.base and what it points to: borrowed until replaced */
    struct routing routing;
    _Atomic int64_t ahead_us; /* queue_now_us() */
    int64_t started_us;       /* wall clock: what was received before it may have been attempted unseen */
    struct timer *timer;
    struct loop_task wake;    /* runs queue_round */
    atomic_bool woken;        /* wake is posted: a batch of changes makes one round */
    uint64_t paused_until_ms; /* no claims before; 0 = not paused */
    uint64_t stop_by_ms;      /* what is sent then is given up */
    struct lanes lanes;
    struct suspects *suspects; /* NULL = not kept */
    size_t running;           /* works alive */
    struct list works;        /* all of them */
    struct list asking;       /* struct ask: questions that the policy has not answered */
    struct list unrecorded;   /* settlings that no memory was left to record */
    size_t recording;         /* updates whose end is waited for, jobs that walk the store */
    atomic_bool stopping;     /* read on pool threads */
    bool asks;                /* there is a policy: never changes */
    bool closed;              /* the store takes no more changes */
    bool stopped;             /* done was called */
    void (*done)(void *user);
    void *done_user;
    atomic_uint_fast64_t delivered, deferred, held, failed, reported, running_now;
};

/* The wall clock, but it never goes back: what was put off by a clock that is then set back waits
 * no longer for it. Any thread. */
int64_t queue_now_us(struct queue *q);
void queue_wake(struct queue *q); /* any thread */
/* No claims for QUEUE_PAUSE_MS. */
void queue_pause(struct queue *q);
/* What waits for that next hop is due. */
void queue_hasten(struct queue *q, uint32_t group);
struct transport *queue_transport(const struct queue *q, enum disposition_kind kind);
/* future.c: before the first round. */
void queue_bring_back(struct queue *q);

/* parcel.c: the first parcel that waits in the lane, which is open, goes on. */
void parcel_wake(struct lane *l);

#endif
