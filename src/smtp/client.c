/*
 * smtp/client.c: the public face of the client session: input to replies, events, output, time.
 *
 * Invariants. Replies are read only from next(), one at a time, and only when no event is
 * waiting: what an event points to stays. Nothing is read before the output that provoked it
 * was made. In CLOSED every recipient is decided and nothing is sent.
 */
#include "smtp/client_int.h"

#include "base/mem.h"
#include "base/slice.h"

static const struct phase {
    enum barid_client_stage stage;
    void (*reply)(struct barid_client *c);
} phases[PHASES] = {
    [PHASE_GREETING] = {BARID_STAGE_CONNECT, client_reply_greeting},
    [PHASE_EHLO] = {BARID_STAGE_HELO, client_reply_ehlo},
    [PHASE_HELO] = {BARID_STAGE_HELO, client_reply_helo},
    [PHASE_STARTTLS] = {BARID_STAGE_TLS, client_reply_starttls},
    [PHASE_TLS] = {BARID_STAGE_TLS, NULL},
    [PHASE_AUTH] = {BARID_STAGE_AUTH, client_reply_auth},
    [PHASE_READY] = {BARID_STAGE_IDLE, client_lost_reply}, /* 421, unasked */
    [PHASE_ENVELOPE] = {BARID_STAGE_MAIL, client_reply_envelope},
    [PHASE_BODY] = {BARID_STAGE_DATA, client_reply_body},
    [PHASE_FINAL] = {BARID_STAGE_FINAL, client_reply_final},
    [PHASE_RSET] = {BARID_STAGE_IDLE, client_reply_rset},
    [PHASE_QUIT] = {BARID_STAGE_IDLE, client_reply_quit},
    [PHASE_CLOSED] = {BARID_STAGE_IDLE, NULL},
};

const char *barid_client_stage_name(enum barid_client_stage stage)
{
    static const char *const name[] = {"connect", "helo", "tls",   "auth", "mail",
                                       "rcpt",    "data", "final", "idle", "local"};

    return (size_t)stage < sizeof(name) / sizeof(name[0]) ? name[stage] : "?";
}

enum barid_client_stage client_stage(const struct barid_client *c)
{
    if (c->phase != PHASE_ENVELOPE)
        return phases[c->phase].stage;
    if (c->replied == 0)
        return BARID_STAGE_MAIL;
    return c->replied <= c->mail->n_rcpts ? BARID_STAGE_RCPT : BARID_STAGE_DATA;
}

/* --- time --------------------------------------------------------------------------------- */

static uint32_t or_default(uint32_t ms, uint32_t fallback)
{
    return ms > 0 ? ms : fallback;
}

/* RFC 5321 4.5.3.2; 0 = we wait for the host, not for the server. */
static uint32_t timeout_of(const struct barid_client *c)
{
    const barid_client_timeouts *t = &c->config->timeouts;

    switch (c->phase) {
    case PHASE_GREETING:
        return or_default(t->greeting_ms, 300000);
    case PHASE_EHLO:
    case PHASE_HELO:
    case PHASE_RSET:
        return or_default(t->helo_ms, 300000);
    case PHASE_STARTTLS:
    case PHASE_TLS:
        return or_default(t->tls_ms, 120000);
    case PHASE_AUTH:
        return or_default(t->auth_ms, 300000);
    case PHASE_ENVELOPE:
        if (c->replied == 0)
            return or_default(t->mail_ms, 300000);
        return c->replied <= c->mail->n_rcpts ? or_default(t->rcpt_ms, 300000)
                                              : or_default(t->data_ms, 120000);
    case PHASE_BODY:
        return c->out.len > 0 || c->body.chunks > 0 ? or_default(t->block_ms, 180000) : 0;
    case PHASE_FINAL:
        return or_default(t->final_ms, 600000);
    case PHASE_QUIT:
        return or_default(t->quit_ms, 5000);
    default:
        return 0;
    }
}

static void touch(struct barid_client *c)
{
    uint32_t ms = timeout_of(c);

    c->deadline = ms == 0 ? UINT64_MAX : c->now + ms;
}

void client_enter(struct barid_client *c, enum client_phase phase)
{
    c->phase = phase;
    if (phase == PHASE_READY)
        c->pending |= 1u << BARID_CLIENT_READY;
    touch(c);
}

uint64_t barid_client_deadline(const barid_client *c)
{
    return c->deadline;
}

void barid_client_tick(barid_client *c, uint64_t now_ms)
{
    c->now = now_ms;
    if (now_ms < c->deadline)
        return;
    if (c->phase == PHASE_QUIT)
        client_reply_quit(c); /* nobody needs the reply */
    else
        client_lost(c, BARID_ETIMEOUT);
}

