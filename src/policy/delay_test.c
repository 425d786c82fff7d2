/* policy/delay_test.c: points in time as policies write them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"
#include "policy/engine.h"

#define BAD INT64_MIN

static const struct {
    const char *text;
    int64_t seconds; /* relative to now, which is 1,000,000, where the text begins with '+' */
} rows[] = {
    {"+10m", 600},
    {"+1h 30m", 5400},
    {"+45s", 45},
    {"+90", 90},
    {"+1h30m10", 5410},
    {"+0", 0},
    {"+2h 5", 7205},
    {" +3m ", 180},
    {"+", BAD},
    {"+m", BAD},
    {"+10m 1h", BAD},
    {"+10x", BAD},
    {"+1h 1h", BAD},
    {"+999999999h", BAD},
    {"+-1", BAD},
    {"10m", BAD},
    {"", BAD},
    {"tomorrow", BAD},
    {"+5 5", BAD},
    {"Thu, 01 Jan 1970 00:00:00 +0000", 0},
    {"1 Jan 1970 00:00 GMT", 0},
    {"Tue, 14 Nov 2023 22:13:20 +0000", 1700000000},
    {"14 Nov 2023 23:13:20 +0100", 1700000000},
    {"14 Nov 2023 17:13:20 -0500", 1700000000},
    {"29 Feb 2024 12:00:00 UT", 1709208000},
    {"29 Feb 2000 12:00:00 UT", 951825600},
    {"29 Feb 2023 12:00:00 UT", BAD},
    {"29 Feb 2100 12:00:00 UT", BAD},
    {"31 Apr 2024 12:00:00 UT", BAD},
    {"31 Feb 2024 12:00:00 +0000", BAD},
    {"14 Nov 23 12:00:00 +0000", BAD},
    {"14 Nov 2023 25:00:00 +0000", BAD},
    {"14 Nov 2023 12:60:00 +0000", BAD},
    {"14 Nov 2023 12:00:00", BAD},
    {"14 Foo 2023 12:00:00 +0000", BAD},
    {"14 Nov 2023 12:00:00 +00:00", BAD},
    {"0 Nov 2023 12:00:00 +0000", BAD},
};

static void test_rows(void **state)
{
    const int64_t now = INT64_C(1000000) * 1000000;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool relative = slice_find(slice_str(rows[i].text), '+') < 2;
        int64_t until = BAD, want = rows[i].seconds;
        int rc = delay_parse(slice_str(rows[i].text), now, &until);
        if (want != BAD)
            want = want * 1000000 + (relative ? now : 0);
        if (rc != (want == BAD ? BARID_ESYNTAX : 0) || until != want)
            fail_msg("'%s' gives %d, %lld", rows[i].text, rc, (long long)until);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests_name("delay", tests, NULL, NULL);
}
