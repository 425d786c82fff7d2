/*
 * base/clock.h: time as an interface, so that a test can hold it still. wall_us is
 * microseconds since 1970 (may jump); mono_ms is monotonic milliseconds (never goes back).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

struct clock {
    int64_t (*wall_us)(void *user);
    uint64_t (*mono_ms)(void *user);
    void *user;
};

extern const struct clock clock_system; /* CLOCK_REALTIME, CLOCK_MONOTONIC */

/* A clock that a test moves by hand: set both fields, take &fake.clock. */
struct clock_fake {
    struct clock clock;
    int64_t wall_us;
    uint64_t mono_ms;
};
void clock_fake_init(struct clock_fake *f, int64_t wall_us);
void clock_fake_advance(struct clock_fake *f, uint64_t ms);

static inline int64_t clock_wall_us(const struct clock *c)
{
    return c->wall_us(c->user);
}
static inline uint64_t clock_mono_ms(const struct clock *c)
{
    return c->mono_ms(c->user);
}

/* "Fri, 20 Nov 2026 11:21:39 +0000" (RFC 5322 3.3), always UTC. out holds CLOCK_RFC5322_SIZE. */
#define CLOCK_RFC5322_SIZE 40
void clock_rfc5322(int64_t wall_us, char *out);
/* "2026-11-20T11:21:39.123456Z" (RFC 3339). out holds CLOCK_RFC3339_SIZE. */
#define CLOCK_RFC3339_SIZE 32
void clock_rfc3339(int64_t wall_us, char *out);

#endif
