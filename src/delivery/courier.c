/*
 * delivery/courier.c: see courier.h.
 *
 *   next address ──▶ connection ──READY──▶ the recipients that are open ──DONE──▶ connection given back
 *      ▲    ▲            └──CLOSED: not asked──┐                                           │
 *      │    └── some are open, and there is another address ◀──────────────────────────────┤
 *      └─────── again, fresh or without TLS ◀───┴──────────────────────────────────────────┤
 *                                             on_result for what is open, on_over ◀────────┘
 *
 * A recipient is settled (told to the owner, never asked about again) or open, with what was
 * said about it last. What is called in tail position here may end in on_over: then c is gone.
 */
#include "delivery/courier.h"

#include <stdio.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/mem.h"
#include "base/slice.h"
#include "delivery/courier_text.h"

struct recipient {
    bool is_settled;
    struct courier_result last; /* status is what it becomes when there is no other server */
};

struct courier {
    struct courier_options o;
    barid_client_config plain; /* o.config without TLS */
    const barid_client_mail *mail;
    const struct host_address *addresses;
    size_t n_addresses, at;
    bool *tried; /* of addresses */
    struct loop_task task;
    struct connection *connection;
    bool is_sent, is_waiting;   /* at this server; the owner said: not now */
    bool is_kept, is_stale;     /* the connection has served before; and turned out to be lost */
    bool is_plain, wants_plain; /* no TLS, after a handshake that failed */
    bool has_dsn;
    bool was_asked;             /* any server */
    bool is_queued, is_deleted; /* the task; its memory is freed there */
    uint64_t offset;            /* of the body, at this server */
    int body_error;             /* it cannot be read */
    struct err tls_error;

    struct recipient *rcpts; /* as in mail */
    barid_client_mail part;  /* what this server is asked: the open ones */
    barid_client_rcpt *part_rcpts;
    size_t *part_index; /* in mail.rcpts */
};

static void next_address(struct courier *c);
static bool connect_fresh(struct courier *c);

/* --- what was said --- */

static const struct host_address *server(const struct courier *c)
{
    return &c->addresses[c->at];
}

/* No server said it. */
static void set_error(struct courier *c, struct courier_result *r, const barid_client_event *e)
{
    const char *status = r->stage == BARID_STAGE_TLS    ? "4.7.5"
                         : r->stage == BARID_STAGE_AUTH ? "4.7.0"
                                                        : "4.4.2";
    barid_slice why = e->reply.text;

    if (c->body_error != 0) {
        r->stage = BARID_STAGE_LOCAL;
        courier_text(r, "451 4.3.0 the message cannot be read: %s",
                     barid_strerror(c->body_error));
        return;
    }
    if (r->stage == BARID_STAGE_TLS && c->tls_error.text[0] != '\0')
        why = slice_str(c->tls_error.text);
    else if (why.n == 0)
        why = slice_str(barid_strerror(e->error != 0 ? e->error : BARID_ECLOSED));
    courier_text_error(r, status, barid_client_stage_name(r->stage), why);
}

/* A handshake or a password is wrong on the way there: nothing that is so for good. */
static bool is_for_good(const struct courier_result *r, unsigned code)
{
    return code / 100 == 5 && r->stage != BARID_STAGE_TLS && r->stage != BARID_STAGE_AUTH;
}

static struct courier_result result_of(struct courier *c, const barid_client_event *e)
{
    struct courier_result r = {
        .stage = e->stage, .server = server(c), .status = DELIVERY_AGAIN};

    if (e->reply.code != 0)
        courier_text_reply(&r, &e->reply);
    else
        set_error(c, &r, e);
    if (e->reply.code / 100 == 2)
        r.status = DELIVERY_DONE;
    else if (is_for_good(&r, e->reply.code))
        r.status = DELIVERY_FAILED;
    r.is_suspect = r.stage == BARID_STAGE_FINAL && e->reply.code == 0;
    r.dsn_passed = r.status == DELIVERY_DONE && c->has_dsn;
    return r;
}

/* May another server be asked after that? */
static bool leaves_open(const struct courier_result *r)
{
    if (r->status == DELIVERY_DONE || r->stage == BARID_STAGE_FINAL)
        return false;
    return r->status == DELIVERY_AGAIN || r->stage == BARID_STAGE_LOCAL;
}

static void settle(struct courier *c, size_t rcpt, const struct courier_result *r)
{
    c->rcpts[rcpt].is_settled = true;
    c->o.ops->on_result(c->o.user, rcpt, r);
}

