/*
 * base/mem.c: every allocation of the library passes here.
 *
 * A size of 0 is asked for as 1, so that NULL always and only means failure, whatever the
 * allocator thinks of empty blocks.
 */
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL 1024

static size_t at_least_one(size_t size)
{
    return size > 0 ? size : 1;
}

void *mem_alloc(const barid_mem *mem, size_t size)
{
    size = at_least_one(size);
    return mem != NULL ? mem->malloc(size, mem->user) : malloc(size);
}

void *mem_zalloc(const barid_mem *mem, size_t size)
{
    void *p;

    size = at_least_one(size);
    /* calloc(3) gets large blocks zeroed from the kernel; for small ones glibc's malloc has a
     * cache by thread that its calloc passes by. */
    if (mem == NULL && size > SMALL)
        return calloc(1, size);
    p = mem_alloc(mem, size);
    if (p != NULL)
        memset(p, 0, size);
    return p;
}

void *mem_array(const barid_mem *mem, size_t n, size_t size)
{
    size_t product;

    if (__builtin_mul_overflow(n, size, &product))
        return NULL;
    return mem_zalloc(mem, product);
}

void *mem_realloc(const barid_mem *mem, void *p, size_t size)
{
    size = at_least_one(size);
    return mem != NULL ? mem->realloc(p, size, mem->user) : realloc(p, size);
}

void mem_free(const barid_mem *mem, void *p)
{
    if (mem != NULL)
        mem->free(p, mem->user);
    else
        free(p);
}

char *mem_strdup(const barid_mem *mem, barid_slice s)
{
    char *copy = s.n < SIZE_MAX ? mem_alloc(mem, s.n + 1) : NULL;

    if (copy == NULL)
        return NULL;
    if (s.n > 0)
        memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

void mem_wipe(void *p, size_t n)
{
    if (n > 0)
        explicit_bzero(p, n);
}

static void *or_abort(void *p, size_t size)
{
    if (p == NULL) {
        fprintf(stderr, "out of memory: %zu bytes were not to be had\n", size);
        abort();
    }
    return p;
}

void *xalloc(size_t size)
{
    return or_abort(mem_zalloc(NULL, size), size);
}

char *xstrdup(barid_slice s)
{
    return or_abort(mem_strdup(NULL, s), s.n);
}
