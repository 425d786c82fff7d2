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
#include "message/reply_text.h"
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

/* Hooks add recipients while others are asked. */
static int grow_answers(struct transaction *tx, size_t n)
{
    size_t cap = n < 4 ? 4 : 2 * n;
    if (n <= tx->cap_answers)
        return 0;
    barid_verdict *a = arena_alloc(&tx->arena, cap * sizeof *a);
    if (!a)
        return BARID_ENOMEM;
    if (tx->cap_answers)
        memcpy(a, tx->rcpt_answers, tx->cap_answers * sizeof *a);
    tx->rcpt_answers = a;
    tx->cap_answers = cap;
    return 0;
}

static void set_answer(struct transaction *tx, size_t i, const barid_verdict *v)
{
    struct rcpt *r = tx->mail.rcpts[i];
    if (grow_answers(tx, i + 1) < 0) { /* an added one: no reply is due for it */
        r->verdict = RCPT_TEMPFAILED;
        return;
    }
    r->verdict = rcpt_verdict_of(v);
    if (transaction_keep(tx, v, &tx->rcpt_answers[i]) < 0) {
        r->verdict = RCPT_TEMPFAILED;
        tx->rcpt_answers[i] = connection_verdict(tx->c, BARID_REPLY_LOCAL_ERROR);
    }
    char reply[REPLY_TEXT_SIZE];
    reply_text(&tx->rcpt_answers[i], reply);
    if (verdict_refuses(&tx->rcpt_answers[i]))
        r->reply = slice_str(arena_strdup(&tx->arena, slice_str(reply)));
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

/* true: a handler has the question, after_recipient comes later. */
static bool ask_one(struct connection *c);

/* Answers that come at once make one loop, not a recursion as deep as there are recipients. */
static void ask_recipients(struct connection *c)
{
    struct transaction *tx = c->tx;
    tx->in_loop = true;
    while (tx->asking < tx->mail.n_rcpts && !tx->cut_off) {
        if (ask_one(c)) {
            tx->in_loop = false;
            return;
        }
    }
    tx->in_loop = false;
    if (tx->cut_off)
        connection_answer(c, &tx->message_answer);
    else
        all_asked(c);
}

static void after_recipient(struct connection *c, const barid_verdict *v)
{
    struct transaction *tx = c->tx;
    if (v->kind != BARID_DISCONNECT)
        set_answer(tx, tx->asking++, v);
    else if (transaction_keep(tx, v, &tx->message_answer) < 0)
        set_answer(tx, tx->asking++, v);
    else
        tx->cut_off = true; /* the session still waits for `message`: this answers it */
    if (!tx->in_loop)
        ask_recipients(c);
}

static bool ask_one(struct connection *c)
{
    static const barid_verdict none = {.kind = BARID_CONTINUE};
    struct transaction *tx = c->tx;
    size_t i = tx->asking;
    bool hooked = policy_events(c->version->policy) & BARID_EVENT_BIT(BARID_EVENT_RECIPIENT);
    if (tx->mail.rcpts[i]->verdict == RCPT_DISCARDED) /* taken off by a hook */
        tx->asking++;
    else if (!hooked)
        set_answer(tx, tx->asking++, &none);
    else
        ask(c, BARID_EVENT_RECIPIENT, NULL, tx->mail.rcpts[i], after_recipient);
    return tx->asking == i && !tx->cut_off;
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
    if (grow_answers(tx, tx->mail.n_rcpts + 1) < 0 ||
        transaction_keep(tx, v, &tx->message_answer) < 0) {
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
        return;
    }
    if (tx->mail.state == MAIL_DISCARDED)
        discard_all(tx);
    ask_recipients(c);
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
    if (err < 0) {
        connection_answer_reply(c, err == BARID_EFULL ? BARID_REPLY_STORAGE_FULL
                                                      : BARID_REPLY_LOCAL_ERROR);
        return;
    }
    ask(c, BARID_EVENT_QUEUED, NULL, NULL, after_queued);
}

void server_step_commit(struct connection *c, const barid_event *ev)
{
    struct transaction *tx = c->tx;
    (void)ev;
    if (transaction_keep_refused(tx) < 0) {
        connection_answer_reply(c, BARID_REPLY_LOCAL_ERROR);
        return;
    }
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
