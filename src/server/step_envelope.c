/*
 * server/step_envelope.c: MAIL and RCPT. Order at RCPT: syntax and limits (session), hooks,
 * then the relay check, which no accept bypasses, then aliases: where an address of ours leads is
 * its owner's business, also to the outside.
 */
#include "base/slice.h"
#include "server/ask.h"
#include "server/locals.h"
#include "server/steps.h"
#include "server/transaction.h"

/* --- MAIL --- */

static int start_mail(struct connection *c, const barid_event *ev)
{
    if (transaction_new(c) < 0)
        return BARID_ENOMEM;
    struct mail *m = &c->tx->mail;
    int rc = mailbox_from_path(&m->sender, m->arena, ev->path, c->version->config->subaddress);
    if (rc == 0)
        rc = arena_slice(m->arena, ev->path->raw, &m->sender_original);
    return rc == 0 ? mail_set_params(m, ev->mail_params) : rc;
}

/* RFC 6409 6.1: a user sends as himself: the whole address, or user@ one of our domains; the
 * null sender is for notifications (RFC 8098). An explicit accept of the policy is an answer to
 * this question too. */
static bool sender_is_user(const struct connection *c)
{
    const struct mailbox *s = &c->tx->mail.sender;
    const barid_slice user = c->facts.user;
    if (s->null || user.n == 0)
        return true;
    if (slice_find(user, '@') == user.n)
        return locals_has(&c->version->locals, s) &&
               (slice_eq_nocase(s->user, user) || slice_eq_nocase(s->local, user));
    struct mailbox box;
    if (mailbox_from_text(&box, &c->tx->arena, user, c->version->config->subaddress) < 0)
        return false;
    return slice_eq_nocase(box.user, s->user) && slice_eq_nocase(box.domain, s->domain);
}

static void after_mail(struct connection *c, const barid_verdict *v)
{
    if (v->kind == BARID_CONTINUE && c->facts.protocol == BARID_SUBMISSION &&
        !sender_is_user(c)) {
        barid_verdict no = {
            .kind = BARID_REJECT,
            .code = 553,
            .enhanced = BARID_S("5.7.1"),
            .text = BARID_S("Sender address does not belong to the authenticated user")};
        connection_answer(c, &no);
        return;
    }
    connection_answer(c, v);
}

void server_step_mail(struct connection *c, const barid_event *ev)
{
    uint64_t size = ev->mail_params && ev->mail_params->size_given ? ev->mail_params->size : 0;
    int rc = c->server->o.spool->ops->admit(c->server->o.spool, size);
    if (rc == 0)
        rc = start_mail(c, ev);
    if (rc == BARID_EFULL)
        connection_answer_reply(c, BARID_REPLY_STORAGE_FULL);
    else if (rc < 0 || connection_refresh_facts(c) < 0)
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    else
        ask(c, ev->id, ev, NULL, after_mail);
}

/* --- RCPT --- */

/* The recipient is ours, or the client may send to others. */
static bool relay_ok(const struct connection *c)
{
    return locals_has(&c->version->locals, &c->tx->candidate->box) ||
           mail_may_relay(&c->tx->mail);
}

static int grow_groups(struct transaction *tx)
{
    if (tx->n_groups < tx->cap_groups)
        return 0;
    size_t cap = tx->cap_groups ? tx->cap_groups * 2 : 4;
    struct rcpt_group *g = arena_alloc(&tx->arena, cap * sizeof *g);
    if (!g)
        return BARID_ENOMEM;
    if (tx->n_groups)
        memcpy(g, tx->groups, tx->n_groups * sizeof *g);
    tx->groups = g;
    tx->cap_groups = cap;
    return 0;
}

/* Every mailbox of the expansion becomes a recipient of its own; only the first is answered
 * for. */
static int add_rcpts(struct transaction *tx, const struct mailbox *boxes, size_t n)
{
    const struct locals *locals = &tx->c->version->locals;
    const struct rcpt *from = tx->candidate;
    struct rcpt_group group = {.first = tx->mail.n_rcpts, .n = n};
    if (grow_groups(tx) < 0)
        return BARID_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct rcpt *r;
        int rc = mail_add_rcpt(&tx->mail, &boxes[i], from->original, &r);
        if (rc < 0) {
            tx->mail.n_rcpts = group.first; /* all or none */
            return rc;
        }
        r->is_local = locals_has(locals, &boxes[i]);
        r->relayed = !r->is_local;
        r->alias_of_previous = i > 0;
        r->notify = from->notify;
        r->orcpt = from->orcpt;
        r->vars = from->vars;
    }
    tx->groups[tx->n_groups++] = group;
    return 0;
}

static void deny_relay(struct connection *c)
{
    barid_verdict no = connection_verdict(c, BARID_REPLY_RELAY_DENIED);
    transaction_explain(c->tx, BARID_EVENT_RCPT, &no, c->tx->candidate->index, "builtin:relay");
    connection_answer(c, &no);
}

static void accept_rcpt(struct connection *c, const barid_verdict *v)
{
    struct transaction *tx = c->tx;
    struct mailbox *boxes;
    size_t n;
    /* The session would not count the recipient: neither may the mail have it, or `groups` were
     * no longer by the session's index. */
    if (!barid_verdict_fits(BARID_EVENT_RCPT, v)) {
        connection_answer(c, v);
        return;
    }
    if (!relay_ok(c)) {
        deny_relay(c);
        return;
    }
    int rc = locals_expand(&c->version->locals, &tx->candidate->box, &tx->arena, &boxes, &n);
    if (rc == 0)
        rc = add_rcpts(tx, boxes, n);
    if (rc == BARID_ELIMIT)
        connection_answer_reply(c, BARID_REPLY_TOO_MANY_RECIPIENTS);
    else if (rc < 0)
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    else
        connection_answer(c, v);
}

static void after_rcpt(struct connection *c, const barid_verdict *v)
{
    if (verdict_refuses(v))
        connection_answer(c, v);
    else
        accept_rcpt(c, v);
}

static struct rcpt *new_candidate(struct connection *c, const barid_event *ev)
{
    struct transaction *tx = c->tx;
    struct rcpt *r = arena_alloc(&tx->arena, sizeof *r);
    if (!r ||
        mailbox_from_path(&r->box, &tx->arena, ev->path, c->version->config->subaddress) < 0 ||
        arena_slice(&tx->arena, ev->path->raw, &r->original) < 0 ||
        arena_slice(&tx->arena, ev->rcpt_params->orcpt, &r->orcpt) < 0)
        return NULL;
    r->index = tx->mail.n_rcpts;
    r->notify = ev->rcpt_params->notify;
    r->is_local = locals_has(&c->version->locals, &r->box);
    vars_init(&r->vars, &tx->arena);
    return r;
}

void server_step_rcpt(struct connection *c, const barid_event *ev)
{
    c->tx->candidate = new_candidate(c, ev);
    if (!c->tx->candidate)
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    else
        ask(c, ev->id, ev, c->tx->candidate, after_rcpt);
}
