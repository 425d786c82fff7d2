/*
 * queue/source.h: the body of one mail while it is sent: a small one is in memory with its record, a large one is read on the pool, piece
 * by piece, ahead of the network.
 */
#ifndef QUEUE_SOURCE_H
#define QUEUE_SOURCE_H

#include "queue/work.h"

/* Octets read at a time: a visit to the pool costs some 20 us, and as much waits for the kernel (DIALOGUE_BACKLOG_MAX). */
#define SOURCE_PIECE_MAX ((size_t)256 << 10)

struct source {
    struct work *work;
    struct consignment *consignment; /* whose transport hears that more is there; NULL = nobody waits */
    void (*idle)(struct source *s);  /* the pool is done with it and nobody waits: set by source_end */
    struct pool_job job;
    bool is_busy;      /* the job is on the pool */
    void *body;        /* open; NULL = not yet */
    char *piece;
    uint64_t offset;   /* of the piece; of the next one while the job runs */
    size_t n;
    int rc;            /* of the last read */
};

/* As consignment.body. */
int source_read(struct source *s, uint64_t offset, size_t n, barid_slice *p_r);
/* Nobody reads any more: idle is called when the pool is done with it, at once or later; everything is freed by then. */
void source_end(struct source *s, void (*idle)(struct source *s));

#endif
