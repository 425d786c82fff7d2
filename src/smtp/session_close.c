/*
 * smtp/session_close.c: the end of a session. Closing is announced first and carried out by the
 * step loop once no event is unanswered, so that no act finds its transaction gone and no
 * embedder holds a token of a session that went on without it.
 */
#include "base/mem.h"
#include "smtp/sasl_server.h"
#include "smtp/session_int.h"

void session_close(struct barid_session *s, enum barid_close_reason reason,
                   enum barid_reply_id row)
{
    if (s->due_reason != BARID_CLOSE_NONE || s->phase == PHASE_CLOSED)
        return;
    s->due_reason = (uint8_t)reason;
    s->due_row = (uint16_t)row;
}

/* A PROXY header or a handshake is no place for a reply. */
static bool can_speak(const struct barid_session *s)
{
    if (s->phase == PHASE_CONNECT)
        return !s->config->implicit_tls || s->tls != NULL;
    return s->phase != PHASE_PROXY && s->phase != PHASE_TLS;
}

void session_close_now(struct barid_session *s)
{
    if (s->due_row != BARID_REPLY_NONE && can_speak(s))
        reply(s, (enum barid_reply_id)s->due_row);
    s->mute = true;
    s->phase = PHASE_CLOSED;
    s->reason = s->due_reason;
    s->asked = ASKED_NONE;
    s->disconnect_due = (s->config->events & BARID_EVENT_BIT(BARID_EVENT_DISCONNECT)) != 0;
    tx_del(&s->tx);
    sasl_server_del(&s->sasl);
    mem_free(s->mem, s->line);
    s->line = NULL;
    session_discard_input(s);
    session_wait_begins(s);
}

void session_disconnect(struct barid_session *s, const struct outcome *o)
{
    if (!o->silent) {
        struct outcome said = *o;

        said.row = BARID_REPLY_DISCONNECTED;
        reply_outcome(s, &said);
    }
    s->mute = true;
    session_close(s, BARID_CLOSE_POLICY, BARID_REPLY_NONE);
}
