/*
 * base/buf.c: the growable byte buffer. Knows nothing of what the bytes mean.
 *
 * Growth doubles, so n appends cost O(n) copies; it starts at BUF_FIRST and is cut at max,
 * which keeps len <= cap <= max true at every return, success or not.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"

/* Smallest block: a reply line fits, and malloc(3) rounds less up to about this anyway. */
#define BUF_FIRST 64
/* Formatted text up to this needs no second pass: nearly every reply and header line. */
#define BUF_FMT_STACK 512

void buf_init(struct buf *b, const barid_mem *mem, size_t max)
{
    *b = (struct buf){.mem = mem, .max = max};
}

void buf_deinit(struct buf *b)
{
    if (b->secret)
        mem_wipe(b->p, b->cap);
    mem_free(b->mem, b->p);
    b->p = NULL;
    b->len = b->cap = 0;
}

static size_t grown_cap(const struct buf *b, size_t need)
{
    size_t cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap;

    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    return b->max > 0 && cap > b->max ? b->max : cap;
}

/* realloc(3) may leave a copy of the octets where they were. */
static char *grow_secret(struct buf *b, size_t cap)
{
    char *p = mem_alloc(b->mem, cap);

    if (p == NULL)
        return NULL;
    if (b->len > 0)
        memcpy(p, b->p, b->len);
    mem_wipe(b->p, b->cap);
    mem_free(b->mem, b->p);
    return p;
}

int buf_reserve(struct buf *b, size_t extra)
{
    size_t need, cap;
    char *p;

    if (extra <= b->cap - b->len)
        return 0;
    if (__builtin_add_overflow(b->len, extra, &need) || (b->max > 0 && need > b->max))
        return BARID_ELIMIT;
    cap = grown_cap(b, need);
    p = b->secret ? grow_secret(b, cap) : mem_realloc(b->mem, b->p, cap);
    if (p == NULL)
        return BARID_ENOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, barid_slice s)
{
    int rc = buf_reserve(b, s.n);

    if (rc < 0 || s.n == 0)
        return rc;
    memcpy(b->p + b->len, s.p, s.n);
    b->len += s.n;
    return 0;
}

int buf_byte(struct buf *b, char c)
{
    int rc = b->len < b->cap ? 0 : buf_reserve(b, 1);

    if (rc < 0)
        return rc;
    b->p[b->len++] = c;
    return 0;
}

int buf_str(struct buf *b, const char *s)
{
    return buf_append(b, slice_str(s));
}

/* The terminator that vsnprintf(3) insists on does not count against max: format aside. */
BARID_PRINTF(3, 0) static int fmt_long(struct buf *b, size_t n, const char *fmt, va_list args)
{
    int rc = buf_reserve(b, n);
    char *text;

    if (rc < 0)
        return rc;
    text = mem_alloc(b->mem, n + 1);
    if (text == NULL)
        return BARID_ENOMEM;
    vsnprintf(text, n + 1, fmt, args);
    rc = buf_append(b, slice_of(text, n));
    mem_free(b->mem, text);
    return rc;
}

int buf_fmt(struct buf *b, const char *fmt, ...)
{
    char text[BUF_FMT_STACK];
    va_list args, again;
    int n, rc;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(text, sizeof(text), fmt, args);
    if (n < 0)
        rc = BARID_EINVALID;
    else if ((size_t)n < sizeof(text))
        rc = buf_append(b, slice_of(text, (size_t)n));
    else
        rc = fmt_long(b, (size_t)n, fmt, again);
    va_end(again);
    va_end(args);
    return rc;
}

void buf_clear(struct buf *b)
{
    if (b->secret)
        mem_wipe(b->p, b->len);
    b->len = 0;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        buf_clear(b);
        return;
    }
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
    if (b->secret)
        mem_wipe(b->p + b->len, n);
}

void buf_wipe(struct buf *b)
{
    /* All of cap: consume and clear leave bytes of the secret behind len. */
    mem_wipe(b->p, b->cap);
    buf_deinit(b);
}
