/* base/arena_test.c: memory with one lifetime: alignment, growth, limits, failure. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "base/slice.h"
#include "base/testing.h"

static void test_small_and_aligned(void **state)
{
    struct fail_mem f;
    struct arena a;

    (void)state;
    fail_mem_init(&f, 0);
    arena_init(&a, &f.mem, 0);
    assert_int_equal(f.count, 0);
    for (size_t size = 0; size < 40; size++) {
        char *p = arena_alloc(&a, size);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xaa, size);
        if (size == 0)
            assert_int_equal(a.total, 512);
    }
    arena_deinit(&a);
    assert_int_equal(a.total, 0);
    assert_int_equal(f.live, 0);
}

static void test_blocks_grow(void **state)
{
    struct fail_mem f;
    struct arena a;

    (void)state;
    fail_mem_init(&f, 0);
    arena_init(&a, &f.mem, 0);
    for (int i = 0; i < 1000; i++)
        assert_non_null(arena_alloc(&a, 32));
    assert_true(f.count <= 8);
    for (int i = 0; i < 100000; i++)
        assert_non_null(arena_alloc(&a, 32));
    /* Blocks stop growing at 64 KiB, so little is left unused at the end. */
    assert_true(a.total < 101000 * 32 + 2 * 65536);
    arena_deinit(&a);
    assert_int_equal(f.live, 0);
}

static void test_large_pieces(void **state)
{
    struct arena a;
    char *p;

    (void)state;
    arena_init(&a, NULL, 0);
    p = arena_alloc(&a, 300000);
    assert_non_null(p);
    memset(p, 1, 300000);
    assert_non_null(arena_alloc(&a, 1));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc(&a, SIZE_MAX - 16));
    arena_deinit(&a);
}

static void test_limit(void **state)
{
    struct fail_mem f;
    struct arena a;
    size_t got = 0;

    (void)state;
    fail_mem_init(&f, 0);
    arena_init(&a, &f.mem, 3000);
    while (arena_alloc(&a, 16) != NULL)
        got += 16;
    assert_true(a.total <= 3000);
    /* The last block is cut to what is left instead of being refused. */
    assert_true(got > 2500);
    assert_null(arena_alloc(&a, 3000));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 2000));
    arena_deinit(&a);
    arena_init(&a, &f.mem, 100);
    assert_null(arena_alloc(&a, 100));
    assert_non_null(arena_alloc(&a, 16));
    arena_deinit(&a);
    assert_int_equal(f.live, 0);
}

static void test_reset(void **state)
{
    struct fail_mem f;
    struct arena a;
    size_t allocations;
    char *p;

    (void)state;
    fail_mem_init(&f, 0);
    arena_init(&a, &f.mem, 0);
    arena_reset(&a);
    for (int i = 0; i < 200; i++)
        memset(arena_alloc(&a, 100), 0x55, 100);
    arena_reset(&a);
    assert_int_equal(a.total, 512);
    assert_int_equal(f.live, 1);
    allocations = f.count;
    p = arena_alloc(&a, 100);
    assert_int_equal(f.count, allocations);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    arena_deinit(&a);
    /* A large first block is not kept by an idle owner. */
    assert_non_null(arena_alloc(&a, 100000));
    arena_reset(&a);
    assert_int_equal(f.live, 0);
    assert_int_equal(a.total, 0);
}

static void test_text(void **state)
{
    barid_slice s = BARID_S("a\0b"), copy;
    struct arena a;

    (void)state;
    arena_init(&a, NULL, 0);
    assert_string_equal(arena_strdup(&a, BARID_S("text")), "text");
    assert_string_equal(arena_strdup(&a, (barid_slice){NULL, 0}), "");
    assert_int_equal(arena_slice(&a, s, &copy), 0);
    assert_true(slice_eq(s, copy) && copy.p != s.p);
    assert_int_equal(copy.p[copy.n], 0);
    assert_string_equal(arena_fmt(&a, "%s=%d", "x", 7), "x=7");
    assert_int_equal(strlen(arena_fmt(&a, "%5000d", 1)), 5000);
    arena_deinit(&a);
}

static int scenario(const barid_mem *mem)
{
    barid_slice copy = BARID_S("untouched");
    struct arena a;
    int failures = 0;

    arena_init(&a, mem, 0);
    for (int i = 0; i < 20; i++) {
        failures += arena_alloc(&a, 100) == NULL;
        failures += arena_fmt(&a, "%200d", i) == NULL;
        if (arena_slice(&a, BARID_S("abc"), &copy) < 0)
            failures++;
        failures += arena_strdup(&a, copy) == NULL;
    }
    arena_reset(&a);
    failures += arena_alloc(&a, 1) == NULL;
    arena_deinit(&a);
    return failures;
}

static void test_failing_allocations(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        int failures;

        failures = scenario(&f.mem);
        assert_int_equal(failures, f.failed ? 1 : 0);
    }
    assert_true(f.injected > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_and_aligned),
        cmocka_unit_test(test_blocks_grow),
        cmocka_unit_test(test_large_pieces),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