/* --- life --------------------------------------------------------------------------------- */

static bool config_right(const barid_client_config *k)
{
    return k->size == sizeof(*k) && k->protocol <= BARID_LMTP &&
           (barid_domain_valid(k->helo, false) || barid_address_literal_valid(k->helo)) &&
           !(k->implicit_tls && k->tls != BARID_CLIENT_TLS_NONE) &&
           !(k->no_ehlo && (k->protocol == BARID_LMTP || k->authcid.n > 0)) &&
           k->tls <= BARID_CLIENT_TLS_REQUIRED;
}

int barid_client_new(barid_client **c_r, const barid_client_config *config,
                     const barid_mem *mem, uint64_t now_ms)
{
    struct barid_client *c;

    *c_r = NULL;
    if (!config_right(config))
        return BARID_EINVALID;
    if ((c = mem_zalloc(mem, sizeof(*c))) == NULL)
        return BARID_ENOMEM;
    c->mem = mem;
    c->config = config;
    c->now = now_ms;
    buf_init(&c->in, mem, BARID_CLIENT_INPUT_MAX);
    buf_init(&c->out, mem, 0); /* bounded by CLIENT_WINDOW and one piece of body */
    buf_init(&c->ehlo, mem, REPLY_MAX);
    buf_init(&c->transcript, mem, BARID_CLIENT_TRANSCRIPT_MAX);
    reply_parser_init(&c->reply, mem);
    arena_init(&c->texts, mem, 0); /* at most BARID_CLIENT_TEXT_MAX for each recipient */
    client_enter(c, config->implicit_tls ? PHASE_TLS : PHASE_GREETING);
    *c_r = c;
    return 0;
}

void barid_client_del(barid_client **cp)
{
    struct barid_client *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    sasl_client_del(&c->sasl);
    buf_wipe(&c->out); /* may hold an AUTH line */
    buf_deinit(&c->in);
    buf_deinit(&c->ehlo);
    buf_deinit(&c->transcript);
    reply_parser_deinit(&c->reply);
    arena_deinit(&c->texts);
    mem_free(c->mem, c->rcpts);
    mem_free(c->mem, c);
}

/* --- input -------------------------------------------------------------------------------- */

int barid_client_feed(barid_client *c, const void *p, size_t n, uint64_t now_ms)
{
    int r;

    c->now = now_ms;
    /* Before a handshake is done whatever comes is not from the peer that will be verified. */
    if (c->phase == PHASE_CLOSED || c->phase == PHASE_TLS)
        return 0;
    if ((r = buf_append(&c->in, slice_of(p, n))) < 0)
        client_lost(c, r);
    return r;
}

void barid_client_eof(barid_client *c)
{
    c->eof = true;
}

void barid_client_tls_done(barid_client *c, bool ok, uint64_t now_ms)
{
    c->now = now_ms;
    if (c->phase != PHASE_TLS)
        return;
    if (!ok) {
        client_lost(c, BARID_EIO);
        return;
    }
    c->tls = true;
    if (c->config->implicit_tls)
        client_enter(c, PHASE_GREETING);
    else
        client_ehlo(c); /* RFC 3207 4.2: forget what was learnt before */
}

/* One reply, where one is whole. True when something changed. */
static bool read_reply(struct barid_client *c)
{
    size_t used;
    int r;

    if (c->in.len == 0 || phases[c->phase].reply == NULL)
        return false;
    r = reply_parser_feed(&c->reply, buf_slice(&c->in), &used);
    buf_consume(&c->in, used);
    if (r == 0)
        return false;
    if (r < 0) {
        client_lost(c, r);
        return true;
    }
    client_transcript_reply(c);
    /* RFC 5321 3.8: 421 may be the reply to anything; the server is about to close. */
    if (c->reply.code == 421 && c->phase != PHASE_QUIT)
        client_lost_reply(c);
    else
        phases[c->phase].reply(c);
    touch(c);
    return true;
}

static bool advance(struct barid_client *c)
{
    if (c->phase == PHASE_CLOSED)
        return false;
    /* First: a reply that comes before its chunk was made then means the same as one that comes
     * behind it, and does not depend on how the input was cut. */
    if (!c->eof)
        client_want_body(c);
    if (c->pending != 0 || read_reply(c))
        return true;
    if (c->eof && c->phase != PHASE_CLOSED) {
        if (c->phase == PHASE_QUIT)
            client_reply_quit(c);
        else
            client_lost(c, BARID_ECLOSED);
        return true;
    }
    if (c->phase == PHASE_ENVELOPE)
        client_envelope(c);
    return c->pending != 0;
}

