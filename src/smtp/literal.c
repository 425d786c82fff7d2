/*
 * smtp/literal.c: IPv4 and IPv6 in text, by the letter of RFC 5321 4.1.3 (and, loose, of
 * RFC 4291 2.2). inet_pton is not used: it takes forms that the grammar refuses.
 */
#include "smtp/literal.h"

#include <string.h>

#include "base/slice.h"

bool literal_ipv4(barid_slice s, uint8_t addr_r[4])
{
    for (int part = 0; part < 4; part++) {
        barid_slice num = part < 3 ? slice_cut(s, '.', &s) : s;
        uint64_t value;

        /* Snum is 1*3DIGIT, decimal also with leading zeros. */
        if (num.n == 0 || num.n > 3 || slice_u64(num, 255, &value) < 0)
            return false;
        addr_r[part] = (uint8_t)value;
    }
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if ((c | 32) >= 'a' && (c | 32) <= 'f')
        return (c | 32) - 'a' + 10;
    return -1;
}

struct groups {
    uint16_t value[8];
    size_t n;
    size_t gap; /* groups before "::", or SIZE_MAX */
};

/* One group at *at, or the IPv4 tail (which ends s). */
static bool read_group(barid_slice s, size_t *at, struct groups *g)
{
    unsigned value = 0;
    size_t i = *at;
    uint8_t v4[4];

    while (i < s.n && i - *at < 5 && hex_value(s.p[i]) >= 0)
        value = value << 4 | (unsigned)hex_value(s.p[i++]);
    if (i < s.n && s.p[i] == '.') {
        if (g->n > 6 || !literal_ipv4(slice_from(s, *at), v4))
            return false;
        g->value[g->n++] = (uint16_t)(v4[0] << 8 | v4[1]);
        g->value[g->n++] = (uint16_t)(v4[2] << 8 | v4[3]);
        *at = s.n;
        return true;
    }
    if (g->n > 7 || i == *at || i - *at > 4)
        return false;
    g->value[g->n++] = (uint16_t)value;
    *at = i;
    return true;
}

static bool read_groups(barid_slice s, struct groups *g)
{
    size_t i = 0;

    if (s.n >= 2 && s.p[0] == ':' && s.p[1] == ':') {
        g->gap = 0;
        i = 2;
    }
    while (i < s.n) {
        if (!read_group(s, &i, g))
            return false;
        if (i == s.n)
            break;
        if (s.p[i++] != ':' || i == s.n)
            return false;
        if (s.p[i] == ':') {
            if (g->gap != SIZE_MAX)
                return false;
            g->gap = g->n;
            i++;
        }
    }
    return true;
}

bool literal_ipv6(barid_slice s, bool loose, uint8_t addr_r[16])
{
    struct groups g = {.gap = SIZE_MAX};
    size_t zeros;

    if (!read_groups(s, &g))
        return false;
    if (g.gap == SIZE_MAX) {
        if (g.n != 8)
            return false;
        g.gap = 8;
    } else if (g.n > (loose ? 7 : 6)) {
        /* RFC 5321 4.1.3 IPv6-comp: "::" represents at least two groups of zeros. */
        return false;
    }
    zeros = 8 - g.n;
    for (size_t i = 0, from = 0; i < 8; i++) {
        uint16_t value = i >= g.gap && i < g.gap + zeros ? 0 : g.value[from++];

        addr_r[2 * i] = (uint8_t)(value >> 8);
        addr_r[2 * i + 1] = (uint8_t)value;
    }
    return true;
}

void literal_unmap(barid_endpoint *e)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    uint8_t v4[4];

    if (e->family != BARID_FAMILY_IPV6 || memcmp(e->addr, mapped, sizeof(mapped)) != 0)
        return;
    memcpy(v4, e->addr + sizeof(mapped), sizeof(v4));
    memset(e->addr, 0, sizeof(e->addr));
    memcpy(e->addr, v4, sizeof(v4));
    e->family = BARID_FAMILY_IPV4;
}
