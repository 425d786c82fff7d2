/* smtp/session_facts.c: what is known about the peer, and what it may use because of that. */
#include <string.h>

#include "base/mem.h"
#include "smtp/session_int.h"

/* One allocation: the public struct, then its strings. */
struct tls_facts {
    barid_tls_info info;
    char text[];
};

int session_set_fact(struct barid_session *s, barid_slice *fact, barid_slice value)
{
    char *copy = NULL;

    if (value.n > 0) {
        copy = mem_alloc(s->mem, value.n);
        if (copy == NULL)
            return BARID_ENOMEM;
        memcpy(copy, value.p, value.n);
    }
    mem_free(s->mem, (void *)fact->p);
    *fact = slice_of(copy, value.n);
    return 0;
}

static char *put(char *at, barid_slice *s)
{
    if (s->n > 0)
        memcpy(at, s->p, s->n);
    s->p = at;
    return at + s->n;
}

int session_set_tls(struct barid_session *s, const barid_tls_info *info)
{
    size_t n = info->version.n + info->cipher.n + info->sni.n + info->peer_subject.n;
    struct tls_facts *facts = mem_alloc(s->mem, sizeof(*facts) + n);
    char *at;

    if (facts == NULL)
        return BARID_ENOMEM;
    facts->info = *info;
    at = put(facts->text, &facts->info.version);
    at = put(at, &facts->info.cipher);
    at = put(at, &facts->info.sni);
    put(at, &facts->info.peer_subject);
    mem_free(s->mem, s->tls);
    s->tls = facts;
    return 0;
}

void session_forget_greeting(struct barid_session *s)
{
    /* Setting the empty value cannot fail. */
    session_set_fact(s, &s->helo, (barid_slice){NULL, 0});
    session_set_fact(s, &s->before.helo, (barid_slice){NULL, 0});
    session_set_fact(s, &s->user, (barid_slice){NULL, 0});
    s->mechanism = BARID_AUTH_NONE;
    s->authenticated = false;
    s->greeted = s->esmtp = false;
    s->hidden = 0;
    tx_del(&s->tx);
}

void session_free_facts(struct barid_session *s)
{
    session_forget_greeting(s);
    session_set_fact(s, &s->peer_name, (barid_slice){NULL, 0});
    mem_free(s->mem, s->proxy_dest);
    mem_free(s->mem, s->tls);
}

uint32_t session_mechanisms(const struct barid_session *s)
{
    uint32_t bits = s->config->mechanisms & ~1u;

    if (s->tls == NULL && !s->config->plain_auth_without_tls)
        bits &= ~((1u << BARID_AUTH_PLAIN) | (1u << BARID_AUTH_LOGIN));
    return bits;
}

uint32_t session_extensions(const struct barid_session *s)
{
    uint32_t bits = s->config->extensions & ~s->hidden;

    if (s->tls != NULL)
        bits &= ~(uint32_t)BARID_EXT_STARTTLS;
    if (!s->config->xclient)
        bits &= ~(uint32_t)BARID_EXT_XCLIENT;
    if ((bits & BARID_EXT_CHUNKING) == 0)
        bits &= ~(uint32_t)BARID_EXT_BINARYMIME;
    if (is_lmtp(s)) /* LMTP has a reply per recipient anyway */
        bits &= ~(uint32_t)BARID_EXT_PRDR;
    return bits;
}

const barid_endpoint *barid_session_peer(const barid_session *s)
{
    return &s->peer;
}

const barid_endpoint *barid_session_proxy_dest(const barid_session *s)
{
    static const barid_endpoint none;

    return s->proxy_dest != NULL ? s->proxy_dest : &none;
}

barid_slice barid_session_peer_name(const barid_session *s)
{
    return s->peer_name;
}

barid_slice barid_session_helo(const barid_session *s)
{
    return s->helo;
}

bool barid_session_is_esmtp(const barid_session *s)
{
    return s->esmtp;
}

const barid_tls_info *barid_session_tls(const barid_session *s)
{
    return s->tls != NULL ? &s->tls->info : NULL;
}

barid_slice barid_session_user(const barid_session *s)
{
    return s->authenticated ? s->user : (barid_slice){NULL, 0};
}

enum barid_auth_mechanism barid_session_mechanism(const barid_session *s)
{
    return (enum barid_auth_mechanism)s->mechanism;
}

size_t barid_session_commands(const barid_session *s)
{
    return s->commands;
}

size_t barid_session_auth_failures(const barid_session *s)
{
    return s->auth_failures;
}

size_t barid_session_errors(const barid_session *s)
{
    return s->errors;
}
