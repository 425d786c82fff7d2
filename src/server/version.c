/*
 * server/version.c: from declarations to session configurations.
 */
#include "server/version.h"

#include "base/mem.h"
#include "base/slice.h"

/* Events that the server itself acts on, whatever the policy hooks. */
#define SERVER_EVENTS                                                                          \
    (BARID_EVENT_BIT(BARID_EVENT_CONNECT) | BARID_EVENT_BIT(BARID_EVENT_TLS) |                 \
     BARID_EVENT_BIT(BARID_EVENT_AUTH) | BARID_EVENT_BIT(BARID_EVENT_MAIL) |                   \
     BARID_EVENT_BIT(BARID_EVENT_RCPT) | BARID_EVENT_BIT(BARID_EVENT_DATA) |                   \
     BARID_EVENT_BIT(BARID_EVENT_HEADERS) | BARID_EVENT_BIT(BARID_EVENT_BODY) |                \
     BARID_EVENT_BIT(BARID_EVENT_MESSAGE) | BARID_EVENT_BIT(BARID_EVENT_RECIPIENT) |           \
     BARID_EVENT_BIT(BARID_EVENT_DISCONNECT))

#define MECHANISM(m) (1u << (m))

/* CRAM-MD5 needs the password itself, SCRAM-SHA-1 that or its own verifier: offered only where
 * that serves every user, as a client that prefers one of them does not try another. */
static uint32_t usable_mechanisms(const struct config_listen *l, const struct users *users)
{
    if (l->mechanisms)
        return l->mechanisms;
    uint32_t m = MECHANISM(BARID_AUTH_PLAIN) | MECHANISM(BARID_AUTH_LOGIN) |
                 MECHANISM(BARID_AUTH_SCRAM_SHA_256);
    if (users_all_can(users, BARID_AUTH_CRAM_MD5))
        m |= MECHANISM(BARID_AUTH_CRAM_MD5);
    if (users_all_can(users, BARID_AUTH_SCRAM_SHA_1))
        m |= MECHANISM(BARID_AUTH_SCRAM_SHA_1);
    return m;
}

static void fill_session(struct version *v, struct version_listen *l,
                         const struct server_options *o)
{
    const struct config_listen *c = l->config;
    barid_session_config *s = &l->session[0];
    bool can_auth =
        c->auth != LISTEN_AUTH_OFF &&
        (v->users || (policy_events(v->policy) & BARID_EVENT_BIT(BARID_EVENT_AUTH)));
    s->size = sizeof *s;
    s->protocol = c->protocol;
    s->hostname = slice_str(v->config->hostname);
    s->events = policy_events(v->policy) | SERVER_EVENTS;
    s->extensions =
        c->extensions & ~(uint32_t)(BARID_EXT_STARTTLS | BARID_EXT_AUTH | BARID_EXT_XCLIENT);
    if (c->tls == LISTEN_TLS_STARTTLS && l->tls)
        s->extensions |= BARID_EXT_STARTTLS;
    if (can_auth) {
        s->extensions |= BARID_EXT_AUTH;
        s->mechanisms = usable_mechanisms(c, v->users);
    }
    s->plain_auth_without_tls = c->plain_auth_without_tls;
    s->tls_required = c->tls_required;
    s->auth_required = c->auth == LISTEN_AUTH_REQUIRED;
    s->implicit_tls = c->tls == LISTEN_TLS_IMPLICIT;
    s->limits = c->limits.session;
    s->switches.strict_mixed = v->config->mixed_strict;
    s->switches.bare_newline = v->config->bare_newline;
    s->replies = v->config->replies;
    if (o->auth_seed)
        memcpy(s->auth_seed, o->auth_seed, sizeof s->auth_seed);
    s->random = o->rng->fill;
    s->random_user = o->rng->user;
    for (unsigned bits = 1; bits < VERSION_PEERS; bits++) {
        l->session[bits] = *s;
        l->session[bits].proxy = (bits & VERSION_PEER_PROXY) != 0;
        l->session[bits].xclient = (bits & VERSION_PEER_XCLIENT) != 0;
        if (bits & VERSION_PEER_XCLIENT)
            l->session[bits].extensions |= BARID_EXT_XCLIENT;
    }
}

/* On a listener with `proxy` only networks.proxy send the header; from anybody else it is no
 * command. Behind a proxy comes another client, about whom networks.xclient is not asked here:
 * nobody who comes that way may use XCLIENT. */
const barid_session_config *version_session(const struct version *v,
                                            const struct version_listen *l,
                                            const barid_endpoint *peer)
{
    unsigned bits = 0;
    if (l->config->proxy && network_contains(&v->config->proxies, peer))
        bits |= VERSION_PEER_PROXY;
    else if (network_contains(&v->config->xclients, peer))
        bits |= VERSION_PEER_XCLIENT;
    return &l->session[bits];
}

int version_new(struct version **v_r, const struct server_version *from,
                const struct server_options *o)
{
    struct version *v = mem_zalloc(NULL, sizeof *v);
    struct version_listen *listen = mem_array(NULL, from->config->n_listen, sizeof *listen);
    struct locals locals;
    uint64_t seed[2];
    rng_fill(o->rng, seed, sizeof seed);
    if (!v || (!listen && from->config->n_listen) ||
        locals_init(&locals, from->config, seed) < 0) {
        mem_free(NULL, v);
        mem_free(NULL, listen);
        return BARID_ENOMEM;
    }
    *v = (struct version){.refs = 1,
                          .config = from->config,
                          .policy = policy_ref(from->policy),
                          .users = users_ref(from->users),
                          .routing = from->routing,
                          .locals = locals,
                          .listen = listen,
                          .released = from->released,
                          .user = from->user};
    for (size_t i = 0; i < from->config->n_listen; i++) {
        listen[i].config = &from->config->listen[i];
        listen[i].tls = from->tls && from->tls[i] ? tls_ref(from->tls[i]) : NULL;
        fill_session(v, &listen[i], o);
    }
    *v_r = v;
    return 0;
}

struct version *version_ref(struct version *v)
{
    v->refs++;
    return v;
}

void version_unref(struct version **v)
{
    struct version *x = *v;
    *v = NULL;
    if (!x || --x->refs > 0)
        return;
    for (size_t i = 0; i < x->config->n_listen; i++)
        tls_unref(&x->listen[i].tls);
    policy_unref(&x->policy);
    users_unref(&x->users);
    locals_deinit(&x->locals);
    mem_free(NULL, x->listen);
    if (x->released)
        x->released(x->user); /* last: the daemon may free the configuration now */
    mem_free(NULL, x);
}

size_t version_find_listen(const struct version *v, const char *address)
{
    for (size_t i = 0; i < v->config->n_listen; i++)
        if (strcmp(v->config->listen[i].address, address) == 0)
            return i;
    return SIZE_MAX;
}
