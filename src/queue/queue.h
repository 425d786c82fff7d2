/*
 * queue/queue.h: what is due leaves the spool: claims units, hands them to their transport on the pool, records the results.
 * Only the queue decides about retries. Nothing is given up: after the last retry a unit is held.
 */
#ifndef QUEUE_QUEUE_H
#define QUEUE_QUEUE_H

#include "interface/spool.h"
#include "interface/transport.h"
#include "io/loop.h"
#include "io/pool.h"

struct queue;
struct policy;
struct queue_retry { uint32_t first_s, max_s; unsigned tries; };

struct queue_options {
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct transport *const *transports; /* by kind; a unit whose kind has none is held with a clear reply */
    size_t n_transports;
    struct policy *policy;               /* of this loop: asked again about recipients that were put off at `recipient` while the
                                          * client heard 250 for others; referenced. NULL = such units are held */
    struct queue_retry retry;
    size_t max_running;                  /* messages delivered at once; 0 = QUEUE_RUNNING_DEFAULT */
    const struct rng *rng;               /* jitter */
    const struct log *log;
    const barid_mem *mem;                /* NULL = malloc; must stand calls from several threads */
};
/* Four for each of the pool's usual eight threads: a thread that ends one delivery finds the next one waiting. */
#define QUEUE_RUNNING_DEFAULT 32

/* It starts with the next turn of the loop. spool, pool and transports outlive it. 0, BARID_ENOMEM. */
int queue_new(struct queue **q_r, const struct queue_options *o, struct err *err);
void queue_set_retry(struct queue *q, const struct queue_retry *retry);
void queue_set_policy(struct queue *q, struct policy *policy); /* a reload; not NULL, and only where there was one */
/* No new claims; done (from the loop, never from within this call) when running deliveries are recorded and what was
 * claimed but not begun is released. Once. */
void queue_stop(struct queue *q, void (*done)(void *user), void *user);
/* After done of queue_stop. Accepts NULL. */
void queue_del(struct queue **q);

struct queue_stats { uint64_t delivered, deferred, held, running; }; /* units; running: messages */
void queue_stats(const struct queue *q, struct queue_stats *stats_r); /* relaxed: any thread may read */

/* The due time of the next attempt, where attempts (at least 1) were made: first doubling to max, and up to 10 % of that
 * on top, by random. INT64_MAX = no more tries. */
int64_t queue_next_attempt(const struct queue_retry *retry, uint32_t attempts, int64_t now_us, uint64_t random);

#endif
