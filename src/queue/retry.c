/*
 * queue/retry.c: when to try again. Pure: time and chance come in as arguments.
 */
#include "queue/queue.h"

#define US_PER_S 1000000

/* Seconds before try number attempts + 1: first, twice that, ... but never above max. */
static uint64_t backoff_s(const struct queue_retry *retry, uint32_t attempts)
{
    uint64_t delay = retry->first_s;

    for (uint32_t i = 1; i < attempts && delay < retry->max_s; i++)
        delay *= 2;
    if (delay > retry->max_s)
        delay = retry->max_s;
    /* Never at once: a unit that fails quickly would occupy a thread for good. */
    return delay == 0 ? 1 : delay;
}

int64_t queue_next_attempt(const struct queue_retry *retry, uint32_t attempts, int64_t now_us,
                           uint64_t random)
{
    uint64_t delay_us;

    if (attempts >= retry->tries)
        return INT64_MAX;
    delay_us = backoff_s(retry, attempts) * US_PER_S;
    /* Spread, so that what failed together does not come back together. Later, never earlier.
     */
    delay_us += random % (delay_us / 10 + 1);
    /* INT64_MAX says "no more": a clock near the end of time must not. */
    if (now_us > INT64_MAX - 1 - (int64_t)delay_us)
        return INT64_MAX - 1;
    return now_us + (int64_t)delay_us;
}
