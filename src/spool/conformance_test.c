/* spool/conformance_test.c: the common suite, run against every store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "spool/conformance_testing.h"
#include "spool/spool_open.h"

static void *memory_create(void)
{
    return NULL;
}

static int memory_open(void *store, const struct clock *clock, struct spool **spool_r,
                       struct err *e)
{
    struct spool_memory_options options = {.clock = clock};

    (void)store;
    return spool_memory_open(spool_r, &options, e);
}

static void memory_destroy(void *store)
{
    (void)store;
}

static const struct conformance_backend backends[] = {
    {"memory", false, memory_create, memory_open, memory_destroy},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(backends) / sizeof(*backends); i++) {
        if (strcmp(argv[1], backends[i].name) == 0)
            return conformance_run(&backends[i]);
    }
    fprintf(stderr, "usage: %s BACKEND\n", argv[0]);
    return 64;
}
