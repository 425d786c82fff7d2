/* base/rng.c: random bytes from the kernel, and repeatable ones for tests. */
#include "base/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static void system_fill(void *user, void *p, size_t n)
{
    char *at = p;

    (void)user;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got < 0) {
            if (errno == EINTR)
                continue;
            /* Guessable nonces and ids are worse than a dead process: no fallback. */
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

const struct rng rng_system = {.fill = system_fill};

/* SplitMix64: every seed, also 0, gives a full-period sequence. */
static uint64_t next_word(struct rng_seeded *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void seeded_fill(void *user, void *p, size_t n)
{
    struct rng_seeded *r = user;
    char *at = p;

    while (n > 0) {
        uint64_t word = next_word(r);
        size_t part = n < sizeof(word) ? n : sizeof(word);

        memcpy(at, &word, part);
        at += part;
        n -= part;
    }
}

void rng_seeded_init(struct rng_seeded *r, uint64_t seed)
{
    r->rng = (struct rng){seeded_fill, r};
    r->state = seed;
}

uint64_t rng_u64(const struct rng *r)
{
    uint64_t value;

    rng_fill(r, &value, sizeof(value));
    return value;
}
