/*
 * server/step_content.c: DATA, the header block, the body chunks.
 *
 * Octets go to the spool's put as they arrive. When its disk does not keep up, the answer to a
 * chunk is withheld until it has: the session then reads no more, so one slow disk costs a
 * bounded amount of memory.
 */
#include "server/ask.h"
#include "server/steps.h"
#include "server/transaction.h"

static void answer_storage_error(struct connection *c, int rc)
{
    connection_answer_reply(c, rc == BARID_EFULL ? BARID_REPLY_STORAGE_FULL
                                                 : BARID_REPLY_LOCAL_ERROR);
}

static void after_data(struct connection *c, const barid_verdict *v)
{
    const struct spool_ops *ops = c->server->o.spool->ops;
    int rc = verdict_refuses(v) ? 0 : ops->put_begin(c->server->o.spool, &c->tx->put);
    if (c->tx->put)
        c->tx->mail.id = ops->put_id(
            c->tx->put); /* a discarded mail keeps it: a client sees no difference */
    if (rc < 0)
        answer_storage_error(c, rc);
    else
        connection_answer(c, v);
}

void server_step_data(struct connection *c, const barid_event *ev)
{
    ask(c, ev->id, ev, NULL, after_data);
}

static void after_headers(struct connection *c, const barid_verdict *v)
{
    transaction_note_state(c->tx, v);
    connection_answer(c, v);
}

void server_step_headers(struct connection *c, const barid_event *ev)
{
    struct mail *m = &c->tx->mail;
    int rc = mail_set_header(m, ev->data, ev->has_blank_line);
    if (rc == BARID_ELIMIT)
        connection_answer_reply(c, BARID_REPLY_HEADER_TOO_BIG);
    else if (rc < 0)
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    else if (m->hops > c->listen->config->limits.hops)
        connection_answer_reply(c, BARID_REPLY_HOP_LIMIT); /* RFC 5321 6.3 */
    else
        ask(c, ev->id, ev, NULL, after_headers);
}

/* --- body --- */

static void run_drained(struct loop_task *task)
{
    struct transaction *tx = LIST_ENTRY(task, struct transaction, drained);
    struct connection *c = tx->c;
    if (connection_back(c))
        connection_answer(c, &tx->chunk_answer);
}

static void on_drained(void *user) /* the spool's writer thread */
{
    struct transaction *tx = user;
    loop_post(tx->c->server->o.loop, &tx->drained);
}

static void after_body(struct connection *c, const barid_verdict *v)
{
    struct transaction *tx = c->tx;
    const struct spool_ops *ops = c->server->o.spool->ops;
    transaction_note_state(tx, v);
    if (!tx->put || ops->put_backlog(tx->put) <= SPOOL_BACKLOG_PAUSE) {
        connection_answer(c, v);
    } else if (transaction_keep(tx, v, &tx->chunk_answer) < 0) {
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    } else {
        tx->drained.run = run_drained;
        c->under_way++;
        ops->put_on_drain(tx->put, on_drained, tx);
    }
}

void server_step_body(struct connection *c, const barid_event *ev)
{
    struct transaction *tx = c->tx;
    tx->mail.body_size += ev->data.n;
    int rc = tx->mail.state == MAIL_DISCARDED
                 ? 0
                 : c->server->o.spool->ops->put_body(tx->put, ev->data.p, ev->data.n);
    if (rc < 0)
        answer_storage_error(c, rc);
    else
        ask(c, ev->id, ev, NULL, after_body);
}
