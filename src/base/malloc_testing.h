/*
 * base/malloc_testing.h: malloc(3) that fails on request, for code without an allocator to
 * inject. The linker puts it in front of our own objects only: the test program is linked with
 * malloc_testing_dep (--wrap). Libraries keep the real one. Test code only.
 */
#ifndef BASE_MALLOC_TESTING_H
#define BASE_MALLOC_TESTING_H

#include "base/testing.h"

/* Allocations of this thread count in f from now on; NULL = no longer. What is left behind is
 * not in f->live: a sanitizer finds it. */
void malloc_fails(struct fail_mem *f);

#endif
