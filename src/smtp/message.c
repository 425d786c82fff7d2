/*
 * smtp/message.c: see message.h. Knows nothing of octets (receiver.c) and words (reply_out.c).
 *
 *   headers, body*             as the octets come (TX_CONTENT for what is left at the end)
 *   message                    TX_MESSAGE
 *   recipient, one by one      TX_RECIPIENTS
 *   commit                     TX_COMMIT, unless every recipient is refused
 *   replies                    message_reply
 *
 * Invariants: no 2yz leaves here unless COMMIT was accepted. A refusal of the whole message is
 * remembered in tx->refusal, or in rx.refusal when a limit made it; after it no event is
 * raised.
 */
#include "smtp/message.h"

#include <stdio.h>

#include "smtp/acts.h"
#include "smtp/final_reply.h"
#include "smtp/steps.h"

/* --- receiving --- */

void message_refuse(struct barid_session *s, const barid_verdict *v)
{
    struct transaction *tx = s->tx;

    outcome_set(&tx->refusal, &tx->arena, v, session_refusal_row(s, v));
    rx_drop(&tx->rx);
}

/* The number in the text of a limit's refusal. */
static uint64_t limit_of(const struct transaction *tx, enum barid_reply_id row)
{
    if (row == BARID_REPLY_HEADER_TOO_BIG)
        return tx->rx.header_max;
    return row == BARID_REPLY_DATA_LINE_TOO_LONG ? tx->rx.line_max : tx->rx.size_max;
}

bool message_is_refused(struct barid_session *s)
{
    struct transaction *tx = s->tx;
    enum barid_reply_id row = tx->rx.refusal;
    char number[24];

    if (tx->refusal.kind == BARID_CONTINUE && row != BARID_REPLY_NONE) {
        snprintf(number, sizeof(number), "%llu", (unsigned long long)limit_of(tx, row));
        outcome_refuse(&tx->refusal, &tx->arena, row, slice_str(number));
    }
    return tx->refusal.kind != BARID_CONTINUE;
}

static void ask_block(struct barid_session *s, enum barid_event_id id, bool last)
{
    barid_event *event = session_ask(s, id);

    event->data = rx_block(&s->tx->rx);
    event->has_blank_line = id == BARID_EVENT_HEADERS && s->tx->rx.has_blank_line;
    event->last = last;
}

/* The peer goes on sending what was refused: it hears the refusal now. */
static void overrun(struct barid_session *s)
{
    message_is_refused(s);
    final_replies(s);
    session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_NONE);
}

void message_received(struct barid_session *s, enum rx_result result)
{
    if (result == RX_HEADERS)
        ask_block(s, BARID_EVENT_HEADERS, false);
    else if (result == RX_BODY)
        ask_block(s, BARID_EVENT_BODY, false);
    else if (result == RX_END)
        session_enter(s, PHASE_MESSAGE);
    else if (result == RX_OVERRUN)
        overrun(s);
}

bool step_data(struct barid_session *s)
{
    barid_slice in = session_input(s);
    enum rx_result result;
    size_t used = 0;

    if (in.n == 0)
        return false;
    result = rx_data(&s->tx->rx, in, &used);
    session_take(s, used);
    message_received(s, result);
    return true;
}

void act_block(struct barid_session *s, const barid_verdict *v)
{
    if (v->kind == BARID_DISCONNECT)
        session_refused(s, v);
    else if (verdict_refuses(v->kind))
        message_refuse(s, v);
    else
        rx_release(&s->tx->rx);
}

/* --- the complete message --- */

static void stage_content(struct barid_session *s)
{
    struct transaction *tx = s->tx;
    enum rx_result result = rx_finish(&tx->rx);

    if (result == RX_END)
        tx->stage = message_is_refused(s) ? TX_REPLY : TX_MESSAGE;
    else
        ask_block(s, result == RX_HEADERS ? BARID_EVENT_HEADERS : BARID_EVENT_BODY,
                  result == RX_BODY && rx_is_last(&tx->rx));
}

