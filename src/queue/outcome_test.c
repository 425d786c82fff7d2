/*
 * Results become states of units and lines of the log: one work, a store that answers what the
 * test says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "queue/work.h"

#define START (INT64_C(1000000000) * 1000000)

static struct store {
    struct spool spool;
    struct spool_ops ops;
    int answer;
    struct unit_change change; /* the last one; its reply is the work's */
    size_t n;
} store;

static int update(struct spool *s, uint64_t id, uint64_t lease,
                  const struct unit_change *changes, size_t n, spool_done done, void *user)
{
    (void)s;
    (void)user;
    assert_int_equal(id, 7);
    assert_int_equal(lease, 5);
    assert_null(done);
    store.change = changes[n - 1];
    store.n += n;
    return store.answer;
}

struct fixture {
    struct clock_fake clock;
    struct rng_seeded rng;
    struct log_memory log;
    struct queue queue;
    struct work *work;
    struct unit unit;
};

static int told;

static void on_settled(struct settling *s, int rc)
{
    (void)s;
    told = rc;
}

static void do_nothing(void *user)
{
    (void)user;
}

static void set_up(struct fixture *f, struct delivery_result r)
{
    struct spool_claim claim = {.id = 7, .lease = 5, .n_units = 1};

    memset(f, 0, sizeof *f);
    memset(&store, 0, sizeof store);
    store.ops.update = update;
    store.spool.ops = &store.ops;
    clock_fake_init(&f->clock, START);
    rng_seeded_init(&f->rng, 1);
    log_memory_init(&f->log);
    assert_int_equal(loop_new(&f->queue.o.loop, &f->clock.clock, NULL, NULL), 0);
    f->queue.o.spool = &store.spool;
    f->queue.o.retry = (struct queue_retry){60, 600, 4, 0};
    f->queue.o.rng = &f->rng.rng;
    f->queue.o.log = &f->log.log;
    claim.units = calloc(1, sizeof *claim.units);
    list_init(&f->queue.unrecorded);
    f->queue.timer = timer_new(f->queue.o.loop, do_nothing, NULL);
    f->work = work_new(&f->queue, &claim, NULL);
    assert_non_null(f->work);
    f->work->outcomes[0].r = r;
    f->work->n = 1;
}

/* What settling said; 1: it has said nothing, as memory is out. */
static int settled(struct fixture *f)
{
    told = 1;
    f->work->settling =
        (struct settling){.work = f->work, .v = f->work->outcomes, .n = f->work->n, .done = on_settled};
    settle_start(&f->work->settling);
    return told;
}

static void tear_down(struct fixture *f)
{
    work_del(f->work);
    timer_del(&f->queue.timer);
    loop_del(&f->queue.o.loop);
    log_memory_deinit(&f->log);
}

/* Decoded: one unit that serves n recipients. */
static void give_rcpts(struct fixture *f, size_t n)
{
    struct work *w = f->work;

    w->mail.rcpts = arena_alloc(&w->arena, n * sizeof(*w->mail.rcpts));
    f->unit = (struct unit){.kind = DISPOSITION_STORE, .target = BARID_S("all"), .n_rcpts = n};
    f->unit.rcpts = arena_alloc(&w->arena, n * sizeof(size_t));
    for (size_t i = 0; i < n; i++) {
        struct rcpt *r = arena_alloc(&w->arena, sizeof *r);

        memset(r, 0, sizeof *r);
        r->box.address = slice_str(arena_fmt(&w->arena, "user%03zu@example.org", i));
        w->mail.rcpts[i] = r;
        f->unit.rcpts[i] = i;
    }
    w->mail.received_us = START;
    w->units = &f->unit;
    w->n_units = 1;
    w->is_decoded = true;
}

static barid_slice logged(const struct fixture *f)
{
    return slice_of(f->log.text.p, f->log.text.len);
}

static void assert_logged(const struct fixture *f, const char *text)
{
    barid_slice all = logged(f);

    if (all.n == 0 || memmem(all.p, all.n, text, strlen(text)) == NULL)
        fail_msg("not in the log: %s\n%.*s", text, (int)all.n, all.n > 0 ? all.p : "");
}

static void test_addresses(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, (struct delivery_result){.status = DELIVERY_DONE, .reply = "250 stored"});
    give_rcpts(&f, 3);
    assert_int_equal(settled(&f), 0);
    assert_logged(
        &f, "rcpt=user000@example.org user001@example.org user002@example.org target=all");
    assert_int_equal(store.change.state.status, UNIT_DONE);
    assert_int_equal(f.queue.delivered, 1);
    tear_down(&f);
}

/* A unit may serve thousands: the line says that there are more, and ends. */
static void test_too_many_addresses(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, (struct delivery_result){.status = DELIVERY_DONE, .reply = "250 stored"});
    give_rcpts(&f, 1000);
    assert_int_equal(settled(&f), 0);
    assert_logged(&f, "user023@example.org user024@example.org ... target=all");
    assert_true(logged(&f).n < 800);
    tear_down(&f);
}

/* Erased while it was delivered: the delivery was made all the same, and is told. */
static void test_gone(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, (struct delivery_result){.status = DELIVERY_DONE, .reply = "250 stored"});
    store.answer = BARID_ENOTFOUND;
    assert_int_equal(settled(&f), 0);
    assert_int_equal(f.queue.delivered, 1);
    assert_logged(&f, "queue delivered");
    assert_logged(&f, "kind=? rcpt= target= "); /* nothing was decoded */
    tear_down(&f);
}

/* What is not recorded is not told as done: it will be delivered again. */
static void test_not_recorded(void **state)
{
    static const int errors[] = {BARID_EIO, BARID_ENOMEM};
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        set_up(&f, (struct delivery_result){.status = DELIVERY_DONE, .reply = "250 stored"});
        store.answer = errors[i];
        assert_int_equal(settled(&f), errors[i] == BARID_ENOMEM ? 1 : errors[i]); /* it comes again */
        assert_int_equal(store.n, 1);
        assert_int_equal(f.queue.delivered, 0);
        assert_int_equal(logged(&f).n, 0);
        tear_down(&f);
    }
}

/* An attempt at a record that could not be read counts as a first one. */
static void test_again(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, (struct delivery_result){.status = DELIVERY_AGAIN, .reply = "451 later"});
    assert_int_equal(settled(&f), 0);
    assert_int_equal(store.change.state.status, UNIT_PENDING);
    assert_int_equal(store.change.state.attempts, 1);
    assert_in_range(store.change.state.due_us - START, 60000000, 66000000);
    assert_int_equal(f.queue.deferred, 1);
    assert_logged(&f, "WARN queue deferred");
    tear_down(&f);
}

static void test_nothing_done(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f, (struct delivery_result){.status = DELIVERY_DONE});
    f.work->n = 0;
    assert_int_equal(settled(&f), 0);
    assert_int_equal(store.n, 0);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_too_many_addresses),
        cmocka_unit_test(test_gone),      cmocka_unit_test(test_not_recorded),
        cmocka_unit_test(test_again),     cmocka_unit_test(test_nothing_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
