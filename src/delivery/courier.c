/*
 * delivery/courier.c: see courier.h.
 *
 *   next address ──▶ dialogue ──READY──▶ the recipients that are open ──DONE──▶ QUIT ──▶ over
 *        ▲                                                                                │
 *        └────────── some are open, and there is another address ◀───────────────────────┤
 *                                          on_result for what is open, on_over ◀──────────┘
 *
 * A recipient is settled (told to the owner, never asked about again) or open, with what was
 * said about it last.
 */
#include "delivery/courier.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/mem.h"
#include "base/slice.h"

struct recipient {
    bool is_settled;
    struct courier_result last; /* status is what it becomes when there is no other server */
};

struct courier {
    struct courier_options o;
    const barid_client_mail *mail;
    const struct host_address *addresses;
    size_t n_addresses, at;
    struct loop_task task;
    struct dialogue *dialogue;
    bool is_sent, is_over;
    bool is_queued, is_deleted; /* the task; its memory is freed there */
    uint64_t offset;            /* of the body, at this server */

    struct recipient *rcpts; /* as in mail */
    barid_client_mail part;  /* what this server is asked: the open ones */
    barid_client_rcpt *part_rcpts;
    size_t *part_index; /* in mail.rcpts */
};

static void next_address(struct courier *c);

/* --- what was said --- */

static const struct host_address *server(const struct courier *c)
{
    return &c->addresses[c->at];
}

static void set_text(struct courier_result *r, const char *fmt, ...) BARID_PRINTF(2, 3);
static void set_text(struct courier_result *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
}

static void set_reply(struct courier_result *r, const barid_reply *reply)
{
    int text = (int)(reply->text.n < COURIER_TEXT_SIZE ? reply->text.n : COURIER_TEXT_SIZE);

    if (reply->enhanced.n > 0)
        set_text(r, "%u %.*s %.*s", reply->code, (int)reply->enhanced.n, reply->enhanced.p,
                 text, reply->text.p);
    else
        set_text(r, "%u %.*s", reply->code, text, reply->text.p);
}

/* No server said it. */
static void set_error(const struct courier *c, struct courier_result *r, int error)
{
    const struct host_address *s = server(c);
    char address[ENDPOINT_SIZE];

    endpoint_format(&s->endpoint, address);
    set_text(r, "451 4.4.2 %.*s (%s): %s: %s", (int)s->name.n, s->name.p, address,
             barid_client_stage_name(r->stage),
             barid_strerror(error != 0 ? error : BARID_ECLOSED));
}

static struct courier_result result_of(const struct courier *c, const barid_client_event *e)
{
    unsigned class = e->reply.code / 100;
    struct courier_result r = {
        .stage = e->stage, .server = server(c), .status = DELIVERY_AGAIN};

