/*
 * smtp/session.c: the public calls of a server session, in terms of the step loop. Knows no
 * protocol.
 */
#include "barid/session.h"

#include <string.h>

#include "base/mem.h"
#include "smtp/sasl_server.h"
#include "smtp/session_int.h"

/* Why each: see struct barid_limits. */
const barid_limits session_limits = {
    .line = 2048,
    .auth_line = 12288,
    .data_line = 0x7fffffff,
    .commands = 10000,
    .errors = 20,
    .auth_failures = 3,
    .noops = 100,
    .recipients = 1000,
    .transactions = 0,
    .pipelined = 65536,
    .output = 65536,
    .header = 262144,
    .message = 52428800,
    .command_ms = 300000,
    .data_idle_ms = 180000,
    .data_min_rate = 64,
    .data_rate_window_ms = 60000,
    .session_ms = 0,
    .proxy_ms = 10000,
    .tls_ms = 60000,
};

/* A line must at least hold the longest verb with a parameter or two. */
#define LINE_LIMIT_MIN 64
/* Replies longer than this are not kept allocated for the next. */
#define OUTPUT_KEEP 1024

void barid_limits_default(barid_limits *limits)
{
    *limits = session_limits;
}

static bool lines_fit(const barid_limits *limits)
{
    return (limits->line == 0 ||
            (limits->line >= LINE_LIMIT_MIN && limits->line < UINT32_MAX)) &&
           (limits->auth_line == 0 ||
            (limits->auth_line >= LINE_LIMIT_MIN && limits->auth_line < UINT32_MAX));
}

/* A catalogue may change words, not meanings. */
static bool catalogue_fits(const barid_replies *replies)
{
    for (unsigned id = 0; replies != NULL && id < BARID_REPLY_IDS; id++) {
        unsigned code = replies->row[id].code;

        if (code != 0 && code / 100 != barid_reply_default(id)->code / 100u)
            return false;
    }
    return true;
}

static bool config_fits(const barid_session_config *c)
{
    uint32_t ext = c->extensions;
    bool can_tls = c->implicit_tls || (ext & BARID_EXT_STARTTLS) != 0;

    if (c->size < sizeof(*c) || c->hostname.n == 0 || c->hostname.n > BARID_DOMAIN_MAX)
        return false;
    if ((ext & BARID_EXT_AUTH) != 0 && ((c->mechanisms & ~1u) == 0 || c->random == NULL))
        return false;
    if ((ext & BARID_EXT_BINARYMIME) != 0 && (ext & BARID_EXT_CHUNKING) == 0)
        return false;
    if ((c->tls_required && !can_tls) || (c->auth_required && (ext & BARID_EXT_AUTH) == 0))
        return false;
    return lines_fit(&c->limits) && catalogue_fits(c->replies);
}

int barid_session_new(barid_session **s_r, const barid_session_config *config,
                      const barid_endpoint *peer, const barid_mem *mem, uint64_t now_ms)
{
    struct barid_session *s;

    *s_r = NULL;
    if (!config_fits(config))
        return BARID_EINVALID;
    s = mem_zalloc(mem, sizeof(*s));
    if (s == NULL)
        return BARID_ENOMEM;
    s->config = config;
    s->mem = mem;
    if (peer != NULL)
        s->peer = *peer;
    s->now = s->started = now_ms;
    buf_init(&s->in, mem, 0);  /* bounded by limits.line and limits.pipelined */
    s->in.secret = true;       /* an AUTH line cut over several reads passes through it */
    buf_init(&s->out, mem, 0); /* bounded by limits.output and one command's replies */
    session_enter(s, config->proxy ? PHASE_PROXY : PHASE_CONNECT);
    session_run(s);
    *s_r = s;
    return 0;
}

static void free_held(struct barid_session *s)
{
    if (s->held == NULL)
        return;
    arena_deinit(&s->held->arena);
    mem_free(s->mem, s->held);
}

void barid_session_del(barid_session **s)
{
    struct barid_session *old = *s;

    if (old == NULL)
        return;
    *s = NULL;
    tx_del(&old->tx);
    sasl_server_del(&old->sasl);
    free_held(old);
    session_free_facts(old);
    buf_deinit(&old->in);
    buf_deinit(&old->out);
    mem_free(old->mem, old->line);
    mem_free(old->mem, old);
}

static size_t buffered(const struct barid_session *s)
{
    return s->in.len - s->in_pos;
}

static bool is_held_up(const struct barid_session *s)
{
    return s->asked != ASKED_NONE || s->out.len - s->out_pos > SESSION_LIMIT(s, output);
}

/* WANT_READ, as far as input is concerned. Where nothing holds the session up, what is buffered
 * is less than a line. */
