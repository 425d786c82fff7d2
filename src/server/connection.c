/*
 * server/connection.c: one client from accept to the end: admission, the driver's callbacks,
 * answers.
 */
#include "server/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "server/ask.h"
#include "server/session_log.h"
#include "server/steps.h"
#include "server/transaction.h"

static void connection_free(struct connection *c)
{
    struct server *s = c->server;
    list_remove(&c->node);
    transaction_del(&c->tx);
    ask_cancel(c);
    policy_session_del(&c->policy);
    driver_deinit(&c->driver);
    mem_free(NULL, c->helo);
    mem_free(NULL, c->user);
    mem_free(NULL, c->tls_text);
    mem_free(NULL, c->name);
    version_unref(&c->version);
    mem_free(NULL, c);
    server_connection_gone(s);
}

void connection_settle(struct connection *c)
{
    if (c->gone && c->under_way == 0 && !c->ask)
        connection_free(c);
}

bool connection_back(struct connection *c)
{
    c->under_way--;
    if (!c->gone)
        return true;
    connection_settle(c);
    return false;
}

void connection_answer(struct connection *c, const barid_verdict *verdict)
{
    const enum barid_event_id event = c->driver.event;
    const enum barid_verdict_kind kind = verdict->kind;
    const struct log *log = c->server->o.log;
    char id[SESSION_ID_SIZE];
    memcpy(id, c->facts.id, sizeof id);
    if (kind == BARID_REJECT && event != BARID_EVENT_AUTH) /* see on_closed */
        server_count(&c->server->count.refused, 1);
    else if (kind == BARID_TEMPFAIL)
        server_count(&c->server->count.tempfailed, 1);
    /* A greeting that is refused leaves the name before it. */
    c->facts_stale = event == BARID_EVENT_HELO;
    /* A wrong answer is a 451 by the session's own rule; it is logged because it is a bug of
     * ours. c may be gone after. */
    if (driver_answer(&c->driver, verdict) < 0)
        log_record(log, LOG_LEVEL_ERROR, "server", "verdict not allowed for this event",
                   LOG_CSTR("session", id),
                   LOG_CSTR("event", barid_event_info_get(event)->name),
                   LOG_CSTR("verdict", barid_verdict_name(kind)));
}

barid_verdict connection_verdict(const struct connection *c, enum barid_reply_id id)
{
    const barid_replies *own = c->version->config->replies;
    const barid_reply *r = own && own->row[id].code ? &own->row[id] : barid_reply_default(id);
    return (barid_verdict){.kind = r->code >= 500   ? BARID_REJECT
                                   : r->code >= 400 ? BARID_TEMPFAIL
                                                    : BARID_ACCEPT,
                           .code = r->code,
                           .enhanced = r->enhanced,
                           .text = r->text};
}

void connection_answer_reply(struct connection *c, enum barid_reply_id id)
{
    barid_verdict v = connection_verdict(c, id);
    connection_answer(c, &v);
}

/* --- callbacks of the driver --- */

static struct connection *connection_of(struct driver *d)
{
    return LIST_ENTRY(d, struct connection, driver);
}

static void on_event(struct driver *d, const barid_event *ev)
{
    struct connection *c = connection_of(d);
    if (c->facts_stale)
        c->facts_stale = connection_refresh_facts(c) < 0;
    if (ev->id == BARID_EVENT_TLS)
        server_count(&c->server->count.tls_handshakes, 1);
    steps_run(c, ev);
}

/* An idle session holds nothing: the transaction that was answered, reset or refused goes. */
static void on_idle(struct driver *d)
{
    transaction_del(&connection_of(d)->tx);
}

static void on_tls_failed(struct driver *d, const struct err *err)
{
    struct connection *c = connection_of(d);
    log_record(c->server->o.log, LOG_LEVEL_INFO, "server", "TLS handshake failed",
               LOG_CSTR("session", c->facts.id), LOG_CSTR("error", err ? err->text : ""));
}

/* A client that saw the end and comes again must find its place free. */
static void on_closing(struct driver *d)
{
    struct connection *c = connection_of(d);
    struct server *s = c->server;
    admission_leave(s->o.admission, &c->facts.client, c->counted_per_client);
    atomic_fetch_sub_explicit(&s->count.connections, 1, memory_order_relaxed);
}

