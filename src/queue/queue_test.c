/*
 * The queue with a store in memory, a clock moved by hand and a transport that does what the
 * test says. A test that hangs is ended by alarm(2).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/record.h"
#include "queue/queue.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define S        INT64_C(1000000)
#define START    (INT64_C(1000000000) * S)
#define SEEN_MAX 8192

/* --- a transport that remembers --------------------------------------------------------------
 */

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

static void copy(char *out, size_t n, barid_slice s)
{
    s = slice_head(s, n - 1);
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static void note(struct fake *f, const struct delivery *d)
{
    struct seen *s = &f->seen[f->n % SEEN_MAX];
    int64_t n;

    f->n++;
    *s = (struct seen){.id = d->mail->id,
                       .attempts = d->attempts,
                       .unit_index = d->unit_index,
                       .after_restart = d->after_restart,
                       .at_us = d->now_us};
    copy(s->target, sizeof(s->target), d->unit->target);
    n = d->body_read(d->body, 0, s->body, sizeof(s->body) - 1);
    s->body[n < 0 ? 0 : n] = '\0';
}

static void fake_deliver(struct transport *t, const struct delivery *d,
                         struct delivery_result *r)
{
    struct fake *f = (struct fake *)t;

    pthread_mutex_lock(&f->lock);
    f->inside++;
    f->inside_max = f->inside > f->inside_max ? f->inside : f->inside_max;
    note(f, d);
    pthread_cond_broadcast(&f->cond);
    while (f->gate)
        pthread_cond_wait(&f->cond, &f->lock);
    r->status = f->fail_first > 0 ? f->status : DELIVERY_DONE;
    f->fail_first -= f->fail_first > 0;
    copy(r->reply, sizeof(r->reply),
         r->status == DELIVERY_DONE ? BARID_S("250 2.0.0 stored") : BARID_S("452 4.2.2 quota"));
    copy(r->where, sizeof(r->where), d->unit->target);
    f->inside--;
    pthread_mutex_unlock(&f->lock);
}

static void fake_open_gate(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    f->gate = false;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

static void fake_wait_inside(struct fake *f, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (f->inside < n)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

/* --- fixture ---------------------------------------------------------------------------------
 */

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

static void start(struct fixture *f)
{
    assert_int_equal(queue_new(&f->queue, &f->options, NULL), 0);
}

static void set_up(struct fixture *f, unsigned threads, size_t max_queued)
{
    struct spool_memory_options so = {.clock = &f->clock.clock};

    memset(f, 0, sizeof(*f));
    clock_fake_init(&f->clock, START);
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, NULL, NULL), 0);
    assert_int_equal(pool_new(&f->pool, threads, max_queued, NULL), 0);
    assert_int_equal(spool_memory_open(&f->spool, &so, NULL), 0);
    rng_seeded_init(&f->rng, 1);
    log_memory_init(&f->log);
    fail_mem_init(&f->mem, 0);
    pthread_mutex_init(&f->fake.lock, NULL);
    pthread_cond_init(&f->fake.cond, NULL);
    f->fake.t =
        (struct transport){.name = "fake", .kind = DISPOSITION_STORE, .deliver = fake_deliver};
    f->transports[1] = &f->fake.t; /* [0] stays NULL: allowed */
    f->options = (struct queue_options){
        .loop = f->loop,
        .pool = f->pool,
        .spool = f->spool,
        .transports = f->transports,
        .n_transports = 2,
        .retry = {60, 600, 4},
        .rng = &f->rng.rng,
        .log = &f->log.log,
        .mem = &f->mem.mem,
    };
}

static void on_stopped(void *user)
{
    ((struct fixture *)user)->stopped = true;
}

static void stop(struct fixture *f)
{
    f->stopped = false;
    queue_stop(f->queue, on_stopped, f);
    assert_false(f->stopped);
    while (!f->stopped)
        loop_turn(f->loop, true);
    queue_del(&f->queue);
    assert_null(f->queue);
}

static void tear_down(struct fixture *f)
{
    if (f->queue != NULL)
        stop(f);
    pool_del(&f->pool);
    f->spool->ops->close(f->spool);
    loop_del(&f->loop);
    log_memory_deinit(&f->log);
    pthread_mutex_destroy(&f->fake.lock);
    pthread_cond_destroy(&f->fake.cond);
    assert_int_equal(f->mem.live, 0);
}

static struct queue_stats stats(const struct fixture *f)
{
    struct queue_stats s;

    queue_stats(f->queue, &s);
    return s;
}

/* Turns of the loop until the condition holds. */
#define UNTIL(f, condition)                                                                    \
    do {                                                                                       \
        while (!(condition))                                                                   \
            loop_turn((f)->loop, true);                                                        \
    } while (0)

static void settle(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        loop_turn(f->loop, false);
}

static void advance(struct fixture *f, int64_t us)
{
    clock_fake_advance(&f->clock, (uint64_t)us / 1000);
    loop_turn(f->loop, false);
}

static uint64_t messages(const struct fixture *f)
{
    struct spool_stats s;

    f->spool->ops->stats(f->spool, &s);
    return s.messages[SPOOL_ACTIVE];
}

static bool logged(const struct fixture *f, const char *text)
{
    return f->log.text.len > 0 &&
           memmem(f->log.text.p, f->log.text.len, text, strlen(text)) != NULL;
}

static struct unit_state state_of(const struct fixture *f, uint64_t id, size_t unit,
                                  char *reply, size_t n)
{
    struct spool_loaded l;
    struct unit_state s;

    assert_int_equal(f->spool->ops->load(f->spool, id, &l), 0);
    s = l.units[unit];
    copy(reply, n, s.reply);
    s.reply = slice_str(reply);
    f->spool->ops->loaded_free(&l);
    return s;
}

/* --- messages --------------------------------------------------------------------------------
 */

/* A mail to n recipients, u0@x ..., each stored below its own name. kind 0: nothing decided. */
static void encode(struct buf *meta, size_t n, enum disposition_kind kind, int64_t received_us)
{
    struct session_facts facts = {.id = "0123456789abcdef"};
    struct arena arena;
    struct mail m;
    struct unit *units;

    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, received_us), 0);
    units = arena_alloc(&arena, n * sizeof(*units));
    for (size_t i = 0; i < n; i++) {
        struct mailbox box;
        struct rcpt *rcpt;
        char *text = arena_fmt(&arena, "u%zu@example.org", i);

        assert_int_equal(mailbox_from_text(&box, &arena, slice_str(text), 0), 0);
        assert_int_equal(mail_add_rcpt(&m, &box, slice_str(text), &rcpt), 0);
        units[i].kind = kind;
        units[i].target = slice_str(arena_fmt(&arena, "u%zu", i));
        units[i].rcpts = arena_alloc(&arena, sizeof(size_t));
        units[i].rcpts[0] = i;
        units[i].n_rcpts = 1;
    }
    assert_int_equal(record_encode(&m, units, n, meta), 0);
    arena_deinit(&arena);
}

