/* base/slice_test.c: comparing, cutting and reading slices. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"

#define EMPTY ((barid_slice){NULL, 0})

static void test_eq_nocase(void **state)
{
    (void)state;
    assert_true(slice_eq_nocase(BARID_S("MAIL From"), BARID_S("mail fROM")));
    assert_true(slice_eq_nocase(EMPTY, BARID_S("")));
    assert_false(slice_eq_nocase(BARID_S("mail"), BARID_S("mails")));
    /* Neighbours of the letters must not fold onto each other, nor must bytes above ASCII. */
    assert_false(slice_eq_nocase(BARID_S("@"), BARID_S("`")));
    assert_false(slice_eq_nocase(BARID_S("["), BARID_S("{")));
    assert_false(slice_eq_nocase(BARID_S("\xc4"), BARID_S("\xe4")));
}

static void test_starts_ends(void **state)
{
    (void)state;
    assert_true(slice_starts_nocase(BARID_S("Subject: x"), BARID_S("SUBJECT:")));
    assert_false(slice_starts_nocase(BARID_S("Sub"), BARID_S("Subject")));
    assert_true(slice_starts_nocase(EMPTY, EMPTY));
    assert_true(slice_ends_nocase(BARID_S("a@Example.COM"), BARID_S(".com")));
    assert_false(slice_ends_nocase(BARID_S("com"), BARID_S(".com")));
    assert_false(slice_ends_nocase(BARID_S("a.comm"), BARID_S(".com")));
    assert_true(slice_ends_nocase(EMPTY, EMPTY));
}

static void test_cmp(void **state)
{
    (void)state;
    assert_int_equal(slice_cmp(BARID_S("abc"), BARID_S("abc")), 0);
    assert_int_equal(slice_cmp(EMPTY, BARID_S("")), 0);
    assert_true(slice_cmp(BARID_S("ab"), BARID_S("abc")) < 0);
    assert_true(slice_cmp(BARID_S("abc"), BARID_S("ab")) > 0);
    assert_true(slice_cmp(BARID_S("b"), BARID_S("abc")) > 0);
    /* Bytes compare unsigned. */
    assert_true(slice_cmp(BARID_S("\xff"), BARID_S("a")) > 0);
    assert_true(slice_cmp(BARID_S("a\0b"), BARID_S("a\0c")) < 0);
}

static void test_find(void **state)
{
    barid_slice s = BARID_S("a.b.c");

    (void)state;
    assert_int_equal(slice_find(s, '.'), 1);
    assert_int_equal(slice_find_last(s, '.'), 3);
    assert_int_equal(slice_find(s, '@'), 5);
    assert_int_equal(slice_find_last(s, '@'), 5);
    assert_int_equal(slice_find(EMPTY, '.'), 0);
    assert_int_equal(slice_find_last(EMPTY, '.'), 0);
    /* The byte behind the slice is not looked at. */
    assert_int_equal(slice_find(slice_head(s, 1), '.'), 1);
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_trim(BARID_S(" \t\r\nx y\r\n ")), BARID_S("x y")));
    assert_int_equal(slice_trim(BARID_S(" \r\n\t")).n, 0);
    assert_int_equal(slice_trim(EMPTY).n, 0);
    assert_int_equal(slice_trim(BARID_S("\0 ")).n, 1);
}

static void test_cut(void **state)
{
    barid_slice rest = BARID_S("user@host@x"), head;

    (void)state;
    head = slice_cut(rest, '@', &rest);
    assert_true(slice_eq(head, BARID_S("user")));
    assert_true(slice_eq(rest, BARID_S("host@x")));
    head = slice_cut(BARID_S("x="), '=', &rest);
    assert_true(slice_eq(head, BARID_S("x")));
    assert_int_equal(rest.n, 0);
    head = slice_cut(BARID_S("none"), '=', &rest);
    assert_true(slice_eq(head, BARID_S("none")));
    assert_int_equal(rest.n, 0);
    head = slice_cut(EMPTY, '=', &rest);
    assert_int_equal(head.n + rest.n, 0);
}

static void test_from_head(void **state)
{
    (void)state;
    assert_true(slice_eq(slice_from(BARID_S("abc"), 1), BARID_S("bc")));
    assert_int_equal(slice_from(BARID_S("abc"), 9).n, 0);
    assert_int_equal(slice_from(EMPTY, 1).n, 0);
    assert_true(slice_eq(slice_head(BARID_S("abc"), 9), BARID_S("abc")));
    assert_int_equal(slice_str(NULL).n, 0);
}

static void test_u64(void **state)
{
    static const struct {
        const char *text;
        uint64_t max;
        int rc;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0, 0},
        {"007", 7, 0, 7},
        {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, BARID_ELIMIT, 0},
        {"99999999999999999999999999", UINT64_MAX, BARID_ELIMIT, 0},
        {"100", 99, BARID_ELIMIT, 0},
        {"", 9, BARID_ESYNTAX, 0},
        {"-1", 9, BARID_ESYNTAX, 0},
        {"+1", 9, BARID_ESYNTAX, 0},
        {" 1", 9, BARID_ESYNTAX, 0},
        {"1 ", 9, BARID_ESYNTAX, 0},
        {"0x1", 9, BARID_ESYNTAX, 0},
        {"99999999999999999999999999x", 9, BARID_ESYNTAX, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t value = 4711;

        assert_int_equal(slice_u64(slice_str(rows[i].text), rows[i].max, &value), rows[i].rc);
        assert_true(value == (rows[i].rc == 0 ? rows[i].value : 4711));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eq_nocase), cmocka_unit_test(test_starts_ends),
        cmocka_unit_test(test_cmp),       cmocka_unit_test(test_find),
        cmocka_unit_test(test_trim),      cmocka_unit_test(test_cut),
        cmocka_unit_test(test_from_head), cmocka_unit_test(test_u64),
    };

    return cmocka_run_group_tests_name("slice", tests, NULL, NULL);
}
