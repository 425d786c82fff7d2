/*
 * policy/shared.h: the table that all workers see: counters and values with expiry. Any thread. Bounded.
 */
#ifndef POLICY_SHARED_H
#define POLICY_SHARED_H

#include "base/clock.h"
#include "message/vars.h"

#define SHARED_MAX_BYTES (64u << 20) /* all keys and values; above it the oldest expiring entries go first, else BARID_EFULL */

struct shared;
int shared_new(struct shared **s_r, const struct clock *clock, size_t max_bytes, const uint64_t seed[2]);
void shared_del(struct shared **s);
/* ttl_ms 0 = until removed. type of value: VAR_... ; key in value->key. */
int shared_set(struct shared *s, const struct var *value, uint64_t ttl_ms);
/* Copies the string into arena. 0 or BARID_ENOTFOUND, ENOMEM. */
int shared_get(struct shared *s, barid_slice key, struct arena *arena, struct var *value_r);
void shared_remove(struct shared *s, barid_slice key);
/* Adds delta to an integer (absent = 0) and returns the new value; ttl_ms applies when the entry is made. BARID_EINVALID: not an integer. */
int shared_add(struct shared *s, barid_slice key, int64_t delta, uint64_t ttl_ms, int64_t *value_r);

#endif
