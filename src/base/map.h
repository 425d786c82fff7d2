/*
 * base/map.h: hash map from byte strings to pointers (SipHash-2-4 with a random seed, as
 * keys may come from a peer). Keys are copied; values belong to the caller.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "barid/types.h"

struct map_entry;

struct map {
    const barid_mem *mem;
    struct map_entry **slots;
    size_t n_slots, count;
    uint64_t seed[2];
};

void map_init(struct map *m, const barid_mem *mem, const uint64_t seed[2]);
void map_deinit(struct map *m); /* frees keys, not values */

void *map_get(const struct map *m, barid_slice key); /* NULL when absent */
/* *old_r (may be NULL) gets the replaced value or NULL. 0 or BARID_ENOMEM. */
int map_put(struct map *m, barid_slice key, void *value, void **old_r);
void *map_take(struct map *m, barid_slice key); /* removes; NULL when absent */

/* Walk in no order: struct map_iter it = {0}; while (map_next(m, &it)) { it.key, it.value }.
 * Removing the current key is allowed, adding is not. */
struct map_iter {
    size_t slot;
    struct map_entry *next;
    barid_slice key;
    void *value;
};
bool map_next(const struct map *m, struct map_iter *it);

uint64_t siphash(const uint64_t seed[2], barid_slice s);

#endif
