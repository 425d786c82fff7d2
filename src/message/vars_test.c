/* message/vars_test.c: variables: order, types, limits, each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/vars.h"

static struct var text_var(const char *key, const char *text)
{
    return (struct var){.key = slice_str(key), .type = VAR_STR, .str = slice_str(text)};
}

static void test_set_get_unset(void **state)
{
    struct arena arena;
    struct vars vars;
    struct var v = text_var("a", "one");
    const struct var *got;

    (void)state;
    arena_init(&arena, NULL, 0);
    vars_init(&vars, &arena);
    assert_null(vars_get(&vars, BARID_S("a")));
    assert_int_equal(vars_set(&vars, &v), 0);
    v = (struct var){.key = BARID_S("b"), .type = VAR_INT, .num = -7};
    assert_int_equal(vars_set(&vars, &v), 0);
    v = text_var("a", "1");
    assert_int_equal(vars_set(&vars, &v), 0);
    got = vars_get(&vars, BARID_S("a"));
    assert_true(slice_eq(got->str, BARID_S("1")));
    assert_int_equal(vars.bytes, 3);
    v = text_var("a", "longer than before");
    assert_int_equal(vars_set(&vars, &v), 0);
    assert_true(slice_eq(vars.v[0].key, BARID_S("a"))); /* kept its place */
    v = (struct var){.key = BARID_S("a"), .type = VAR_BOOL, .flag = true};
    assert_int_equal(vars_set(&vars, &v), 0);
    assert_int_equal(vars.bytes, 2);
    vars_unset(&vars, BARID_S("a"));
    vars_unset(&vars, BARID_S("a"));
    assert_int_equal(vars.n, 1);
    assert_int_equal(vars.bytes, 1);
    assert_int_equal(vars_get(&vars, BARID_S("b"))->num, -7);
    arena_deinit(&arena);
}

static void test_limits(void **state)
{
    char *big = calloc(1, VARS_MAX_BYTES + 1), key[16];
    struct arena arena;
    struct vars vars;
    struct var v;

    (void)state;
    arena_init(&arena, NULL, 0);
    vars_init(&vars, &arena);
    for (int i = 0; i < VARS_MAX_COUNT; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        v = text_var(key, "");
        assert_int_equal(vars_set(&vars, &v), 0);
    }
    v = text_var("one more", "");
    assert_int_equal(vars_set(&vars, &v), BARID_ELIMIT);
    v = (struct var){
        .key = BARID_S("k0"), .type = VAR_STR, .str = {big, VARS_MAX_BYTES - vars.bytes}};
    assert_int_equal(vars_set(&vars, &v), 0);
    assert_int_equal(vars.bytes, VARS_MAX_BYTES);
    v.key = BARID_S("k1");
    assert_int_equal(vars_set(&vars, &v), BARID_ELIMIT);
    assert_int_equal(vars_get(&vars, BARID_S("k1"))->str.n, 0);
    v = (struct var){.key = BARID_S("k0"), .type = VAR_STR, .str = {big, VARS_MAX_BYTES + 1}};
    assert_int_equal(vars_set(&vars, &v), BARID_ELIMIT);
    arena_deinit(&arena);
    free(big);
}

/* A counter that a script sets often must not grow the arena. */
static void test_rewriting_costs_nothing(void **state)
{
    struct arena arena;
    struct vars vars;
    struct var v = text_var("n", "1234");
    size_t total;

    (void)state;
    arena_init(&arena, NULL, 0);
    vars_init(&vars, &arena);
    assert_int_equal(vars_set(&vars, &v), 0);
    total = arena.total;
    for (int i = 0; i < 10000; i++)
        assert_int_equal(vars_set(&vars, &v), 0);
    assert_int_equal(arena.total, total);
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct arena arena;
        struct vars vars;
        char key[16];

        arena_init(&arena, &f.mem, 0);
        vars_init(&vars, &arena);
        for (int i = 0; i < 40; i++) {
            struct var v;
            int rc;

            snprintf(key, sizeof(key), "key%d", i);
            v = text_var(key, "some text that takes room");
            rc = vars_set(&vars, &v);
            assert_true(rc == 0 || rc == BARID_ENOMEM);
            assert_int_equal(rc == 0, vars_get(&vars, v.key) != NULL);
        }
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_get_unset),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_rewriting_costs_nothing),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