/* The same for all that are open: the session did not come as far as the mail. Another server may do better, also after a
 * 5xx, which spoke of this one: it is for good only where none put the mail off. */
static void keep_for_all(struct courier *c, const struct courier_result *r)
{
    for (size_t i = 0; i < c->mail->n_rcpts; i++) {
        struct courier_result *last = &c->rcpts[i].last;
        bool is_put_off = last->server != NULL && last->server != r->server &&
                          last->status == DELIVERY_AGAIN;

        if (c->rcpts[i].is_settled)
            continue;
        *last = *r;
        if (is_put_off)
            last->status = DELIVERY_AGAIN;
    }
}

/* The server closed a kept connection, before it heard of this mail or instead of answering: nothing was taken. */
static bool is_stale(const struct courier *c, const barid_client_event *e)
{
    return c->is_kept && e->stage == BARID_STAGE_MAIL &&
           (e->reply.code == 421 ||
            (e->reply.code == 0 && e->error != BARID_ENOMEM && e->error != BARID_ESYNTAX));
}

static void on_result(struct courier *c, const barid_client_event *e)
{
    size_t rcpt = c->part_index[e->rcpt];
    struct courier_result r = result_of(c, e);

    c->is_stale = c->is_stale || is_stale(c, e);
    c->was_asked = c->was_asked || !c->is_stale;
    if (leaves_open(&r))
        c->rcpts[rcpt].last = r;
    else
        settle(c, rcpt, &r);
}

/* --- one server --- */

static bool any_open(const struct courier *c)
{
    for (size_t i = 0; i < c->mail->n_rcpts; i++)
        if (!c->rcpts[i].is_settled)
            return true;
    return false;
}

static void gather_open(struct courier *c)
{
    c->part = *c->mail;
    c->part.rcpts = c->part_rcpts;
    c->part.n_rcpts = 0;
    for (size_t i = 0; i < c->mail->n_rcpts; i++) {
        if (c->rcpts[i].is_settled)
            continue;
        c->part_index[c->part.n_rcpts] = i;
        c->part_rcpts[c->part.n_rcpts++] = c->mail->rcpts[i];
    }
}

/* Nothing was said to this server, and nothing will be. */
static void pass_by(struct courier *c, const char *line, bool is_last)
{
    struct courier_result r = {.status = line[0] == '5' ? DELIVERY_FAILED : DELIVERY_AGAIN,
                               .stage = BARID_STAGE_LOCAL,
                               .server = server(c)};

    courier_text(&r, "%s", line);
    c->was_asked = true;
    keep_for_all(c, &r);
    connection_leave(&c->connection);
    if (is_last)
        memset(c->tried, true, c->n_addresses * sizeof(c->tried[0]));
    next_address(c);
}

static void on_ready(struct courier *c)
{
    const barid_client *client = dialogue_client(connection_dialogue(c->connection));
    char refusal[COURIER_TEXT_SIZE] = "";
    int rc = 1;

    c->is_kept = connection_is_used(c->connection);
    c->has_dsn = (barid_client_extensions(client) & BARID_EXT_DSN) != 0;
    if (c->o.unreachable != NULL)
        unreachable_remove(c->o.unreachable, &server(c)->endpoint);
    gather_open(c);
    if (c->o.ops->on_server != NULL)
        rc = c->o.ops->on_server(c->o.user, client, &c->part, refusal);
    c->is_waiting = rc == 0;
    if (rc < 0)
        pass_by(c, refusal, rc != BARID_EUNSUPPORTED);
    if (rc <= 0)
        return;
    c->is_sent = true;
    rc = connection_send(c->connection, &c->part);
    if (rc == BARID_ESYNTAX)
        pass_by(c, "553 5.1.3 an address or parameter cannot stand in a command", true);
    else if (rc != 0)
        pass_by(c, rc == BARID_ENOMEM ? "451 4.3.0 out of memory" : "451 4.3.0 not ready", false);
}

/* The mail is over here. What becomes of the connection does not concern it. */
static void on_done(struct courier *c)
{
    connection_give(&c->connection);
    if (!c->is_stale || !connect_fresh(c))
        next_address(c);
}

