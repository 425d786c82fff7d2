/*
 * server/commit.c: a finished transaction becomes a record in the spool.
 *
 * Order: trace fields into the header, units, record, describe, commit. The put is given away
 * with commit; its callback comes from the committer thread and only posts.
 */
#include "server/transaction.h"

#include "base/buf.h"
#include "base/slice.h"
#include "message/record.h"
#include "message/trace_field.h"

#define META_MAX                                                                               \
    (16u << 20) /* a record of MAIL_RCPTS_MAX recipients with variables and trace */
#define HEADER_MAX (4u << 20) /* the largest header limit plus what policy adds */

static void on_committed(void *user, int err) /* any thread */
{
    struct transaction *tx = user;
    tx->commit_err = err;
    if (err == 0) /* here and not on the loop: the queue may have it in hand before that turns */
        transaction_tell_history(tx);
    loop_post(tx->c->server->o.loop, &tx->committed);
}

/* RFC 6409 8: a submission server completes the message. */
static int add_missing(struct transaction *tx, struct buf *scratch)
{
    struct mail *m = &tx->mail;
    const barid_slice host = slice_str(tx->c->version->config->hostname);
    int rc = 0;
    if (header_count(&m->header, BARID_S("Message-ID")) == 0) {
        buf_clear(scratch);
        rc = trace_message_id(scratch, m->id, m->received_us, host);
        if (rc == 0)
            rc = header_prepend_raw(&m->header, buf_slice(scratch));
    }
    if (rc == 0 && header_count(&m->header, BARID_S("Date")) == 0) {
        buf_clear(scratch);
        rc = trace_date(scratch, m->received_us);
        if (rc == 0)
            rc = header_prepend_raw(&m->header, buf_slice(scratch));
    }
    return rc;
}

static int final_header(struct transaction *tx, struct buf *out)
{
    struct mail *m = &tx->mail;
    int rc = m->session->protocol == BARID_SUBMISSION ? add_missing(tx, out) : 0;
    buf_clear(out);
    if (rc == 0)
        rc = trace_received(out, m, slice_str(tx->c->version->config->hostname));
    /* The Received field goes on top: written first, no edit of the list needed. */
    return rc == 0 ? header_write(&m->header, out) : rc;
}

static bool is_refused(const struct rcpt *r)
{
    return r->verdict == RCPT_REJECTED || r->verdict == RCPT_TEMPFAILED;
}

/* Marks the recipients whose refusal the client hears: with one reply per RCPT (RFC 2033 4.2,
 * PRDR) those of a RCPT of which nothing was accepted. */
static void mark_heard(const struct transaction *tx, bool *heard)
{
    const struct mail *m = &tx->mail;
    if (m->session->protocol != BARID_LMTP && !m->params.prdr)
        return;
    for (const struct rcpt_group *g = tx->groups; g < tx->groups + tx->n_groups; g++) {
        bool none = true;
        for (size_t i = g->first; i < g->first + g->n; i++)
            none = none && is_refused(m->rcpts[i]);
        for (size_t i = g->first; i < g->first + g->n; i++)
            heard[i] = none;
    }
}

int transaction_keep_refused(struct transaction *tx)
{
    struct mail *m = &tx->mail;
    bool *heard = arena_alloc(&tx->arena, m->n_rcpts);
    struct unit *all = arena_alloc(&tx->arena, (tx->n_units + m->n_rcpts) * sizeof *all);
    size_t *index = arena_alloc(&tx->arena, m->n_rcpts * sizeof *index);
    if (!heard || !all || !index)
        return BARID_ENOMEM;
    mark_heard(tx, heard);
    if (tx->n_units)
        memcpy(all, tx->units, tx->n_units * sizeof *all);
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (!is_refused(m->rcpts[i]) || heard[i])
            continue;
        index[i] = i;
        all[tx->n_units++] = (struct unit){.rcpts = &index[i], .n_rcpts = 1};
    }
    tx->units = all;
    return 0;
}

/* What waits for the same place has the same number. A domain that can be no place has none: the
 * queue says so at the first attempt. 0 or BARID_ENOMEM. */
static int set_group(struct transaction *tx, const struct unit *u, uint32_t *group_r)
{
    struct hop hop;
    size_t n;
    *group_r = SPOOL_GROUP_NONE;
    if (u->kind != DISPOSITION_SEND)
        return 0;
    int rc = routing_hops(tx->c->version->routing, &tx->arena, u->target,
                           tx->mail.rcpts[u->rcpts[0]]->box.domain, &hop, 1, &n, NULL);
    if (rc == 0)
        *group_r = hop_group(&hop, tx->c->server->o.spool->key);
    return rc == BARID_ENOMEM ? rc : 0;
}

/* What no unit of work is left for: the recipient was put off, or refused. */
static void set_refused(const struct transaction *tx, const struct rcpt *r,
                        struct unit_state *state)
{
    if (r->verdict == RCPT_REJECTED) {
        state->status = UNIT_GIVEN_UP;
        state->due_us = tx->mail.received_us; /* its sender is told at once, whatever is delayed */
    } else { /* not asked again at once */
        state->due_us += (int64_t)tx->c->version->config->retry.first_s * 1000000;
    }
}

static int set_state(struct transaction *tx, const struct unit *u, struct unit_state *state)
{
    const struct mail *m = &tx->mail;
    state->status = u->held ? UNIT_HELD : UNIT_PENDING;
    state->due_us = m->delay_until_us > m->received_us ? m->delay_until_us : m->received_us;
    if (u->n_rcpts == 1)
        state->reply = m->rcpts[u->rcpts[0]]->reply;
    if ((unsigned)u->kind == 0 && !u->held)
        set_refused(tx, m->rcpts[u->rcpts[0]], state);
    return set_group(tx, u, &state->group);
}

static struct unit_state *initial_states(struct transaction *tx)
{
    struct unit_state *states = arena_alloc(&tx->arena, tx->n_units * sizeof *states);
    for (size_t i = 0; states && i < tx->n_units; i++)
        if (set_state(tx, &tx->units[i], &states[i]) < 0)
            return NULL;
    return states;
}

static enum spool_state spool_state_of(enum mail_state s)
{
    return s == MAIL_HELD          ? SPOOL_HELD
           : s == MAIL_QUARANTINED ? SPOOL_QUARANTINED
                                   : SPOOL_ACTIVE;
}

static int describe(struct transaction *tx, struct buf *header, struct buf *meta)
{
    struct unit_state *states = initial_states(tx);
    if (!states)
        return BARID_ENOMEM;
    int rc = final_header(tx, header);
    if (rc == 0)
        rc = record_encode(&tx->mail, tx->units, tx->n_units, meta);
    if (rc < 0)
        return rc;
    return tx->c->server->o.spool->ops->put_describe(tx->put, spool_state_of(tx->mail.state),
                                                     buf_slice(meta), buf_slice(header), states,
                                                     tx->n_units);
}

int transaction_commit(struct transaction *tx)
{
    struct spool *spool = tx->c->server->o.spool;
    struct buf header, meta;
    buf_init(&header, NULL, HEADER_MAX);
    buf_init(&meta, NULL, META_MAX);
    int rc = describe(tx, &header, &meta);
    buf_deinit(&header);
    buf_deinit(&meta);
    if (rc < 0)
        return rc;
    tx->mail.frozen = tx->mail.decided = true;
    struct spool_put *put = tx->put;
    tx->put = NULL; /* taken over whatever happens */
    return spool->ops->commit(spool, &put, 1, on_committed, tx);
}
