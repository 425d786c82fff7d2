/* base/clock_test.c: dates as text, the fake clock, the system's clocks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <time.h>

#include "base/clock.h"

static void test_known_dates(void **state)
{
    static const struct {
        int64_t us;
        const char *rfc5322, *rfc3339;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000000Z"},
        {-1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59.999999Z"},
        {951782400000000, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00.000000Z"},
        {4107542399999999, "Sun, 28 Feb 2100 23:59:59 +0000", "2100-02-28T23:59:59.999999Z"},
        {4107542400000000, "Mon, 01 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00.000000Z"},
        {1795173699123456, "Fri, 20 Nov 2026 11:21:39 +0000", "2026-11-20T11:21:39.123456Z"},
    };
    char out[CLOCK_RFC5322_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        clock_rfc5322(rows[i].us, out);
        assert_string_equal(out, rows[i].rfc5322);
        clock_rfc3339(rows[i].us, out);
        assert_string_equal(out, rows[i].rfc3339);
    }
}

/* Each day of five centuries against the C library. */
static void test_against_libc(void **state)
{
    char ours[CLOCK_RFC5322_SIZE], libc[64];

    (void)state;
    for (int64_t day = -100000; day < 100000; day++) {
        time_t t = (time_t)(day * 86400 + (day & 0xffff));
        struct tm tm;

        assert_non_null(gmtime_r(&t, &tm));
        strftime(libc, sizeof(libc), "%a, %d %b %Y %H:%M:%S +0000", &tm);
        clock_rfc5322((int64_t)t * 1000000, ours);
        assert_string_equal(ours, libc);
    }
}

static void test_extremes_fit(void **state)
{
    char date[CLOCK_RFC5322_SIZE], stamp[CLOCK_RFC3339_SIZE];

    (void)state;
    clock_rfc5322(INT64_MAX, date);
    assert_string_equal(date + strlen(date) - 5, "+0000");
    clock_rfc3339(INT64_MAX, stamp);
    assert_int_equal(stamp[strlen(stamp) - 1], 'Z');
    clock_rfc5322(INT64_MIN, date);
    assert_string_equal(date + strlen(date) - 5, "+0000");
    clock_rfc3339(INT64_MIN, stamp);
    assert_int_equal(stamp[strlen(stamp) - 1], 'Z');
}

static void test_fake(void **state)
{
    struct clock_fake f;

    (void)state;
    clock_fake_init(&f, 5000);
    assert_true(clock_wall_us(&f.clock) == 5000);
    assert_true(clock_mono_ms(&f.clock) == 0);
    clock_fake_advance(&f, 3);
    assert_true(clock_wall_us(&f.clock) == 8000);
    assert_true(clock_mono_ms(&f.clock) == 3);
    f.wall_us = 0;
    assert_true(clock_wall_us(&f.clock) == 0);
    assert_true(clock_mono_ms(&f.clock) == 3);
}

static void test_system(void **state)
{
    uint64_t before = clock_mono_ms(&clock_system);
    int64_t seconds = clock_wall_us(&clock_system) / 1000000;

    (void)state;
    assert_true(clock_mono_ms(&clock_system) >= before);
    assert_in_range((uint64_t)(time(NULL) - seconds + 5), 0, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_dates),  cmocka_unit_test(test_against_libc),
        cmocka_unit_test(test_extremes_fit), cmocka_unit_test(test_fake),
        cmocka_unit_test(test_system),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
