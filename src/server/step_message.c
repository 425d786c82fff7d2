/*
 * server/step_message.c: the end of a message: the `message` hooks, the `recipient` hooks of
 * every recipient, the evaluation of dispositions, then what the session asks per RCPT and the
 * commit.
 *
 * All recipients are asked while the session still waits for the answer to `message`: whether a
 * recipient is decided (DESIGN: "evaluated once, after the last recipient answer") is known
 * only when every hook has spoken, and the session's own recipient events are then answered
 * from what is stored here.
 */
#include "base/slice.h"
#include "server/ask.h"
#include "server/session_log.h"
#include "server/steps.h"
#include "server/transaction.h"

/* --- recipients --- */

static enum rcpt_verdict rcpt_verdict_of(const barid_verdict *v)
{
    static const enum rcpt_verdict map[BARID_VERDICT_KINDS] = {
        [BARID_CONTINUE] = RCPT_ACCEPTED, [BARID_ACCEPT] = RCPT_ACCEPTED,
        [BARID_REJECT] = RCPT_REJECTED,   [BARID_TEMPFAIL] = RCPT_TEMPFAILED,
        [BARID_DISCARD] = RCPT_DISCARDED, [BARID_QUARANTINE] = RCPT_QUARANTINED,
        [BARID_HOLD] = RCPT_HELD,         [BARID_DISCONNECT] = RCPT_TEMPFAILED,
    };
    return map[v->kind];
}

static void set_answer(struct transaction *tx, size_t i, const barid_verdict *v)
{
    struct rcpt *r = tx->mail.rcpts[i];
    r->verdict = rcpt_verdict_of(v);
    if (transaction_keep(tx, v, &tx->rcpt_answers[i]) < 0) {
        r->verdict = RCPT_TEMPFAILED;
        tx->rcpt_answers[i] = connection_verdict(tx->c, BARID_REPLY_LOCAL_ERROR);
    }
    const barid_verdict *a = &tx->rcpt_answers[i];
    char *reply = verdict_refuses(a)
                      ? arena_fmt(&tx->arena, "%u %.*s %.*s", a->code, (int)a->enhanced.n,
                                  a->enhanced.p, (int)a->text.n, a->text.p)
                      : NULL;
    r->reply = slice_str(reply);
}

/* undecided: no row, no discard. On a mail that is held or quarantined as a whole it waits with
 * the mail. */
static void settle_undecided(struct transaction *tx, size_t i)
{
    struct connection *c = tx->c;
    struct rcpt *r = tx->mail.rcpts[i];
    barid_verdict v;
    if (tx->mail.state == MAIL_HELD || tx->mail.state == MAIL_QUARANTINED) {
        r->verdict = tx->mail.state == MAIL_HELD ? RCPT_HELD : RCPT_QUARANTINED;
        return;
    }
    switch (c->version->config->undecided) {
    case UNDECIDED_HOLD:
        r->verdict = RCPT_HELD;
        return;
    case UNDECIDED_TEMPFAIL:
        v = connection_verdict(c, BARID_REPLY_LOCAL_ERROR);
        v.text = BARID_S("No decision about this recipient, try again later");
        break;
    default:
        v = connection_verdict(c, BARID_REPLY_NO_SUCH_USER);
    }
    transaction_explain(tx, BARID_EVENT_RECIPIENT, &v, r->index, "builtin:undecided");
    set_answer(tx, i, &v);
}

static int evaluate(struct transaction *tx)
{
    bool *undecided;
    struct err err = {0};
    bool again = false;
    int rc = mail_evaluate(&tx->mail, &tx->units, &tx->n_units, &undecided, &err);
    for (size_t i = 0; rc == 0 && i < tx->mail.n_rcpts; i++) {
        if (!undecided[i])
            continue;
        settle_undecided(tx, i);
        again = true;
    }
    if (rc == 0 && again)
        rc = mail_evaluate(&tx->mail, &tx->units, &tx->n_units, &undecided, &err);
    if (rc < 0)
        log_record(tx->c->server->o.log, LOG_LEVEL_ERROR, "server",
                   "dispositions cannot be evaluated: answered 451",
                   LOG_CSTR("session", tx->c->facts.id),
                   LOG_CSTR("error", err.code ? err.text : barid_strerror(rc)));
    return rc;
}

static void all_asked(struct connection *c)
{
    if (evaluate(c->tx) < 0)
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
    else
        connection_answer(c, &c->tx->message_answer);
}

static void after_recipient(struct connection *c, const barid_verdict *v);

