/*
 * base/rng.h: random bytes as an interface. rng_system is getrandom(2) and is fit for
 * secrets; rng_seeded (tests) repeats for a seed and is not.
 */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    void (*fill)(void *user, void *p, size_t n);
    void *user;
};

extern const struct rng rng_system;

struct rng_seeded {
    struct rng rng;
    uint64_t state;
};
void rng_seeded_init(struct rng_seeded *r, uint64_t seed);

static inline void rng_fill(const struct rng *r, void *p, size_t n)
{
    r->fill(r->user, p, n);
}
uint64_t rng_u64(const struct rng *r);

#endif
