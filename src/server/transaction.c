/*
 * server/transaction.c: the life of a transaction and the body behind body_ops.
 */
#include "server/transaction.h"

#include "base/mem.h"
#include "base/slice.h"

/* Envelope, header copy and edits of one message: the header limit (256 KiB by default) several
 * times over, and a thousand recipients with variables. */
#define TRANSACTION_ARENA_MAX (64u << 20)

int transaction_new(struct connection *c)
{
    transaction_del(&c->tx);
    struct transaction *tx = mem_zalloc(NULL, sizeof *tx);
    if (!tx)
        return BARID_ENOMEM;
    tx->c = c;
    arena_init(&tx->arena, NULL, TRANSACTION_ARENA_MAX);
    if (mail_init(&tx->mail, &tx->arena, &c->facts, clock_wall_us(c->server->o.clock)) < 0) {
        arena_deinit(&tx->arena);
        mem_free(NULL, tx);
        return BARID_ENOMEM;
    }
    tx->mail.policy_version = policy_version(c->version->policy);
    c->tx = tx;
    return 0;
}

void transaction_del(struct transaction **tx)
{
    struct transaction *x = *tx;
    if (!x)
        return;
    *tx = NULL;
    if (x->c->policy)
        policy_mail_over(x->c->policy, &x->mail);
    if (x->put)
        x->c->server->o.spool->ops->put_abort(x->put);
    arena_deinit(&x->arena);
    mem_free(NULL, x);
}

int transaction_keep(struct transaction *tx, const barid_verdict *v, barid_verdict *copy_r)
{
    *copy_r = *v;
    return arena_slice(&tx->arena, v->enhanced, &copy_r->enhanced) < 0 ||
                   arena_slice(&tx->arena, v->text, &copy_r->text) < 0
               ? BARID_ENOMEM
               : 0;
}

bool verdict_refuses(const barid_verdict *v)
{
    return v->kind == BARID_REJECT || v->kind == BARID_TEMPFAIL || v->kind == BARID_DISCONNECT;
}

void transaction_note_state(struct transaction *tx, const barid_verdict *v)
{
    struct mail *m = &tx->mail;
    enum mail_state s = v->kind == BARID_DISCARD      ? MAIL_DISCARDED
                        : v->kind == BARID_QUARANTINE ? MAIL_QUARANTINED
                        : v->kind == BARID_HOLD       ? MAIL_HELD
                                                      : MAIL_ACTIVE;
    if (s == MAIL_ACTIVE || m->state == MAIL_DISCARDED)
        return;
    m->state = s;
    if (arena_slice(m->arena, v->text, &m->state_reason) < 0)
        m->state_reason =
            (barid_slice){NULL, 0}; /* the reason is for people; the state is what counts */
}

void transaction_explain(struct transaction *tx, enum barid_event_id event,
                         const barid_verdict *v, size_t rcpt, const char *rule)
{
    struct explain_entry e = {.event = event,
                              .verdict = v->kind,
                              .at_us = clock_wall_us(tx->c->server->o.clock),
                              .rcpt_index = rcpt == SIZE_MAX ? UINT32_MAX : (uint32_t)rcpt,
                              .code = v->code,
                              .handler = slice_str(rule),
                              .text = v->text};
    explain_add(&tx->mail.explain, &e);
}

static uint64_t body_size(void *user)
{
    struct transaction *tx = user;
    return tx->mail.body_size;
}

static int64_t body_read(void *user, uint64_t offset, void *p, size_t n)
{
    struct transaction *tx = user;
    return tx->put ? tx->c->server->o.spool->ops->put_read(tx->put, offset, p, n) : 0;
}

static int body_replace(void *user, barid_slice body)
{
    struct transaction *tx = user;
    const struct spool_ops *ops = tx->c->server->o.spool->ops;
    if (!tx->put)
        return BARID_EINVALID;
    int rc = ops->put_truncate(tx->put);
    if (rc == 0)
        rc = ops->put_body(tx->put, body.p, body.n);
    if (rc == 0)
        tx->mail.body_size = body.n;
    return rc;
}

struct body_ops transaction_body(struct transaction *tx)
{
    return (struct body_ops){
        .size = body_size, .read = body_read, .replace = body_replace, .user = tx};
}