static void ask_next(struct connection *c)
{
    struct transaction *tx = c->tx;
    barid_verdict none = {.kind = BARID_CONTINUE};
    bool hooked = policy_events(c->version->policy) & BARID_EVENT_BIT(BARID_EVENT_RECIPIENT);
    while (!hooked &&
           tx->asking <
               tx->mail.n_rcpts) /* nobody listens: a thousand recipients are no recursion */
        set_answer(tx, tx->asking++, &none);
    if (tx->asking == tx->mail.n_rcpts)
        all_asked(c);
    else
        ask(c, BARID_EVENT_RECIPIENT, NULL, tx->mail.rcpts[tx->asking], after_recipient);
}

static void after_recipient(struct connection *c, const barid_verdict *v)
{
    set_answer(c->tx, c->tx->asking++, v);
    ask_next(c);
}

/* --- message --- */

static void discard_all(struct transaction *tx)
{
    for (size_t i = 0; i < tx->mail.n_rcpts; i++)
        tx->mail.rcpts[i]->verdict = RCPT_DISCARDED;
    tx->asking = tx->mail.n_rcpts;
}

static void after_message(struct connection *c, const barid_verdict *v)
{
    struct transaction *tx = c->tx;
    transaction_note_state(tx, v);
    if (verdict_refuses(v)) {
        connection_answer(c, v);
        return;
    }
    tx->rcpt_answers =
        arena_alloc(&tx->arena, (tx->mail.n_rcpts + 1) * sizeof *tx->rcpt_answers);
    if (!tx->rcpt_answers || transaction_keep(tx, v, &tx->message_answer) < 0) {
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
        return;
    }
    if (tx->mail.state == MAIL_DISCARDED)
        discard_all(tx);
    ask_next(c);
}

void server_step_message(struct connection *c, const barid_event *ev)
{
    struct transaction *tx = c->tx;
    tx->mail.body = transaction_body(tx);
    tx->asking = 0;
    if (tx->mail.state == MAIL_DISCARDED) {
        barid_verdict v = {.kind = BARID_CONTINUE};
        after_message(c, &v);
        return;
    }
    ask(c, ev->id, ev, NULL, after_message);
}

/* --- what the session asks --- */

/* One RCPT that became several recipients (aliases) is accepted when any of them was; else the
 * first refusal speaks. */
static const barid_verdict *group_answer(const struct transaction *tx,
                                         const struct rcpt_group *g)
{
    for (size_t i = g->first; i < g->first + g->n; i++)
        if (!verdict_refuses(&tx->rcpt_answers[i]))
            return &tx->rcpt_answers[i];
    return &tx->rcpt_answers[g->first];
}

void server_step_recipient(struct connection *c, const barid_event *ev)
{
    connection_answer(c, group_answer(c->tx, &c->tx->groups[ev->rcpt_index]));
}

/* --- commit --- */

/* Counted and logged as soon as it is true, whether the client is still there to hear of it or
 * not. */
static void note_stored(struct connection *c)
{
    const struct transaction *tx = c->tx;
    c->messages++;
    server_count(&c->server->count.messages, 1);
    server_count(&c->server->count.recipients, tx->mail.n_rcpts);
    session_log_message(c, tx->empty_commit ? "discarded" : mail_state_name(tx->mail.state));
}

static void finish_commit(struct connection *c)
{
    char id[MAIL_ID_TEXT_SIZE];
    mail_id_text(c->tx->mail.id, id);
    barid_verdict ok = {.kind = BARID_ACCEPT, .id = slice_str(id)};
    connection_answer(c, &ok);
}

static void after_queued(struct connection *c, const barid_verdict *v)
{
    (void)v; /* observed */
    finish_commit(c);
}

static void run_committed(struct loop_task *task)
{
    struct transaction *tx = LIST_ENTRY(task, struct transaction, committed);
    struct connection *c = tx->c;
    const int err = tx->commit_err;
    if (err < 0)
        session_log_message(c, "not stored");
    else
        note_stored(c);
    if (!connection_back(c))
        return;
    if (err < 0)
        connection_answer_reply(c, err == BARID_EFULL ? BARID_REPLY_STORAGE_FULL
                                                      : BARID_REPLY_LOCAL_ERROR);
    else
        ask(c, BARID_EVENT_QUEUED, NULL, NULL, after_queued);
}

void server_step_commit(struct connection *c, const barid_event *ev)
{
    struct transaction *tx = c->tx;
    (void)ev;
    if (tx->n_units == 0) {
        tx->empty_commit = true;
        note_stored(c);
        finish_commit(c);
        return;
    }
    tx->committed.run = run_committed;
    c->under_way++;
    int rc = transaction_commit(tx);
    if (rc < 0) {
        tx->commit_err = rc;
        run_committed(&tx->committed);
    }
}