static bool takes_input(const struct barid_session *s)
{
    if (s->phase == PHASE_CLOSED || s->phase == PHASE_TLS || s->eof)
        return false;
    if (s->phase == PHASE_CONNECT && s->config->implicit_tls && s->tls == NULL)
        return false;
    return !is_held_up(s) || buffered(s) <= SESSION_LIMIT(s, pipelined);
}

int barid_session_feed(barid_session *s, const void *p, size_t n, uint64_t now_ms)
{
    bool open = session_time_is(s, now_ms);
    int rc = 0;

    if (n > 0 && s->phase != PHASE_CLOSED && !takes_input(s))
        return is_held_up(s) ? BARID_ELIMIT : BARID_EINVALID;
    if (open && n > 0) {
        session_octets_came(s, n);
        if (buffered(s) == 0)
            s->fed = slice_of(p, n);
        else
            rc = buf_append(&s->in, slice_of(p, n));
    }
    if (rc < 0) {
        session_discard_input(s);
        session_close(s, BARID_CLOSE_NOMEM, BARID_REPLY_OUT_OF_RESOURCES);
    }
    session_run(s);
    return 0;
}

void barid_session_eof(barid_session *s)
{
    s->eof = true;
    session_run(s);
}

int barid_session_next(barid_session *s, barid_event *event_r)
{
    if (s->asked == ASKED_READY) {
        s->asked = ASKED_TAKEN;
        *event_r = s->event;
        return 1;
    }
    if (!s->disconnect_due)
        return 0;
    s->disconnect_due = false;
    memset(event_r, 0, sizeof(*event_r));
    event_r->id = BARID_EVENT_DISCONNECT;
    event_r->reason = (enum barid_close_reason)s->reason;
    return 1;
}

int barid_session_answer(barid_session *s, barid_token token, const barid_verdict *verdict)
{
    static const barid_verdict failed = {.kind = BARID_TEMPFAIL};
    bool fits;

    if (s->asked != ASKED_TAKEN || token != s->event.token)
        return BARID_EINVALID;
    fits = barid_verdict_fits(s->event.id, verdict);
    s->wrong_answer = !fits;
    session_act(s, fits ? verdict : &failed);
    session_run(s);
    return fits ? 0 : BARID_EINVALID;
}

size_t barid_session_output(barid_session *s, const uint8_t **p_r)
{
    *p_r = s->out.p != NULL ? (const uint8_t *)s->out.p + s->out_pos : NULL;
    return s->out.len - s->out_pos;
}

void barid_session_sent(barid_session *s, size_t n)
{
    size_t left = s->out.len - s->out_pos;

    if (left == 0)
        return;
    s->out_pos += n < left ? n : left;
    if (s->out_pos < s->out.len) {
        if (s->out_pos > s->out.len / 2) { /* amortised: never moves more than it drops */
            buf_consume(&s->out, s->out_pos);
            s->out_pos = 0;
        }
        session_run(s);
        return;
    }
    s->out_pos = 0;
    if (s->out.cap > OUTPUT_KEEP || s->tx == NULL)
        buf_deinit(&s->out);
    else
        buf_clear(&s->out);
    /* A command line is waited for from when its predecessor's reply was read. */
    if (s->phase == PHASE_COMMAND || s->phase == PHASE_AUTH)
        s->rewait = true;
    session_run(s);
}

unsigned barid_session_wants(const barid_session *s)
{
    bool drained = s->out.len == s->out_pos;
    unsigned wants = drained ? 0 : BARID_WANT_WRITE;

    if (s->phase == PHASE_CLOSED)
        return drained && !s->disconnect_due ? BARID_WANT_CLOSE : wants;
    if (s->phase == PHASE_TLS && s->asked == ASKED_NONE && drained)
        return BARID_WANT_TLS;
    return takes_input(s) ? wants | BARID_WANT_READ : wants;
}

enum barid_close_reason barid_session_close_reason(const barid_session *s)
{
    return (enum barid_close_reason)s->reason;
}

void barid_session_tick(barid_session *s, uint64_t now_ms)
{
    session_time_is(s, now_ms);
    session_run(s);
}

void barid_session_stop(barid_session *s, bool force)
{
    s->stopping = true;
    if (force) {
        s->asked = ASKED_NONE;
        session_close(s, BARID_CLOSE_SHUTDOWN, BARID_REPLY_SHUTTING_DOWN);
    }
    session_run(s);
}

bool barid_session_idle(const barid_session *s)
{
    return s->phase == PHASE_COMMAND && s->asked == ASKED_NONE && s->tx == NULL &&
           buffered(s) == 0 && s->out.len == s->out_pos;
}
