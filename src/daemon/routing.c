/* daemon/routing.c: see routing.h. */
#include "daemon/routing.h"

#include "base/slice.h"

static void make_base(struct hop *hop, const struct config *c)
{
    const struct config_relay *r = &c->relay;

    hop_init(hop);
    hop->helo = slice_str(r->helo != NULL ? r->helo : c->hostname);
    hop->source4 = r->source4;
    hop->source6 = r->source6;
    hop->tls = (enum hop_tls)r->tls;
    hop->downgrade = (enum hop_downgrade)r->downgrade;
    hop->chunk = (size_t)r->chunk;
    hop->connect_ms = r->connect_ms;
    hop->max_connections = r->max_connections;
    hop->max_rcpts = r->max_rcpts;
    hop->max_mails = r->max_mails;
}

/* Who gave a user wants to be known there: without AUTH a relay host would refuse the mail, for
 * good. */
static void make_relayhost(struct hop *hop, const struct config_relayhost *r)
{
    if (r->tls != RELAYHOST_TLS_UNSAID)
        hop->tls = (enum hop_tls)r->tls;
    hop->implicit_tls = r->implicit_tls;
    if (r->user == NULL)
        return;
    hop->user = slice_str(r->user);
    hop->password = slice_str(r->password);
    hop->require_auth = true;
}

int routing_make(struct routing *r, struct arena *arena, const struct config *c,
                 struct err *err)
{
    const struct config_relayhost *from = &c->relayhost;
    struct hop *hosts = arena_alloc(arena, from->n_hosts * sizeof(*hosts));
    int rc =
        hosts != NULL || from->n_hosts == 0 ? 0 : err_set(err, BARID_ENOMEM, "out of memory");

    *r = (struct routing){.relayhosts = hosts, .ca = c->relay.ca};
    r->idle_ms = c->relay.idle_s * 1000;
    make_base(&r->base, c);
    for (size_t i = 0; rc == 0 && i < from->n_hosts; i++) {
        hosts[i] = r->base;
        make_relayhost(&hosts[i], from);
        rc = hop_parse(&hosts[i], arena, slice_str(from->hosts[i]), err);
    }
    if (rc == 0)
        r->n_relayhosts = from->n_hosts;
    return rc;
}
