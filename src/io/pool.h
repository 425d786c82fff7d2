/*
 * io/pool.h: threads for what blocks or computes long: password hashing, Maildir files. First
 * come, first served: what must not wait for one another has pools of its own. A job's run executes on a pool
 * thread, its done back on the loop that started it.
 */
#ifndef IO_POOL_H
#define IO_POOL_H

#include "io/loop.h"

struct pool;
struct pool_job {
    void (*run)(struct pool_job *job);  /* pool thread: touch only what the job owns */
    void (*done)(struct pool_job *job); /* the loop's thread */
    /* owned by the pool while queued */
    struct loop *loop;
    struct pool_job *next;
    struct loop_task task;
};

/* More would only queue elsewhere: on the CPUs or the disk. */
#define POOL_THREADS_MAX 64

int pool_new(struct pool **pool_r, unsigned threads, size_t max_queued, struct err *err);
/* 0, or BARID_EFULL (max_queued waiting): done is not called. */
int pool_start(struct pool *pool, struct loop *loop, struct pool_job *job);
void pool_del(struct pool **pool); /* finishes what was started */

#endif