/* Before anything could be sent. */
static void on_closed(struct courier *c, const barid_client_event *e)
{
    struct courier_result r = result_of(c, e);

    c->is_waiting = false;
    keep_for_all(c, &r);
    if (r.stage == BARID_STAGE_CONNECT && e->reply.code == 0 && c->o.unreachable != NULL)
        unreachable_add(c->o.unreachable, &r.server->endpoint, loop_now_ms(c->o.loop));
    c->is_stale = c->is_kept; /* while the owner was waited for */
    c->wants_plain = !c->is_plain && c->o.config->tls == BARID_CLIENT_TLS_OPPORTUNISTIC &&
                     r.stage == BARID_STAGE_TLS;
}

static void on_event(void *user, const barid_client_event *e)
{
    struct courier *c = user;

    if (e->id == BARID_CLIENT_READY)
        on_ready(c);
    else if (e->id == BARID_CLIENT_RESULT)
        on_result(c, e);
    else if (e->id == BARID_CLIENT_DONE)
        on_done(c);
    else if (e->id == BARID_CLIENT_CLOSED)
        on_closed(c, e);
}

static void on_unreachable(void *user, const struct err *err)
{
    struct courier *c = user;
    struct courier_result r = {
        .status = DELIVERY_AGAIN, .stage = BARID_STAGE_CONNECT, .server = server(c)};

    courier_text_error(&r, "4.4.1", NULL, slice_str(err->text));
    keep_for_all(c, &r);
    if (c->o.unreachable != NULL && (err->code == BARID_EIO || err->code == BARID_ETIMEOUT))
        unreachable_add(c->o.unreachable, &r.server->endpoint, loop_now_ms(c->o.loop));
}

static int on_body(void *user, size_t n, barid_slice *p_r, bool *last_r)
{
    struct courier *c = user;
    int rc = c->o.ops->on_body(c->o.user, c->offset, n, p_r, last_r);

    if (rc > 0 && p_r->n == 0 && !*last_r)
        rc = BARID_EIO; /* shorter than it was said to be */
    if (rc > 0)
        c->offset += p_r->n;
    else if (rc < 0)
        c->body_error = rc;
    return rc;
}

static void on_final(void *user)
{
    struct courier *c = user;

    if (c->o.ops->on_final != NULL)
        c->o.ops->on_final(c->o.user);
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct courier *c = user;

    if (info == NULL)
        c->tls_error = *err;
}

static void on_over(void *user)
{
    struct courier *c = user;

    connection_del(&c->connection);
    c->is_plain = c->is_plain || c->wants_plain;
    if (!(c->wants_plain || c->is_stale) || !connect_fresh(c))
        next_address(c);
}

static const struct dialogue_ops dialogue_ops = {.on_event = on_event,
                                                 .on_unreachable = on_unreachable,
                                                 .on_over = on_over,
                                                 .on_body = on_body,
                                                 .on_final = on_final,
                                                 .on_tls = on_tls};

/* --- all of them --- */

static void finish(struct courier *c)
{
    for (size_t i = 0; i < c->mail->n_rcpts; i++) {
        struct courier_result *last = &c->rcpts[i].last;

        if (c->rcpts[i].is_settled)
            continue;
        last->no_connection = !c->was_asked;
        settle(c, i, last);
    }
    c->o.ops->on_over(c->o.user); /* c may be gone */
}

/* name: where the name of the server is put. */
static struct connection_request request_for(const struct courier *c, size_t at,
                                             char name[BARID_DOMAIN_MAX + 1])
{
    const struct host_address *s = &c->addresses[at];
    struct connection_request r = {
        .config = c->is_plain ? &c->plain : c->o.config,
        .tls = c->o.tls,
        .server_name = c->o.unix_path != NULL ? NULL : name,
        .place = {.to = s->endpoint,
                  .unix_path = c->o.unix_path,
                  .from = c->o.from[s->endpoint.family == BARID_FAMILY_IPV6],
                  .connect_ms = c->o.connect_ms},
        .max_mails = c->o.max_mails};

    if (s->name.n > 0 && s->name.p[0] == '[')
        endpoint_text(&s->endpoint, name); /* the address is what a certificate has to name */
    else
        snprintf(name, BARID_DOMAIN_MAX + 1, "%.*s", (int)s->name.n, s->name.p);
    return r;
}

static void begin_server(struct courier *c)
{
    c->is_sent = c->is_waiting = c->is_kept = c->is_stale = c->wants_plain = false;
    c->offset = 0;
    c->tls_error.text[0] = '\0';
}

