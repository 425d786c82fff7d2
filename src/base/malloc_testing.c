/* base/malloc_testing.c: see malloc_testing.h. */
#include "base/malloc_testing.h"

#include <stddef.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static _Thread_local struct fail_mem *failing;

void malloc_fails(struct fail_mem *f)
{
    failing = f;
    fail_mem_uncounted();
}

static bool fails(void)
{
    return failing != NULL && fail_mem_hit(failing);
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}
