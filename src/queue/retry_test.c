/* When to try again: doubling, the cap, chance, the last try, the ends of time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "queue/queue.h"

#define S INT64_C(1000000)
static const struct queue_retry usual = {300, 28800, 20};

static void test_doubles_to_max(void **state)
{
    static const int64_t want_s[] = {300, 600, 1200, 2400, 4800, 9600, 19200, 28800, 28800};

    (void)state;
    for (uint32_t i = 0; i < sizeof(want_s) / sizeof(*want_s); i++)
        assert_int_equal(queue_next_attempt(&usual, i + 1, 5 * S, 0), (5 + want_s[i]) * S);
}

static void test_jitter_is_later_by_at_most_a_tenth(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    uint64_t random = 88172645463325252ULL;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t t;

        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        t = queue_next_attempt(&usual, 1, 0, random);
        least = t < least ? t : least;
        most = t > most ? t : most;
    }
    assert_in_range(least, 300 * S, 301 * S);
    assert_in_range(most, 329 * S, 330 * S);
    assert_int_equal(queue_next_attempt(&usual, 1, 0, 30 * S), 330 * S);
    assert_int_equal(queue_next_attempt(&usual, 1, 0, 30 * S + 1), 300 * S);
}

static void test_last_try(void **state)
{
    struct queue_retry once = {300, 28800, 1}, never = {300, 28800, 0};

    (void)state;
    assert_true(queue_next_attempt(&usual, 19, 0, 0) < INT64_MAX);
    assert_true(queue_next_attempt(&usual, 20, 0, 0) == INT64_MAX);
    assert_true(queue_next_attempt(&usual, UINT32_MAX, 0, 0) == INT64_MAX);
    assert_true(queue_next_attempt(&once, 1, 0, 0) == INT64_MAX);
    assert_true(queue_next_attempt(&never, 1, 0, 0) == INT64_MAX);
}

static void test_extremes(void **state)
{
    struct queue_retry at_once = {0, 0, 10}, no_max = {1, 0, 100},
                       long_wait = {UINT32_MAX, UINT32_MAX, UINT32_MAX};

    (void)state;
    assert_int_equal(queue_next_attempt(&at_once, 1, 0, 0), 1 * S); /* never at once */
    assert_int_equal(queue_next_attempt(&no_max, 3, 0, 0), 1 * S);
    assert_true(queue_next_attempt(&long_wait, UINT32_MAX - 1, INT64_MAX - 5, UINT64_MAX) ==
                INT64_MAX - 1);
    assert_true(queue_next_attempt(&long_wait, 40, 0, UINT64_MAX) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_to_max),
        cmocka_unit_test(test_jitter_is_later_by_at_most_a_tenth),
        cmocka_unit_test(test_last_try),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
