/* queue/queue_test.c: what is due goes out, what fails comes again, what stops gives back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "queue/queue_testing.h"

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
        T(test_full_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
