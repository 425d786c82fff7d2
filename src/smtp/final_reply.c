/*
 * smtp/final_reply.c: see final_reply.h.
 *
 *   the whole message refused   SMTP, PRDR: once. LMTP: once per recipient (RFC 2033 4.2)
 *   LMTP                        one per recipient, RCPT order, duplicates included
 *   PRDR                        353, one per recipient, one for the message
 *   SMTP                        all refused: the strongest refusal; else that of the commit
 *
 * A recipient that was accepted is answered with what the commit came to.
 */
#include "smtp/final_reply.h"

#include "smtp/session_int.h"

bool final_is_per_recipient(const struct barid_session *s)
{
    return is_lmtp(s) || s->tx->params.prdr;
}

/* 421 says that the channel is being closed (RFC 5321 3.8), so it is. */
static void say(struct barid_session *s, const struct outcome *o)
{
    reply_outcome(s, o);
    if (o->code == 421)
        session_close(s, BARID_CLOSE_POLICY, BARID_REPLY_NONE);
}

/* A successful commit in the words of, in this order: own (may be NULL), the commit, the
 * message; else "queued as ID", or a bare "Ok" without an id. */
static void say_success(struct barid_session *s, const struct outcome *own)
{
    const struct transaction *tx = s->tx;
    struct outcome said = tx->commit;

    if (own != NULL && own->text.n > 0)
        said = *own;
    else if (said.text.n == 0 && tx->message.text.n > 0)
        said = tx->message;
    said.row = tx->commit.detail.n > 0 ? BARID_REPLY_MESSAGE_OK : BARID_REPLY_OK;
    said.detail = tx->commit.detail;
    say(s, &said);
}

static void say_accepted(struct barid_session *s, const struct outcome *own)
{
    if (s->tx->commit.kind == BARID_ACCEPT)
        say_success(s, own);
    else
        say(s, &s->tx->commit);
}

static void say_each(struct barid_session *s)
{
    for (const struct recipient *r = s->tx->first; r != NULL; r = r->next) {
        if (s->tx->refusal.kind != BARID_CONTINUE)
            say(s, &s->tx->refusal);
        else if (verdict_refuses(r->outcome.kind))
            say(s, &r->outcome);
        else
            say_accepted(s, &r->outcome);
    }
}

static void say_once(struct barid_session *s)
{
    const struct transaction *tx = s->tx;

    if (tx->refusal.kind != BARID_CONTINUE)
        say(s, &tx->refusal);
    else if (tx_accepted(tx) == 0)
        say(s, tx_strongest_refusal(tx));
    else
        say_accepted(s, NULL);
}

void final_replies(struct barid_session *s)
{
    if (is_lmtp(s)) {
        say_each(s);
        return;
    }
    if (s->tx->params.prdr && s->tx->refusal.kind == BARID_CONTINUE) {
        reply(s, BARID_REPLY_PRDR_BEGIN);
        say_each(s);
    }
    say_once(s);
}
