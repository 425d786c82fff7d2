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

struct io_table;

/*
 * The embedded durable log. A size or mark that is 0 takes its default.
 */
struct spool_log_options {
    const char *dir; /* made when it is not there; refused when it holds something else */
    const struct clock *clock; /* NULL = clock_system */
    const struct rng *rng;     /* NULL = rng_system; the store's own threads draw from it */
    const struct log *log;     /* NULL = silent */
    const barid_mem *mem;      /* NULL = malloc; must stand calls from several threads */
    const struct io_table *io; /* NULL = io_table_system */
    uint64_t segment_size;     /* of a new store: 64 MiB; a store that exists keeps its own. At
                                  least 64 KiB */
    unsigned spares;           /* segments written ahead, the reserve included: 2 */
    unsigned spares_max;       /* recycled segments kept: 16 */
    uint64_t soft_free;        /* with less free space admit says BARID_EFULL: 1 GiB */
    uint64_t hard_free;        /* with less no segment is added: 256 MiB */
    uint64_t clean_above; /* the cleaner works above 4 times the live octets and this: 1 GiB */
    uint64_t id_seed;     /* no id is below it; 0 = none */
    bool read_only;  /* `barid queue` on a stopped daemon: nothing on the disk is changed */
    unsigned broken; /* enum spool_log_broken: leaves out a safeguard, for tests that must then
                        fail */
};
enum spool_log_broken {
    SPOOL_BROKEN_EARLY_ACK = 1, /* done before the sync */
    SPOOL_BROKEN_NO_CRC = 2,    /* checksums are not looked at */
    SPOOL_BROKEN_NO_NONCE = 4,  /* records of earlier lives of a segment count */
    SPOOL_BROKEN_DROP_DEL = 8,  /* a DEL is not kept for the sake of its PUT */
    SPOOL_BROKEN_APPEND = 16,   /* a start goes on in the segment that it found */
};

/*
 * 0; BARID_ELOCKED (another process has it: its pid is in e), BARID_EVERSION (written by a
 * newer version), BARID_EINVALID (the directory is something else), BARID_EIO, BARID_ENOMEM.
 * Damage is no reason to fail: it is set aside in DIR/damaged, reported and counted.
 */
int spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                   struct err *e);
/* 0, or BARID_EINVALID as open would say it: before anything is made for a start that fails. */
int spool_log_check(const char *dir, struct err *e);

#endif
