/*
 * spool/log_index.h: every message of the log, in memory: found by id, walked in order of id,
 * and the next due one on top. 80 octets a message and 12 in the heap; no other allocation, so
 * what was reserved before a write cannot fail after it. Knows no lock.
 *
 * Entries are named by a number (their place), which stays while they live; 0 is none. The
 * order is a treap over the places; the due heap holds places, with their times beside them (to
 * look at entries for these would be a miss of the cache for each), and each entry its heap position.
 */
#ifndef SPOOL_LOG_INDEX_H
#define SPOOL_LOG_INDEX_H

#include "interface/spool.h"

struct log_extra;

enum entry_flag {
    ENTRY_GONE = 1,   /* its DEL is on the way: nobody sees it any more */
    ENTRY_NO_PUT = 2, /* recovery: something is known about it, but not its PUT */
    ENTRY_BROKEN = 4, /* its units cannot be read: not claimed again by this process */
    ENTRY_ASIDE = 8,  /* only claim_one gives it out */
    ENTRY_TRIED = 16, /* these two and group: as in struct units_digest */
    ENTRY_MIXED = 32,
    ENTRY_FLAGS = 63, /* all that there is room for */
};

struct log_entry {
    uint64_t id;
    int64_t next_us; /* earliest free pending unit; 0 = hastened; INT64_MAX = none */
    struct log_extra
        *extra; /* leases, states not yet written, a body that is apart; mostly NULL */
    uint32_t put_seg, put_off, put_len;       /* segment slot; 0 = none */
    uint32_t state_seg, state_off, state_len; /* the STATE that counts, or slot 0 */
    uint32_t version;
    uint32_t heap_at; /* position + 1; 0 = not in the heap */
    uint32_t left, right;
    uint32_t group;
    uint32_t hastened; /* as in digest_hasten; 0 = nothing */
    uint32_t size_low;
    uint8_t size_high;
    uint8_t state : 2, flags : 6;
    uint16_t n_units;
};

struct log_index {
    const barid_mem *mem;
    struct log_entry **pages;
    uint32_t n_pages, cap_pages;
    uint32_t root, free_list; /* free entries are chained by left */
    uint32_t n_free, reserved;
    uint32_t *heap, n_heap;
    int64_t *heap_due; /* next_us of those */
    uint64_t seed; /* of treap priorities */
};

void index_init(struct log_index *x, const barid_mem *mem, uint64_t seed);
void index_deinit(struct log_index *x); /* not the extras */

/* Makes sure that n more inserts succeed, beside those reserved before. 0 or BARID_ENOMEM,
 * BARID_ELIMIT. */
int index_reserve(struct log_index *x, uint32_t n);
void index_unreserve(struct log_index *x, uint32_t n);

struct log_entry *index_entry(const struct log_index *x, uint32_t place);
uint32_t index_find(const struct log_index *x, uint64_t id);
uint32_t index_insert(struct log_index *x,
                      uint64_t id); /* uses one reservation; id must be new */
void index_remove(struct log_index *x, uint32_t place);
uint32_t index_after(const struct log_index *x, uint64_t id); /* smallest id above; 0 = none */

/* Sets next_us; in the heap when it is claimable and not INT64_MAX. */
void index_due(struct log_index *x, uint32_t place, int64_t next_us, bool claimable);
/* Places are 1 to this less one; those with id 0 are free. For the start: faster than in order.
 */
uint32_t index_places(const struct log_index *x);
/* 0 = nothing is due ever; of those due at once the oldest message. */
uint32_t index_top(const struct log_index *x);

static inline uint64_t entry_size(const struct log_entry *e)
{
    return e->size_low | (uint64_t)e->size_high << 32;
}

#endif
