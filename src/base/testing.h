/*
 * base/testing.h: what unit tests share: an allocator that fails on request, a log that
 * remembers, and cutting of inputs. Test code only.
 *
 * A scenario is proved against the failure of each of its allocations like this:
 *
 *   struct fail_mem f = {0};
 *   while (fail_mem_next(&f))
 *       scenario(&f.mem);
 *
 * Where there is no allocator to inject, base/malloc_testing.h puts it in front of malloc(3).
 * A program that ran such loops, all to their end, says at its own end how many failures they
 * injected.
 */
#ifndef BASE_TESTING_H
#define BASE_TESTING_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/log.h"

/* May be used by several threads at once; read the counts when they are at rest. */
struct fail_mem {
    barid_mem mem;
    size_t count;    /* allocations so far */
    size_t fail_at;  /* the n-th allocation fails (1-based), and only that one; 0 = never */
    bool failed;     /* it happened */
    long live;       /* allocations not yet freed: must be 0 at the end */
    unsigned settle; /* runs without failure that end a loop; 0 = 1. More where threads make
                        the count of a run differ */
    unsigned clean;  /* such runs in a row so far */
    size_t injected; /* failures of the loop so far, or of the whole loop that ended */
};
void fail_mem_init(struct fail_mem *f, size_t fail_at);

/* Readies f (zero before the first call) for a run with the next allocation failing; false when
 * the last run had none left to fail. A run that left something behind ends the program. */
bool fail_mem_next(struct fail_mem *f);

/* Counts an allocation; true: it is the one that fails. For other allocators than f->mem. */
bool fail_mem_hit(struct fail_mem *f);
/* Such an allocator does not know what is left behind: a sanitizer must. */
void fail_mem_uncounted(void);

/* A log that appends "LEVEL area what key=value ...\n" to text. */
struct log_memory {
    struct log log;
    struct buf text;
};
void log_memory_init(struct log_memory *l);
void log_memory_deinit(struct log_memory *l);

/* Calls feed with the bytes of input: whole, byte by byte, then `rounds` times in random cuts
 * (seeded). begin/end frame each run. Each piece is in a heap block of exactly its size, so
 * that a sanitizer sees a read past it; it is gone when feed returns. */
struct cut_ops {
    void (*begin)(void *user);
    void (*feed)(void *user, const char *p, size_t n);
    void (*end)(void *user);
};
void test_cuts(const struct cut_ops *ops, void *user, barid_slice input, unsigned rounds,
               uint64_t seed);

#endif
