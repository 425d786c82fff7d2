/*
 * smtp/session_event.c: raising the one event that a session can wait on, and acting on its
 * answer. Knows who acts, not how.
 */
#include <string.h>

#include "base/mem.h"
#include "smtp/acts.h"
#include "smtp/event_row.h"
#include "smtp/session_int.h"

static void (*const acts[BARID_EVENTS])(struct barid_session *, const barid_verdict *) = {
    [BARID_EVENT_CONNECT] = act_connect,     [BARID_EVENT_TLS] = act_tls,
    [BARID_EVENT_HELO] = act_helo,           [BARID_EVENT_AUTH] = act_auth,
    [BARID_EVENT_MAIL] = act_mail,           [BARID_EVENT_RCPT] = act_rcpt,
    [BARID_EVENT_DATA] = act_data,           [BARID_EVENT_HEADERS] = act_block,
    [BARID_EVENT_BODY] = act_block,          [BARID_EVENT_MESSAGE] = act_message,
    [BARID_EVENT_RECIPIENT] = act_recipient, [BARID_EVENT_COMMIT] = act_commit,
    [BARID_EVENT_NOOP] = act_noop,           [BARID_EVENT_RSET] = act_rset,
    [BARID_EVENT_VRFY] = act_vrfy,           [BARID_EVENT_EXPN] = act_expn,
    [BARID_EVENT_HELP] = act_help,           [BARID_EVENT_QUIT] = act_quit,
    [BARID_EVENT_UNKNOWN] = act_unknown,
};

static bool is_wanted(const struct barid_session *s, enum barid_event_id id)
{
    return barid_event_info_get(id)->kind == BARID_KIND_HOST ||
           (s->config->events & BARID_EVENT_BIT(id)) != 0;
}

barid_event *session_ask(struct barid_session *s, enum barid_event_id id)
{
    memset(&s->event, 0, sizeof(s->event));
    s->event.id = id;
    s->asked = ASKED_SELF;
    if (is_wanted(s, id)) {
        s->asked = ASKED_READY;
        s->event.token = ++s->tokens;
    }
    return &s->event;
}

static barid_slice moved(barid_slice part, const char *from, const char *to)
{
    return part.n > 0 ? slice_of(to + (part.p - from), part.n) : part;
}

barid_event *session_try_ask_command(struct barid_session *s, enum barid_event_id id,
                                     const struct command *c)
{
    struct command kept = *c;
    barid_event *event;

    /* The line lies in input that is reused while the embedder thinks. */
    if (is_wanted(s, id)) {
        mem_free(s->mem, s->line);
        s->line = mem_strdup(s->mem, c->line);
        if (s->line == NULL)
            return NULL;
        kept.verb = moved(c->verb, c->line.p, s->line);
        kept.arg = moved(c->arg, c->line.p, s->line);
    }
    event = session_ask(s, id);
    event->verb = kept.verb;
    event->argument = kept.arg;
    return event;
}

barid_event *session_ask_command(struct barid_session *s, enum barid_event_id id,
                                 const struct command *c)
{
    barid_event *event = session_try_ask_command(s, id, c);

    if (event == NULL)
        reply(s, BARID_REPLY_LOCAL_ERROR);
    return event;
}

void session_act(struct barid_session *s, const barid_verdict *v)
{
    s->asked = ASKED_NONE;
    s->rewait = true; /* the peer could not know that it was waited for */
    acts[s->event.id](s, v);
    s->wrong_answer = false;
    if (s->asked == ASKED_NONE) {
        mem_free(s->mem, s->line);
        s->line = NULL;
    }
}

enum barid_reply_id session_refusal_row(const struct barid_session *s, const barid_verdict *v)
{
    if (s->wrong_answer)
        return BARID_REPLY_POLICY_FAILED;
    return v->kind == BARID_TEMPFAIL ? BARID_REPLY_TEMPFAILED : event_refusal_row(s->event.id);
}

bool session_refused(struct barid_session *s, const barid_verdict *v)
{
    if (v->kind == BARID_DISCONNECT) {
        struct outcome o = {
            .code = v->code, .enhanced = v->enhanced, .text = v->text, .silent = v->silent};

        session_disconnect(s, &o);
        return true;
    }
    if (!verdict_refuses(v->kind))
        return false;
    reply_verdict(s, v, session_refusal_row(s, v));
    /* RFC 5321 3.8: 421 says that the channel is being closed. */
    if (v->code == 421)
        session_close(s, BARID_CLOSE_POLICY, BARID_REPLY_NONE);
    return true;
}
