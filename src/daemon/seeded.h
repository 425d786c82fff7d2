/*
 * daemon/seeded.h: random bytes that repeat for a seed, usable from several threads. Testing only: nonces made from it can be
 * guessed.
 */
#ifndef DAEMON_SEEDED_H
#define DAEMON_SEEDED_H

#include "base/rng.h"

struct seeded_rng;
struct seeded_rng *seeded_rng_new(uint64_t seed);
const struct rng *seeded_rng(struct seeded_rng *r);
void seeded_rng_del(struct seeded_rng **r); /* accepts NULL */

#endif
