/*
 * base/arena.h: memory with one lifetime. Allocate many, free all at once; nothing is freed
 * alone. A connection, a transaction and a scratch scope each own one.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "barid/types.h"

struct arena_block;

struct arena {
    const barid_mem *mem;
    struct arena_block *head; /* newest block; NULL until the first allocation */
    size_t total;             /* bytes taken from mem, for limits and statistics */
    size_t max;               /* 0 = unlimited; over it allocation fails */
};

void arena_init(struct arena *a, const barid_mem *mem, size_t max);
void arena_deinit(struct arena *a); /* frees all; reusable */
void arena_reset(struct arena *a);  /* frees all but a small first block: cheap reuse */

void *arena_alloc(struct arena *a, size_t size);  /* zeroed, aligned for any type; NULL on failure */
char *arena_strdup(struct arena *a, barid_slice s); /* NUL-terminated */
/* Copy of s (also NUL-terminated after its last byte). 0 or BARID_ENOMEM. */
int arena_slice(struct arena *a, barid_slice s, barid_slice *copy_r);
char *arena_fmt(struct arena *a, const char *fmt, ...) BARID_PRINTF(2, 3);

#endif