static uint64_t commit(struct fixture *f, barid_slice meta, size_t n, int64_t due_us)
{
    struct unit_state *units = calloc(n, sizeof(*units));
    struct spool_put *put;
    uint64_t id;

    for (size_t i = 0; i < n; i++)
        units[i].due_us = due_us;
    assert_int_equal(f->spool->ops->put_begin(f->spool, &put), 0);
    assert_int_equal(f->spool->ops->put_body(put, "body\r\n", 6), 0);
    assert_int_equal(f->spool->ops->put_describe(put, SPOOL_ACTIVE, meta,
                                                 BARID_S("Subject: s\r\n"), units, n),
                     0);
    id = f->spool->ops->put_id(put);
    assert_int_equal(test_commit(f->spool, &put, 1), 0);
    free(units);
    return id;
}

static uint64_t post_kind(struct fixture *f, size_t n, int64_t due_us,
                          enum disposition_kind kind)
{
    struct buf meta;
    uint64_t id;

    buf_init(&meta, NULL, 0);
    encode(&meta, n, kind, f->clock.wall_us - 2 * S);
    id = commit(f, buf_slice(&meta), n, due_us);
    buf_deinit(&meta);
    return id;
}

static uint64_t post(struct fixture *f, size_t n, int64_t due_us)
{
    return post_kind(f, n, due_us, DISPOSITION_STORE);
}

