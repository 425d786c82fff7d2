/* base/utf8.c: is this text well-formed UTF-8 (RFC 3629 4), is it ASCII only. */
#include "base/encode.h"

#include <string.h>

/* Bytes of ASCII at the start of s, eight at a time: mail is mostly that. */
static size_t ascii_run(const unsigned char *p, size_t n)
{
    size_t i = 0;

    for (; n - i >= 8; i += 8) {
        uint64_t word;

        memcpy(&word, p + i, 8);
        if ((word & 0x8080808080808080) != 0)
            break;
    }
    while (i < n && p[i] < 0x80)
        i++;
    return i;
}

bool ascii_only(barid_slice s)
{
    return ascii_run((const unsigned char *)s.p, s.n) == s.n;
}

static bool in_range(unsigned char c, unsigned char low, unsigned char high)
{
    return c >= low && c <= high;
}

/*
 * Length of the well-formed sequence at p, 0 when there is none. The bounds of the second
 * byte shut out overlong forms (E0, F0), surrogates (ED) and all above U+10FFFF (F4).
 */
static size_t sequence(const unsigned char *p, size_t n)
{
    unsigned char low = 0x80, high = 0xbf;
    size_t need;

    if (in_range(p[0], 0xc2, 0xdf))
        need = 2;
    else if (in_range(p[0], 0xe0, 0xef))
        need = 3;
    else if (in_range(p[0], 0xf0, 0xf4))
        need = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (n < need || !in_range(p[1], low, high))
        return 0;
    for (size_t i = 2; i < need; i++) {
        if (!in_range(p[i], 0x80, 0xbf))
            return 0;
    }
    return need;
}

bool utf8_valid(barid_slice s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    size_t left = s.n;

    while (left > 0) {
        size_t n = p[0] < 0x80 ? ascii_run(p, left) : sequence(p, left);

        if (n == 0)
            return false;
        p += n;
        left -= n;
    }
    return true;
}

uint32_t utf8_next(barid_slice s, size_t *at)
{
    unsigned char c = (unsigned char)s.p[(*at)++];
    unsigned more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    uint32_t point = more == 0 ? c : c & (0x3fu >> more);

    while (more-- > 0)
        point = point << 6 | ((unsigned char)s.p[(*at)++] & 0x3f);
    return point;
}
