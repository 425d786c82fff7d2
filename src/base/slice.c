/* base/slice.c: slices are compared, cut and read here. Knows no allocator and no locale. */
#include "base/slice.h"

/* tolower(3) would ask the locale; protocols fold ASCII only. */
static unsigned char fold(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

static bool same_nocase(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

bool slice_eq_nocase(barid_slice a, barid_slice b)
{
    return a.n == b.n && same_nocase(a.p, b.p, a.n);
}

bool slice_starts_nocase(barid_slice s, barid_slice prefix)
{
    return s.n >= prefix.n && same_nocase(s.p, prefix.p, prefix.n);
}

bool slice_ends_nocase(barid_slice s, barid_slice suffix)
{
    if (suffix.n == 0)
        return true;
    return s.n >= suffix.n && same_nocase(s.p + (s.n - suffix.n), suffix.p, suffix.n);
}

int slice_cmp(barid_slice a, barid_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    /* memcmp(3) must not see NULL, which an empty slice may hold. */
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

size_t slice_find(barid_slice s, char c)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    return at != NULL ? (size_t)(at - s.p) : s.n;
}

size_t slice_find_last(barid_slice s, char c)
{
    const char *at = s.n > 0 ? memrchr(s.p, c, s.n) : NULL;

    return at != NULL ? (size_t)(at - s.p) : s.n;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

barid_slice slice_trim(barid_slice s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

barid_slice slice_cut(barid_slice s, char sep, barid_slice *rest_r)
{
    size_t at = slice_find(s, sep);

    *rest_r = slice_from(s, at < s.n ? at + 1 : s.n);
    return slice_head(s, at);
}

int slice_u64(barid_slice s, uint64_t max, uint64_t *value_r)
{
    uint64_t value = 0;
    bool over = false;

    if (s.n == 0)
        return BARID_ESYNTAX;
    /* Read to the end even when over max: "99999999999x" is bad syntax, not a large number. */
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(unsigned char)s.p[i] - '0';

        if (digit > 9)
            return BARID_ESYNTAX;
        over = over || value > (UINT64_MAX - digit) / 10;
        if (!over)
            value = value * 10 + digit;
    }
    if (over || value > max)
        return BARID_ELIMIT;
    *value_r = value;
    return 0;
}
