/* base/rng_test.c: random bytes, repeatable and not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <stdbool.h>

#include "base/rng.h"

static void test_seeded_repeats(void **state)
{
    struct rng_seeded a, b;
    char x[29], y[29];

    (void)state;
    rng_seeded_init(&a, 7);
    rng_seeded_init(&b, 7);
    for (int i = 0; i < 100; i++) {
        rng_fill(&a.rng, x, sizeof(x));
        rng_fill(&b.rng, y, sizeof(y));
        assert_memory_equal(x, y, sizeof(x));
    }
    rng_seeded_init(&b, 8);
    assert_true(rng_u64(&a.rng) != rng_u64(&b.rng));
    assert_true(rng_u64(&a.rng) != rng_u64(&a.rng));
}

/* First values of SplitMix64 for seed 0. */
static void test_seeded_vectors(void **state)
{
    struct rng_seeded r;

    (void)state;
    rng_seeded_init(&r, 0);
    assert_true(rng_u64(&r.rng) == 0xe220a8397b1dcdaf);
    assert_true(rng_u64(&r.rng) == 0x6e789e6aa1b965f4);
}

static void check_bounds(const struct rng *r)
{
    unsigned char p[40];
    bool changed[32] = {false};

    for (int round = 0; round < 64; round++) {
        memset(p, 0x5a, sizeof(p));
        rng_fill(r, p + 4, 32);
        for (size_t i = 0; i < 32; i++)
            changed[i] = changed[i] || p[4 + i] != 0x5a;
        assert_memory_equal(p, "ZZZZ", 4);
        assert_memory_equal(p + 36, "ZZZZ", 4);
    }
    for (size_t i = 0; i < 32; i++)
        assert_true(changed[i]);
    rng_fill(r, p, 0);
}

static void test_fills_exactly(void **state)
{
    struct rng_seeded r;

    (void)state;
    rng_seeded_init(&r, 3);
    check_bounds(&r.rng);
    check_bounds(&rng_system);
}

static void test_system_differs(void **state)
{
    (void)state;
    assert_true(rng_u64(&rng_system) != rng_u64(&rng_system));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeded_repeats),
        cmocka_unit_test(test_seeded_vectors),
        cmocka_unit_test(test_fills_exactly),
        cmocka_unit_test(test_system_differs),
    };

    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