/* False: there was not even an attempt. */
static bool connect_fresh(struct courier *c)
{
    char name[BARID_DOMAIN_MAX + 1];
    struct connection_request r = request_for(c, c->at, name);
    struct err err = {0};

    begin_server(c);
    if (connections_open(c->o.connections, &r, &dialogue_ops, c, &c->connection, &err) == 0)
        return true;
    on_unreachable(c, &err);
    return false;
}

static bool is_down(const struct courier *c, size_t at)
{
    return c->o.unreachable != NULL &&
           unreachable_has(c->o.unreachable, &c->addresses[at].endpoint, loop_now_ms(c->o.loop));
}

/* The first that is left, if it can be one that was not just unreachable. */
static bool choose(struct courier *c)
{
    size_t first = c->n_addresses;

    for (size_t i = 0; i < c->n_addresses; i++) {
        if (c->tried[i])
            continue;
        if (first == c->n_addresses)
            first = i;
        if (!is_down(c, i)) {
            first = i;
            break;
        }
    }
    c->at = first;
    return first < c->n_addresses;
}

/* A kept connection to the one chosen or to its equals. */
static bool take_kept(struct courier *c)
{
    for (size_t i = 0; i < c->n_addresses; i++) {
        char name[BARID_DOMAIN_MAX + 1];
        struct connection_request r;

        if (c->tried[i] || c->addresses[i].preference != c->addresses[c->at].preference)
            continue;
        r = request_for(c, i, name);
        c->connection = connections_take(c->o.connections, &r, &dialogue_ops, c);
        if (c->connection != NULL) {
            c->at = i;
            return true;
        }
    }
    return false;
}

static void next_address(struct courier *c)
{
    while (any_open(c) && c->body_error == 0 && choose(c)) {
        bool is_taken;

        c->is_plain = false;
        is_taken = take_kept(c);
        c->tried[c->at] = true;
        if (is_taken) {
            begin_server(c);
            on_ready(c); /* c may be gone */
            return;
        }
        if (connect_fresh(c))
            return;
    }
    finish(c);
}

/* --- life --- */

static void courier_free(struct courier *c)
{
    const barid_mem *mem = c->o.mem;

    tls_unref(&c->o.tls);
    mem_free(mem, c->tried);
    mem_free(mem, c->rcpts);
    mem_free(mem, c->part_rcpts);
    mem_free(mem, c->part_index);
    mem_free(mem, c);
}

static void run_start(struct loop_task *task)
{
    struct courier *c = (struct courier *)((char *)task - offsetof(struct courier, task));

    c->is_queued = false;
    if (c->is_deleted)
        courier_free(c);
    else
        next_address(c);
}

int courier_new(struct courier **c_r, const struct courier_options *o,
                const barid_client_mail *mail, const struct host_address *addresses,
                size_t n_addresses)
{
    struct courier *c = mem_zalloc(o->mem, sizeof(*c));

    *c_r = NULL;
    if (c == NULL)
        return BARID_ENOMEM;
    c->o = *o;
    c->o.tls = o->tls != NULL ? tls_ref(o->tls) : NULL;
    c->plain = *o->config;
    c->plain.tls = BARID_CLIENT_TLS_NONE;
    c->mail = mail;
    c->addresses = addresses;
    c->n_addresses = n_addresses;
    c->tried = mem_array(o->mem, n_addresses, sizeof(*c->tried));
    c->rcpts = mem_array(o->mem, mail->n_rcpts, sizeof(*c->rcpts));
    c->part_rcpts = mem_array(o->mem, mail->n_rcpts, sizeof(*c->part_rcpts));
    c->part_index = mem_array(o->mem, mail->n_rcpts, sizeof(*c->part_index));
    if (c->tried == NULL || c->rcpts == NULL || c->part_rcpts == NULL || c->part_index == NULL) {
        courier_free(c);
        return BARID_ENOMEM;
    }
    c->task.run = run_start;
    c->is_queued = true;
    loop_defer(o->loop, &c->task);
    *c_r = c;
    return 0;
}

void courier_body_ready(struct courier *c)
{
    if (c->connection != NULL)
        dialogue_body_ready(connection_dialogue(c->connection));
}

void courier_server_ready(struct courier *c)
{
    if (c->is_waiting)
        on_ready(c); /* c may be gone */
}

void courier_del(struct courier **courier)
{
    struct courier *c = *courier;

    if (c == NULL)
        return;
    *courier = NULL;
    connection_del(&c->connection);
    c->is_deleted = true;
    if (!c->is_queued)
        courier_free(c);
}
