/*
 * policy/delay.c: a point in time as policies write it: "+10m", "+1h 30m", "+45s", "+90", or
 * the date-time of RFC 5322 3.3.
 */
#include "base/slice.h"
#include "policy/engine.h"

#define DELAY_MAX_S (INT64_C(366) * 86400) /* beyond a year it is a mistake */

static barid_slice skip_space(barid_slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_from(s, 1);
    return s;
}

/* 1 to max digits. False = none. */
static bool digits(barid_slice *s, size_t max, int64_t *value_r, size_t *n_r)
{
    size_t n = 0;

    *value_r = 0;
    for (; n < s->n && n < max && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        *value_r = *value_r * 10 + (s->p[n] - '0');
    *s = slice_from(*s, n);
    if (n_r != NULL)
        *n_r = n;
    return n > 0;
}

/* [NNh] [NNm] [NN[s]], in this order, at least one. */
static int relative(barid_slice s, int64_t *seconds_r)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'h', 3600}, {'m', 60}, {'s', 1}};
    size_t next = 0;
    int64_t total = 0, n;

    for (s = skip_space(s); s.n > 0; s = skip_space(s)) {
        size_t i = next;
        if (!digits(&s, 9, &n, NULL))
            return BARID_ESYNTAX;
        while (i < 3 && (s.n == 0 ? units[i].unit != 's' : units[i].unit != s.p[0]))
            i++;
        if (i == 3)
            return BARID_ESYNTAX;
        total += n * units[i].seconds;
        if (s.n > 0)
            s = slice_from(s, 1);
        next = i + 1;
    }
    *seconds_r = total;
    return next == 0 || total > DELAY_MAX_S ? BARID_ESYNTAX : 0;
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar; years begin in March, so that a
 * leap day comes last. */
static int64_t days_from_civil(int64_t y, int64_t m, int64_t d)
{
    int64_t shifted = m <= 2 ? y - 1 : y, era = shifted / 400, year = shifted - era * 400;
    int64_t day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + year * 365 + year / 4 - year / 100 + day_of_year - 719468;
}

/* Only days that were: the first of March is not the 29th of February of another year. */
static bool day_exists(int64_t year, int64_t month, int64_t day)
{
    static const int64_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return day >= 1 && day <= lengths[month - 1] + (month == 2 && leap);
}

static int find_word(const char *const *words, int n, barid_slice s)
{
    for (int i = 0; i < n; i++) {
        if (s.n >= 3 && slice_eq_nocase(slice_head(s, 3), slice_str(words[i])))
            return i;
    }
    return -1;
}

static bool zone(barid_slice s, int64_t *minutes_r)
{
    int64_t n;
    size_t len;
    int sign;

    if (slice_eq_nocase(s, BARID_S("GMT")) || slice_eq_nocase(s, BARID_S("UT")) ||
        slice_eq_nocase(s, BARID_S("UTC"))) {
        *minutes_r = 0;
        return true;
    }
    if (s.n != 5 || (s.p[0] != '+' && s.p[0] != '-'))
        return false;
    sign = s.p[0] == '+' ? 1 : -1;
    s = slice_from(s, 1);
    if (!digits(&s, 4, &n, &len) || len != 4 || n % 100 > 59)
        return false;
    *minutes_r = sign * (n / 100 * 60 + n % 100);
    return true;
}

static bool two(barid_slice *s, char before, int64_t max, int64_t *value_r)
{
    size_t n;

    if (before != '\0') {
        if (s->n == 0 || s->p[0] != before)
            return false;
        *s = slice_from(*s, 1);
    }
    return digits(s, 2, value_r, &n) && n == 2 && *value_r <= max;
}

/* [day-name ","] day month year hour ":" minute [":" second] zone */
static int rfc5322(barid_slice s, int64_t *seconds_r)
{
    static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t day, year, hour, minute, second = 0, offset;
    size_t n;
    int month;

    if (s.n > 4 && s.p[3] == ',' && find_word(days, 7, s) >= 0)
        s = skip_space(slice_from(s, 4));
    if (!digits(&s, 2, &day, NULL))
        return BARID_ESYNTAX;
    s = skip_space(s);
    if ((month = find_word(months, 12, s)) < 0)
        return BARID_ESYNTAX;
    s = skip_space(slice_from(s, 3));
    if (!digits(&s, 4, &year, &n) || n != 4 || year < 1970 || !day_exists(year, month + 1, day))
        return BARID_ESYNTAX;
    s = skip_space(s);
    if (!two(&s, '\0', 23, &hour) || !two(&s, ':', 59, &minute))
        return BARID_ESYNTAX;
    if (s.n > 0 && s.p[0] == ':' && !two(&s, ':', 60, &second))
        return BARID_ESYNTAX;
    if (!zone(slice_trim(s), &offset))
        return BARID_ESYNTAX;
    *seconds_r = days_from_civil(year, month + 1, day) * 86400 + hour * 3600 + minute * 60 +
                 second - offset * 60;
    return 0;
}

int delay_parse(barid_slice text, int64_t now_us, int64_t *until_us_r)
{
    int64_t seconds;
    int rc;

    text = slice_trim(text);
    if (text.n > 0 && text.p[0] == '+') {
        rc = relative(slice_from(text, 1), &seconds);
        if (rc == 0)
            *until_us_r = now_us + seconds * 1000000;
        return rc;
    }
    rc = rfc5322(text, &seconds);
    if (rc == 0)
        *until_us_r = seconds * 1000000;
    return rc;
}
