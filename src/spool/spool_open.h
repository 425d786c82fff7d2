/*
 * spool/spool_open.h: how a store is opened; from then on only interface/spool.h is used.
 */
#ifndef SPOOL_SPOOL_OPEN_H
#define SPOOL_SPOOL_OPEN_H

#include "interface/spool.h"

/* For tests and for trying things out: nothing survives close. */
struct spool_memory_options {
    const struct clock *clock; /* NULL = clock_system */
    const barid_mem *mem;      /* NULL = malloc; must stand calls from several threads */
    uint64_t id_seed;          /* no id is below it; 0 = none */
    uint64_t max_bytes; /* of messages; 0 = no limit. Over it commit answers BARID_EFULL */
};

/* 0, BARID_ENOMEM, BARID_EIO (no thread). */
int spool_memory_open(struct spool **spool_r, const struct spool_memory_options *options,
                      struct err *e);

#endif
