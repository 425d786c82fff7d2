/*
 * base/arena.c: memory with one lifetime, in a chain of blocks. Knows nothing of its users.
 *
 * Invariants: head is the newest block and the only one that is allocated from; total is the
 * sum of all block sizes, heads included; total <= max when max is set. A new block is as
 * large as everything so far, between ARENA_BLOCK_MIN and ARENA_BLOCK_MAX, so the number of
 * blocks grows with the logarithm and a small connection stays small.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define ARENA_BLOCK_MIN 512
#define ARENA_BLOCK_MAX 65536
/* A reset keeps the first block only up to this: an idle owner must not sit on a large one. */
#define ARENA_KEEP_MAX 4096

struct arena_block {
    struct arena_block *older;
    size_t size; /* of the whole block, this head included */
    size_t used; /* from the start of the block, this head included */
    _Alignas(max_align_t) char data[];
};

#define ARENA_ALIGN _Alignof(max_align_t)

void arena_init(struct arena *a, const barid_mem *mem, size_t max)
{
    *a = (struct arena){.mem = mem, .max = max};
}

static void free_head(struct arena *a)
{
    struct arena_block *block = a->head;

    a->head = block->older;
    a->total -= block->size;
    mem_free(a->mem, block);
}

void arena_deinit(struct arena *a)
{
    while (a->head != NULL)
        free_head(a);
}

void arena_reset(struct arena *a)
{
    if (a->head == NULL)
        return;
    while (a->head->older != NULL)
        free_head(a);
    if (a->head->size > ARENA_KEEP_MAX)
        free_head(a);
    else
        a->head->used = sizeof(struct arena_block);
}

/* A new head with room for need bytes. */
static bool add_block(struct arena *a, size_t need)
{
    size_t least = sizeof(struct arena_block) + need;
    size_t size = a->total < ARENA_BLOCK_MIN ? ARENA_BLOCK_MIN : a->total;
    size_t left = a->max > 0 ? a->max - a->total : SIZE_MAX;
    struct arena_block *block;

    if (size > ARENA_BLOCK_MAX)
        size = ARENA_BLOCK_MAX;
    if (size < least)
        size = least;
    /* The last block before max is cut to what is left, so that all of max can be used. */
    if (size > left)
        size = left;
    if (size < least)
        return false;
    block = mem_alloc(a->mem, size);
    if (block == NULL)
        return false;
    *block = (struct arena_block){a->head, size, sizeof(struct arena_block)};
    a->head = block;
    a->total += size;
    return true;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p;

    if (size > SIZE_MAX - sizeof(struct arena_block) - ARENA_ALIGN)
        return NULL;
    /* An empty allocation still gets an address of its own. */
    size = size > 0 ? (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN : ARENA_ALIGN;
    if ((a->head == NULL || a->head->size - a->head->used < size) && !add_block(a, size))
        return NULL;
    p = (char *)a->head + a->head->used;
    a->head->used += size;
    memset(p, 0, size);
    return p;
}

char *arena_strdup(struct arena *a, barid_slice s)
{
    char *copy = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;

    if (copy != NULL && s.n > 0)
        memcpy(copy, s.p, s.n);
    return copy;
}

int arena_slice(struct arena *a, barid_slice s, barid_slice *copy_r)
{
    char *copy = arena_strdup(a, s);

    if (copy == NULL)
        return BARID_ENOMEM;
    *copy_r = (barid_slice){copy, s.n};
    return 0;
}

char *arena_fmt(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    char *text = NULL;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0)
        text = arena_alloc(a, (size_t)n + 1);
    if (text != NULL)
        vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}
