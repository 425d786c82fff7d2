/* policy/delay_fuzz.c: a point in time written as RFC 5322 writes it is the same point; a date
 * that is taken stands in the calendar. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/slice.h"
#include "policy/engine.h"

#define NOW_US  INT64_C(1700000000000000)
#define YEAR_US (INT64_C(366) * 86400 * 1000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_date(int64_t until_us)
{
    time_t t = (time_t)(until_us / 1000000);
    struct tm tm;
    char text[64];
    int64_t again;

    must(until_us % 1000000 == 0);
    must(gmtime_r(&t, &tm) != NULL);
    if (tm.tm_year < 70 || tm.tm_year > 8099)
        return; /* a zone moved it out of what can be written */
    must(strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm) > 0);
    must(delay_parse(slice_str(text), NOW_US, &again) == 0 && again == until_us);
}

/* "29 Feb 2023" must not pass as the first of March: with the zone as UTC, the day is the day.
 */
static void check_day(barid_slice text, int64_t until_us)
{
    const char *digit = text.p;
    time_t t = (time_t)(until_us / 1000000);
    struct tm tm;

    if (text.n < 6 || memcmp(text.p + text.n - 6, " +0000", 6) != 0 || *digit < '0' ||
        *digit > '9' || memmem(text.p, text.n, ":60", 3) != NULL)
        return;
    must(gmtime_r(&t, &tm) != NULL);
    must(tm.tm_mday == atoi(digit)); /* the zone ends the number before the text does */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice text = slice_trim(slice_of(data, size));
    int64_t until_us;

    if (delay_parse(slice_of(data, size), NOW_US, &until_us) < 0)
        return 0;
    must(text.n > 0);
    if (text.p[0] == '+') {
        must(until_us >= NOW_US && until_us <= NOW_US + YEAR_US);
        return 0;
    }
    check_date(until_us);
    check_day(text, until_us);
    return 0;
}
