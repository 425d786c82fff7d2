/*
 * delivery/hosts_order.c: exchangers to addresses in the order in which they are tried. Pure.
 */
#include <stdlib.h>

#include "delivery/hosts_int.h"

static int compare(const void *a, const void *b)
{
    const struct host *x = a, *y = b;

    if (x->preference != y->preference)
        return x->preference < y->preference ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* How many come before the first preference that has this server in it. */
static size_t before_self(const struct host *hosts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (hosts[i].is_self) {
            uint16_t preference = hosts[i].preference;

            for (n = 0; hosts[n].preference != preference; n++)
                continue;
            return n;
        }
    return n;
}

/* The families in turns: where one does not work, the other is tried next (RFC 8305 4). */
static size_t put_host(const struct host *h, struct host_address *out, size_t max)
{
    size_t put = 0;

    for (size_t i = 0; i < HOST_FAMILY_ADDRESSES_MAX; i++)
        for (size_t f = 0; f < HOST_FAMILIES && put < max; f++)
            if (i < h->family[f].n)
                out[put++] = (struct host_address){h->name, h->family[f].v[i], h->preference};
    return put;
}

size_t hosts_order(struct host *hosts, size_t n, struct host_address *out, size_t max,
                   bool *looped_r)
{
    size_t put = 0, usable;

    if (n > 0) /* else hosts may be NULL */
        qsort(hosts, n, sizeof(hosts[0]), compare);
    usable = before_self(hosts, n);
    for (size_t i = 0; i < usable && put < max; i++)
        put += put_host(&hosts[i], out + put, max - put);
    *looped_r = usable < n;
    return put;
}
