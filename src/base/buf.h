/*
 * base/buf.h: a growable byte buffer with a limit.
 *
 * Invariant: len <= cap <= max (max 0 = no limit). p is NULL exactly when cap is 0, so an
 * unused buffer costs no heap: idle connections depend on it. A secret buffer wipes what it
 * drops, outgrows and frees.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "barid/types.h"

struct buf {
    const barid_mem *mem; /* borrowed; NULL = malloc */
    char *p;
    size_t len;
    size_t cap;
    size_t max; /* 0 = unlimited */
    bool secret; /* set after init: no octet is left behind in memory that is given back */
};

void buf_init(struct buf *b, const barid_mem *mem, size_t max);
void buf_deinit(struct buf *b); /* frees, leaves an empty reusable buffer */

/*
 * All appends: 0, BARID_ENOMEM, or BARID_ELIMIT (over max). On error nothing was appended.
 * What is appended must not lie in b itself. For a secret reserve its whole size first:
 * growing moves the block and leaves the old copy behind unwiped.
 */
int buf_reserve(struct buf *b, size_t extra); /* room for extra more bytes */
int buf_append(struct buf *b, barid_slice s);
int buf_byte(struct buf *b, char c);
int buf_str(struct buf *b, const char *s);
int buf_fmt(struct buf *b, const char *fmt, ...) BARID_PRINTF(2, 3);

void buf_clear(struct buf *b);              /* len = 0, keeps memory */
void buf_consume(struct buf *b, size_t n);  /* drop the first n bytes, n <= len */
void buf_wipe(struct buf *b);               /* zero the contents, then deinit: for secrets */

static inline barid_slice buf_slice(const struct buf *b)
{
    return (barid_slice){b->p, b->len};
}

#endif
