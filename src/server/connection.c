/*
 * server/connection.c: bytes from the stream into the session, replies out, deadlines, the end.
 *
 * connection_pump is the one place that drives the session: events, output, wants, until
 * nothing moves. Every callback (bytes, drained, handshake, answers, deadlines) changes
 * something and pumps. It is not re-entered: a callback from within it only sets `again`.
 */
#include "server/connection.h"

#include <stdio.h>

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
    barid_session_del(&c->session);
    timer_del(&c->timer);
    mem_free(NULL, c->helo);
    mem_free(NULL, c->user);
    mem_free(NULL, c->tls_text);
    mem_free(NULL, c->name);
    version_unref(&c->version);
    mem_free(NULL, c);
    server_connection_gone(s);
}

static void connection_close(struct connection *c)
{
    if (c->closed)
        return;
    c->closed = true;
    session_log_end(c);
    server_count(&c->server->count.bytes_in, c->bytes_in);
    if (barid_session_user(c->session).n)
        server_count(&c->server->count.auth_ok, 1);
    if (c->admitted)
        admission_leave(c->server->o.admission, &c->facts.client, c->counted_per_client);
    atomic_fetch_sub_explicit(&c->server->count.connections, 1, memory_order_relaxed);
    stream_del(&c->stream);
    timer_set(c->timer, UINT64_MAX);
}

void connection_settle(struct connection *c)
{
    if (c->closed && !c->pumping && c->under_way == 0 && !c->ask)
        connection_free(c);
}

bool connection_back(struct connection *c)
{
    c->under_way--;
    if (!c->closed)
        return true;
    connection_settle(c);
    return false;
}

/* --- the pump
 * --------------------------------------------------------------------------------- */

static bool pump_events(struct connection *c)
{
    barid_event ev;
    bool moved = false;
    while (c->token == 0 && barid_session_next(c->session, &ev) == 1) {
        moved = true;
        c->token = ev.token;
        c->event = ev.id;
        steps_run(c, &ev);
    }
    return moved;
}

/* One write per turn; nothing is handed over while the kernel has not taken the last: then the
 * session's own output limit pauses parsing, so a client that does not read costs a bounded
 * amount. */
static bool pump_output(struct connection *c)
{
    const uint8_t *p;
    if (stream_backlog(c->stream) > 0)
        return false;
    size_t n = barid_session_output(c->session, &p);
    if (n == 0)
        return false;
    if (stream_write(c->stream, p, n) < 0) {
        barid_session_eof(c->session);
        barid_session_sent(c->session, n);
        return true;
    }
    barid_session_sent(c->session, n);
    return true;
}

static void start_tls(struct connection *c)
{
    stream_read(c->stream, false);
    if (!c->listen->tls || stream_tls_accept(c->stream, c->listen->tls) < 0)
        barid_session_tls_done(c->session, NULL, loop_now_ms(c->server->o.loop));
}

static bool pump_wants(struct connection *c)
{
    unsigned wants = barid_session_wants(c->session);
    bool drained = stream_backlog(c->stream) == 0;
    if ((wants & BARID_WANT_CLOSE) && c->token == 0) {
        connection_close(c);
        return false;
    }
    if ((wants & BARID_WANT_TLS) && drained && !stream_is_tls(c->stream)) {
        start_tls(c);
        return true;
    }
    stream_read(c->stream, (wants & BARID_WANT_READ) != 0);
    return false;
}

static void connection_pump(struct connection *c)
{
    if (c->pumping) {
        c->again = true;
        return;
    }
    c->pumping = true;
    do {
        c->again = false;
        bool moved = pump_events(c);
        moved = (!c->closed && pump_output(c)) || moved;
        moved = (!c->closed && pump_wants(c)) || moved;
        c->again = c->again || moved;
    } while (c->again && !c->closed);
    c->pumping = false;
    if (!c->closed) {
        timer_set(c->timer, barid_session_deadline(c->session));
        if (c->tx && c->token == 0 && barid_session_idle(c->session))
            transaction_del(
                &c->tx); /* answered, reset or refused: an idle session holds nothing */
    }
    connection_settle(c);
}

