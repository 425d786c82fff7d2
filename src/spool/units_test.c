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
    assert_int_equal(units_next(&u), 10);
    assert_int_equal(units_claim(&u, 9, 1, &list, &n), BARID_ENOTFOUND);
    assert_int_equal(units_claim(&u, 20, 1, &list, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(list[0], 1);
    assert_int_equal(list[1], 2);
    assert_int_equal(u.leased, 2);
    assert_int_equal(units_next(&u), 30);
    assert_int_equal(units_release(&u, 2), 0);
    assert_int_equal(units_release(&u, 0), 0);
    assert_int_equal(units_release(&u, 1), 2);
    assert_int_equal(units_next(&u), 10);
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
        assert_int_equal(units_next(&u), 1);
    else
        assert_int_equal(units_next(&u), 7);
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
        cmocka_unit_test(stands_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
