/* spool/conformance_test.c: the common suite, run against every store. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/conformance_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

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

static void *log_create(void)
{
    char *dir = malloc(TEST_DIR_SIZE);

    assert_non_null(dir);
    test_dir_make(dir);
    return dir;
}

/* Segments are small, so that every case crosses them; marks are low, so that any disk will do.
 */
static int log_open(void *store, const struct clock *clock, struct spool **spool_r,
                    struct err *e)
{
    struct spool_log_options options = {
        .dir = store,
        .clock = clock,
        .segment_size = 4u << 20,
        .soft_free = 1,
        .hard_free = 1,
    };

    return spool_log_open(spool_r, &options, e);
}

static void log_destroy(void *store)
{
    test_dir_remove(store);
    free(store);
}

static const struct conformance_backend backends[] = {
    {"memory", false, memory_create, memory_open, memory_destroy},
    {"log", true, log_create, log_open, log_destroy},
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