void connection_answer(struct connection *c, const barid_verdict *verdict)
{
    barid_token token = c->token;
    c->token = 0;
    if (verdict->kind == BARID_REJECT)
        server_count(c->event == BARID_EVENT_AUTH ? &c->server->count.auth_failed
                                                  : &c->server->count.refused,
                     1);
    else if (verdict->kind == BARID_TEMPFAIL)
        server_count(&c->server->count.tempfailed, 1);
    /* A wrong answer is a 451 by the session's own rule; it is logged here because it is a bug
     * of ours. */
    if (barid_session_answer(c->session, token, verdict) < 0)
        log_record(c->server->o.log, LOG_LEVEL_ERROR, "server",
                   "verdict not allowed for this event", LOG_CSTR("session", c->facts.id),
                   LOG_CSTR("event", barid_event_info_get(c->event)->name),
                   LOG_CSTR("verdict", barid_verdict_name(verdict->kind)));
    connection_pump(c);
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

/* --- callbacks of the stream and the timer
 * ---------------------------------------------------- */

static void on_read(void *user, const char *p, size_t n)
{
    struct connection *c = user;
    c->bytes_in += n;
    if (barid_session_feed(c->session, p, n, loop_now_ms(c->server->o.loop)) < 0)
        barid_session_eof(
            c->session); /* more than the buffers allow although reading was off */
    connection_pump(c);
}

static void on_close(void *user, int err)
{
    struct connection *c = user;
    (void)err; /* reset and end of file end a session alike */
    barid_session_eof(c->session);
    connection_pump(c);
}

static void on_drain(void *user)
{
    connection_pump(user);
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct connection *c = user;
    if (info)
        server_count(&c->server->count.tls_handshakes, 1);
    else
        log_record(c->server->o.log, LOG_LEVEL_INFO, "server", "TLS handshake failed",
                   LOG_CSTR("session", c->facts.id), LOG_CSTR("error", err ? err->text : ""));
    barid_session_tls_done(c->session, info, loop_now_ms(c->server->o.loop));
    connection_pump(c);
}

static const struct stream_ops stream_ops = {
    .on_read = on_read, .on_close = on_close, .on_drain = on_drain, .on_tls = on_tls};

static void on_deadline(void *user)
{
    struct connection *c = user;
    barid_session_tick(c->session, loop_now_ms(c->server->o.loop));
    connection_pump(c);
}

void connection_stop(struct connection *c, bool force)
{
    if (c->closed)
        return;
    barid_session_stop(c->session, force);
    connection_pump(c);
}

/* --- facts
 * ------------------------------------------------------------------------------------- */

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
    const barid_tls_info *tls = barid_session_tls(c->session);
    if (keep(&c->helo, &c->facts.helo, barid_session_helo(c->session)) < 0 ||
        keep(&c->user, &c->facts.user, barid_session_user(c->session)) < 0 ||
        keep(&c->name, &c->facts.client_name, barid_session_peer_name(c->session)) < 0)
        return BARID_ENOMEM;
    c->facts.esmtp = barid_session_is_esmtp(c->session);
    c->facts.mechanism = barid_session_mechanism(c->session);
    return tls && !c->facts.tls ? keep_tls(c, tls) : 0;
}

/* --- accepting
 * -------------------------------------------------------------------------------- */

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

static void fill_facts(struct connection *c)
{
    struct session_facts *f = &c->facts;
    snprintf(f->id, sizeof f->id, "%016llx", (unsigned long long)c->server->next_session_id++);
    f->protocol = c->listen->config->protocol;
    f->client = *stream_peer(c->stream);
    f->local = *stream_local(c->stream);
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
    c->admitted = r == ADMISSION_OK;
    c->counted_per_client = c->admitted && client_max > 0;
    return r == ADMISSION_OK      ? NULL
           : r == ADMISSION_TOTAL ? "limits.connections reached"
                                  : "limits.connections_per_client reached";
}

/* What could not be opened is refused and freed before it was ever in the server's list. */
static void give_up(struct connection *c, const char *why)
{
    if (c->admitted)
        admission_leave(c->server->o.admission, &c->facts.client, c->counted_per_client);
    refuse(c->server, c->listen, c->stream, why);
    timer_del(&c->timer);
    version_unref(&c->version);
    mem_free(NULL, c);
}

void connection_accept(struct server *s, size_t listen_index, struct stream *stream)
{
    struct connection *c = mem_zalloc(NULL, sizeof *c);
    const struct version_listen *l = &s->version->listen[listen_index];
    if (!c) {
        refuse(s, l, stream, "out of memory");
        return;
    }
    *c = (struct connection){
        .server = s, .version = version_ref(s->version), .listen = l, .stream = stream};
    fill_facts(c);
    const char *why = s->stopping ? "stopping" : admit(c);
    if (!why &&
        (!(c->timer = timer_new(s->o.loop, on_deadline, c)) ||
         barid_session_new(&c->session, version_session(c->version, l, &c->facts.client),
                           &c->facts.client, NULL, loop_now_ms(s->o.loop)) < 0))
        why = "out of memory";
    if (why) {
        give_up(c, why);
        return;
    }
    list_append(&s->connections, &c->node);
    server_count(&s->count.sessions, 1);
    server_count(&s->count.connections, 1);
    stream_bind(stream, &stream_ops, c);
    connection_pump(c);
}
