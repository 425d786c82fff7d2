/*
 * delivery/hosts.h: where mail for a next hop goes: mail exchangers in order, then their addresses (RFC 5321 5.1, RFC 7505).
 *
 * DNS is asked through a table, so that a test answers; hosts_source_dns is the real one. One loop, its thread.
 */
#ifndef DELIVERY_HOSTS_H
#define DELIVERY_HOSTS_H

#include "barid/endpoint.h"
#include "base/rng.h"
#include "io/dns.h"
#include "io/loop.h"

/* Mail exchangers that are looked up, those with the lowest preference; more is a mistake of the zone or an attack. */
#define HOSTS_EXCHANGERS_MAX 16
/* Addresses tried for one message in one attempt: each may cost a connect timeout. */
#define HOSTS_ADDRESSES_MAX 32

struct hosts_source {
    /* As dns_ask and dns_cancel. */
    int (*ask)(void *user, barid_slice name, enum dns_type type,
               void (*done)(void *user, const struct dns_answer *answer), void *done_user,
               struct dns_query **query_r);
    void (*cancel)(void *user, struct dns_query **query);
    void *user;
};
struct hosts_source hosts_source_dns(struct dns *dns);

struct hosts_options {
    struct loop *loop;
    struct hosts_source source;
    const struct rng *rng; /* order among equals: spreads load, no secret */
    bool no_ipv4, no_ipv6;
    /* Is that this server? Then mail would come back: such exchangers, and those behind them, are left out. address NULL: the
     * name alone is asked about. May be NULL. */
    bool (*is_self)(void *user, barid_slice name, const barid_endpoint *address);
    void *user;
    const barid_mem *mem;
};

struct next_hop {
    barid_slice
        name; /* a domain, a host, or an address literal "[192.0.2.1]", "[IPv6:2001:db8::1]"; U-labels allowed */
    uint16_t port; /* 0 = 25 */
    bool is_host;  /* no MX: the name's own addresses (a smart host) */
};

enum hosts_status { HOSTS_OK = 0, HOSTS_AGAIN, HOSTS_FAILED };
struct host_address {
    barid_slice name; /* of the exchanger: what a certificate has to name */
    barid_endpoint endpoint;
    uint16_t preference;
};
struct hosts_answer {
    enum hosts_status status;
    const struct host_address *addresses; /* in the order in which to try */
    size_t n;
    char reply[256]; /* AGAIN, FAILED: "550 5.1.2 example.com: no such domain" */
};

struct hosts_query;
/* done exactly once, never from within this call; the answer lives during it. 0 or BARID_ENOMEM (then done is not called).
 * o and hop are copied. The handle is over when done is called. */
int hosts_ask(const struct hosts_options *o, const struct next_hop *hop,
              void (*done)(void *user, const struct hosts_answer *answer), void *user,
              struct hosts_query **query_r);
void hosts_cancel(struct hosts_query **query); /* done is not called. Accepts NULL */

#endif
