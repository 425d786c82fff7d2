/* queue/lane_test.c: who may begin, who waits, what is remembered of a next hop. Lanes alone: no store is asked. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/testing.h"
#include "message/hop.h"
#include "queue/queue_int.h"

struct fixture {
    struct clock_fake clock;
    struct rng_seeded rng;
    struct fail_mem mem;
    struct queue q;
};

static void on_wake(struct loop_task *task)
{
    (void)task;
}

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    clock_fake_init(&f->clock, INT64_C(1000000000) * 1000000);
    rng_seeded_init(&f->rng, 1);
    fail_mem_init(&f->mem, 0);
    assert_int_equal(loop_new(&f->q.o.loop, &f->clock.clock, NULL, NULL), 0);
    f->q.o.rng = &f->rng.rng;
    f->q.o.mem = &f->mem.mem;
    f->q.o.max_running = 32;
    f->q.wake.run = on_wake;
    hop_init(&f->q.routing.base);
    f->q.routing.base.max_connections = 8;
    lanes_init(&f->q.lanes, &f->q);
}

static void tear_down(struct fixture *f)
{
    lanes_deinit(&f->q.lanes);
    loop_turn(f->q.o.loop, false);
    loop_del(&f->q.o.loop);
    assert_int_equal(f->mem.live, 0);
}

static void later(struct fixture *f, uint64_t ms)
{
    clock_fake_advance(&f->clock, ms);
    loop_turn(f->q.o.loop, false);
}

static void enter(struct lane *l, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_true(lane_is_open(l));
        lane_enter(l);
    }
}

static void test_full_and_gone(void **state)
{
    struct fixture f;
    struct lane *l, *files, *mixed;

    (void)state;
    set_up(&f);
    files = lane_of(&f.q, SPOOL_GROUP_NONE);
    mixed = lane_of(&f.q, SPOOL_GROUP_MIXED);
    assert_int_equal(files->max, 32);
    assert_int_equal(mixed->max, QUEUE_MIXED_RUNNING);
    l = lane_of(&f.q, 7);
    assert_ptr_equal(lane_of(&f.q, 7), l);
    enter(l, 8);
    assert_false(lane_is_open(l));
    for (unsigned i = 0; i < 7; i++) {
        lane_leave(l);
        assert_true(lane_is_open(l));
    }
    assert_int_equal(f.q.lanes.map.count, 3);
    lane_leave(l);
    assert_int_equal(f.q.lanes.map.count, 2); /* up and idle: nothing is worth keeping */
    tear_down(&f);
}

/* In order whatever its size; its memory goes when it is empty. */
static void test_ring(void **state)
{
    struct fixture f;
    struct lane *l;
    uint64_t id, in = 0, out = 0;
    long live;

    (void)state;
    set_up(&f);
    l = lane_of(&f.q, 7);
    lane_enter(l);
    live = f.mem.live;
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 37 + round; i++)
            assert_int_equal(lane_push(l, in++), 0);
        for (unsigned i = 0; i < 31 + round && lane_pop(l, &id); i++)
            assert_int_equal(id, out++);
    }
    assert_int_equal(l->n, in - out);
    assert_true(l->cap >= l->n && (l->cap & (l->cap - 1)) == 0);
    while (lane_pop(l, &id))
        assert_int_equal(id, out++);
    assert_int_equal(in, out);
    assert_null(l->ids);
    assert_int_equal(f.mem.live, live);
    f.mem.fail_at = f.mem.count + 1;
    assert_int_equal(lane_push(l, 1), BARID_ENOMEM);
    assert_int_equal(l->n, 0);
    tear_down(&f);
}

/* Each has its turn; one that is full is passed over, and is back when it has left. */
static void test_turns(void **state)
{
    struct fixture f;
    struct lane *l[3];
    uint64_t id;

    (void)state;
    set_up(&f);
    for (uint32_t i = 0; i < 3; i++) {
        l[i] = lane_of(&f.q, 10 + i);
        for (uint64_t k = 0; k < 10; k++)
            assert_int_equal(lane_push(l[i], i * 100 + k), 0);
    }
    enter(l[1], 8);
    for (unsigned i = 0; i < 20; i++) {
        struct lane *next = lanes_next(&f.q);

        assert_ptr_equal(next, l[i % 2 == 0 ? 0 : 2]);
        assert_true(lane_pop(next, &id));
    }
    assert_null(lanes_next(&f.q));
    assert_int_equal(l[1]->n, 10);
    lane_leave(l[1]);
    assert_ptr_equal(lanes_next(&f.q), l[1]);
    tear_down(&f);
}

static void test_down_and_tried(void **state)
{
    struct fixture f;
    struct lane *l;

    (void)state;
    set_up(&f);
    l = lane_of(&f.q, 7);
    enter(l, 6);
    lane_failed(l, loop_now_ms(f.q.o.loop), "451 4.4.1 nobody");
    lane_failed(l, loop_now_ms(f.q.o.loop),
                "451 4.4.1 others"); /* under way together: one failure */
    assert_int_equal(l->fails, 1);
    assert_string_equal(l->reply, "451 4.4.1 nobody");
    assert_true(lane_is_down(l));
    assert_false(lane_is_open(l)); /* 6 of LANE_DOWN_RUNNING */
    for (unsigned i = 0; i < 3; i++)
        lane_leave(l);
    assert_true(lane_is_open(l));
    for (unsigned i = 0; i < 3; i++)
        lane_leave(l);
    later(&f, LANE_DOWN_S * 1000 - 1);
    assert_true(lane_is_down(l));
    later(&f, 1);
    assert_false(lane_is_down(l));
    enter(l, 1);
    assert_false(lane_is_open(l)); /* tried: one at a time */
    for (uint64_t s = LANE_DOWN_S * 2; s < LANE_DOWN_MAX_S * 4; s *= 2) {
        lane_failed(l, loop_now_ms(f.q.o.loop), "451 4.4.1 nobody");
        assert_int_equal(l->down_until_ms - loop_now_ms(f.q.o.loop),
                         (s < LANE_DOWN_MAX_S ? s : LANE_DOWN_MAX_S) * 1000);
        later(&f, LANE_DOWN_MAX_S * 1000);
    }
    assert_true(lane_reached(l, false));
    assert_false(lane_reached(l, false));
    assert_true(lane_is_open(l));
    lane_leave(l);
    assert_int_equal(f.q.lanes.map.count, 0);
    tear_down(&f);
}

