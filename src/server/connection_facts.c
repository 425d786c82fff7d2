/*
 * server/connection_facts.c: what a session has learnt, copied to where policy, log and record
 * look for it.
 */
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "server/connection.h"

/* *copy follows text: replaced only when it differs, so that facts stay where they are within a
 * session. */
static int keep(char **copy, barid_slice *fact, barid_slice text)
{
    if (slice_eq(*fact, text))
        return 0;
    char *fresh = text.n ? mem_strdup(NULL, text) : NULL;
    if (text.n && !fresh)
        return BARID_ENOMEM;
    mem_free(NULL, *copy);
    *copy = fresh;
    *fact = slice_of(fresh, text.n);
    return 0;
}

static int keep_tls(struct connection *c, const barid_tls_info *t)
{
    struct session_facts *f = &c->facts;
    size_t n = t->version.n + t->cipher.n + t->sni.n + t->peer_subject.n;
    char *p = mem_alloc(NULL, n ? n : 1);
    if (!p)
        return BARID_ENOMEM;
    mem_free(NULL, c->tls_text);
    c->tls_text = p;
    const barid_slice from[] = {t->version, t->cipher, t->sni, t->peer_subject};
    barid_slice *const to[] = {&f->tls_version, &f->tls_cipher, &f->tls_sni, &f->tls_peer};
    for (size_t i = 0; i < 4; i++) {
        if (from[i].n)
            memcpy(p, from[i].p, from[i].n);
        *to[i] = slice_of(p, from[i].n);
        p += from[i].n;
    }
    f->tls = true;
    f->tls_bits = t->bits;
    return 0;
}

int connection_refresh_facts(struct connection *c)
{
    const barid_tls_info *tls = barid_session_tls(c->driver.session);
    if (keep(&c->helo, &c->facts.helo, barid_session_helo(c->driver.session)) < 0 ||
        keep(&c->user, &c->facts.user, barid_session_user(c->driver.session)) < 0 ||
        keep(&c->name, &c->facts.client_name, barid_session_peer_name(c->driver.session)) < 0)
        return BARID_ENOMEM;
    c->facts.esmtp = barid_session_is_esmtp(c->driver.session);
    c->facts.mechanism = barid_session_mechanism(c->driver.session);
    return tls && !c->facts.tls ? keep_tls(c, tls) : 0;
}