/* --- events ------------------------------------------------------------------------------- */

static bool take_transcript(struct barid_client *c, barid_client_event *e)
{
    barid_slice rest = slice_from(buf_slice(&c->transcript), c->transcript_at);
    size_t n = slice_find(rest, '\n');

    if (rest.n == 0) {
        buf_deinit(&c->transcript);
        c->transcript_at = 0;
        return false;
    }
    *e = (barid_client_event){.id = BARID_CLIENT_TRANSCRIPT,
                              .from_server = rest.p[0] == 'S',
                              .line = slice_from(slice_head(rest, n), 1)};
    c->transcript_at += n + 1;
    return true;
}

static void put_answer(barid_client_event *e, const struct client_answer *a)
{
    e->stage = a->stage;
    e->error = a->error;
    e->reply =
        (barid_reply){.code = a->code, .enhanced = slice_str(a->enhanced), .text = a->text};
}

static bool take_result(struct barid_client *c, barid_client_event *e)
{
    if (!c->emitting)
        return false;
    if (c->emit == c->mail->n_rcpts) {
        c->emitting = false;
        c->mail = NULL;
        mem_free(c->mem, c->rcpts);
        c->rcpts = NULL;
        arena_deinit(&c->texts);
        return false;
    }
    *e = (barid_client_event){.id = BARID_CLIENT_RESULT, .rcpt = c->emit};
    put_answer(e, &c->rcpts[c->emit++].answer);
    return true;
}

static bool take_pending(struct barid_client *c, barid_client_event *e)
{
    static const enum barid_client_event_id order[] = {
        BARID_CLIENT_DONE, BARID_CLIENT_READY, BARID_CLIENT_WANT_BODY, BARID_CLIENT_CLOSED};

    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if (!(c->pending & 1u << order[i]))
            continue;
        c->pending &= ~(1u << order[i]);
        *e = (barid_client_event){.id = order[i]};
        if (order[i] == BARID_CLIENT_WANT_BODY)
            e->want = c->config->chunk > 0 ? c->config->chunk : BARID_CLIENT_CHUNK_DEFAULT;
        else if (order[i] == BARID_CLIENT_CLOSED)
            put_answer(e, &c->closed);
        return true;
    }
    return false;
}

int barid_client_next(barid_client *c, barid_client_event *event_r)
{
    *event_r = (barid_client_event){0};
    do {
        if (take_transcript(c, event_r) || take_result(c, event_r) || take_pending(c, event_r))
            return 1;
    } while (advance(c));
    return 0;
}

/* --- output ------------------------------------------------------------------------------- */

size_t barid_client_output(barid_client *c, const uint8_t **p_r)
{
    *p_r = (const uint8_t *)c->out.p;
    return c->out.len;
}

void barid_client_sent(barid_client *c, size_t n, uint64_t now_ms)
{
    c->now = now_ms;
    n = n < c->out.len ? n : c->out.len;
    /* What is left behind in the block may be a password. */
    if (n > 0 && c->phase == PHASE_AUTH && n == c->out.len)
        buf_wipe(&c->out);
    else
        buf_consume(&c->out, n);
    if (n > 0 && (c->phase == PHASE_BODY || c->phase == PHASE_FINAL))
        touch(c);
}

unsigned barid_client_wants(const barid_client *c)
{
    unsigned wants = 0;

    if (c->out.len > 0)
        wants |= BARID_WANT_WRITE;
    if (c->phase == PHASE_CLOSED)
        return wants | (c->pending || c->emitting || c->out.len > 0 ? 0 : BARID_WANT_CLOSE);
    if (c->phase == PHASE_TLS)
        return wants | (c->out.len > 0 ? 0 : BARID_WANT_TLS);
    if (c->in.len < BARID_CLIENT_INPUT_MAX / 2 && !c->eof)
        wants |= BARID_WANT_READ;
    return wants;
}

enum barid_client_stage barid_client_at(const barid_client *c)
{
    return client_stage(c);
}

bool barid_client_is_tls(const barid_client *c)
{
    return c->tls;
}

bool barid_client_is_esmtp(const barid_client *c)
{
    return c->esmtp;
}

uint32_t barid_client_extensions(const barid_client *c)
{
    return c->extensions;
}

enum barid_auth_mechanism barid_client_mechanism(const barid_client *c)
{
    return c->auth_done ? c->mechanism : BARID_AUTH_NONE;
}