static void on_closed(struct driver *d)
{
    struct connection *c = connection_of(d);
    struct server *s = c->server;
    c->gone = true;
    session_log_end(c);
    server_count(&s->count.bytes_in, d->bytes_in);
    /* Only the session knows how a SCRAM or CRAM-MD5 exchange ended. */
    if (barid_session_user(d->session).n)
        server_count(&s->count.auth_ok, 1);
    server_count(&s->count.auth_failed, barid_session_auth_failures(d->session));
    connection_settle(c);
}

static const struct driver_ops driver_ops = {.on_event = on_event,
                                             .on_idle = on_idle,
                                             .on_tls_failed = on_tls_failed,
                                             .on_closing = on_closing,
                                             .on_closed = on_closed};

/* By force, a question that still waits is withdrawn first: what it shows lies in the session's
 * memory, and the observer of the end is asked next, in its place. */
void connection_stop(struct connection *c, bool force)
{
    if (force && c->driver.event != BARID_EVENT_DISCONNECT)
        ask_cancel(c);
    driver_stop(&c->driver, force);
}

/* --- accepting --- */

static void refuse(struct server *s, const struct version_listen *l, struct stream *stream,
                   const char *why)
{
    char line[512], text[ENDPOINT_TEXT_SIZE];
    endpoint_text(stream_peer(stream), text);
    log_record(s->o.log, LOG_LEVEL_WARN, "server", "connection refused",
               LOG_CSTR("client", text), LOG_CSTR("listener", l->config->address),
               LOG_CSTR("reason", why));
    server_count(&s->count.refused, 1);
    if (l->config->tls !=
        LISTEN_TLS_IMPLICIT) { /* before a handshake there is no one to read plain text */
        const barid_slice host = l->session[0].hostname;
        int n = snprintf(line, sizeof line, "421 4.7.0 %.*s closing: try again later\r\n",
                         (int)host.n, host.p);
        (void)stream_write(stream, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
    }
    stream_del(&stream);
}

static bool is_loopback(const barid_endpoint *e)
{
    static const uint8_t v6[16] = {[15] = 1};
    return e->family == BARID_FAMILY_UNIX ||
           (e->family == BARID_FAMILY_IPV4 && e->addr[0] == 127) ||
           (e->family == BARID_FAMILY_IPV6 && memcmp(e->addr, v6, sizeof v6) == 0);
}

size_t connection_client_limit(const struct connection *c, const barid_endpoint *client)
{
    return is_loopback(client) || network_contains(&c->version->config->trusted, client)
               ? 0
               : c->listen->config->limits.connections_per_client;
}

static void fill_facts(struct connection *c, struct stream *stream)
{
    struct session_facts *f = &c->facts;
    snprintf(f->id, sizeof f->id, "%016llx", (unsigned long long)c->server->next_session_id++);
    f->protocol = c->listen->config->protocol;
    f->client = *stream_peer(stream);
    f->local = *stream_local(stream);
    f->listener = slice_str(c->listen->config->address);
    f->trusted = network_contains(&c->version->config->trusted, &f->client);
    f->started_us = clock_wall_us(c->server->o.clock);
}

static const char *admit(struct connection *c)
{
    size_t client_max = connection_client_limit(c, &c->facts.client);
    enum admission_result r =
        admission_enter(c->server->o.admission, &c->facts.client,
                        c->version->config->limits.connections, client_max);
    c->counted_per_client = r == ADMISSION_OK && client_max > 0;
    return r == ADMISSION_OK      ? NULL
           : r == ADMISSION_TOTAL ? "limits.connections reached"
                                  : "limits.connections_per_client reached";
}

void connection_accept(struct server *s, size_t listen_index, struct stream *stream)
{
    struct connection *c = mem_zalloc(NULL, sizeof *c);
    const struct version_listen *l = &s->version->listen[listen_index];
    if (!c) {
        refuse(s, l, stream, "out of memory");
        return;
    }
    *c = (struct connection){.server = s, .version = version_ref(s->version), .listen = l};
    fill_facts(c, stream);
    const char *why = s->stopping ? "stopping" : admit(c);
    bool admitted = !why;
    if (!why &&
        driver_init(&c->driver, s->o.loop, stream,
                    version_session(c->version, l, &c->facts.client), l->tls, &driver_ops) < 0)
        why = "out of memory";
    if (why) { /* refused before it was ever in the server's list */
        if (admitted)
            admission_leave(s->o.admission, &c->facts.client, c->counted_per_client);
        refuse(s, l, stream, why);
        version_unref(&c->version);
        mem_free(NULL, c);
        return;
    }
    list_append(&s->connections, &c->node);
    server_count(&s->count.sessions, 1);
    server_count(&s->count.connections, 1);
    driver_start(&c->driver);
}
