/* base/slice.h: comparing, cutting and reading slices. Never allocates. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <string.h>

#include "barid/types.h"

static inline barid_slice slice_of(const void *p, size_t n)
{
    return (barid_slice){p, n};
}

/* A slice of a NUL-terminated string (NULL gives the empty slice). */
static inline barid_slice slice_str(const char *s)
{
    return (barid_slice){s, s ? strlen(s) : 0};
}

static inline bool slice_eq(barid_slice a, barid_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline barid_slice slice_from(barid_slice s, size_t at)
{
    return at >= s.n ? (barid_slice){s.p ? s.p + s.n : NULL, 0} : (barid_slice){s.p + at, s.n - at};
}

static inline barid_slice slice_head(barid_slice s, size_t n)
{
    return (barid_slice){s.p, n < s.n ? n : s.n};
}

/* ASCII case folding only: the rule of SMTP verbs, header names and domains. */
bool slice_eq_nocase(barid_slice a, barid_slice b);
bool slice_starts_nocase(barid_slice s, barid_slice prefix);
bool slice_ends_nocase(barid_slice s, barid_slice suffix);
int slice_cmp(barid_slice a, barid_slice b); /* memcmp order, shorter first */

/* Index of the first c, or s.n when there is none. */
size_t slice_find(barid_slice s, char c);
/* Index of the last c, or s.n. */
size_t slice_find_last(barid_slice s, char c);

/* Without leading and trailing space, tab, CR, LF. */
barid_slice slice_trim(barid_slice s);

/* Cut at the first sep: returns the head, *rest_r what follows (empty slice when no sep). */
barid_slice slice_cut(barid_slice s, char sep, barid_slice *rest_r);

/* A decimal number that fills the whole slice. BARID_ESYNTAX (empty, not digits) or
 * BARID_ELIMIT (over max). */
int slice_u64(barid_slice s, uint64_t max, uint64_t *value_r);

#endif
