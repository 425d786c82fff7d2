/* queue/faults_test.c: a store that fails, records that cannot be read, and no memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "queue/queue_testing.h"

/* --- a store that fails ----------------------------------------------------------------------
 */

/* The store's own operations, of which some fail at first. One test at a time. */
static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    int err;
    _Atomic unsigned times, calls;
    struct fail_mem *mem; /* of which the next allocation fails then */
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

static int broken_claim(struct spool *s, int64_t now_us, size_t max, bool (*choose)(void *user, uint64_t id, uint32_t group),
                        void *user, struct spool_claim *claims, size_t *n_r, size_t *aside_r)
{
    int rc = fails();

    return rc != 0 ? rc : broken.real->claim_some(s, now_us, max, choose, user, claims, n_r, aside_r);
}

static int broken_claim_one(struct spool *s, uint64_t id, int64_t now_us, struct spool_claim *claim_r)
{
    int rc = fails();

    broken.mem->fail_at = rc != 0 ? broken.mem->count + 1 : 0;
    return rc != 0 ? rc : broken.real->claim_one(s, id, now_us, claim_r);
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

/* What waits in a lane is known by nothing else: it is not forgotten. */
static void test_no_memory_to_claim(void **state)
{
    struct fixture *f = *state;

    f->options.max_works = 1;
    f->fake.gate = true;
    post(f, 1, START);
    post(f, 1, START);
    break_store(f, BARID_ENOMEM, 4);
    broken.ops.claim_one = broken_claim_one;
    broken.mem = &f->mem;
    start(f);
    UNTIL(f, stats(f).running == 1); /* the other is in its lane */
    fake_open_gate(&f->fake);
    for (unsigned i = 1; i < 5; i++) {
        UNTIL(f, broken.calls == i);
        settle(f);
        assert_int_equal(broken.calls, i); /* not before the pause is over */
        advance(f, 1 * S);
    }
    UNTIL(f, stats(f).delivered == 2);
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
    broken.ops.claim_some = broken_claim;
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
    broken.ops.claim_some = broken_claim;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_no_memory_to_record),
        T(test_no_memory_to_claim),
        T(test_store_closes_while_delivering),
        T(test_store_is_closed),
        T(test_claim_without_memory),
        T(test_record_cannot_be_read),
        T(test_body_cannot_be_read),
        T(test_body_is_gone),
        T(test_body_is_damaged),
        T(test_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