    if (e->reply.code != 0)
        set_reply(&r, &e->reply);
    else
        set_error(c, &r, e->error);
    if (class == 2)
        r.status = DELIVERY_DONE;
    else if (class == 5)
        r.status = DELIVERY_FAILED;
    r.is_suspect = e->stage == BARID_STAGE_FINAL && e->reply.code == 0;
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
 * 5xx, which spoke of this one. */
static void keep_for_all(struct courier *c, const struct courier_result *r)
{
    for (size_t i = 0; i < c->mail->n_rcpts; i++)
        if (!c->rcpts[i].is_settled)
            c->rcpts[i].last = *r;
}

static void on_result(struct courier *c, const barid_client_event *e)
{
    size_t rcpt = c->part_index[e->rcpt];
    struct courier_result r = result_of(c, e);

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

static void on_ready(struct courier *c)
{
    struct courier_result r = {
        .status = DELIVERY_AGAIN, .stage = BARID_STAGE_LOCAL, .server = server(c)};
    int rc;

    if (c->is_sent) {
        dialogue_quit(c->dialogue);
        return;
    }
    c->is_sent = true;
    gather_open(c);
    rc = dialogue_send(c->dialogue, &c->part);
    if (rc == 0)
        return;
    if (rc == BARID_ESYNTAX) {
        r.status = DELIVERY_FAILED;
        set_text(&r, "553 5.1.3 an address or parameter cannot stand in a command");
    } else {
        set_text(&r, "451 4.3.0 %s", barid_strerror(rc));
    }
    keep_for_all(c, &r);
    dialogue_quit(c->dialogue);
}

static void on_event(void *user, const barid_client_event *e)
{
    struct courier *c = user;

    if (e->id == BARID_CLIENT_READY) {
        on_ready(c);
    } else if (e->id == BARID_CLIENT_RESULT) {
        on_result(c, e);
    } else if (e->id == BARID_CLIENT_CLOSED && !c->is_sent) {
        struct courier_result r = result_of(c, e);

        keep_for_all(c, &r);
    }
}

static void on_unreachable(void *user, const struct err *err)
{
    struct courier *c = user;
    struct courier_result r = {
        .status = DELIVERY_AGAIN, .stage = BARID_STAGE_CONNECT, .server = server(c)};
    char address[ENDPOINT_SIZE];

    endpoint_format(&r.server->endpoint, address);
    set_text(&r, "451 4.4.1 %.*s (%s): %s", (int)r.server->name.n, r.server->name.p, address,
             err->text);
    keep_for_all(c, &r);
}

static int on_body(void *user, size_t n, barid_slice *p_r, bool *last_r)
{
    struct courier *c = user;
    int rc = c->o.ops->on_body(c->o.user, c->offset, n, p_r, last_r);

    if (rc > 0)
        c->offset += p_r->n;
    return rc;
}

static void on_over(void *user)
{
    struct courier *c = user;

    dialogue_del(&c->dialogue);
    c->at++;
    next_address(c);
}

static const struct dialogue_ops dialogue_ops = {.on_event = on_event,
                                                 .on_unreachable = on_unreachable,
                                                 .on_over = on_over,
                                                 .on_body = on_body};

/* --- all of them --- */

static void finish(struct courier *c)
{
    c->is_over = true;
    for (size_t i = 0; i < c->mail->n_rcpts; i++)
        if (!c->rcpts[i].is_settled)
            settle(c, i, &c->rcpts[i].last);
    c->o.ops->on_over(c->o.user); /* c may be gone */
}

/* False: there was not even an attempt. */
static bool connect_to(struct courier *c)
{
    const struct host_address *s = server(c);
    bool is_ipv6 = s->endpoint.family == BARID_FAMILY_IPV6,
         is_literal = s->name.n > 0 && s->name.p[0] == '[';
    char name[BARID_DOMAIN_MAX + 1];
    struct dialogue_options o = {.loop = c->o.loop,
                                 .config = c->o.config,
                                 .tls = c->o.tls,
                                 .server_name = is_literal ? NULL : name,
                                 .ops = &dialogue_ops,
                                 .user = c,
                                 .mem = c->o.mem};
    struct dialogue_place place = {
        .to = s->endpoint, .from = c->o.from[is_ipv6], .connect_ms = c->o.connect_ms};
    struct err err = {0};

    snprintf(name, sizeof(name), "%.*s", (int)s->name.n, s->name.p);
    c->is_sent = false;
    c->offset = 0;
    if (dialogue_open(&c->dialogue, &o, &place, &err) == 0)
        return true;
    on_unreachable(c, &err);
    return false;
}

static void next_address(struct courier *c)
{
    while (any_open(c) && c->at < c->n_addresses) {
        if (connect_to(c))
            return;
        c->at++;
    }
    finish(c);
}

/* --- life --- */

static void courier_free(struct courier *c)
{
    const barid_mem *mem = c->o.mem;

    tls_unref(&c->o.tls);
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
    c->mail = mail;
    c->addresses = addresses;
    c->n_addresses = n_addresses;
    c->rcpts = mem_array(o->mem, mail->n_rcpts, sizeof(*c->rcpts));
    c->part_rcpts = mem_array(o->mem, mail->n_rcpts, sizeof(*c->part_rcpts));
    c->part_index = mem_array(o->mem, mail->n_rcpts, sizeof(*c->part_index));
    if (c->rcpts == NULL || c->part_rcpts == NULL || c->part_index == NULL) {
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
    if (c->dialogue != NULL)
        dialogue_body_ready(c->dialogue);
}

void courier_del(struct courier **courier)
{
    struct courier *c = *courier;

    if (c == NULL)
        return;
    *courier = NULL;
    dialogue_del(&c->dialogue);
    c->is_deleted = true;
    if (!c->is_queued)
        courier_free(c);
}
