/*
 * policy/network.c: address blocks in CIDR form and lists of them.
 */
#include <arpa/inet.h>

#include "base/slice.h"
#include "policy/config.h"

static const uint8_t v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;

    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

static bool network_has(const struct network *n, const barid_endpoint *e)
{
    if (e->family == n->family)
        return e->family == BARID_FAMILY_UNIX || bits_equal(n->addr, e->addr, n->bits);
    /* A dual-stack socket shows IPv4 clients as ::ffff:192.0.2.1: the same client, so the same
     * networks. */
    return e->family == BARID_FAMILY_IPV6 && n->family == BARID_FAMILY_IPV4 &&
           memcmp(e->addr, v4_mapped, sizeof(v4_mapped)) == 0 &&
           bits_equal(n->addr, e->addr + 12, n->bits);
}

bool network_contains(const struct network_list *l, const barid_endpoint *e)
{
    for (size_t i = 0; i < l->n; i++) {
        if (network_has(&l->v[i], e))
            return true;
    }
    return false;
}

static bool host_bits_clear(const struct network *n, unsigned width)
{
    for (unsigned bit = n->bits; bit < width; bit++) {
        if (n->addr[bit / 8] & (0x80u >> (bit % 8)))
            return false;
    }
    return true;
}

int network_parse(barid_slice text, struct network *n_r, struct err *err)
{
    struct network n = {0};
    size_t slash = slice_find(text, '/');
    barid_slice addr = slice_head(text, slash);
    char copy[INET6_ADDRSTRLEN];
    unsigned width;
    uint64_t bits;

    if (slice_eq(text, BARID_S("unix"))) {
        *n_r = (struct network){.family = BARID_FAMILY_UNIX};
        return 0;
    }
    if (addr.n == 0 || addr.n >= sizeof(copy) || memchr(addr.p, 0, addr.n) != NULL)
        return err_set(
            err, BARID_ESYNTAX,
            "'%.*s' is not an address block, write 192.0.2.0/24, 2001:db8::/32 or unix",
            (int)(text.n < 64 ? text.n : 64), text.p != NULL ? text.p : "");
    memcpy(copy, addr.p, addr.n);
    copy[addr.n] = '\0';
    if (inet_pton(AF_INET, copy, n.addr) == 1)
        n.family = BARID_FAMILY_IPV4;
    else if (inet_pton(AF_INET6, copy, n.addr) == 1)
        n.family = BARID_FAMILY_IPV6;
    else
        return err_set(err, BARID_ESYNTAX,
                       "'%s' is not an IP address, write 192.0.2.0/24, 2001:db8::/32 or unix",
                       copy);
    width = n.family == BARID_FAMILY_IPV4 ? 32 : 128;
    bits = width;
    if (slash < text.n && slice_u64(slice_from(text, slash + 1), width, &bits) < 0)
        return err_set(err, BARID_ESYNTAX,
                       "'%.*s': the prefix length must be a number from 0 to %u", (int)text.n,
                       text.p, width);
    n.bits = (unsigned)bits;
    /* 192.0.2.7/24 is a slip of the pen or a misunderstanding, and both deserve to be seen. */
    if (!host_bits_clear(&n, width))
        return err_set(err, BARID_ESYNTAX, "'%.*s' has bits set beyond its prefix of %u",
                       (int)text.n, text.p, n.bits);
    *n_r = n;
    return 0;
}
