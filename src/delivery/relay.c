/*
 * delivery/relay.c: the transport of DISPOSITION_SEND. See relay_open.h.
 *
 *   send ──▶ addresses (hosts) ──▶ courier ──▶ on_result ... on_over
 *     └──unix_path────────────────────▲
 *
 * A shipment is one consignment under way. It is freed before on_over is called; cancel frees it at any time between two calls.
 */
#include "delivery/relay_open.h"

#include "base/arena.h"
#include "base/endpoint.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/slice.h"
#include "delivery/answers.h"
#include "delivery/relay_int.h"

#define CONNECT_MS 30000 /* where a hop does not say */

struct relay {
    struct transport transport;
    struct relay_options o; /* hosts: the answers, which ask o.dns */
    struct answers *answers;
    struct connections *connections;
    struct unreachable unreachable;
    struct list shipments;
};

struct shipment {
    struct relay *relay;
    struct list node;
    struct consignment *c;
    struct arena arena; /* of one envelope and HOSTS_ADDRESSES_MAX addresses */
    struct hosts_query *hosts;
    struct courier *courier;
    barid_client_config config;
    barid_client_mail mail;
    struct host_address *addresses;
    struct relay_source source;
};

static struct relay *relay_of(struct transport *t)
{
    return (struct relay *)((char *)t - offsetof(struct relay, transport));
}

static void shipment_free(struct shipment *s)
{
    const barid_mem *mem = s->relay->o.mem;

    hosts_cancel(&s->hosts);
    courier_del(&s->courier);
    relay_source_deinit(&s->source);
    list_remove(&s->node);
    s->c->sending = NULL;
    arena_deinit(&s->arena);
    mem_free(mem, s);
}

static void finish(struct shipment *s)
{
    struct consignment *c = s->c;

    shipment_free(s);
    c->on_over(c);
}

/* No server was asked. */
static void finish_all(struct shipment *s, enum delivery_status status, const char *stage,
                       const char *reply)
{
    struct send_result r = {
        .status = status, .no_connection = true, .stage = stage, .reply = slice_str(reply)};

    log_record(s->relay->o.log, LOG_LEVEL_DEBUG, "relay", "no server",
               LOG_STR("hop", s->c->hop->name), LOG_STR("reply", r.reply));
    for (size_t i = 0; i < s->c->n_rcpts; i++)
        s->c->on_result(s->c, i, &r);
    finish(s);
}

/* --- the courier's owner --- */

static void on_result(void *user, size_t rcpt, const struct courier_result *result)
{
    struct shipment *s = user;
    char address[ENDPOINT_SIZE];
    struct send_result r = {.status = result->status,
                            .is_suspect = result->is_suspect,
                            .no_connection = result->no_connection,
                            .stage = barid_client_stage_name(result->stage),
                            .reply = slice_str(result->text),
                            .dsn_passed = result->dsn_passed};

    if (result->server != NULL) {
        endpoint_format(&result->server->endpoint, address);
        r.remote = result->server->name;
        r.remote_address = slice_str(address);
    }
    s->c->on_result(s->c, rcpt, &r);
}

static int on_body(void *user, uint64_t offset, size_t n, barid_slice *p_r, bool *last_r)
{
    struct shipment *s = user;

    return relay_source_read(&s->source, offset, n, p_r, last_r);
}

static void on_over(void *user)
{
    finish(user);
}

static int on_server(void *user, const barid_client *client, barid_client_mail *mail,
                     char refusal[COURIER_TEXT_SIZE])
{
    struct shipment *s = user;

    if (s->c->hop->require_auth && barid_client_mechanism(client) == BARID_AUTH_NONE) {
        strcpy(
            refusal,
            "454 4.7.0 authentication is required and there is nothing to authenticate with");
        return BARID_EUNSUPPORTED;
    }
    return relay_source_choose(&s->source, barid_client_extensions(client), mail, refusal);
}