/* --- tests -----------------------------------------------------------------------------------
 */

static void test_delivers_and_forgets(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 2, START);
    char line[64], text[MAIL_ID_TEXT_SIZE];

    start(f); /* what was there before the start */
    UNTIL(f, messages(f) == 0);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(stats(f).delivered, 2);
    assert_int_equal(f->fake.n, 2);
    assert_true(f->fake.seen[0].id == id);
    assert_string_equal(f->fake.seen[0].target, "u0");
    assert_string_equal(f->fake.seen[1].target, "u1");
    assert_string_equal(f->fake.seen[0].body, "body\r\n");
    assert_int_equal(f->fake.seen[0].attempts, 0);
    assert_int_equal(f->fake.seen[0].unit_index, 0);
    assert_int_equal(f->fake.seen[1].unit_index, 1);
    assert_true(f->fake.seen[1].after_restart);
    mail_id_text(id, text);
    snprintf(line, sizeof(line), "queue delivered id=%s unit=0 kind=store", text);
    assert_true(logged(f, line));
    assert_true(
        logged(f, "rcpt=u1@example.org target=u1 where=u1 reply=250 2.0.0 stored attempts=1"));
    assert_true(logged(f, "seconds=2"));

    advance(f, 3 * S);
    post(f, 1, START); /* and what comes while it sleeps */
    UNTIL(f, stats(f).delivered == 3);
    assert_false(f->fake.seen[2].after_restart);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(messages(f), 0);
}

static void test_waits_for_the_due_time(void **state)
{
    struct fixture *f = *state;

    start(f);
    settle(f);
    post(f, 1, START + 3600 * S); /* later first: the earlier one must move the timer back */
    settle(f);
    post(f, 1, START + 60 * S);
    settle(f);
    advance(f, 59999000);
    settle(f);
    assert_int_equal(f->fake.n, 0);
    advance(f, 1000);
    UNTIL(f, stats(f).delivered == 1);
    settle(f);
    assert_int_equal(messages(f), 1);
    advance(f, 3540 * S);
    UNTIL(f, stats(f).delivered == 2);
}

static void test_earliest_first(void **state)
{
    struct fixture *f = *state;
    uint64_t ids[5];

    f->options.max_running = 1;
    for (int i = 0; i < 5; i++)
        ids[i] = post(f, 1, START - (i * 7 % 5) * S);
    start(f);
    UNTIL(f, stats(f).delivered == 5);
    for (int i = 0; i < 5; i++)
        assert_true(f->fake.seen[4 - i * 7 % 5].id == ids[i]);
    assert_int_equal(f->fake.inside_max, 1);
}

static void test_backs_off_then_holds(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 1, START);
    char reply[64];
    struct unit_state s;

    f->fake.status = DELIVERY_AGAIN;
    f->fake.fail_first = 100;
    start(f);
    for (unsigned i = 1; i < 4; i++) {
        int64_t wait = 60 * S << (i - 1), now;

        UNTIL(f, stats(f).deferred == i);
        settle(f);
        now = f->clock.wall_us;
        s = state_of(f, id, 0, reply, sizeof(reply));
        assert_int_equal(s.status, UNIT_PENDING);
        assert_int_equal(s.attempts, i);
        assert_string_equal(reply, "452 4.2.2 quota");
        assert_in_range(s.due_us - now, wait, wait + wait / 10);
        advance(f, wait - 1000); /* not before */
        settle(f);
        assert_int_equal(f->fake.n, i);
        advance(f, wait / 10 + 2000);
    }
    UNTIL(f, stats(f).held == 1);
    settle(f);
    s = state_of(f, id, 0, reply, sizeof(reply));
    assert_int_equal(s.status, UNIT_HELD);
    assert_int_equal(s.attempts, 4);
    assert_string_equal(reply, "452 4.2.2 quota");
    advance(f, 100000 * S);
    settle(f);
    assert_int_equal(f->fake.n, 4);
    assert_int_equal(messages(f), 1);
    assert_true(logged(f, "queue held"));
}

