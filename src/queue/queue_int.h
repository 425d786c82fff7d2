/* queue/queue_int.h: what the files of the queue share. */
#ifndef QUEUE_QUEUE_INT_H
#define QUEUE_QUEUE_INT_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/list.h"
#include "io/timer.h"
#include "message/mail.h"
#include "queue/queue.h"

/* Units delivered before their results are recorded and the thread is given back: bounds what a
 * crash may deliver again, and how long a message for thousands keeps others from a thread. */
#define WORK_SLICE 16

/* A record in memory while its message is delivered: envelope and units, not the body. Far
 * above what commit lets pass. */
#define WORK_ARENA_MAX ((size_t)64 << 20)

/* No memory, no room in the pool: try again so much later. */
#define QUEUE_PAUSE_MS 1000

struct queue {
    struct queue_options o;
    _Atomic int64_t ahead_us;   /* queue_now_us() */
    int64_t started_us;         /* wall clock: what was received before it may have been attempted unseen */
    struct timer *timer;
    struct loop_task wake;    /* runs queue_round */
    atomic_bool woken;        /* wake is posted: a batch of changes makes one round */
    uint64_t paused_until_ms; /* no claims before; 0 = not paused */
    size_t running;           /* works alive */
    struct list asking;       /* works whose question is with the policy */
    struct list unrecorded;   /* works with results that no memory was left to record */
    atomic_bool stopping;     /* read on pool threads */
    bool asks;                /* there is a policy: never changes */
    bool closed;              /* the store takes no more changes */
    bool stopped;             /* done was called */
    void (*done)(void *user);
    void *done_user;
    atomic_uint_fast64_t delivered, deferred, held, running_now;
};

enum work_end {
    WORK_ON,     /* results are there, and more units may follow */
    WORK_ASK,    /* the first unit of the slice is a question for the policy (question.h) */
    WORK_RELEASE /* results so far, if any; the other units go back */
};

/* The wall clock, but it never goes back: what was put off by a clock that is then set back waits
 * no longer for it. Any thread. */
int64_t queue_now_us(struct queue *q);
/* future.c: before the first round. */
void queue_bring_back(struct queue *q);

struct question;

/*
 * One claim on its way: units of one message, delivered slice by slice.
 *
 *   claimed -> on the pool (work_run) -> results recorded on the loop (work_record) -> on the
 * pool ... -> finished
 *
 * A unit that the policy is asked about again makes a slice of its own: on the pool it is
 * loaded, on the loop asked (question.c), then on the pool again with what was decided.
 *
 * claim.units[0 .. at) are recorded, [at .. at + n) have results, the others wait.
 */
struct work {
    struct pool_job job;
    struct queue *queue;
    struct list node; /* in queue.unrecorded or queue.asking */
    struct question *question;  /* the question about the first unit of the slice, or NULL */
    struct spool_claim claim;
    size_t at, n;
    int64_t now_us; /* when this slice was handed over */
    enum work_end end;

    /* Of this slice, valid from work_run to work_unload. */
    struct spool_loaded loaded;
    bool is_loaded, is_decoded;
    struct arena arena;
    struct mail mail;
    struct unit *units;
    size_t n_units;

    size_t n_slots; /* WORK_SLICE, or less for a small claim */
    struct unit_change *changes;
    struct delivery_result results[];
};

/* NULL when out of memory; the claim stays the caller's then. */
struct work *work_new(struct queue *q, const struct spool_claim *claim);
void work_del(struct work *w);

void work_run(struct pool_job *job); /* pool thread */
void work_unload(struct work *w);
/* Pool thread: u by its transport. unit is where it stands in the record; index names its file. */
void work_deliver_unit(struct work *w, const struct unit *u, uint32_t unit, uint32_t index, void *body,
                       uint64_t body_size, struct delivery_result *r);
/* queue.c: the question is answered: there is a result, or something was decided. */
void work_asked(struct work *w);

/* Results into the spool and the log. 0, or what spool update said (nothing is logged as done
 * then). */
int work_record(struct work *w);

#endif
