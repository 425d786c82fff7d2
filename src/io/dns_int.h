/* io/dns_int.h: between dns.c (queries) and dns_channel.c (c-ares and its sockets). */
#ifndef IO_DNS_INT_H
#define IO_DNS_INT_H

#include <ares.h>

#include "io/dns_wire.h"
#include "io/loop_int.h"

/* c-ares 1.18 uses one UDP port per channel while queries are under way, which makes answers
 * easier to forge (RFC 5452 4.5): questions go over a random one of several channels, each
 * replaced after so many questions, and after one that no server answered. */
#define DNS_CHANNELS        8
#define DNS_CHANNEL_QUERIES 256

/* More would only make a timeout longer. */
#define DNS_SERVERS_MAX 16

struct dns_config {
    struct ares_addr_port_node servers[DNS_SERVERS_MAX]; /* linked in order */
    size_t n_servers;                                    /* 0 = those of the system */
    int timeout_ms, tries;
};

struct dns_channel {
    struct loop *loop;
    ares_channel ares;
    struct list sockets;
    struct list node; /* in the list of retired channels */
    unsigned asked, outstanding;
};

/* NULL with *status_r of c-ares. */
struct dns_channel *dns_channel_new(struct loop *loop, struct dns_config *config,
                                    int *status_r);
/* Callbacks of outstanding queries run with ARES_EDESTRUCTION. Not from within a c-ares
 * callback. */
void dns_channel_del(struct dns_channel **channel);
void dns_channel_tick(struct dns_channel *channel); /* timeouts */

#endif