static void test_failure_is_held(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 2, START);
    char reply[64];

    f->fake.status = DELIVERY_FAILED;
    f->fake.fail_first = 1;
    start(f);
    UNTIL(f, stats(f).held == 1 && stats(f).delivered == 1);
    assert_int_equal(state_of(f, id, 0, reply, sizeof(reply)).status, UNIT_HELD);
    assert_int_equal(state_of(f, id, 1, reply, sizeof(reply)).status, UNIT_DONE);
}

static void test_kinds_without_transport(void **state)
{
    struct fixture *f = *state;
    uint64_t send = post_kind(f, 1, START, DISPOSITION_SEND), none = post_kind(f, 1, START, 0);
    char reply[128];

    start(f);
    UNTIL(f, stats(f).held == 2);
    assert_int_equal(f->fake.n, 0);
    assert_int_equal(state_of(f, send, 0, reply, sizeof(reply)).status, UNIT_HELD);
    assert_string_equal(reply, "550 5.3.5 this server has nothing that delivers by \"send\"");
    assert_int_equal(state_of(f, none, 0, reply, sizeof(reply)).status, UNIT_HELD);
    assert_string_equal(reply, "550 5.3.5 no place was decided for this recipient");
}

static void test_damaged_record_is_held(void **state)
{
    struct fixture *f = *state;
    uint64_t garbage = commit(f, BARID_S("\x10\xff\xff\xff"), 3, START),
             newer = commit(f, BARID_S("\x70"), 1, START), fewer;
    struct buf meta;
    char reply[128];

    buf_init(&meta, NULL, 0);
    encode(&meta, 2, DISPOSITION_STORE, START);
    fewer = commit(f, buf_slice(&meta), 40, START); /* more states than units */
    buf_deinit(&meta);
    start(f);
    UNTIL(f, stats(f).held == 44);
    settle(f);
    assert_int_equal(f->fake.n, 0);
    assert_int_equal(state_of(f, garbage, 2, reply, sizeof(reply)).status, UNIT_HELD);
    assert_string_equal(reply, "554 5.3.0 spool: decoding the record: stored data is damaged");
    assert_int_equal(state_of(f, newer, 0, reply, sizeof(reply)).status, UNIT_HELD);
    assert_string_equal(reply,
                        "554 5.3.0 spool: decoding the record: written by a newer version");
    assert_int_equal(state_of(f, fewer, 39, reply, sizeof(reply)).status, UNIT_HELD);
    assert_true(logged(f, "ERROR queue held"));
}

static void test_many_units_in_slices(void **state)
{
    struct fixture *f = *state;
    post(f, 100, START);
    f->fake.status = DELIVERY_AGAIN;
    f->fake.fail_first = 3;
    start(f);
    UNTIL(f, stats(f).delivered == 97 && stats(f).deferred == 3);
    settle(f);
    advance(f, 70 * S);
    UNTIL(f, stats(f).delivered == 100);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(f->fake.n, 103);
    assert_int_equal(messages(f), 0);
}

static void test_thousands(void **state)
{
    struct fixture *f = *state;

    start(f);
    for (int i = 0; i < 3000; i++)
        post(f, 1, START);
    UNTIL(f, stats(f).delivered == 3000);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(f->fake.n, 3000);
    assert_int_equal(messages(f), 0);
    assert_true(f->fake.inside_max <= 32);
}