/* One too many is turned away while others get through. */
static void test_limit(void **state)
{
    struct fixture f;
    struct lane *l;
    uint64_t began;
    char reply[LANE_REPLY_SIZE + 100];

    (void)state;
    set_up(&f);
    l = lane_of(&f.q, 7);
    enter(l, 8);
    began = loop_now_ms(f.q.o.loop);
    later(&f, 10);
    lane_reached(l, false);
    for (uint32_t limit = 4; limit > 0; limit /= 2) {
        lane_failed(l, began, "421 too many");
        assert_int_equal(l->limit, limit);
    }
    lane_failed(l, began, "421 too many");
    assert_int_equal(l->limit, 1);
    assert_int_equal(l->fails, 0);
    assert_true(lane_is_over(l));
    for (uint32_t i = 2; i < 20; i++) {
        lane_reached(l, false);
        assert_int_equal(l->limit, i < 8 ? i : 8);
    }
    memset(reply, 'x', sizeof(reply));
    reply[sizeof(reply) - 1] = '\0';
    later(&f, 1);
    lane_failed(l, loop_now_ms(f.q.o.loop), reply);
    assert_int_equal(strlen(l->reply), LANE_REPLY_SIZE - 1);
    tear_down(&f);
}

static void test_rate(void **state)
{
    struct fixture f;
    struct hop hop;
    struct lane *l;

    (void)state;
    set_up(&f);
    hop_init(&hop);
    hop.max_connections = 2;
    hop.rate = 3;
    hop.rate_s = 60;
    l = lane_of(&f.q, 7);
    enter(l, 3);
    lane_allow(l, &hop);
    assert_true(lane_is_over(l)); /* three run where two may */
    lane_leave(l);
    lane_leave(l);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(lane_is_open(l));
        lane_count(l);
    }
    assert_false(lane_is_open(l));
    assert_true(lane_is_over(l));
    assert_int_equal(lane_push(l, 5), 0);
    assert_null(lanes_next(&f.q));
    later(&f, 59999);
    assert_null(lanes_next(&f.q));
    later(&f, 1); /* the end of the window puts it back */
    assert_ptr_equal(lanes_next(&f.q), l);
    hop.rate = 1; /* less, within a window */
    lane_count(l);
    lane_allow(l, &hop);
    assert_false(lane_is_open(l));
    assert_null(lanes_next(&f.q));
    later(&f, 60000);
    assert_ptr_equal(lanes_next(&f.q), l);
    hop.rate = 0;
    hop.max_connections = 20;
    lane_allow(l, &hop);
    assert_int_equal(l->limit, 20);
    tear_down(&f);
}

/* Next hops that were down or have a rate leave nothing for good. */
static void test_thousands(void **state)
{
    struct fixture f;
    struct lane *held;
    size_t most = 0;

    (void)state;
    set_up(&f);
    held = lane_of(&f.q, 1000000);
    lane_enter(held);
    lane_failed(held, loop_now_ms(f.q.o.loop), "451 4.4.1 nobody");
    for (uint32_t i = 0; i < 20 * LANES_SWEEP_MIN; i++) {
        struct lane *l = lane_of(&f.q, SPOOL_GROUP_FIRST + 1000000 + i);

        lane_enter(l);
        if (i % 3 != 0)
            lane_failed(l, loop_now_ms(f.q.o.loop), "451 4.4.1 nobody");
        lane_leave(l);
        later(&f, 500);
        most = f.q.lanes.map.count > most ? f.q.lanes.map.count : most;
    }
    assert_true(most <= LANES_SWEEP_MIN + 1);
    assert_ptr_equal(lane_of(&f.q, 1000000), held);
    printf("# proof: lanes: %u next hops, at most %zu lanes kept\n", 20 * LANES_SWEEP_MIN,
           most);
    tear_down(&f);
}

static void test_no_memory(void **state)
{
    struct fixture f;
    struct hop hop;
    struct lane *l;

    (void)state;
    set_up(&f);
    for (size_t i = 1; i < 3; i++) {
        f.mem.fail_at = f.mem.count + i;
        f.mem.failed = false;
        l = lane_of(&f.q, 7);
        if (f.mem.failed)
            assert_null(l);
    }
    f.mem.fail_at = 0;
    l = lane_of(&f.q, 7);
    assert_non_null(l);
    lane_enter(l);
    f.mem.fail_at = f.mem.count + 1;
    lane_failed(l, loop_now_ms(f.q.o.loop), "451 4.4.1 nobody");
    assert_null(l->reply);
    assert_true(lane_is_down(l));
    hop_init(&hop);
    lane_allow(l, &hop);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_and_gone), cmocka_unit_test(test_ring),
        cmocka_unit_test(test_turns),         cmocka_unit_test(test_down_and_tried),
        cmocka_unit_test(test_limit),         cmocka_unit_test(test_rate),
        cmocka_unit_test(test_thousands),     cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
