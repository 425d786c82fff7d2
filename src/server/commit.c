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

/* Plain SMTP, mixed: the client hears 250 for all. Recipients that were put off become units
 * that the queue asks about again; refused ones are kept as held units with the refusal, so
 * that none is silently forgotten: an operator sees them. */
static int add_refused_units(struct transaction *tx)
{
    struct mail *m = &tx->mail;
    bool per_recipient = m->session->protocol == BARID_LMTP || m->params.prdr;
    size_t n = 0;
    for (size_t i = 0; !per_recipient && i < m->n_rcpts; i++)
        n += m->rcpts[i]->verdict == RCPT_REJECTED || m->rcpts[i]->verdict == RCPT_TEMPFAILED;
    if (n == 0)
        return 0;
    struct unit *all = arena_alloc(&tx->arena, (tx->n_units + n) * sizeof *all);
    if (!all)
        return BARID_ENOMEM;
    memcpy(all, tx->units, tx->n_units * sizeof *all);
    for (size_t i = 0; i < m->n_rcpts; i++) {
        if (m->rcpts[i]->verdict != RCPT_REJECTED && m->rcpts[i]->verdict != RCPT_TEMPFAILED)
            continue;
        size_t *index = arena_alloc(&tx->arena, sizeof *index);
        if (!index)
            return BARID_ENOMEM;
        *index = i;
        all[tx->n_units++] = (struct unit){
            .rcpts = index, .n_rcpts = 1, .held = m->rcpts[i]->verdict == RCPT_REJECTED};
    }
    tx->units = all;
    return 0;
}

static struct unit_state *initial_states(struct transaction *tx)
{
    const struct mail *m = &tx->mail;
    struct unit_state *states = arena_alloc(&tx->arena, tx->n_units * sizeof *states);
    for (size_t i = 0; states && i < tx->n_units; i++) {
        const struct unit *u = &tx->units[i];
        states[i].status = u->held ? UNIT_HELD : UNIT_PENDING;
        states[i].due_us =
            m->delay_until_us > m->received_us ? m->delay_until_us : m->received_us;
        if (u->n_rcpts == 1)
            states[i].reply = m->rcpts[u->rcpts[0]]->reply;
        if ((unsigned)u->kind == 0 && !u->held) /* put off: not asked again at once */
            states[i].due_us += (int64_t)tx->c->version->config->retry.first_s * 1000000;
    }
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
    int rc = add_refused_units(tx);
    struct unit_state *states = rc == 0 ? initial_states(tx) : NULL;
    if (!states)
        return BARID_ENOMEM;
    rc = final_header(tx, header);
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
    struct spool_put *put = tx->put;
    tx->put = NULL; /* taken over whatever happens */
    return spool->ops->commit(spool, &put, 1, on_committed, tx);
}
