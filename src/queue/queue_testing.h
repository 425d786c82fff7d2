/*
 * queue/queue_testing.h: a queue with a store in memory, a clock moved by hand and a transport
 * that does what the test says. Test code only; include after cmocka.h. A test that hangs is
 * ended by alarm(2).
 */
#ifndef QUEUE_QUEUE_TESTING_H
#define QUEUE_QUEUE_TESTING_H

#include <pthread.h>

#include "base/testing.h"
#include "message/mail.h"
#include "queue/queue.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define S        INT64_C(1000000)
#define START    (INT64_C(1000000000) * S)
#define SEEN_MAX 8192

/* What the transport was given. */
struct seen {
    uint64_t id;
    char target[32], body[32];
    uint32_t attempts;
    size_t unit_index;
    bool after_restart;
    int64_t at_us;
};

struct fake {
    struct transport t;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    enum delivery_status status;
    unsigned fail_first; /* so many deliveries give status, the others are done */
    bool gate;           /* deliveries wait until it is opened */
    unsigned inside, inside_max;
    size_t n;
    struct seen seen[SEEN_MAX];
};

struct fixture {
    struct clock_fake clock;
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct queue *queue;
    struct fake fake;
    struct transport *transports[2];
    struct rng_seeded rng;
    struct log_memory log;
    struct fail_mem mem;
    struct queue_options options;
    bool stopped;
};

/* Turns of the loop until the condition holds. */
#define UNTIL(f, condition)                                                                    \
    do {                                                                                       \
        while (!(condition))                                                                   \
            loop_turn((f)->loop, true);                                                        \
    } while (0)

void fake_open_gate(struct fake *f);
void fake_wait_inside(struct fake *f, unsigned n);
void start(struct fixture *f);
void set_up(struct fixture *f, unsigned threads, size_t max_queued);
void on_stopped(void *user); /* user: the fixture */
void stop(struct fixture *f);
void tear_down(struct fixture *f);
struct queue_stats stats(const struct fixture *f);
void settle(struct fixture *f);
void advance(struct fixture *f, int64_t us);
uint64_t messages(const struct fixture *f);
bool logged(const struct fixture *f, const char *text);
struct unit_state state_of(const struct fixture *f, uint64_t id, size_t unit, char *reply,
                           size_t n);
void encode(struct buf *meta, size_t n, enum disposition_kind kind, int64_t received_us);
uint64_t commit(struct fixture *f, barid_slice meta, size_t n, int64_t due_us);
uint64_t post_kind(struct fixture *f, size_t n, int64_t due_us, enum disposition_kind kind);
uint64_t post(struct fixture *f, size_t n, int64_t due_us);

/* Of each test: a fixture with two threads. */
int group_setup(void **state);
int group_teardown(void **state);
#define T(fn) cmocka_unit_test_setup_teardown(fn, group_setup, group_teardown)

#endif
