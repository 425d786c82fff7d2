/* Timers by a clock that the test moves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "io/timer.h"

struct fixture {
    struct clock_fake clock;
    struct loop *loop;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_fake_init(&f->clock, 1000000);
    f->clock.mono_ms = 5000;
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, NULL, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    loop_del(&f->loop);
    free(f);
    return 0;
}

static void on_timer(void *user)
{
    ++*(unsigned *)user;
}

static void advance(struct fixture *f, uint64_t ms)
{
    clock_fake_advance(&f->clock, ms);
    loop_turn(f->loop, false);
}

static void test_fires_once(void **state)
{
    struct fixture *f = *state;
    unsigned fired = 0;
    struct timer *t = timer_new(f->loop, on_timer, &fired);

    timer_set(t, 5100);
    advance(f, 99);
    assert_int_equal(fired, 0);
    advance(f, 1);
    assert_int_equal(fired, 1);
    advance(f, 1000);
    assert_int_equal(fired, 1);
    timer_set(t, 6101);
    advance(f, 1);
    assert_int_equal(fired, 2);
    timer_del(&t);
    assert_null(t);
    timer_del(&t);
}

static void test_moves_later_and_earlier(void **state)
{
    struct fixture *f = *state;
    unsigned fired = 0;
    struct timer *t = timer_new(f->loop, on_timer, &fired);

    timer_set(t, 5100);
    timer_set(t, 5500); /* later: a store */
    advance(f, 200);    /* armed too early, armed again */
    assert_int_equal(fired, 0);
    timer_set(t, 5300); /* earlier than armed */
    advance(f, 100);
    assert_int_equal(fired, 1);
    timer_set(t, 5400);
    timer_set(t, UINT64_MAX); /* never */
    advance(f, 1000);
    assert_int_equal(fired, 1);
    timer_set(t, 0); /* in the past: next turn */
    advance(f, 0);
    assert_int_equal(fired, 2);
    timer_del(&t);
}

static void test_deleted_does_not_fire(void **state)
{
    struct fixture *f = *state;
    unsigned fired = 0;
    struct timer *t = timer_new(f->loop, on_timer, &fired);

    timer_set(t, 5001);
    timer_del(&t);
    advance(f, 10);
    assert_int_equal(fired, 0);
}

struct deleter {
    struct timer *self, *other;
    unsigned fired;
};

static void on_delete_both(void *user)
{
    struct deleter *d = user;

    d->fired++;
    timer_del(&d->other);
    timer_del(&d->self);
}

static void test_deletes_in_callback(void **state)
{
    struct fixture *f = *state;
    struct deleter d = {0};
    unsigned other = 0;

    d.self = timer_new(f->loop, on_delete_both, &d);
    d.other = timer_new(f->loop, on_timer, &other);
    timer_set(d.self, 5001);
    timer_set(d.other, 5001);
    advance(f, 1);
    /* either may come first at the same time; the deleted one never follows */
    assert_int_equal(d.fired, 1);
    advance(f, 100);
    assert_int_equal(d.fired, 1);
    assert_in_range(other, 0, 1);
    assert_null(d.other);
}

struct again {
    struct fixture *f;
    struct timer *t;
    unsigned fired;
};

static void on_again(void *user)
{
    struct again *a = user;

    a->fired++;
    timer_set(a->t, loop_now_ms(a->f->loop));
}

/* A timer that sets itself to now runs once per turn: events still get theirs. */
static void test_set_to_now_in_callback(void **state)
{
    struct fixture *f = *state;
    struct again a = {.f = f};

    a.t = timer_new(f->loop, on_again, &a);
    timer_set(a.t, 5000);
    loop_turn(f->loop, false);
    assert_int_equal(a.fired, 1);
    loop_turn(f->loop, false);
    assert_int_equal(a.fired, 2);
    timer_del(&a.t);
}

enum { MANY = 300 };

struct ordered {
    uint64_t deadline, *last;
    unsigned *fired;
};

static void on_ordered(void *user)
{
    struct ordered *o = user;

    assert_true(o->deadline >= *o->last);
    *o->last = o->deadline;
    ++*o->fired;
}

/* Hundreds in random order, moved about, a third deleted: the others fire in the order of their
 * deadlines. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    struct timer *t[MANY];
    struct ordered o[MANY];
    uint64_t last = 0, seed = 42;
    unsigned fired = 0, kept = 0;

    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            if (round == 0) {
                o[i] = (struct ordered){0, &last, &fired};
                t[i] = timer_new(f->loop, on_ordered, &o[i]);
                assert_non_null(t[i]);
            }
            o[i].deadline = 5001 + (seed >> 33) % 1000;
            timer_set(t[i], o[i].deadline);
        }
    }
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            timer_del(&t[i]);
        else
            kept++;
    }
    for (unsigned ms = 0; ms < 1000; ms++)
        advance(f, 1);
    assert_int_equal(fired, kept);
    for (unsigned i = 0; i < MANY; i++)
        timer_del(&t[i]);
}

static void on_stop(void *user)
{
    loop_stop(user);
}

/* By the real clock: the alarm wakes the loop by itself. */
static void test_real_clock(void **state)
{
    struct loop *loop;
    struct timer *t;
    uint64_t begin;

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    t = timer_new(loop, on_stop, loop);
    begin = loop_now_ms(loop);
    timer_set(t, begin + 15);
    timer_set(t, begin + 20);
    loop_run(loop);
    assert_true(loop_now_ms(loop) >= begin + 20);
    assert_ptr_equal(loop_clock(loop), &clock_system);
    timer_del(&t);
    loop_del(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_fires_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moves_later_and_earlier, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deleted_does_not_fire, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deletes_in_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_to_now_in_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test(test_real_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
