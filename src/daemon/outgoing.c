/* daemon/outgoing.c: see outgoing.h. On the main loop. */
#include "daemon/outgoing.h"

#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "daemon/daemon_int.h"
#include "delivery/relay_open.h"
#include "io/dns.h"
#include "io/listener.h"

/* Addresses of interfaces that are looked at: a machine with more has its exchangers by name. */
#define OUTGOING_ADDRESSES_MAX 256

struct outgoing {
    struct daemon *d;
    barid_endpoint addresses[OUTGOING_ADDRESSES_MAX];
    size_t n_addresses;
    struct transport *relay;
    struct dns *dns;
    struct tls_ctx *tls, *tls_verified;
};

/* --- is that ourselves? --- */

static void add_address(struct outgoing *o, const struct sockaddr *sa)
{
    barid_endpoint *e = &o->addresses[o->n_addresses];

    if (sa == NULL || o->n_addresses == OUTGOING_ADDRESSES_MAX)
        return;
    if (sa->sa_family == AF_INET) {
        e->family = BARID_FAMILY_IPV4;
        memcpy(e->addr, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
        o->n_addresses++;
    } else if (sa->sa_family == AF_INET6) {
        e->family = BARID_FAMILY_IPV6;
        memcpy(e->addr, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
        o->n_addresses++;
    }
}

static void read_addresses(struct outgoing *o)
{
    struct ifaddrs *list;

    if (getifaddrs(&list) != 0)
        return;
    for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next)
        add_address(o, i->ifa_addr);
    freeifaddrs(list);
}

static size_t address_size(const barid_endpoint *e)
{
    return e->family == BARID_FAMILY_IPV4 ? 4 : 16;
}

static bool same_address(const barid_endpoint *a, const barid_endpoint *b)
{
    return a->family == b->family && memcmp(a->addr, b->addr, address_size(a)) == 0;
}

static bool is_of_machine(const struct outgoing *o, const barid_endpoint *e)
{
    for (size_t i = 0; i < o->n_addresses; i++)
        if (same_address(&o->addresses[i], e))
            return true;
    return false;
}

static bool is_unspecified(const barid_endpoint *e)
{
    static const uint8_t zero[16];

    return memcmp(e->addr, zero, address_size(e)) == 0;
}

static bool is_listened_on(const struct outgoing *o, const barid_endpoint *e)
{
    const struct sockets *s = &o->d->sockets;

    for (size_t i = 0; i < s->n; i++) {
        struct listen_address a;
        struct err err;

        if (listen_address_parse(slice_str(s->v[i].bound), &a, &err) < 0 || a.endpoint.family == BARID_FAMILY_UNIX ||
            a.endpoint.port != e->port)
            continue;
        if (same_address(&a.endpoint, e) || ((a.any || is_unspecified(&a.endpoint)) && is_of_machine(o, e)))
            return true;
    }
    return false;
}

static bool is_self(void *user, barid_slice name, const barid_endpoint *address)
{
    const struct outgoing *o = user;

    if (address != NULL)
        return is_listened_on(o, address);
    return slice_eq_nocase(name, slice_str(o->d->version->config->hostname));
}

/* --- what a version wants --- */

struct tools {
    struct dns *dns;
    struct tls_ctx *tls, *tls_verified;
};

static void tools_del(struct tools *t)
{
    dns_del(&t->dns);
    tls_unref(&t->tls);
    tls_unref(&t->tls_verified);
}

static int tools_make(struct tools *t, struct loop *loop, const struct config *c, struct err *err)
{
    struct dns_options dns = {.servers = c->dns_servers, .n_servers = c->n_dns_servers, .trust_ad = c->dns_trust_ad};
    int rc = dns_new(&t->dns, loop, &dns, err);

    if (rc == 0)
        rc = tls_client_new(&t->tls, &(struct tls_client_options){.verify = TLS_VERIFY_NONE}, err);
    if (rc == 0)
        rc = tls_client_new(&t->tls_verified,
                            &(struct tls_client_options){.verify = TLS_VERIFY_PEER, .ca_file = c->relay.ca}, err);
    if (rc != 0)
        tools_del(t);
    return rc;
}

static void keep(struct outgoing *o, const struct tools *t)
{
    o->dns = t->dns;
    o->tls = t->tls;
    o->tls_verified = t->tls_verified;
}

int outgoing_open(struct outgoing *o, struct generation *v, struct transport **t_r, struct err *err)
{
    struct tools t = {0};
    int rc = tools_make(&t, o->d->loop, v->config, err);

    if (rc != 0)
        return rc;
    rc = relay_open(&o->relay,
                    &(struct relay_options){.loop = o->d->loop,
                                            .dns = t.dns,
                                            .rng = o->d->rng,
                                            .tls = t.tls,
                                            .tls_verified = t.tls_verified,
                                            .idle_ms = v->routing.idle_ms,
                                            .is_self = is_self,
                                            .user = o,
                                            .log = o->d->log},
                    err);
    if (rc != 0) {
        tools_del(&t);
        return rc;
    }
    keep(o, &t);
    *t_r = o->relay;
    return 0;
}

int outgoing_use(struct outgoing *o, struct generation *v, struct err *err)
{
    struct tools t = {0}, old = {o->dns, o->tls, o->tls_verified};
    int rc = tools_make(&t, o->d->loop, v->config, err);

    if (rc != 0)
        return rc;
    relay_set_dns(o->relay, t.dns);
    relay_set_tls(o->relay, t.tls, t.tls_verified);
    keep(o, &t);
    tools_del(&old); /* questions under way are asked again, of the new one */
    return 0;
}

/* --- life --- */

int outgoing_new(struct outgoing **o_r, struct daemon *d, struct err *err)
{
    struct outgoing *o = mem_zalloc(NULL, sizeof(*o));

    *o_r = o;
    if (o == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    o->d = d;
    read_addresses(o);
    return 0;
}

void outgoing_del(struct outgoing **o_p)
{
    struct outgoing *o = *o_p;

    if (o == NULL)
        return;
    *o_p = NULL;
    tools_del(&(struct tools){o->dns, o->tls, o->tls_verified});
    mem_free(NULL, o);
}
