/*
 * io/loop_int.h: the inside of a loop, for the files of src/io only.
 */
#ifndef IO_LOOP_INT_H
#define IO_LOOP_INT_H

#include <uv.h>

#include "io/loop.h"
#include "io/poller.h"

/* One read takes at most this: the usual size of a socket's receive window at rest, and the
 * chunk in which bodies go to policy, so that a body chunk never needs more than two reads. */
#define LOOP_READ_SIZE 65536

/* The largest plaintext of one TLS record (RFC 8446 5.1). */
#define LOOP_PLAIN_SIZE 16384

/* loop_del waits this long in real time for deleted streams to flush: a stopping daemon must
 * end. It looks this often for those that wait only for a peer that keeps silent. */
#define LOOP_DRAIN_MS      2000
#define LOOP_DRAIN_LOOK_MS 20

/* Every other uv_poll_t of src/io starts one of these, so that loop_del can close what its owner left
 * open. */
struct io_handle {
    uv_poll_t poll;
    /* Close and free without callbacks. all false: but not what is deleted and still flushes.
     */
    void (*abandon)(struct io_handle *h, bool all);
};

struct loop_signal {
    uv_signal_t uv;
    void (*fn)(void *user, int signum);
    void *user;
    struct loop_signal *next;
};

struct task_list {
    struct loop_task *head, **tail;
};

/* A binary heap of timers by the time they are armed for; see timer.c. */
struct timer_heap {
    struct timer **at;
    size_t n, cap; /* n in the heap; cap >= timers, so that arming never allocates */
    size_t timers; /* existing */
};

struct loop {
    uv_loop_t uv;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;   /* active while deferred tasks wait: the poll must not block */
    uv_timer_t alarm; /* ends the poll when the first timer is due */
    uv_async_t wake;
    struct poller poller;
    uint64_t alarm_ms; /* what alarm is set to, UINT64_MAX = not set */
    const struct clock *clock;
    const struct log *log;
    struct timer_heap heap;
    struct task_list deferred;
    bool single; /* within loop_turn: what ran before the wait is reason enough to return */
    struct loop_signal *signals;
    uv_mutex_t lock; /* guards posted */
    struct task_list posted;
    char *read_buf;  /* LOOP_READ_SIZE; valid within one callback */
    char *plain_buf; /* LOOP_PLAIN_SIZE; made with the first TLS stream */
    size_t flushing; /* deleted streams that still write */
};

/* The shared plaintext buffer, or NULL when out of memory. */
char *loop_plain_buf(struct loop *loop);

/* timer.c */
bool timers_run(struct loop *loop);            /* false when none fired */
uint64_t timers_next(const struct loop *loop); /* UINT64_MAX = none */

#endif
