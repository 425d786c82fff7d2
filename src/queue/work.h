/*
 * queue/work.h: one claim on its way: units of one message, leased.
 *
 *   claimed ──▶ pool (work_run): load, decode; files are written slice by slice ──▶ settled on the loop ──▶ pool ...
 *           ──▶ on the loop: parcels to next hops (parcel.h), what was given up is reported (settle.h)
 *           ──▶ everything is over: what has no result goes back
 *
 * claim.units is ordered once it is loaded: files first, then what is sent, then what was given up. [0 .. at) is settled or with a
 * parcel, [at .. at + n) is the slice of files.
 */
#ifndef QUEUE_WORK_H
#define QUEUE_WORK_H

#include "base/arena.h"
#include "io/pool.h"
#include "message/mail.h"
#include "queue/queue_int.h"
#include "queue/settle.h"

/* Files delivered before their results are recorded and the thread is given back: bounds what a
 * crash may deliver again, and how long a message for thousands keeps others from a thread. */
#define WORK_SLICE 16

/* A record in memory while its message is delivered: envelope, units and what its parcels need, not the body. Far
 * above what commit lets pass. */
#define WORK_ARENA_MAX ((size_t)64 << 20)

/* A body up to this is read with the record, where it is sent: one visit to the pool for most mail. */
#define WORK_BODY_SMALL 65536

enum work_end {
    WORK_ON,     /* results are there, and more units may follow */
    WORK_ASK,    /* the first unit of the slice is a question for the policy (question.h) */
    WORK_RELEASE /* results so far, if any; the other units go back */
};

struct question;

struct work {
    struct pool_job job;
    struct queue *queue;
    struct lane *lane; /* whose slot it has; NULL: given back */
    struct list node;  /* in queue.works */
    struct question *question; /* the question about the first unit of the slice, or NULL */
    struct spool_claim claim;
    size_t at, n;
    size_t n_files, n_sent; /* of claim.units; the rest was given up */
    bool is_sorted;
    int64_t now_us;         /* when this slice was handed over */
    enum work_end end;

    /* Valid from work_run to work_unload. */
    struct spool_loaded loaded;
    bool is_loaded, is_decoded;
    struct arena arena;
    struct mail mail;
    struct unit *units;
    size_t n_units;
    char *body; /* of a small one that is sent */
    uint64_t body_size;
    bool is_body_known; /* it could be opened, and body is there if it is small: what is sent may begin */

    struct policy *policy; /* the version that is asked; NULL = not asked yet */
    struct policy_session *session;

    struct list parcels;
    size_t n_parcels;      /* alive */
    size_t n_ways;         /* made */
    struct settling settling; /* of the slice of files, or of what was given up */
    struct suspect_slot *slot; /* of what a question sends: cleared with its result */
    bool is_aside;         /* its lease was given back by put_aside */
    bool is_kept;          /* its lease is not given back: see work_record_failed */
    bool question_asked;
    bool is_ending, has_more; /* what was given up is being settled */

    size_t n_slots; /* WORK_SLICE, or less for a small claim */
    struct outcome outcomes[];
};

/* NULL when out of memory; claim and slot stay the caller's then. */
struct work *work_new(struct queue *q, const struct spool_claim *claim, struct lane *lane);
void work_start(struct work *w);
void work_del(struct work *w);
void work_unload(struct work *w);
void work_leave_lane(struct work *w);

/* Pool thread: u by its transport. unit is where it stands in the record; index names its file. */
void work_deliver_unit(struct work *w, const struct unit *u, uint32_t unit, uint32_t index, void *body,
                       uint64_t body_size, struct delivery_result *r);
void work_run(struct pool_job *job); /* pool thread (load.c) */
/* The question is answered: there is a result, or something was decided. */
void work_asked(struct work *w);
/* One of its parcels is over. */
void work_parcel_over(struct work *w);
/* The update failed: the lease is kept. */
void work_record_failed(struct work *w, int err);
/* The queue stops (parcels_stop). */
bool work_stop(struct work *w, bool by_force);

#endif