static void stage_message(struct barid_session *s)
{
    session_ask(s, BARID_EVENT_MESSAGE)->size = s->tx->rx.size;
}

void act_message(struct barid_session *s, const barid_verdict *v)
{
    struct transaction *tx = s->tx;

    if (v->kind == BARID_DISCONNECT) {
        session_refused(s, v);
        return;
    }
    if (verdict_refuses(v->kind)) {
        message_refuse(s, v);
        tx->stage = TX_REPLY;
        return;
    }
    if (v->kind != BARID_CONTINUE)
        outcome_set(&tx->message, &tx->arena, v, BARID_REPLY_MESSAGE_OK);
    tx->stage = TX_RECIPIENTS;
    tx->cursor = tx->first;
    tx->index = 0;
}

/* Recipients disagree, and the switch says that nobody gets the message then. */
static bool is_strictly_mixed(const struct barid_session *s)
{
    return s->config->switches.strict_mixed && !final_is_per_recipient(s) &&
           tx_accepted(s->tx) < s->tx->count;
}

static void recipients_done(struct barid_session *s)
{
    struct transaction *tx = s->tx;

    tx->stage = TX_COMMIT;
    if (tx_accepted(tx) == 0) {
        tx->stage = TX_REPLY;
    } else if (is_strictly_mixed(s)) {
        outcome_refuse(&tx->refusal, &tx->arena, BARID_REPLY_MIXED_RESULTS,
                       (barid_slice){NULL, 0});
        tx->stage = TX_REPLY;
    }
}

static void stage_recipients(struct barid_session *s)
{
    struct transaction *tx = s->tx;
    barid_event *event;

    if (tx->cursor == NULL) {
        recipients_done(s);
        return;
    }
    event = session_ask(s, BARID_EVENT_RECIPIENT);
    event->path = &tx->cursor->path;
    event->rcpt_params = &tx->cursor->params;
    event->rcpt_index = tx->index;
}

void act_recipient(struct barid_session *s, const barid_verdict *v)
{
    struct transaction *tx = s->tx;
    enum barid_reply_id row =
        verdict_refuses(v->kind) ? session_refusal_row(s, v) : BARID_REPLY_MESSAGE_OK;

    outcome_set(&tx->cursor->outcome, &tx->arena, v, row);
    tx->cursor = tx->cursor->next;
    tx->index++;
}

static void stage_commit(struct barid_session *s)
{
    session_ask(s, BARID_EVENT_COMMIT)->size = s->tx->rx.size;
}

/* Replies at once: whatever happens next, the client must hear what was done. */
void act_commit(struct barid_session *s, const barid_verdict *v)
{
    enum barid_reply_id row = BARID_REPLY_MESSAGE_OK;

    /* A wrong answer, continue included, does not say that the message is safe. */
    if (s->wrong_answer)
        row = BARID_REPLY_POLICY_FAILED;
    else if (v->kind != BARID_ACCEPT)
        row = v->kind == BARID_REJECT ? BARID_REPLY_MESSAGE_REFUSED : BARID_REPLY_LOCAL_ERROR;
    /* Not copied: what is durable must not be denied for want of memory. */
    s->tx->commit = (struct outcome){.kind = v->kind,
                                     .row = row,
                                     .code = v->code,
                                     .enhanced = v->enhanced,
                                     .text = v->text,
                                     .detail = v->id};
    message_reply(s);
}

static void (*const stages[TX_STAGES])(struct barid_session *) = {
    [TX_CONTENT] = stage_content,       [TX_MESSAGE] = stage_message,
    [TX_RECIPIENTS] = stage_recipients, [TX_COMMIT] = stage_commit,
    [TX_REPLY] = message_reply,
};

bool step_message(struct barid_session *s)
{
    stages[s->tx->stage](s);
    return true;
}

void message_reply(struct barid_session *s)
{
    final_replies(s);
    session_enter(s, PHASE_COMMAND);
    tx_del(&s->tx);
}
