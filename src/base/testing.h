/*
 * base/testing.h: what unit tests share: an allocator that fails on request, a log that
 * remembers, and cutting of inputs. Test code only.
 *
 * A scenario is proved against allocation failure like this:
 *   for (size_t n = 1;; n++) { fail_mem_init(&fm, n); scenario(&fm.mem); if (!fm.failed) break; }
 */
#ifndef BASE_TESTING_H
#define BASE_TESTING_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/log.h"

struct fail_mem {
    barid_mem mem;
    size_t count;   /* allocations so far */
    size_t fail_at; /* the n-th allocation fails (1-based), and only that one; 0 = never */
    bool failed;    /* it happened */
    long live;      /* allocations not yet freed: must be 0 at the end */
};
void fail_mem_init(struct fail_mem *f, size_t fail_at);

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
void test_cuts(const struct cut_ops *ops, void *user, barid_slice input, unsigned rounds, uint64_t seed);

#endif
