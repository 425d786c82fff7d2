/* base/map_test.c: the hash map against a plain array, its hash, and failing allocations. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"

static const uint64_t seed[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};

/* Vectors of the SipHash paper and its reference implementation: input 00 01 02 ... */
static void test_siphash_vectors(void **state)
{
    char in[15];

    (void)state;
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (char)i;
    assert_true(siphash(seed, slice_of(NULL, 0)) == 0x726fdb47dd0e0e31);
    assert_true(siphash(seed, slice_of(in, 1)) == 0x74f839c593dc67fd);
    assert_true(siphash(seed, slice_of(in, 8)) == 0x93f5f5799a932462);
    assert_true(siphash(seed, slice_of(in, 15)) == 0xa129ca6149be45e5);
}

static void test_put_get_take(void **state)
{
    int one, two;
    struct map m;
    void *old = &m;

    (void)state;
    map_init(&m, NULL, seed);
    assert_null(map_get(&m, BARID_S("x")));
    assert_null(map_take(&m, BARID_S("x")));
    assert_int_equal(map_put(&m, BARID_S("x"), &one, &old), 0);
    assert_null(old);
    assert_int_equal(map_put(&m, BARID_S("x\0y"), &two, NULL), 0);
    assert_int_equal(map_put(&m, slice_of(NULL, 0), &two, NULL), 0);
    assert_int_equal(m.count, 3);
    assert_ptr_equal(map_get(&m, BARID_S("x")), &one);
    assert_ptr_equal(map_get(&m, BARID_S("x\0y")), &two);
    assert_ptr_equal(map_get(&m, BARID_S("")), &two);
    assert_null(map_get(&m, BARID_S("X")));
    assert_int_equal(map_put(&m, BARID_S("x"), &two, &old), 0);
    assert_ptr_equal(old, &one);
    assert_int_equal(m.count, 3);
    assert_ptr_equal(map_take(&m, BARID_S("x")), &two);
    assert_null(map_take(&m, BARID_S("x")));
    assert_int_equal(m.count, 2);
    map_deinit(&m);
    assert_null(map_get(&m, BARID_S("")));
    assert_int_equal(map_put(&m, BARID_S("again"), &one, NULL), 0);
    map_deinit(&m);
}

static barid_slice key_of(unsigned i, char text[16])
{
    return slice_of(text, (size_t)snprintf(text, 16, "key-%u", i));
}

/* Random puts and takes; an array says what must be there. */
static void test_against_model(void **state)
{
    static int values[500];
    void *model[500] = {0};
    struct rng_seeded r;
    struct fail_mem f;
    struct map m;
    char text[16];
    size_t count = 0;

    (void)state;
    fail_mem_init(&f, 0);
    rng_seeded_init(&r, 1);
    map_init(&m, &f.mem, seed);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(rng_u64(&r.rng) % 500);
        barid_slice key = key_of(i, text);

        if (rng_u64(&r.rng) % 3 != 0) {
            void *old, *value = &values[rng_u64(&r.rng) % 500];

            assert_int_equal(map_put(&m, key, value, &old), 0);
            assert_ptr_equal(old, model[i]);
            count += model[i] == NULL;
            model[i] = value;
        } else {
            assert_ptr_equal(map_take(&m, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        }
        assert_int_equal(m.count, count);
    }
    for (unsigned i = 0; i < 500; i++)
        assert_ptr_equal(map_get(&m, key_of(i, text)), model[i]);
    map_deinit(&m);
    assert_int_equal(f.live, 0);
}

/* Every entry is met once, though each second one is removed while standing on it. */
static void test_walk_and_remove(void **state)
{
    int seen[100] = {0}, values[100];
    struct map_iter it = {0};
    struct map m;
    char text[16];
    size_t met = 0;

    (void)state;
    map_init(&m, NULL, seed);
    assert_false(map_next(&m, &it));
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(map_put(&m, key_of(i, text), &values[i], NULL), 0);
    it = (struct map_iter){0};
    while (map_next(&m, &it)) {
        size_t i = (size_t)((int *)it.value - values);

        assert_true(slice_eq(it.key, key_of((unsigned)i, text)));
        seen[i]++;
        if (met++ % 2 == 0)
            assert_ptr_equal(map_take(&m, it.key), &values[i]);
    }
    assert_int_equal(met, 100);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    assert_int_equal(m.count, 50);
    assert_false(map_next(&m, &it));
    map_deinit(&m);
}

static void test_failing_allocations(void **state)
{
    struct fail_mem f = {0};
    char text[16];
    int value;
    size_t refused = 0;

    (void)state;
    while (fail_mem_next(&f)) {
        struct map m;

        map_init(&m, &f.mem, seed);
        for (unsigned i = 0; i < 40; i++) {
            barid_slice key = key_of(i, text);
            int rc = map_put(&m, key, &value, NULL);

            assert_true(rc == 0 || (rc == BARID_ENOMEM && f.failed));
            assert_ptr_equal(map_get(&m, key), rc == 0 ? &value : NULL);
            refused += rc < 0;
            /* The same put succeeds once memory is back. */
            assert_int_equal(map_put(&m, key, &value, NULL), 0);
            assert_int_equal(m.count, i + 1);
        }
        map_deinit(&m);
    }
    /* 40 entries and the first table are necessary; a later table is not. */
    assert_int_equal(refused, 41);
    assert_true(f.injected > 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash_vectors),     cmocka_unit_test(test_put_get_take),
        cmocka_unit_test(test_against_model),       cmocka_unit_test(test_walk_and_remove),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
