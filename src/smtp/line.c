/*
 * smtp/line.c: finding the end of a command line; see line.h. Knows no verbs.
 *
 * A line is too long when no CRLF ends within its first `limit` octets. That is known as soon as
 * so many octets are there, so no more than limit octets need ever be kept, and it does not
 * depend on how the octets arrived.
 */
#include "smtp/line.h"

#include <string.h>

/* The octets up to and including the first CRLF, or 0. */
static size_t find_crlf(barid_slice in, size_t from)
{
    const char *p = in.p + from, *end = in.p + in.n, *lf;

    while (p < end && (lf = memchr(p, '\n', (size_t)(end - p))) != NULL) {
        if (lf > in.p && lf[-1] == '\r')
            return (size_t)(lf + 1 - in.p);
        p = lf + 1;
    }
    return 0;
}

static enum line_result drain(struct line_reader *r, barid_slice in, size_t *used_r)
{
    size_t n;

    if (in.n == 0)
        return LINE_MORE;
    n = r->cr && in.p[0] == '\n' ? 1 : find_crlf(in, 0);
    if (n == 0) {
        r->cr = in.p[in.n - 1] == '\r';
        *used_r = in.n;
        return LINE_MORE;
    }
    r->draining = false;
    *used_r = n;
    return LINE_TOO_LONG;
}

static enum line_result judge(barid_slice line)
{
    if (memchr(line.p, '\n', line.n) != NULL || memchr(line.p, '\r', line.n) != NULL)
        return LINE_BARE;
    return memchr(line.p, '\0', line.n) != NULL ? LINE_NUL : LINE_OK;
}

enum line_result line_read(struct line_reader *r, barid_slice in, size_t limit, size_t *used_r,
                           barid_slice *line_r)
{
    size_t n;

    *used_r = 0;
    if (r->draining)
        return drain(r, in, used_r);
    n = in.n > r->scanned ? find_crlf(in, r->scanned) : 0;
    if (n == 0 && in.n < limit) {
        r->scanned = (uint32_t)in.n;
        return LINE_MORE;
    }
    r->scanned = 0;
    if (n == 0) {
        r->draining = true;
        r->cr = in.p[in.n - 1] == '\r';
        *used_r = in.n;
        return LINE_MORE;
    }
    *used_r = n;
    if (n > limit)
        return LINE_TOO_LONG;
    *line_r = (barid_slice){in.p, n - 2};
    return judge(*line_r);
}
