/*
 * delivery/relay_open.h: mail to other servers, by SMTP or LMTP, on the slot of interface/transport.h that waits for a network.
 *
 * A next hop becomes addresses (hosts.h), one mail goes to the first that takes it (courier.h) on a connection that may be kept from
 * the mail before (connections.h). What of a server's offers is used, and what a server must offer, the hop says. One loop, its thread.
 *
 * When nobody could be asked, the result says so (no_connection): DNS had no answer or said that there is no such place, nobody was
 * reached, greeting, TLS or AUTH went wrong everywhere.
 */
#ifndef DELIVERY_RELAY_OPEN_H
#define DELIVERY_RELAY_OPEN_H

#include "delivery/hosts.h"
#include "interface/transport.h"

#define RELAY_IDLE_MS                                                                          \
    10000 /* more than a queue at work leaves between two mails; less than servers bear */
/* Octets of one BDAT, whatever a hop says: a mail under way holds some of them in memory. */
#define RELAY_CHUNK_MAX (1u << 20)

struct relay_options {
    struct loop *loop;
    struct dns *dns;
    struct hosts_source hosts;    /* ask NULL: dns. For tests */
    const struct rng *rng;        /* for order and for SCRAM; NULL = rng_system */
    struct tls_ctx *tls;          /* any certificate will do; referenced */
    struct tls_ctx *tls_verified; /* TLS_VERIFY_PEER; referenced. NULL: such handshakes fail */
    uint32_t idle_ms;             /* how long connections are kept; 0 = RELAY_IDLE_MS */
    bool no_ipv4, no_ipv6;
    bool (*is_self)(void *user, barid_slice name,
                    const barid_endpoint *address); /* as hosts_options.is_self; may be NULL */
    void *user;
    const struct log *log; /* may be NULL */
    const barid_mem *mem;  /* NULL = malloc */
};

/* 0 or BARID_ENOMEM with *err. Closed by its close. */
int relay_open(struct transport **t_r, const struct relay_options *o, struct err *err);

/* For what is sent from now on. Questions under way stay with the old dns, which dns_del ends. */
void relay_set_dns(struct transport *t, struct dns *dns);
void relay_set_tls(struct transport *t, struct tls_ctx *tls, struct tls_ctx *tls_verified);

#endif
