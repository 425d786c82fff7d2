/* spool/units_test.c: leases and state changes, and both with each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/slice.h"
#include "base/testing.h"
#include "spool/units.h"

static struct unit_state pending(int64_t due_us)
{
    return (struct unit_state){
        .status = UNIT_PENDING, .due_us = due_us, .reply = BARID_S("451 later")};
}

static void next_is_the_earliest_free_one(void **state)
{
    struct unit_state states[3] = {pending(30), pending(10), pending(20)};
    struct units u;
    uint32_t *list;
    size_t n;

    (void)state;
    assert_int_equal(units_init(&u, NULL, states, 3), 0);
    assert_int_equal(units_next(&u, 0), 10);
    assert_int_equal(units_claim(&u, 9, 0, 1, &list, &n), BARID_ENOTFOUND);
    assert_int_equal(units_claim(&u, 20, 0, 1, &list, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(list[0], 1);
    assert_int_equal(list[1], 2);
    assert_int_equal(u.leased, 2);
    assert_int_equal(units_next(&u, 0), 30);
    assert_int_equal(units_release(&u, 2), 0);
    assert_int_equal(units_release(&u, 0), 0);
    assert_int_equal(units_release(&u, 1), 2);
    assert_int_equal(units_next(&u, 0), 10);
    free(list);
    units_deinit(&u);
}

static void changes_are_all_or_none(void **state)
{
    struct unit_state states[2] = {pending(1), pending(1)};
    struct unit_change changes[2] = {{0, {.status = UNIT_DONE}}, {5, {.status = UNIT_DONE}}};
    struct units u;

    (void)state;
    assert_int_equal(units_init(&u, NULL, states, 2), 0);
    assert_int_equal(units_change(&u, 0, changes, 2), BARID_EINVALID);
    assert_int_equal(u.v[0].state.status, UNIT_PENDING);
    assert_false(units_over(&u));
    changes[1].unit = 1;
    assert_int_equal(units_change(&u, 0, changes, 2), 0);
    assert_true(units_over(&u));
    units_deinit(&u);
}

static struct unit_state sent(uint32_t group, uint32_t attempts, int64_t due_us)
{
    return (struct unit_state){.due_us = due_us, .group = group, .attempts = attempts};
}

static void a_digest_tells_groups(void **state)
{
    struct unit_state one[3] = {sent(70, 0, 9), sent(70, 1, 5), {.status = UNIT_DONE, .group = 3}};
    struct unit_state two[2] = {sent(70, 0, 9), sent(71, 1, 5)};
    struct units_digest d = unit_states_digest(one, 3);

    (void)state;
    assert_int_equal(digest_group(&d), 70);
    assert_true(d.tried);
    assert_int_equal(d.next_us, 5);
    assert_int_equal(digest_hasten(&d, 70, 0), SPOOL_GROUP_MIXED); /* all of it */
    assert_int_equal(digest_hasten(&d, 3, 0), 0);
    d = unit_states_digest(two, 2);
    assert_int_equal(digest_group(&d), SPOOL_GROUP_MIXED);
    assert_int_equal(digest_hasten(&d, 71, 0), 71);
    assert_int_equal(digest_hasten(&d, 71, 71), 71);
    assert_int_equal(digest_hasten(&d, 71, 70), SPOOL_GROUP_MIXED);
    assert_int_equal(digest_hasten(&d, 8, 0), 0);
    d = unit_states_digest(one, 1);
    assert_int_equal(digest_hasten(&d, 70, 0), 0); /* never attempted */
    one[0].status = UNIT_GIVEN_UP;
    one[1].status = UNIT_HELD;
    d = unit_states_digest(one, 3);
    assert_int_equal(d.next_us, 9);
    assert_false(d.tried);
    d = unit_states_digest(&one[1], 2);
    assert_int_equal(d.next_us, INT64_MAX);
    assert_int_equal(digest_group(&d), SPOOL_GROUP_NONE);
}

static void what_is_hastened_is_due(void **state)
{
    struct unit_state states[3] = {sent(70, 0, 90), sent(70, 1, 80), sent(71, 1, 70)};
    struct units u;
    uint32_t *list;
    size_t n;

    (void)state;
    assert_int_equal(units_init(&u, NULL, states, 3), 0);
    assert_true(units_hastens(&u, 70));
    assert_false(units_hastens(&u, 72));
    assert_int_equal(units_next(&u, 70), 0);
    assert_int_equal(units_next(&u, 72), 70);
    assert_int_equal(units_claim(&u, 1, 70, 5, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(list[0], 1);
    assert_false(units_hastens(&u, 70)); /* leased */
    free(list);
    assert_int_equal(units_claim(&u, 1, SPOOL_GROUP_MIXED, 6, &list, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(list[0], 2);
    free(list);
    units_deinit(&u);
}

/* One run with the n-th allocation failing; every failure leaves the states as they were. */
static void scenario(const barid_mem *mem)
{
    struct unit_state states[2] = {pending(1), pending(2)};
    struct unit_change changes[2] = {{0, pending(7)}, {1, pending(8)}};
    struct units u;

    if (units_init(&u, mem, states, 2) != 0) {
        assert_int_equal(u.n, 0);
        return;
    }
    if (units_change(&u, 0, changes, 2) != 0)
        assert_int_equal(units_next(&u, 0), 1);
    else
        assert_int_equal(units_next(&u, 0), 7);
    assert_true(slice_eq(u.v[1].state.reply, BARID_S("451 later")));
    units_deinit(&u);
}

static void stands_failing_allocations(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm))
        scenario(&fm.mem);
    assert_true(fm.injected > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_is_the_earliest_free_one),
        cmocka_unit_test(changes_are_all_or_none),
        cmocka_unit_test(a_digest_tells_groups),
        cmocka_unit_test(what_is_hastened_is_due),
        cmocka_unit_test(stands_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
