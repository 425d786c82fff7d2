/* policy/shared_test.c: values, counters, expiry, the limit, and several threads at once. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>

#include "base/slice.h"
#include "policy/shared.h"

static const uint64_t seed[2] = {1, 2};

static int set_str(struct shared *s, const char *key, const char *text, uint64_t ttl)
{
    return shared_set(
        s, &(struct var){.key = slice_str(key), .type = VAR_STR, .str = slice_str(text)}, ttl);
}

static int get(struct shared *s, const char *key, struct arena *a, struct var *v)
{
    return shared_get(s, slice_str(key), a, v);
}

static void test_values(void **state)
{
    struct shared *s;
    struct arena a;
    struct var v;

    (void)state;
    arena_init(&a, NULL, 0);
    assert_int_equal(shared_new(&s, NULL, 100000, seed), 0);
    assert_int_equal(get(s, "a", &a, &v), BARID_ENOTFOUND);
    assert_int_equal(set_str(s, "a", "one", 0), 0);
    assert_int_equal(set_str(s, "a", "two", 0), 0);
    assert_int_equal(get(s, "a", &a, &v), 0);
    assert_int_equal(v.type, VAR_STR);
    assert_true(slice_eq(v.str, BARID_S("two")));
    assert_int_equal(
        shared_set(s, &(struct var){.key = BARID_S("b"), .type = VAR_BOOL, .flag = true}, 0),
        0);
    assert_int_equal(get(s, "b", &a, &v), 0);
    assert_true(v.type == VAR_BOOL && v.flag);
    shared_remove(s, BARID_S("a"));
    shared_remove(s, BARID_S("never there"));
    assert_int_equal(get(s, "a", &a, &v), BARID_ENOTFOUND);
    shared_del(&s);
    assert_null(s);
    shared_del(&s);
    arena_deinit(&a);
}

static void test_counters(void **state)
{
    struct shared *s;
    int64_t n;

    (void)state;
    assert_int_equal(shared_new(&s, NULL, 100000, seed), 0);
    assert_int_equal(shared_add(s, BARID_S("n"), 5, 0, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(shared_add(s, BARID_S("n"), -7, 0, &n), 0);
    assert_int_equal(n, -2);
    assert_int_equal(shared_add(s, BARID_S("n"), INT64_MAX, 0, &n), 0);
    assert_int_equal(shared_add(s, BARID_S("n"), INT64_MAX, 0, &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(set_str(s, "text", "x", 0), 0);
    assert_int_equal(shared_add(s, BARID_S("text"), 1, 0, &n), BARID_EINVALID);
    shared_del(&s);
}

static void test_expiry(void **state)
{
    struct clock_fake clock;
    struct shared *s;
    struct arena a;
    struct var v;
    int64_t n;
    char key[16];

    (void)state;
    arena_init(&a, NULL, 0);
    clock_fake_init(&clock, 0);
    assert_int_equal(shared_new(&s, &clock.clock, 1000000, seed), 0);
    for (uint64_t i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "k%u", (unsigned)((i * 7919) % 500));
        assert_int_equal(set_str(s, key, "x", 1 + (i * 7919) % 500), 0);
    }
    for (unsigned at = 1; at <= 500; at++) {
        clock_fake_advance(&clock, 1);
        snprintf(key, sizeof(key), "k%u", at - 1);
        assert_int_equal(get(s, key, &a, &v),
                         BARID_ENOTFOUND); /* its time is up this very millisecond */
        snprintf(key, sizeof(key), "k%u", at);
        assert_int_equal(get(s, key, &a, &v), at < 500 ? 0 : BARID_ENOTFOUND);
    }
    /* The time of a counter is set when it is made, not when it grows. */
    assert_int_equal(shared_add(s, BARID_S("n"), 1, 10, &n), 0);
    clock_fake_advance(&clock, 9);
    assert_int_equal(shared_add(s, BARID_S("n"), 1, 10, &n), 0);
    assert_int_equal(n, 2);
    clock_fake_advance(&clock, 1);
    assert_int_equal(shared_add(s, BARID_S("n"), 1, 10, &n), 0);
    assert_int_equal(n, 1);
    /* A value set again without a time stays. */
    assert_int_equal(set_str(s, "stay", "x", 5), 0);
    assert_int_equal(set_str(s, "stay", "y", 0), 0);
    clock_fake_advance(&clock, 100);
    assert_int_equal(get(s, "stay", &a, &v), 0);
    shared_del(&s);
    arena_deinit(&a);
}

static void test_limit(void **state)
{
    static char big[4000];
    struct clock_fake clock;
    struct shared *s;
    struct arena a;
    struct var v;
    char key[16];
    int rc;

    (void)state;
    memset(big, 'x', sizeof(big) - 1);
    arena_init(&a, NULL, 0);
    clock_fake_init(&clock, 0);
    assert_int_equal(shared_new(&s, &clock.clock, 20000, seed), 0);
    assert_int_equal(set_str(s, "forever", "x", 0), 0);
    for (unsigned i = 0; i < 50; i++) {
        snprintf(key, sizeof(key), "k%u", i);
        assert_int_equal(set_str(s, key, big, 1000 + i), 0);
    }
    assert_int_equal(get(s, "k0", &a, &v), BARID_ENOTFOUND);
    assert_int_equal(get(s, "k49", &a, &v), 0);
    assert_int_equal(get(s, "forever", &a, &v), 0);
    for (unsigned i = 0;
         (rc = set_str(s, (snprintf(key, sizeof(key), "p%u", i), key), big, 0)) == 0; i++)
        assert_true(i < 10);
    assert_int_equal(rc, BARID_EFULL);
    assert_int_equal(get(s, "p0", &a, &v), 0);
    shared_del(&s);
    arena_deinit(&a);
}

#define THREADS 4
#define ROUNDS  2000

static void *hammer(void *arg)
{
    struct shared *s = arg;
    struct arena a;
    int64_t n;
    struct var v;

    arena_init(&a, NULL, 0);
    for (int i = 0; i < ROUNDS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i % 17);
        shared_add(s, BARID_S("sum"), 1, 0, &n);
        set_str(s, key, "value", i % 3 == 0 ? 1 : 0);
        shared_get(s, slice_str(key), &a, &v);
        if (i % 5 == 0)
            shared_remove(s, slice_str(key));
    }
    arena_deinit(&a);
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[THREADS];
    struct shared *s;
    int64_t n;

    (void)state;
    assert_int_equal(shared_new(&s, NULL, 1000000, seed), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, s), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(shared_add(s, BARID_S("sum"), 0, 0, &n), 0);
    assert_int_equal(n, THREADS * ROUNDS);
    shared_del(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),  cmocka_unit_test(test_counters),
        cmocka_unit_test(test_expiry),  cmocka_unit_test(test_limit),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("shared", tests, NULL, NULL);
}
