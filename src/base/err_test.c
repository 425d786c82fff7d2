/* base/err_test.c: error codes, their texts, and errors that cross modules. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static void test_version(void **state)
{
    char text[32];

    (void)state;
    snprintf(text, sizeof(text), "%d.%d.%d", BARID_VERSION_MAJOR, BARID_VERSION_MINOR,
             BARID_VERSION_PATCH);
    assert_string_equal(barid_version(), text);
}

static void test_strerror(void **state)
{
    (void)state;
    assert_string_equal(barid_strerror(BARID_ENOMEM), "out of memory");
    assert_string_equal(barid_strerror(BARID_EUNSUPPORTED), "not supported");
    assert_string_equal(barid_strerror(BARID_OK), "success");
    assert_string_equal(barid_strerror(-1000), "unknown error");
    assert_string_equal(barid_strerror(1), "unknown error");
}

static void test_set(void **state)
{
    struct err e = {0};

    (void)state;
    assert_int_equal(err_set(&e, BARID_EIO, "read of %s", "a\r\nb"), BARID_EIO);
    assert_int_equal(e.code, BARID_EIO);
    assert_string_equal(e.text, "read of a  b");
    /* Wrapping: the old text is an argument of the new one. */
    assert_int_equal(err_set(&e, BARID_ECORRUPT, "segment 7: %s", e.text), BARID_ECORRUPT);
    assert_string_equal(e.text, "segment 7: read of a  b");
    assert_int_equal(err_set(NULL, BARID_EIO, "%d", 1), BARID_EIO);
}

static void test_errno(void **state)
{
    char expected[384];
    struct err e;

    (void)state;
    snprintf(expected, sizeof(expected), "open x: %s", strerror(ENOENT));
    assert_int_equal(err_errno(&e, BARID_EIO, ENOENT, "open %s", "x"), BARID_EIO);
    assert_string_equal(e.text, expected);
    assert_int_equal(err_errno(NULL, BARID_EIO, ENOENT, "x"), BARID_EIO);
}

static void test_cut_at_the_end(void **state)
{
    struct err e;
    size_t n;

    (void)state;
    err_set(&e, BARID_EIO, "%1000d", 1);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    /* The reason of the system is kept, the long name before it is cut. */
    err_errno(&e, BARID_EIO, ENOSPC, "%1000d", 1);
    n = strlen(strerror(ENOSPC));
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_string_equal(e.text + sizeof(e.text) - 1 - n, strerror(ENOSPC));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_strerror),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_cut_at_the_end),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