static void test_stop_gives_leases_back(void **state)
{
    struct fixture *f = *state;
    uint64_t big = post(f, 100, START);
    char reply[64];

    post(f, 1, START);
    post(f, 1, START);
    f->options.max_running = 2;
    f->fake.gate = true;
    start(f);
    loop_turn(f->loop, false);
    loop_turn(f->loop, false);
    fake_wait_inside(&f->fake, 2); /* both threads are busy */
    queue_stop(f->queue, on_stopped, f);
    settle(f);
    assert_false(f->stopped);
    fake_open_gate(&f->fake);
    UNTIL(f, f->stopped);
    queue_del(&f->queue);
    assert_int_equal(f->fake.n, 2); /* nothing was begun after the stop */
    assert_int_equal(state_of(f, big, 0, reply, sizeof(reply)).status, UNIT_DONE);
    assert_int_equal(state_of(f, big, 1, reply, sizeof(reply)).status, UNIT_PENDING);
    start(f); /* another queue gets the rest: no lease was left behind */
    UNTIL(f, messages(f) == 0);
    assert_int_equal(f->fake.n, 102);
}

static void test_held_or_erased_meanwhile(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 1, START), gone = post(f, 1, START);
    struct waiter w;

    waiter_init(&w);
    f->fake.gate = true;
    start(f);
    loop_turn(f->loop, false);
    loop_turn(f->loop, false);
    fake_wait_inside(&f->fake, 2);
    assert_int_equal(f->spool->ops->erase(f->spool, gone, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    f->fake.status = DELIVERY_AGAIN;
    f->fake.fail_first = 2;
    fake_open_gate(&f->fake);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(f->spool->ops->set_state(f->spool, id, SPOOL_HELD, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    advance(f, 100 * S);
    settle(f);
    assert_int_equal(f->fake.n, 2);
    assert_int_equal(f->spool->ops->set_state(f->spool, id, SPOOL_ACTIVE, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    UNTIL(f, messages(f) == 0);
    waiter_deinit(&w);
}

/* Claimed, but no thread has had time for them yet. */
static void test_held_or_erased_before_its_turn(void **state)
{
    struct fixture *f = *state;
    uint64_t held, gone;
    struct waiter w;

    post(f, 1, START - 2 * S);
    post(f, 1, START - 2 * S);
    held = post(f, 1, START);
    gone = post(f, 1, START);
    waiter_init(&w);
    f->fake.gate = true;
    start(f);
    UNTIL(f, stats(f).running == 4);
    fake_wait_inside(&f->fake, 2); /* both threads are busy */
    assert_int_equal(f->spool->ops->set_state(f->spool, held, SPOOL_HELD, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    assert_int_equal(f->spool->ops->erase(f->spool, gone, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    fake_open_gate(&f->fake);
    UNTIL(f, stats(f).running == 0);
    assert_int_equal(f->fake.n, 2);
    assert_int_equal(stats(f).delivered, 2);
    assert_int_equal(stats(f).held + stats(f).deferred, 0); /* no attempt was made of them */
    assert_int_equal(f->spool->ops->set_state(f->spool, held, SPOOL_ACTIVE, waiter_done, &w),
                     0);
    assert_int_equal(waiter_wait(&w), 0);
    UNTIL(f, stats(f).delivered == 3);
    waiter_deinit(&w);
}

static void test_new_retry_rules(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 1, START);
    char reply[64];

    f->fake.status = DELIVERY_AGAIN;
    f->fake.fail_first = 1;
    start(f);
    queue_set_retry(f->queue, &(struct queue_retry){7200, 7200, 4});
    UNTIL(f, stats(f).deferred == 1);
    assert_in_range(state_of(f, id, 0, reply, sizeof(reply)).due_us, START + 7200 * S,
                    START + 7920 * S);
}

/* --- a store that fails ----------------------------------------------------------------------
 */

/* The store's own operations, of which some fail at first. One test at a time. */
static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    int err;
    _Atomic unsigned times, calls;
} broken;

static int fails(void)
{
    broken.calls++;
    if (broken.times == 0)
        return 0;
    broken.times--;
    return broken.err;
}

static int broken_update(struct spool *s, uint64_t id, uint64_t lease,
                         const struct unit_change *changes, size_t n, spool_done done,
                         void *user)
{
    int rc = fails();

    return rc != 0 ? rc : broken.real->update(s, id, lease, changes, n, done, user);
}

static int broken_claim(struct spool *s, int64_t now_us, size_t max, struct spool_claim *claims,
                        size_t *n_r)
{
    int rc = fails();

    return rc != 0 ? rc : broken.real->claim(s, now_us, max, claims, n_r);
}

static int broken_load(struct spool *s, uint64_t id, struct spool_loaded *loaded_r)
{
    int rc = fails();

    return rc != 0 ? rc : broken.real->load(s, id, loaded_r);
}

static int broken_body_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r)
{
    int rc = fails();

    return rc != 0 ? rc : broken.real->body_open(s, id, body_r, size_r);
}

static void break_store(struct fixture *f, int err, unsigned times)
{
    broken.real = f->spool->ops;
    broken.ops = *broken.real;
    broken.err = err;
    broken.times = times;
    broken.calls = 0;
    f->spool->ops = &broken.ops;
}

static void test_no_memory_to_record(void **state)
{
    struct fixture *f = *state;

    post(f, 1, START);
    break_store(f, BARID_ENOMEM, 3);
    broken.ops.update = broken_update;
    start(f);
    for (unsigned i = 1; i < 4; i++) {
        UNTIL(f, broken.calls == i);
        settle(f);
        assert_int_equal(broken.calls, i); /* not before the pause is over */
        advance(f, 1 * S);
    }
    UNTIL(f, stats(f).delivered == 1);
    assert_int_equal(f->fake.n, 1);
    assert_int_equal(messages(f), 0);
}

static void test_store_closes_while_delivering(void **state)
{
    struct fixture *f = *state;

    post(f, 1, START);
    break_store(f, BARID_EIO, 1);
    broken.ops.update = broken_update;
    start(f);
    UNTIL(f, broken.calls == 1);
    UNTIL(f, stats(f).running == 0);
    post(f, 1, START);
    settle(f);
    assert_int_equal(f->fake.n, 1);
    assert_int_equal(stats(f).delivered, 0);
    assert_true(logged(f, "cannot be recorded"));
}

static void test_store_is_closed(void **state)
{
    struct fixture *f = *state;

    post(f, 1, START);
    break_store(f, BARID_EIO, 1000);
    broken.ops.claim = broken_claim;
    start(f);
    settle(f);
    post(f, 1, START);
    advance(f, 10000 * S);
    settle(f);
    assert_int_equal(broken.calls, 1);
    assert_true(logged(f, "the spool is closed"));
}

static void test_claim_without_memory(void **state)
{
    struct fixture *f = *state;

    post(f, 1, START);
    break_store(f, BARID_ENOMEM, 1);
    broken.ops.claim = broken_claim;
    start(f);
    settle(f);
    assert_int_equal(broken.calls, 1);
    advance(f, 1 * S);
    UNTIL(f, stats(f).delivered == 1);
}

static void expect_deferred_then_done(struct fixture *f, const char *reply)
{
    char got[128];
    uint64_t id = post(f, 1, START);

    start(f);
    UNTIL(f, stats(f).deferred == 1);
    assert_int_equal(state_of(f, id, 0, got, sizeof(got)).status, UNIT_PENDING);
    assert_string_equal(got, reply);
    assert_int_equal(f->fake.n, 0);
    settle(f);
    advance(f, 70 * S);
    UNTIL(f, stats(f).delivered == 1);
}

static void test_record_cannot_be_read(void **state)
{
    break_store(*state, BARID_EIO, 1);
    broken.ops.load = broken_load;
    expect_deferred_then_done(*state,
                              "451 4.3.0 spool: reading the record: input or output failed");
}

static void test_body_cannot_be_read(void **state)
{
    break_store(*state, BARID_EIO, 1);
    broken.ops.body_open = broken_body_open;
    expect_deferred_then_done(*state,
                              "451 4.3.0 spool: reading the body: input or output failed");
}

/* Erased between record and body: not an attempt. Here it comes back, so it is delivered. */
static void test_body_is_gone(void **state)
{
    struct fixture *f = *state;

    post(f, 1, START);
    break_store(f, BARID_ENOTFOUND, 1);
    broken.ops.body_open = broken_body_open;
    start(f);
    UNTIL(f, stats(f).delivered == 1);
    assert_int_equal(broken.calls, 2);
    assert_int_equal(stats(f).deferred + stats(f).held, 0);
    assert_int_equal(f->fake.seen[0].attempts, 0);
}

static void test_body_is_damaged(void **state)
{
    struct fixture *f = *state;
    uint64_t id = post(f, 1, START);
    char reply[128];

    break_store(f, BARID_ECORRUPT, 1);
    broken.ops.body_open = broken_body_open;
    start(f);
    UNTIL(f, stats(f).held == 1);
    assert_int_equal(state_of(f, id, 0, reply, sizeof(reply)).status, UNIT_HELD);
    assert_string_equal(reply, "554 5.3.0 spool: reading the body: stored data is damaged");
    assert_int_equal(f->fake.n, 0);
}

/* A pool with room for almost nothing: leases go back, and after the pause it goes on. */
static void test_full_pool(void **state)
{
    struct fixture *f = *state;

    tear_down(f);
    set_up(f, 1, 1);
    for (int i = 0; i < 20; i++)
        post(f, 1, START);
    f->fake.gate = true;
    start(f);
    loop_turn(f->loop, false);
    loop_turn(f->loop, false);
    fake_wait_inside(&f->fake, 1);
    settle(f);
    assert_in_range(stats(f).running, 1, 3);
    fake_open_gate(&f->fake);
    while (messages(f) > 0) {
        UNTIL(f, stats(f).running == 0);
        settle(f);
        advance(f, 1 * S);
    }
    assert_int_equal(f->fake.n, 20);
}

/* Whatever allocation fails, everything is delivered in the end, once, and nothing leaks. */
static void test_each_allocation_failing(void **state)
{
    struct fixture *f = *state;
    struct fail_mem mem = {0};

    while (fail_mem_next(&mem)) {
        tear_down(f);
        set_up(f, 1, 100);
        post(f, 20, START);
        post(f, 1, START);
        f->options.mem = &mem.mem;
        while (queue_new(&f->queue, &f->options, NULL) != 0)
            assert_true(mem.failed);
        for (unsigned turns = 0; messages(f) > 0; turns++) {
            assert_true(turns < 1000);
            UNTIL(f, stats(f).running == 0);
            settle(f);
            advance(f, 30 * S);
        }
        assert_int_equal(f->fake.n, 21);
        assert_int_equal(stats(f).held, 0);
        stop(f);
    }
}

static int group_setup(void **state)
{
    *state = malloc(sizeof(struct fixture));
    set_up(*state, 2, 1000);
    alarm(60);
    return 0;
}

static int group_teardown(void **state)
{
    tear_down(*state);
    free(*state);
    return 0;
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, group_setup, group_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_delivers_and_forgets),
        T(test_waits_for_the_due_time),
        T(test_earliest_first),
        T(test_backs_off_then_holds),
        T(test_failure_is_held),
        T(test_kinds_without_transport),
        T(test_damaged_record_is_held),
        T(test_many_units_in_slices),
        T(test_thousands),
        T(test_stop_gives_leases_back),
        T(test_held_or_erased_meanwhile),
        T(test_held_or_erased_before_its_turn),
        T(test_new_retry_rules),
        T(test_no_memory_to_record),
        T(test_store_closes_while_delivering),
        T(test_store_is_closed),
        T(test_claim_without_memory),
        T(test_record_cannot_be_read),
        T(test_body_cannot_be_read),
        T(test_body_is_gone),
        T(test_body_is_damaged),
        T(test_full_pool),
        T(test_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
