/*
 * smtp/session_run.c: the step loop of a session and its input. Knows no verbs.
 *
 * The loop goes on until an event waits for the embedder, input runs out, output is over its
 * limit, or the session is closed. Nothing recurses: a step or an act only notes what comes
 * next. At the end of each loop the input that is left is made the session's own.
 *
 * Output over its limit pauses parsing until the peer reads. Not so after eof: then nobody may
 * read any more, and what is left to parse is bounded by what was buffered.
 */
#include <string.h>

#include "base/mem.h"
#include "smtp/session_int.h"
#include "smtp/steps.h"

/* Input memory kept for reuse within a transaction; more is given back as soon as it is empty.
 */
#define INPUT_KEEP 4096

static bool step_wait(struct barid_session *s)
{
    (void)s;
    return false;
}

static bool (*const steps[SESSION_PHASES])(struct barid_session *) = {
    [PHASE_PROXY] = step_proxy,     [PHASE_CONNECT] = step_connect,
    [PHASE_TLS] = step_wait,        [PHASE_COMMAND] = step_command,
    [PHASE_AUTH] = step_auth,       [PHASE_DATA] = step_data,
    [PHASE_CHUNK] = step_chunk,     [PHASE_SKIP] = step_skip,
    [PHASE_MESSAGE] = step_message, [PHASE_CLOSED] = step_wait,
};

barid_slice session_input(const struct barid_session *s)
{
    if (s->fed.n > 0)
        return s->fed;
    return slice_of(s->in.p != NULL ? s->in.p + s->in_pos : "", s->in.len - s->in_pos);
}

void session_take(struct barid_session *s, size_t n)
{
    if (s->fed.n > 0)
        s->fed = slice_from(s->fed, n);
    else
        s->in_pos += n;
}

void session_wipe(struct barid_session *s, barid_slice taken)
{
    const char *p = s->in.p;

    /* Fed octets are the embedder's memory. */
    if (p != NULL && taken.n > 0 && taken.p >= p && taken.p < p + s->in.cap)
        mem_wipe(s->in.p + (taken.p - p), taken.n);
}

void session_discard_input(struct barid_session *s)
{
    s->fed = (barid_slice){NULL, 0};
    buf_deinit(&s->in);
    s->in_pos = 0;
    s->reader = (struct line_reader){0};
}

void session_enter(struct barid_session *s, enum session_phase phase)
{
    s->phase = (uint8_t)phase;
    s->rewait = true;
}

/* What the peer sent and was not parsed must outlive the call that brought it. */
static void keep_input(struct barid_session *s)
{
    if (s->fed.n > 0) {
        barid_slice rest = s->fed;

        s->fed = (barid_slice){NULL, 0};
        if (buf_append(&s->in, rest) < 0) {
            /* With octets missing the stream means something else: nothing more is parsed. */
            session_discard_input(s);
            session_close(s, BARID_CLOSE_NOMEM, BARID_REPLY_OUT_OF_RESOURCES);
        }
        return;
    }
    if (s->in_pos == s->in.len) {
        s->in_pos = 0;
        if (s->tx == NULL || s->in.cap > INPUT_KEEP)
            buf_deinit(&s->in);
        else
            buf_clear(&s->in);
    } else if (s->in_pos > s->in.len / 2) {
        buf_consume(&s->in, s->in_pos); /* amortised: never moves more than it drops */
        s->in_pos = 0;
    }
}

static bool is_paused(const struct barid_session *s)
{
    return s->out.len - s->out_pos > SESSION_LIMIT(s, output) && !s->eof;
}

/* One turn of the loop; false = nothing can be done now. */
static bool turn(struct barid_session *s)
{
    static const barid_verdict no_opinion = {.kind = BARID_CONTINUE};

    if (s->asked == ASKED_SELF) {
        session_act(s, &no_opinion);
        return true;
    }
    if (s->asked != ASKED_NONE || s->phase == PHASE_CLOSED)
        return false;
    if (s->stopping && s->tx == NULL && s->due_reason == BARID_CLOSE_NONE)
        session_close(s, BARID_CLOSE_SHUTDOWN, BARID_REPLY_SHUTTING_DOWN);
    if (s->due_reason != BARID_CLOSE_NONE) {
        session_close_now(s);
        return false;
    }
    if (is_paused(s))
        return false;
    if (steps[s->phase](s))
        return true;
    if (s->eof && s->asked == ASKED_NONE)
        session_close(s, BARID_CLOSE_PEER, BARID_REPLY_NONE);
    return s->due_reason != BARID_CLOSE_NONE;
}

void session_run(struct barid_session *s)
{
    while (turn(s))
        ;
    keep_input(s);
    if (s->due_reason != BARID_CLOSE_NONE && s->asked == ASKED_NONE && s->phase != PHASE_CLOSED)
        session_close_now(s);
    if (s->rewait && s->asked == ASKED_NONE)
        session_wait_begins(s);
}
