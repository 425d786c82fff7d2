/*
 * smtp/greeting.c: from the connection to the greeting: PROXY header, `connect`, implicit TLS;
 * and what follows a handshake. Knows no commands.
 *
 *   PROXY -> `connect` -> [handshake -> `tls`] -> greeting -> commands
 *
 * With implicit TLS the answer to `connect` is held until it can be said over TLS; only
 * disconnect acts before, and silently, as nothing in clear text could be understood.
 */
#include <string.h>

#include "base/mem.h"
#include "smtp/acts.h"
#include "smtp/proxy.h"
#include "smtp/session_int.h"
#include "smtp/steps.h"

static void out_of_memory(struct barid_session *s)
{
    session_close(s, BARID_CLOSE_NOMEM, BARID_REPLY_NONE);
}

bool step_proxy(struct barid_session *s)
{
    struct proxy_header header;
    size_t used = 0;
    int rc = proxy_parse(session_input(s), &header, &used);

    if (rc == BARID_EAGAIN)
        return false;
    if (rc < 0) {
        /* PROXY protocol 2: whoever speaks without a header must not be served. */
        session_close(s, BARID_CLOSE_PROXY, BARID_REPLY_NONE);
        return true;
    }
    session_take(s, used);
    if (!header.local) {
        s->proxy_dest = mem_alloc(s->mem, sizeof(*s->proxy_dest));
        if (s->proxy_dest == NULL) {
            out_of_memory(s);
            return true;
        }
        *s->proxy_dest = header.dest;
        s->peer = header.src;
    }
    session_enter(s, PHASE_CONNECT);
    return true;
}

bool step_connect(struct barid_session *s)
{
    session_ask(s, BARID_EVENT_CONNECT);
    return true;
}

static bool hold(struct barid_session *s, const barid_verdict *v, enum barid_reply_id row)
{
    if (s->held == NULL) {
        s->held = mem_zalloc(s->mem, sizeof(*s->held));
        if (s->held == NULL) {
            out_of_memory(s);
            return false;
        }
        arena_init(&s->held->arena, s->mem, 0); /* holds one verdict or two */
    }
    outcome_set(&s->held->outcome, &s->held->arena, v, row);
    return true;
}

static void release(struct barid_session *s)
{
    if (s->held == NULL)
        return;
    arena_deinit(&s->held->arena);
    mem_free(s->mem, s->held);
    s->held = NULL;
}

static void greet(struct barid_session *s, const struct outcome *o)
{
    struct outcome said = *o;

    s->greeting_sent = true;
    session_enter(s, PHASE_COMMAND);
    if (o->kind == BARID_DISCONNECT) {
        session_disconnect(s, o);
    } else if (o->kind == BARID_TEMPFAIL) {
        reply_outcome(s, o);
        session_close(s, BARID_CLOSE_POLICY, BARID_REPLY_NONE);
    } else if (o->kind == BARID_REJECT) {
        reply_outcome(s, o);
        s->shut = SHUT_CONNECT; /* RFC 5321 3.1: only QUIT is of use now */
    } else {
        said.row = is_lmtp(s) ? BARID_REPLY_GREETING_LMTP : BARID_REPLY_GREETING;
        said.code = 0;
        reply_outcome(s, &said);
    }
}

void act_connect(struct barid_session *s, const barid_verdict *v)
{
    enum barid_reply_id row =
        v->kind == BARID_TEMPFAIL ? BARID_REPLY_CONNECT_TEMPFAIL : BARID_REPLY_CONNECT_REFUSED;
    struct outcome o = {.kind = v->kind,
                        .row = row,
                        .code = v->code,
                        .silent = v->silent,
                        .enhanced = v->enhanced,
                        .text = v->text};

    if (!s->config->implicit_tls || s->tls != NULL) {
        greet(s, &o);
        return;
    }
    if (v->kind == BARID_DISCONNECT) {
        session_close(s, BARID_CLOSE_POLICY, BARID_REPLY_NONE);
        return;
    }
    if (v->kind == BARID_CONTINUE || hold(s, v, row))
        session_enter(s, PHASE_TLS);
}

size_t barid_session_tls_input(const barid_session *s, const uint8_t **p_r)
{
    barid_slice in = session_input(s);

    *p_r = (const uint8_t *)in.p;
    return s->phase == PHASE_TLS ? in.n : 0;
}

void barid_session_tls_done(barid_session *s, const barid_tls_info *info, uint64_t now_ms)
{
    bool open = session_time_is(s, now_ms);

    if (open && s->phase == PHASE_TLS && s->asked == ASKED_NONE) {
        session_discard_input(s);
        if (info == NULL)
            session_close(s, BARID_CLOSE_TLS, BARID_REPLY_NONE);
        else if (session_set_tls(s, info) < 0)
            out_of_memory(s);
        else
            session_ask(s, BARID_EVENT_TLS);
    }
    session_run(s);
}

static void refuse_after_tls(struct barid_session *s, const barid_verdict *v)
{
    if (!hold(s, v, session_refusal_row(s, v)))
        return;
    s->shut = SHUT_TLS;
    session_enter(s, PHASE_COMMAND);
    if (s->greeting_sent)
        return; /* after STARTTLS it is the client's turn */
    s->greeting_sent = true;
    reply_outcome(s, &s->held->outcome);
}

void act_tls(struct barid_session *s, const barid_verdict *v)
{
    static const struct outcome no_opinion;

    if (v->kind == BARID_DISCONNECT) {
        session_refused(s, v);
    } else if (verdict_refuses(v->kind)) {
        refuse_after_tls(s, v);
    } else if (s->greeting_sent) {
        session_enter(s, PHASE_COMMAND);
    } else {
        greet(s, s->held != NULL ? &s->held->outcome : &no_opinion);
        release(s);
    }
}
