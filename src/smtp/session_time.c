/*
 * smtp/session_time.c: deadlines. Knows only what the embedder says about the time.
 *
 * What is waited for, and how long:
 *   a PROXY header                proxy_ms since the connection
 *   a handshake                   tls_ms since it was asked for
 *   a command or AUTH line        command_ms since the last command was done, however many
 * octets of the line came meanwhile; anew when replies have drained octets of a message
 * data_idle_ms since the last; and data_min_rate in each window a peer that reads, at the end
 * command_ms since the close anything                      session_ms since the connection
 * While an event is unanswered only the session limit counts: the peer is not to blame. When it
 * passes then, the session closes after the answer.
 *
 * Some calls bring no time (answer, sent): it is then that of the call before; see tick in
 * barid/session.h.
 */
#include "smtp/session_int.h"

#define NEVER UINT64_MAX

void session_wait_begins(struct barid_session *s)
{
    s->wait_start = s->now;
    s->window_start = s->now;
    s->window_octets = 0;
    s->rewait = false;
}

static bool in_message(const struct barid_session *s)
{
    return s->phase == PHASE_DATA || s->phase == PHASE_CHUNK || s->phase == PHASE_SKIP;
}

void session_octets_came(struct barid_session *s, size_t n)
{
    if (!in_message(s) || n == 0)
        return;
    s->wait_start = s->now;
    s->window_octets += n;
}

static uint64_t wait_ms(const struct barid_session *s)
{
    if (s->phase == PHASE_PROXY)
        return SESSION_LIMIT(s, proxy_ms);
    if (s->phase == PHASE_TLS)
        return SESSION_LIMIT(s, tls_ms);
    return in_message(s) ? SESSION_LIMIT(s, data_idle_ms) : SESSION_LIMIT(s, command_ms);
}

static bool is_waiting(const struct barid_session *s)
{
    if (s->phase == PHASE_CLOSED)
        return s->out.len > s->out_pos;
    return s->asked == ASKED_NONE;
}

static uint64_t session_end(const struct barid_session *s)
{
    uint64_t ms = s->config->limits.session_ms;

    if (ms == 0 || s->phase == PHASE_CLOSED || s->due_reason != BARID_CLOSE_NONE)
        return NEVER;
    return s->started + ms;
}

static uint64_t window_end(const struct barid_session *s)
{
    if (!in_message(s) || s->asked != ASKED_NONE)
        return NEVER;
    return s->window_start + SESSION_LIMIT(s, data_rate_window_ms);
}

static uint64_t wait_end(const struct barid_session *s)
{
    return is_waiting(s) ? s->wait_start + wait_ms(s) : NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t barid_session_deadline(const barid_session *s)
{
    return earlier(session_end(s), earlier(wait_end(s), window_end(s)));
}

static void check_rate(struct barid_session *s)
{
    uint64_t ms = s->now - s->window_start;

    if (s->window_octets < ms * SESSION_LIMIT(s, data_min_rate) / 1000) {
        session_close(s, BARID_CLOSE_TIMEOUT, BARID_REPLY_TOO_SLOW);
        return;
    }
    s->window_start = s->now;
    s->window_octets = 0;
}

static void check(struct barid_session *s)
{
    if (s->now >= session_end(s)) {
        session_close(s, BARID_CLOSE_TIMEOUT, BARID_REPLY_TIMED_OUT);
        return;
    }
    if (s->now >= wait_end(s)) {
        if (s->phase == PHASE_CLOSED)
            s->out_pos = s->out.len; /* it never reads: nothing to wait for */
        else
            session_close(s, BARID_CLOSE_TIMEOUT, BARID_REPLY_TIMED_OUT);
        return;
    }
    if (s->now >= window_end(s))
        check_rate(s);
}

bool session_time_is(struct barid_session *s, uint64_t now_ms)
{
    if (now_ms > s->now)
        s->now = now_ms;
    check(s);
    return s->due_reason == BARID_CLOSE_NONE && s->phase != PHASE_CLOSED;
}
