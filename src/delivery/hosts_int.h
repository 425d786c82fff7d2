/* delivery/hosts_int.h: what the files of hosts share. */
#ifndef DELIVERY_HOSTS_INT_H
#define DELIVERY_HOSTS_INT_H

#include "delivery/hosts.h"

#define HOST_FAMILIES             2 /* IPv6, then IPv4: the first is tried first */
#define HOST_FAMILY_ADDRESSES_MAX 8 /* of one exchanger in one family */

/* One exchanger. */
struct host {
    barid_slice name;
    uint16_t preference;
    uint64_t order; /* random: among those of one preference */
    bool is_self;
    struct {
        barid_endpoint v[HOST_FAMILY_ADDRESSES_MAX];
        size_t n;
    } family[HOST_FAMILIES];
};

/* hosts_order.c: what is to be tried in which order, at most max. *looped_r: something was left out because the way leads
 * back to this server (RFC 5321 5.1: that exchanger, and all whose preference is not better). Sorts hosts. */
size_t hosts_order(struct host *hosts, size_t n, struct host_address *out, size_t max,
                   bool *looped_r);

#endif
