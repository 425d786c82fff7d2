/*
 * spool/log_testing.h: a log of small segments on the disk in memory, for the tests of what only
 * the log can do wrong. Test code only; cmocka.h comes before it.
 */
#ifndef SPOOL_LOG_TESTING_H
#define SPOOL_LOG_TESTING_H

#include "spool/disk_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000
#define SEGMENT  (64u << 10)

static inline struct spool_log_options small(const struct disk *d)
{
    return (struct spool_log_options){
        .dir = "spool",
        .io = &d->io,
        .segment_size = SEGMENT,
        .clean_above = 2 * SEGMENT,
        .spares_max = 3,
        .soft_free = 1,
        .hard_free = 1,
    };
}

static inline struct spool *open_on(const struct disk *d)
{
    struct spool_log_options options = small(d);
    struct spool *s = NULL;
    struct err e = {0};

    if (spool_log_open(&s, &options, &e) != 0)
        fail_msg("open: %s", e.text);
    return s;
}

static inline int erase(struct spool *s, uint64_t id)
{
    struct waiter w;
    int rc;

    waiter_init(&w);
    rc = s->ops->erase(s, id, waiter_done, &w);
    if (rc == 0)
        rc = waiter_wait(&w);
    waiter_deinit(&w);
    return rc;
}

#endif
