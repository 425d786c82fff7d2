/* spool/conformance_testing.h: how an implementation of interface/spool.h enters the common
 * suite. Test code only. */
#ifndef SPOOL_CONFORMANCE_TESTING_H
#define SPOOL_CONFORMANCE_TESTING_H

#include "interface/spool.h"

struct conformance_backend {
    const char *name;
    bool persistent;       /* opening again shows what was there */
    void *(*create)(void); /* what one test keeps between openings: a directory */
    int (*open)(void *store, const struct clock *clock, struct spool **spool_r, struct err *e);
    void (*destroy)(void *store);
};

int conformance_run(const struct conformance_backend *backend); /* number of failed cases */

#endif