/* For who asks why a signature over the body no longer holds, or where octets were lost. */
static void log_conversion(const struct shipment *s)
{
    log_record(s->relay->o.log, LOG_LEVEL_DEBUG, "relay", "converted",
               LOG_STR("hop", s->c->hop->name),
               LOG_INT("lost", downgrade_lost(s->source.converted)));
}

static void on_final(void *user)
{
    struct shipment *s = user;

    if (s->source.converted != NULL)
        log_conversion(s);
    s->c->on_final(s->c);
}

static const struct courier_ops courier_ops = {.on_result = on_result,
                                               .on_body = on_body,
                                               .on_over = on_over,
                                               .on_server = on_server,
                                               .on_final = on_final};

static void on_source_ready(void *user)
{
    struct shipment *s = user;

    courier_server_ready(s->courier); /* s may be gone */
}

static int start_courier(struct shipment *s, size_t n_addresses)
{
    const struct hop *hop = s->c->hop;
    const struct relay_options *o = &s->relay->o;
    struct courier_options k = {
        .loop = o->loop,
        .connections = s->relay->connections,
        .unreachable = &s->relay->unreachable,
        .config = &s->config,
        .tls = hop->tls == HOP_TLS_VERIFIED ? o->tls_verified : o->tls,
        .from = {hop->source4.family != BARID_FAMILY_NONE ? &hop->source4 : NULL,
                 hop->source6.family != BARID_FAMILY_NONE ? &hop->source6 : NULL},
        .connect_ms = hop->connect_ms > 0 ? hop->connect_ms : CONNECT_MS,
        .max_mails = hop->max_mails,
        .ops = &courier_ops,
        .user = s,
        .mem = o->mem};

    if (hop->unix_path.n > 0 && (k.unix_path = arena_strdup(&s->arena, hop->unix_path)) == NULL)
        return BARID_ENOMEM;
    return courier_new(&s->courier, &k, &s->mail, s->addresses, n_addresses);
}

/* --- where to --- */

static int copy_addresses(struct shipment *s, const struct host_address *addresses, size_t n)
{
    s->addresses = arena_alloc(&s->arena, n * sizeof(*addresses));
    if (s->addresses == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        s->addresses[i] = addresses[i];
        if (arena_slice(&s->arena, addresses[i].name, &s->addresses[i].name) != 0)
            return BARID_ENOMEM;
    }
    return 0;
}

static void on_hosts(void *user, const struct hosts_answer *answer)
{
    struct shipment *s = user;

    s->hosts = NULL;
    if (answer->status != HOSTS_OK)
        finish_all(s, answer->status == HOSTS_FAILED ? DELIVERY_FAILED : DELIVERY_AGAIN, "dns",
                   answer->reply);
    else if (copy_addresses(s, answer->addresses, answer->n) != 0 ||
             start_courier(s, answer->n) != 0)
        finish_all(s, DELIVERY_AGAIN, "local", "451 4.3.0 out of memory");
}

static int start(struct shipment *s)
{
    const struct hop *hop = s->c->hop;
    const struct relay_options *o = &s->relay->o;
    struct host_address local = {.name = hop->unix_path,
                                 .endpoint = {.family = BARID_FAMILY_UNIX}};
    struct next_hop next = {.name = hop->name, .port = hop->port, .is_host = hop->is_host};
    struct hosts_options h = {.loop = o->loop,
                              .source = o->hosts,
                              .rng = o->rng,
                              .no_ipv4 = o->no_ipv4,
                              .no_ipv6 = o->no_ipv6,
                              .is_self = o->is_self,
                              .user = o->user,
                              .mem = o->mem};

    if (hop->unix_path.n == 0)
        return hosts_ask(&h, &next, on_hosts, s, &s->hosts);
    if (copy_addresses(s, &local, 1) != 0)
        return BARID_ENOMEM;
    return start_courier(s, 1);
}

/* --- the transport --- */

