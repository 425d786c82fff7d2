/*
 * base/clock.c: the system's clocks, a clock for tests, and dates as text. The calendar is
 * computed here, not by libc: always UTC, no locale, no time zone file, any year.
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define US_PER_SECOND   1000000
#define SECONDS_PER_DAY 86400

static int64_t system_wall_us(void *user)
{
    struct timespec now;

    (void)user;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / 1000;
}

static uint64_t system_mono_ms(void *user)
{
    struct timespec now;

    (void)user;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const struct clock clock_system = {.wall_us = system_wall_us, .mono_ms = system_mono_ms};

static int64_t fake_wall_us(void *user)
{
    return ((const struct clock_fake *)user)->wall_us;
}

static uint64_t fake_mono_ms(void *user)
{
    return ((const struct clock_fake *)user)->mono_ms;
}

void clock_fake_init(struct clock_fake *f, int64_t wall_us)
{
    f->clock = (struct clock){fake_wall_us, fake_mono_ms, f};
    f->wall_us = wall_us;
    f->mono_ms = 0;
}

void clock_fake_advance(struct clock_fake *f, uint64_t ms)
{
    f->wall_us += (int64_t)ms * 1000;
    f->mono_ms += ms;
}

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned weekday;    /* 0 = Sunday */
    unsigned hour, minute, second, us;
};

/* Division that rounds down also before 1970; the remainder is never negative. */
static int64_t floor_div(int64_t value, int64_t by, int64_t *rest_r)
{
    int64_t quotient = value / by, rest = value % by;

    if (rest < 0) {
        rest += by;
        quotient--;
    }
    *rest_r = rest;
    return quotient;
}

/*
 * Proleptic Gregorian calendar. Years are counted from 1 March, so that the leap day is the
 * last day of a year, and in eras of 400 years, which all have the same 146097 days.
 */
static void set_date(struct civil *c, int64_t days)
{
    int64_t day_of_era, era = floor_div(days + 719468, 146097, &day_of_era);
    unsigned doe = (unsigned)day_of_era;
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned month_from_march = (5 * doy + 2) / 153;
    int64_t weekday;

    c->day = doy - (153 * month_from_march + 2) / 5 + 1;
    c->month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    c->year = era * 400 + yoe + (c->month <= 2);
    floor_div(days + 4, 7, &weekday); /* 1 January 1970 was a Thursday */
    c->weekday = (unsigned)weekday;
}

static struct civil civil_from(int64_t wall_us)
{
    struct civil c = {0};
    int64_t us, second, days;

    days = floor_div(floor_div(wall_us, US_PER_SECOND, &us), SECONDS_PER_DAY, &second);
    c.us = (unsigned)us;
    c.hour = (unsigned)(second / 3600);
    c.minute = (unsigned)(second / 60 % 60);
    c.second = (unsigned)(second % 60);
    set_date(&c, days);
    return c;
}

void clock_rfc5322(int64_t wall_us, char *out)
{
    static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                            "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct civil c = civil_from(wall_us);

    snprintf(out, CLOCK_RFC5322_SIZE, "%s, %02u %s %04lld %02u:%02u:%02u +0000",
             day_names[c.weekday], c.day, month_names[c.month - 1], (long long)c.year, c.hour,
             c.minute, c.second);
}

void clock_rfc3339(int64_t wall_us, char *out)
{
    struct civil c = civil_from(wall_us);

    snprintf(out, CLOCK_RFC3339_SIZE, "%04lld-%02u-%02uT%02u:%02u:%02u.%06uZ",
             (long long)c.year, c.month, c.day, c.hour, c.minute, c.second, c.us);
}
