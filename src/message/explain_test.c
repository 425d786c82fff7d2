/* message/explain_test.c: the trace there and back, its size, its cut, damage. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/explain.h"

static const struct explain_entry entries[] = {
    {BARID_EVENT_CONNECT,
     BARID_CONTINUE,
     UINT32_MAX,
     1795000000000000,
     0,
     {NULL, 0},
     {NULL, 0},
     {NULL, 0}},
    {BARID_EVENT_RCPT,
     BARID_REJECT,
     3,
     1795000000000450,
     550,
     {"on.rcpt", 7},
     {"policy.lua:17", 13},
     {"no such user", 12}},
    {BARID_EVENT_MESSAGE,
     BARID_ACCEPT,
     0,
     1794999999000000,
     250,
     {"builtin:relay", 13},
     {NULL, 0},
     {NULL, 0}},
};
#define N_ENTRIES (sizeof(entries) / sizeof(*entries))

static void test_round_trip(void **state)
{
    struct arena arena;
    struct explain e;
    struct explain_entry got;
    size_t offset = 0;
    int64_t clock = 0;

    (void)state;
    arena_init(&arena, NULL, 0);
    explain_init(&e, &arena);
    for (size_t i = 0; i < N_ENTRIES; i++)
        explain_add(&e, &entries[i]);
    for (size_t i = 0; i < N_ENTRIES; i++) {
        assert_int_equal(explain_next(explain_data(&e), &offset, &clock, &got), 1);
        assert_int_equal(got.event, entries[i].event);
        assert_int_equal(got.verdict, entries[i].verdict);
        assert_int_equal(got.rcpt_index, entries[i].rcpt_index);
        assert_int_equal(got.at_us, entries[i].at_us);
        assert_int_equal(got.code, entries[i].code);
        assert_true(slice_eq(got.handler, entries[i].handler));
        assert_true(slice_eq(got.where, entries[i].where));
        assert_true(slice_eq(got.text, entries[i].text));
    }
    assert_int_equal(explain_next(explain_data(&e), &offset, &clock, &got), 0);
    assert_true(e.n < 120);
    arena_deinit(&arena);
}

static void test_cut(void **state)
{
    struct arena arena;
    struct explain e;
    struct explain_entry got, last = {.event = BARID_EVENT_NONE};
    size_t offset = 0, n = 0;
    int64_t clock = 0;

    (void)state;
    arena_init(&arena, NULL, 0);
    explain_init(&e, &arena);
    for (int i = 0; i < 10000; i++)
        explain_add(&e, &entries[1]);
    assert_true(e.cut);
    assert_true(e.n <= EXPLAIN_MAX && e.n > EXPLAIN_MAX - 1024);
    while (explain_next(explain_data(&e), &offset, &clock, &got) == 1) {
        last = got;
        n++;
    }
    assert_int_equal(offset, e.n);
    assert_true(n > 100);
    assert_int_equal(last.event, BARID_EVENT_NONE);
    assert_int_equal(last.rcpt_index, UINT32_MAX);
    assert_true(slice_eq(last.text, BARID_S("cut")));
    arena_deinit(&arena);
}

static void test_long_text_is_cut(void **state)
{
    static char text[100000];
    struct explain_entry entry = {.event = BARID_EVENT_RCPT, .text = {text, sizeof(text)}}, got;
    struct arena arena;
    struct explain e;
    size_t offset = 0;
    int64_t clock = 0;

    (void)state;
    arena_init(&arena, NULL, 0);
    explain_init(&e, &arena);
    explain_add(&e, &entry);
    assert_int_equal(explain_next(explain_data(&e), &offset, &clock, &got), 1);
    assert_int_equal(got.text.n, 512);
    arena_deinit(&arena);
}

/* Every cut and every flipped bit of a trace is read to an end or to an error. */
static void test_damage(void **state)
{
    struct arena arena;
    struct explain e;
    struct explain_entry got;

    (void)state;
    arena_init(&arena, NULL, 0);
    explain_init(&e, &arena);
    for (size_t i = 0; i < N_ENTRIES; i++)
        explain_add(&e, &entries[i]);
    for (size_t cut = 0; cut < e.n; cut++) {
        size_t offset = 0, n = 0;
        int64_t clock = 0;
        int rc;

        while ((rc = explain_next(slice_of(e.p, cut), &offset, &clock, &got)) == 1)
            n++;
        assert_true(rc == 0 || rc == BARID_ECORRUPT);
        assert_true(n < N_ENTRIES);
    }
    for (size_t bit = 0; bit < e.n * 8; bit++) {
        size_t offset = 0;
        int64_t clock = 0;

        e.p[bit / 8] = (char)(e.p[bit / 8] ^ (1 << (bit % 8)));
        while (explain_next(explain_data(&e), &offset, &clock, &got) == 1)
            assert_true(offset <= e.n);
        e.p[bit / 8] = (char)(e.p[bit / 8] ^ (1 << (bit % 8)));
    }
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct arena arena;
        struct explain e;
        struct explain_entry got;
        size_t offset = 0;
        int64_t clock = 0;
        int rc;

        arena_init(&arena, &f.mem, 0);
        explain_init(&e, &arena);
        for (int i = 0; i < 60; i++)
            explain_add(&e, &entries[i % (int)N_ENTRIES]);
        assert_int_equal(e.cut, f.failed);
        while ((rc = explain_next(explain_data(&e), &offset, &clock, &got)) == 1)
            ;
        assert_int_equal(rc, 0);
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),       cmocka_unit_test(test_cut),
        cmocka_unit_test(test_long_text_is_cut), cmocka_unit_test(test_damage),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