static int fill_mail(struct shipment *s)
{
    const struct consignment *c = s->c;
    barid_client_rcpt *rcpts = arena_alloc(&s->arena, c->n_rcpts * sizeof(*rcpts));

    if (rcpts == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < c->n_rcpts; i++) {
        const struct rcpt *r = c->mail->rcpts[c->rcpts[i]];

        rcpts[i] = (barid_client_rcpt){.address = r->box.address,
                                       .params = {.notify = r->notify, .orcpt = r->orcpt}};
    }
    s->mail = (barid_client_mail){
        .sender = c->mail->sender.address, .rcpts = rcpts, .n_rcpts = c->n_rcpts};
    relay_params(&s->mail.params, c, relay_source_size(&s->source));
    return 0;
}

static int relay_send(struct transport *t, struct consignment *c)
{
    struct relay *relay = relay_of(t);
    struct shipment *s = mem_zalloc(relay->o.mem, sizeof(*s));

    if (s == NULL)
        return BARID_ENOMEM;
    s->relay = relay;
    s->c = c;
    list_append(&relay->shipments, &s->node);
    arena_init(&s->arena, relay->o.mem, 0);
    relay_source_init(&s->source, c, relay->o.loop, relay->o.mem, on_source_ready, s);
    relay_config(&s->config, c->hop, relay->o.rng);
    if (fill_mail(s) != 0 || start(s) != 0) {
        shipment_free(s);
        return BARID_ENOMEM;
    }
    c->sending = s;
    return 0;
}

static void relay_body_ready(struct transport *t, struct consignment *c)
{
    struct shipment *s = c->sending;

    (void)t;
    if (s == NULL || s->courier == NULL)
        return;
    if (s->source.waits)
        courier_server_ready(s->courier);
    else
        courier_body_ready(s->courier);
}

static void relay_cancel(struct transport *t, struct consignment *c)
{
    (void)t;
    if (c->sending != NULL)
        shipment_free(c->sending);
}

static void relay_close(struct transport *t)
{
    struct relay *relay = relay_of(t);

    connections_del(&relay->connections);
    answers_del(&relay->answers);
    tls_unref(&relay->o.tls);
    tls_unref(&relay->o.tls_verified);
    mem_free(relay->o.mem, relay);
}

static struct tls_ctx *reference(struct tls_ctx *ctx)
{
    return ctx != NULL ? tls_ref(ctx) : NULL;
}

void relay_set_tls(struct transport *t, struct tls_ctx *tls, struct tls_ctx *tls_verified)
{
    struct relay_options *o = &relay_of(t)->o;
    struct tls_ctx *old = o->tls, *old_verified = o->tls_verified;

    o->tls = reference(tls);
    o->tls_verified = reference(tls_verified);
    tls_unref(&old);
    tls_unref(&old_verified);
}

void relay_set_dns(struct transport *t, struct dns *dns)
{
    struct hosts_source source = hosts_source_dns(dns);

    answers_set_source(relay_of(t)->answers, &source);
}

int relay_open(struct transport **t_r, const struct relay_options *o, struct err *err)
{
    struct relay *relay = mem_zalloc(o->mem, sizeof(*relay));
    struct connections_options k = {
        .loop = o->loop, .idle_ms = o->idle_ms > 0 ? o->idle_ms : RELAY_IDLE_MS, .mem = o->mem};
    struct hosts_source source = o->hosts.ask != NULL ? o->hosts : hosts_source_dns(o->dns);

    *t_r = NULL;
    if (relay == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    relay->transport = (struct transport){.name = "relay",
                                          .kind = DISPOSITION_SEND,
                                          .send = relay_send,
                                          .body_ready = relay_body_ready,
                                          .cancel = relay_cancel,
                                          .close = relay_close};
    relay->o = *o;
    relay->o.rng = k.rng = o->rng != NULL ? o->rng : &rng_system;
    relay->o.tls = reference(o->tls);
    relay->o.tls_verified = reference(o->tls_verified);
    list_init(&relay->shipments);
    if (answers_new(&relay->answers, o->loop, &source, relay->o.rng, o->mem) != 0 ||
        connections_new(&relay->connections, &k) != 0) {
        relay_close(&relay->transport);
        return err_set(err, BARID_ENOMEM, "out of memory");
    }
    relay->o.hosts = answers_source(relay->answers);
    *t_r = &relay->transport;
    return 0;
}
