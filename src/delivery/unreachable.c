/* delivery/unreachable.c: see unreachable.h. Unix sockets are not kept: connecting to one does not wait. */
#include "delivery/unreachable.h"

#include <string.h>

static bool same(const barid_endpoint *a, const barid_endpoint *b)
{
    return a->family == b->family && a->port == b->port &&
           memcmp(a->addr, b->addr, a->family == BARID_FAMILY_IPV4 ? 4 : 16) == 0;
}

/* Its row, or UNREACHABLE_MAX. */
static size_t find(const struct unreachable *u, const barid_endpoint *address)
{
    size_t i = 0;

    while (i < UNREACHABLE_MAX && !same(&u->rows[i].address, address))
        i++;
    return i;
}

static size_t oldest(const struct unreachable *u)
{
    size_t at = 0;

    for (size_t i = 1; i < UNREACHABLE_MAX; i++)
        if (u->rows[i].until_ms < u->rows[at].until_ms)
            at = i;
    return at;
}

void unreachable_add(struct unreachable *u, const barid_endpoint *address, uint64_t now_ms)
{
    size_t i;

    if (address->family != BARID_FAMILY_IPV4 && address->family != BARID_FAMILY_IPV6)
        return;
    i = find(u, address);
    if (i == UNREACHABLE_MAX)
        i = oldest(u);
    u->rows[i].address = *address;
    u->rows[i].until_ms = now_ms + UNREACHABLE_MS;
}

void unreachable_remove(struct unreachable *u, const barid_endpoint *address)
{
    size_t i = find(u, address);

    if (i < UNREACHABLE_MAX)
        memset(&u->rows[i], 0, sizeof(u->rows[i]));
}

bool unreachable_has(const struct unreachable *u, const barid_endpoint *address,
                     uint64_t now_ms)
{
    size_t i = find(u, address);

    return i < UNREACHABLE_MAX && now_ms < u->rows[i].until_ms;
}
