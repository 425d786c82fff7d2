/* base/testing_test.c: the helpers themselves: a broken one would hide mistakes everywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"

static void test_nth_fails_alone(void **state)
{
    struct fail_mem f;
    void *a, *b;

    (void)state;
    fail_mem_init(&f, 2);
    a = mem_alloc(&f.mem, 8);
    assert_non_null(a);
    assert_false(f.failed);
    /* A failed realloc leaves the old block alone. */
    assert_null(mem_realloc(&f.mem, a, 16));
    assert_true(f.failed);
    assert_int_equal(f.live, 1);
    b = mem_alloc(&f.mem, 8);
    assert_non_null(b);
    assert_int_equal(f.live, 2);
    a = mem_realloc(&f.mem, a, 32);
    assert_non_null(a);
    assert_int_equal(f.live, 2);
    assert_int_equal(f.count, 4);
    mem_free(&f.mem, a);
    mem_free(&f.mem, b);
    mem_free(&f.mem, NULL);
    assert_int_equal(f.live, 0);
}

struct cuts {
    struct buf text;
    barid_slice expected;
    unsigned runs, pieces, whole, by_byte;
};

static void begin(void *user)
{
    struct cuts *c = user;

    buf_clear(&c->text);
    c->pieces = 0;
}

static void feed(void *user, const char *p, size_t n)
{
    struct cuts *c = user;

    assert_true(n > 0);
    c->pieces++;
    assert_int_equal(buf_append(&c->text, slice_of(p, n)), 0);
}

static void end(void *user)
{
    struct cuts *c = user;

    assert_true(slice_eq(buf_slice(&c->text), c->expected));
    c->runs++;
    c->whole += c->pieces == 1;
    c->by_byte += c->pieces == c->expected.n;
}

static const struct cut_ops ops = {begin, feed, end};

static void test_cuts_cover(void **state)
{
    struct cuts c = {.expected = BARID_S("EHLO x\r\nMAIL FROM:<>\r\nQUIT\r\n")};

    (void)state;
    buf_init(&c.text, NULL, 0);
    test_cuts(&ops, &c, c.expected, 50, 1);
    assert_int_equal(c.runs, 52);
    assert_true(c.whole >= 1);
    assert_true(c.by_byte >= 1);
    assert_true(c.whole + c.by_byte < 40);
    c.expected = BARID_S("");
    c.runs = 0;
    test_cuts(&ops, &c, c.expected, 0, 1);
    assert_int_equal(c.runs, 2);
    buf_deinit(&c.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth_fails_alone),
        cmocka_unit_test(test_cuts_cover),
    };

    return cmocka_run_group_tests_name("testing", tests, NULL, NULL);
}
