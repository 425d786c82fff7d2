/*
 * smtp/client_end.c: what became of each recipient, and how a mail or the session ends.
 *
 * A recipient is decided once; later replies never change it, except that until the last reply
 * of PRDR what was accepted can be taken back.
 */
#include "smtp/client_int.h"

#include "base/mem.h"
#include "base/slice.h"

/* The reply at hand. Without memory the text is left out: the code is what counts. */
static void answer_from_reply(struct barid_client *c, struct client_answer *a,
                              enum barid_client_stage stage)
{
    *a = (struct client_answer){.stage = stage, .code = c->reply.code};
    if (c->reply.enhanced.n > 0)
        memcpy(a->enhanced, c->reply.enhanced.p, c->reply.enhanced.n);
    if (arena_slice(&c->texts, slice_head(buf_slice(&c->reply.text), BARID_CLIENT_TEXT_MAX),
                    &a->text) < 0)
        a->text = (barid_slice){0};
}

void client_decide(struct barid_client *c, size_t rcpt, enum barid_client_stage stage)
{
    if (c->rcpts[rcpt].decided)
        return;
    answer_from_reply(c, &c->rcpts[rcpt].answer, stage);
    c->rcpts[rcpt].decided = true;
}

static void decide_rest(struct barid_client *c, const struct client_answer *a)
{
    if (c->mail == NULL)
        return;
    for (size_t i = 0; i < c->mail->n_rcpts; i++)
        if (!c->rcpts[i].decided) {
            c->rcpts[i].answer = *a;
            c->rcpts[i].decided = true;
        }
}

void client_decide_all(struct barid_client *c, enum barid_client_stage stage)
{
    struct client_answer a;

    answer_from_reply(c, &a, stage); /* one copy of the text for all */
    decide_rest(c, &a);
}

void client_decide_local(struct barid_client *c, uint16_t code, const char *enhanced,
                         const char *text)
{
    struct client_answer a = {
        .stage = BARID_STAGE_LOCAL, .code = code, .text = slice_str(text)};

    memcpy(a.enhanced, enhanced, strlen(enhanced) + 1);
    decide_rest(c, &a);
}

void client_take_back(struct barid_client *c)
{
    for (size_t i = 0; i < c->mail->n_rcpts; i++)
        if (c->rcpts[i].accepted && c->rcpts[i].answer.code / 100 == 2)
            c->rcpts[i].decided = false;
}

void client_finish(struct barid_client *c, bool rset)
{
    c->emit = 0;
    c->emitting = true;
    c->body = (struct client_body){0};
    c->pending &= ~(1u << BARID_CLIENT_WANT_BODY);
    c->pending |= 1u << BARID_CLIENT_DONE;
    if (!rset) {
        client_enter(c, PHASE_READY);
        return;
    }
    client_enter(c, PHASE_RSET);
    client_line(c, BARID_S("RSET"), (barid_slice){0});
}

static void close_now(struct barid_client *c)
{
    if (c->mail != NULL && !c->emitting) {
        c->emit = 0;
        c->emitting = true;
        c->pending |= 1u << BARID_CLIENT_DONE;
    }
    c->pending &= ~(1u << BARID_CLIENT_WANT_BODY | 1u << BARID_CLIENT_READY);
    c->pending |= 1u << BARID_CLIENT_CLOSED;
    /* Half a command or half a message: never completed by accident. */
    buf_wipe(&c->out);
    client_enter(c, PHASE_CLOSED);
}

void client_lost(struct barid_client *c, int error)
{
    struct client_answer a = {
        .stage = client_stage(c), .error = error, .text = slice_str(barid_strerror(error))};

    if (c->phase == PHASE_CLOSED)
        return;
    if (c->prdr_begun && c->phase == PHASE_FINAL)
        client_take_back(c);
    decide_rest(c, &a);
    if (c->phase != PHASE_QUIT) /* else the first reason stands */
        c->closed = a;
    close_now(c);
}

/* The answer of the session has room of its own: it outlives every mail. */
static void closed_from_reply(struct barid_client *c)
{
    barid_slice text = slice_head(buf_slice(&c->reply.text), sizeof(c->closed_text));

    c->closed = (struct client_answer){.stage = client_stage(c), .code = c->reply.code};
    if (c->reply.enhanced.n > 0)
        memcpy(c->closed.enhanced, c->reply.enhanced.p, c->reply.enhanced.n);
    if (text.n > 0)
        memcpy(c->closed_text, text.p, text.n);
    c->closed.text = slice_of(c->closed_text, text.n);
}

void client_lost_reply(struct barid_client *c)
{
    enum barid_client_stage stage = client_stage(c);

    if (c->prdr_begun && c->phase == PHASE_FINAL)
        client_take_back(c);
    if (c->mail != NULL)
        client_decide_all(c, stage);
    closed_from_reply(c);
    close_now(c);
}

void client_leave(struct barid_client *c)
{
    client_enter(c, PHASE_QUIT);
    client_line(c, BARID_S("QUIT"), (barid_slice){0});
}

void client_give_up(struct barid_client *c, int error, const char *text)
{
    if (error == 0)
        closed_from_reply(c);
    else
        c->closed = (struct client_answer){
            .stage = client_stage(c), .error = error, .text = slice_str(text)};
    client_leave(c);
}

/* QUIT was answered, or the server closed or kept silent: all the same. */
void client_reply_quit(struct barid_client *c)
{
    if (c->closed.code == 0 && c->closed.error == 0) {
        c->closed.stage = BARID_STAGE_IDLE;
        c->closed.code = 221;
    }
    close_now(c);
}

void client_reply_rset(struct barid_client *c)
{
    /* RFC 5321 4.1.1.5: only 250 is right. A server that refuses is in no state we know. */
    if (c->reply.code / 100 != 2)
        client_give_up(c, 0, NULL);
    else
        client_enter(c, PHASE_READY);
}

void barid_client_quit(barid_client *c, uint64_t now_ms)
{
    c->now = now_ms;
    if (c->phase == PHASE_READY) {
        c->pending &= ~(1u << BARID_CLIENT_READY);
        client_leave(c);
    } else if (c->phase != PHASE_CLOSED && c->phase != PHASE_QUIT) {
        client_lost(c, BARID_ECLOSED);
    }
}
