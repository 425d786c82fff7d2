/*
 * base/map.c: the hash map, with chained entries. Knows nothing of the values.
 *
 * Invariants: n_slots is 0 or a power of two; every entry hangs in slot hash & (n_slots - 1);
 * an empty map holds no memory until the first put. The table never shrinks, so that a walk
 * may remove the entry it stands on.
 */
#include "base/map.h"

#include <string.h>

#include "base/mem.h"
#include "base/slice.h"

#define MAP_FIRST_SLOTS 8

struct map_entry {
    struct map_entry *next;
    uint64_t hash;
    void *value;
    size_t n;
    char key[];
};

void map_init(struct map *m, const barid_mem *mem, const uint64_t seed[2])
{
    *m = (struct map){.mem = mem, .seed = {seed[0], seed[1]}};
}

void map_deinit(struct map *m)
{
    for (size_t i = 0; i < m->n_slots; i++) {
        for (struct map_entry *e = m->slots[i], *next; e != NULL; e = next) {
            next = e->next;
            mem_free(m->mem, e);
        }
    }
    mem_free(m->mem, m->slots);
    m->slots = NULL;
    m->n_slots = m->count = 0;
}

/* The link that points to the entry of key, or to the NULL at the end of its chain. */
static struct map_entry **find_link(const struct map *m, uint64_t hash, barid_slice key)
{
    struct map_entry **link = &m->slots[hash & (m->n_slots - 1)];

    while (*link != NULL) {
        const struct map_entry *e = *link;

        if (e->hash == hash && slice_eq(slice_of(e->key, e->n), key))
            break;
        link = &(*link)->next;
    }
    return link;
}

void *map_get(const struct map *m, barid_slice key)
{
    const struct map_entry *e;

    if (m->count == 0)
        return NULL;
    e = *find_link(m, siphash(m->seed, key), key);
    return e != NULL ? e->value : NULL;
}

static int grow(struct map *m)
{
    size_t n_slots = m->n_slots > 0 ? m->n_slots * 2 : MAP_FIRST_SLOTS;
    struct map_entry **slots = mem_array(m->mem, n_slots, sizeof(*slots));

    if (slots == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < m->n_slots; i++) {
        for (struct map_entry *e = m->slots[i], *next; e != NULL; e = next) {
            struct map_entry **slot = &slots[e->hash & (n_slots - 1)];

            next = e->next;
            e->next = *slot;
            *slot = e;
        }
    }
    mem_free(m->mem, m->slots);
    m->slots = slots;
    m->n_slots = n_slots;
    return 0;
}

static struct map_entry *new_entry(const struct map *m, uint64_t hash, barid_slice key,
                                   void *value)
{
    struct map_entry *e;

    if (key.n > SIZE_MAX - sizeof(*e))
        return NULL;
    e = mem_alloc(m->mem, sizeof(*e) + key.n);
    if (e == NULL)
        return NULL;
    e->next = NULL;
    e->hash = hash;
    e->value = value;
    e->n = key.n;
    if (key.n > 0)
        memcpy(e->key, key.p, key.n);
    return e;
}

int map_put(struct map *m, barid_slice key, void *value, void **old_r)
{
    uint64_t hash = siphash(m->seed, key);
    struct map_entry **link, *e;
    void *old = NULL;

    /* A table that cannot grow gets slower, not wrong: only the first one is necessary. */
    if (m->count >= m->n_slots && grow(m) < 0 && m->n_slots == 0)
        return BARID_ENOMEM;
    link = find_link(m, hash, key);
    if (*link != NULL) {
        old = (*link)->value;
        (*link)->value = value;
    } else {
        e = new_entry(m, hash, key, value);
        if (e == NULL)
            return BARID_ENOMEM;
        *link = e;
        m->count++;
    }
    if (old_r != NULL)
        *old_r = old;
    return 0;
}

void *map_take(struct map *m, barid_slice key)
{
    struct map_entry **link, *e;
    void *value;

    if (m->count == 0)
        return NULL;
    link = find_link(m, siphash(m->seed, key), key);
    e = *link;
    if (e == NULL)
        return NULL;
    value = e->value;
    *link = e->next;
    mem_free(m->mem, e);
    m->count--;
    return value;
}

bool map_next(const struct map *m, struct map_iter *it)
{
    /* The successor is fetched one step ahead: the caller may remove what we return. */
    const struct map_entry *e = it->next;

    while (e == NULL && it->slot < m->n_slots)
        e = m->slots[it->slot++];
    if (e == NULL)
        return false;
    it->next = e->next;
    it->key = slice_of(e->key, e->n);
    it->value = e->value;
    return true;
}
