/*
 * queue/queue.h: what is due leaves the spool: claims units, hands files to their transport on the pool and mail for next hops to the one
 * that waits for a network, records the results, tells senders what became of their mail.
 * Only the queue decides about retries and reports.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "interface/history.h"
#include "interface/spool.h"
#include "interface/transport.h"
#include "io/loop.h"
#include "io/pool.h"

struct queue;
struct policy;
/* first_s doubling to max_s; after notice failures the sender hears of the delay (0 = never). */
struct queue_retry { uint32_t first_s, max_s; unsigned tries, notice; };

struct queue_options {
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct transport *const *transports; /* by kind; a unit whose kind has none is given up with a clear reply */
    size_t n_transports;
    struct policy *policy;               /* of this loop: asked about delivery; referenced. NULL = nobody is asked, and what only policy
                                          * can decide is held */
    struct queue_retry retry;
    struct routing routing;              /* where mail goes by default; what it points to is borrowed until it is replaced */
    const char *hostname;                /* of reports; borrowed */
    bool (*is_local)(void *user, barid_slice domain); /* a report to such a sender is placed by policy; NULL = none is */
    void *site;                          /* its user */
    char subaddress;                     /* separator of a report's address; 0 = none */
    struct history *history;             /* NULL = none is kept */
    const char *inflight;                /* file that remembers what was being sent at a crash (suspect.h); NULL = none */
    size_t max_running;                  /* files: messages at once; 0 = QUEUE_RUNNING_DEFAULT */
    size_t max_works;                    /* messages at once, sent ones included; 0 = QUEUE_WORKS_DEFAULT */
    const struct rng *rng;               /* jitter; boundaries of reports */
    const struct log *log;
    const barid_mem *mem;                /* NULL = malloc; must stand calls from several threads */
};
/* Four for each of the pool's usual eight threads: a thread that ends one delivery finds the next one waiting. */
#define QUEUE_RUNNING_DEFAULT 32
/* Each holds a record and up to 64 KiB of body: some 100 MB when all of them are that large. */
#define QUEUE_WORKS_DEFAULT 1000

/* It starts with the next turn of the loop. spool, pool and transports outlive it. 0, BARID_ENOMEM, BARID_EIO (inflight). */
int queue_new(struct queue **q_r, const struct queue_options *o, struct err *err);
void queue_set_retry(struct queue *q, const struct queue_retry *retry);
/* A reload. From the next attempt on; works under way have copies. */
void queue_set_routing(struct queue *q, const struct routing *routing, const char *hostname);
void queue_set_policy(struct queue *q, struct policy *policy); /* a reload; not NULL, and only where there was one */
void queue_set_max_works(struct queue *q, size_t max_works);   /* those that run go on; 0 = the default */
/* No new claims; done (from the loop, never from within this call) when running deliveries are recorded and what was
 * claimed but not begun is released. A server that has the whole mail has QUEUE_STOP_MS to answer. Once. */
void queue_stop(struct queue *q, void (*done)(void *user), void *user);
/* After done of queue_stop. Accepts NULL. */
void queue_del(struct queue **q);

/* Units; running: messages; reported: reports made. */
struct queue_stats { uint64_t delivered, deferred, held, failed, reported, running; };
void queue_stats(const struct queue *q, struct queue_stats *stats_r); /* relaxed: any thread may read */

/* The due time of the next attempt, where attempts (at least 1) were made: first doubling to max, and up to 10 % of that
 * on top, by random. INT64_MAX = no more tries. */
int64_t queue_next_attempt(const struct queue_retry *retry, uint32_t attempts, int64_t now_us, uint64_t random);

#endif
