/*
 * io/loop.h: one event loop, one thread (libuv underneath, seen by no one above src/io).
 *
 * Everything made on a loop (timers, streams, listeners, queries) is used on that loop's thread
 * only. loop_post is the one function that may be called from any thread.
 */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/list.h"
#include "base/log.h"

struct loop;

/* A piece of work handed to a loop. Embedded in what it works on; may be posted again from
 * within run. */
struct loop_task {
    void (*run)(struct loop_task *task);
    struct loop_task *next; /* owned by the loop while queued */
};

/* 0 or BARID_EIO with *err. clock NULL = clock_system; log may be NULL. */
int loop_new(struct loop **loop_r, const struct clock *clock, const struct log *log,
             struct err *err);
/* Runs until loop_stop (the loop's thread; from others, post a task that calls it). */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* One turn, for tests and embedders: waits for an event, a timer or a task, or not at all. */
void loop_turn(struct loop *loop, bool wait);
/* Closes what is left open (no callbacks), lets deleted streams flush (bounded), frees. Timers
 * and queries must be deleted before; tasks still posted are not run. */
void loop_del(struct loop **loop);

/* Any thread: run task on the loop's thread, in order of posting. Never fails; a batch of posts
 * wakes the loop once. */
void loop_post(struct loop *loop, struct loop_task *task);

/* Monotonic milliseconds of this turn of the loop, and the wall clock. A loop on a clock that a
 * test moves by hand sees the new time with its next turn. */
uint64_t loop_now_ms(const struct loop *loop);
const struct clock *loop_clock(const struct loop *loop);
const struct log *loop_log(const struct loop *loop);

/* Runs task at the end of the current turn (after all ready events), once per loop_defer;
 * deferred from within a deferred task, in the next turn. A task that is queued must not be
 * deferred or posted again. */
void loop_defer(struct loop *loop, struct loop_task *task);

/* Signals are watched on one loop only. The handler stays until loop_del. */
int loop_signal(struct loop *loop, int signum, void (*fn)(void *user, int signum), void *user,
                struct err *err);

#endif
