/* delivery/unreachable_test.c: addresses are remembered for a time, and only so many. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "delivery/unreachable.h"

static barid_endpoint number(unsigned i)
{
    return (barid_endpoint){.family = BARID_FAMILY_IPV4,
                            .addr = {10, 0, (uint8_t)(i >> 8), (uint8_t)i},
                            .port = 25};
}

static void test_time(void **state)
{
    struct unreachable u = {0};
    barid_endpoint a = number(1), other = a;

    (void)state;
    other.port = 26;
    assert_false(unreachable_has(&u, &a, 0));
    unreachable_add(&u, &a, 1000);
    assert_true(unreachable_has(&u, &a, 1000));
    assert_false(unreachable_has(&u, &other, 1000));
    assert_true(unreachable_has(&u, &a, 1000 + UNREACHABLE_MS - 1));
    assert_false(unreachable_has(&u, &a, 1000 + UNREACHABLE_MS));
    unreachable_add(&u, &a, 500000); /* again: it counts from then */
    assert_true(unreachable_has(&u, &a, 500000 + UNREACHABLE_MS - 1));
    unreachable_remove(&u, &a);
    unreachable_remove(&u, &other);
    assert_false(unreachable_has(&u, &a, 500000));
}

static void test_limit(void **state)
{
    struct unreachable u = {0};
    barid_endpoint path = {.family = BARID_FAMILY_UNIX}, a;

    (void)state;
    for (unsigned i = 0; i < UNREACHABLE_MAX; i++) {
        a = number(i);
        unreachable_add(&u, &a, i);
    }
    a = number(0);
    assert_true(unreachable_has(&u, &a, 500));
    unreachable_add(&u, &path, 500);
    assert_false(unreachable_has(&u, &path, 500));
    assert_true(unreachable_has(&u, &a, 500));
    a = number(UNREACHABLE_MAX);
    unreachable_add(&u, &a, 500);
    assert_true(unreachable_has(&u, &a, 500));
    a = number(0);
    assert_false(unreachable_has(&u, &a, 500));
    a = number(1);
    assert_true(unreachable_has(&u, &a, 500));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
