/*
 * smtp/session_fuzz.c: a whole session with scripted verdicts, taken from the input:
 *
 *   octet 0..2    options (see set_options)
 *   octet 3       seed of the cuts; also which allocation fails in the third run, and in which
 *                 event there is a stop
 *   octet 4..19   verdicts: event N gets verdict octet N modulo 16
 *   the rest      what the client sends; octet 1 parts segments: at the end of one a handshake
 *                 that is wanted takes place
 *
 * Run three times: whole, in cuts (which must give the same output and events), and with one
 * allocation failing. Checked:
 *
 *   replies are well formed; whenever the session is idle every command has had exactly one
 *   (LMTP's and PRDR's final ones apart), and in the end there is one too few or many at most;
 *   the reply to a message is the first after its commit, 2yz where that was accepted and only
 *   there; nothing else answers what follows 354 with 2yz;
 *   whoever has no event to answer and nothing to read is always told what the session waits
 *   for;
 *   disconnect comes once, last, with the reason that the session gives from then on, and no
 *   reason is given before; a stop comes into force also while an event is unanswered;
 *   a client that falls silent is waited for until the deadline, and no longer;
 *   nothing leaks.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "barid/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEAD     20
#define VERDICTS 16
#define SEGMENT  '\1'
#define COMMITS  256 /* more in one run are not looked at */
#define WINDOWS  3   /* of a message: all octets come in the first, none in the second */

/* The replies so far. */
struct heard {
    size_t at;      /* octets of the output that were read */
    size_t replies; /* complete ones, but for 3yz */
    bool content;   /* there was 354, and nothing yet about the message */
    bool prdr;      /* there was a 353 */
};

struct commit {
    size_t reply; /* the first that may say what came of it */
    bool accepted;
};

struct run {
    const uint8_t *head;
    barid_session_config config;
    barid_session *s;
    struct buf out, log;
    struct rng_seeded rng;
    bool cut, failing;
    unsigned events, disconnects;
    struct heard heard;
    struct commit commit[COMMITS];
    size_t commits;
};

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 'r', n);
}

static void set_options(struct run *r)
{
    const uint8_t *o = r->head;
    barid_session_config *c = &r->config;

    *c = (barid_session_config){.size = sizeof(*c), .hostname = BARID_S("mx.example")};
    c->protocol = (enum barid_protocol)(o[0] % 3);
    c->events = (o[0] & 4) != 0 ? 0 : UINT64_MAX;
    c->extensions = BARID_EXT_DEFAULT | BARID_EXT_STARTTLS | BARID_EXT_AUTH | BARID_EXT_XCLIENT;
    c->mechanisms = 0x3e;
    c->random = fill;
    c->plain_auth_without_tls = (o[0] & 8) != 0;
    c->switches.lenient_paths = (o[0] & 16) != 0;
    c->switches.no_helo_needed = (o[0] & 32) != 0;
    c->switches.strict_mixed = (o[0] & 64) != 0;
    c->switches.bare_newline = (o[0] & 128) != 0 ? BARID_BARE_NORMALISE : BARID_BARE_REFUSE;
    c->proxy = (o[1] & 1) != 0;
    c->implicit_tls = (o[1] & 2) != 0;
    c->xclient = (o[1] & 4) != 0;
    c->tls_required = (o[1] & 8) != 0;
    c->auth_required = (o[1] & 16) != 0;
    c->limits.line = (o[1] & 32) != 0 ? 64 : 0;
    c->limits.message = (o[1] & 64) != 0 ? 100 : 0;
    c->limits.header = (o[1] & 128) != 0 ? 40 : 0;
    c->limits.recipients = (o[2] & 1) != 0 ? 2 : 0;
    c->limits.data_line = (o[2] & 2) != 0 ? 20 : 0;
    c->limits.errors = (o[2] & 4) != 0 ? 3 : 0;
    c->limits.pipelined = (o[2] & 8) != 0 ? 10 : 0;
    c->limits.output = (o[2] & 16) != 0 ? 40 : 0;
}

/* --- replies --- */

/* The last commit before the next reply, or NULL. */
static const struct commit *last_commit(const struct run *r)
{
    size_t n = r->commits < COMMITS ? r->commits : COMMITS;

    while (n > 0 && r->commit[n - 1].reply > r->heard.replies)
        n--;
    return n > 0 ? &r->commit[n - 1] : NULL;
}

/* Whether a message has one reply. */
static bool is_one_each(const struct run *r)
{
    return r->config.protocol != BARID_LMTP && !r->heard.prdr;
}

static void check_reply(const struct run *r, barid_slice line)
{
    const struct commit *commit = last_commit(r);
    bool yes = line.p[0] == '2', now = commit != NULL && commit->reply == r->heard.replies;

    if (r->commits > COMMITS)
        return;
    if (memmem(line.p, line.n, "queued as Q", 11) != NULL)
        must(commit != NULL && commit->accepted);
    if (yes && r->heard.content)
        must(now && commit->accepted);
    if (now && is_one_each(r))
        must(yes ? commit->accepted : !commit->accepted || r->failing);
}

static void hear(struct run *r, barid_slice line)
{
    if (line.p[0] != '3') {
        check_reply(r, line);
        r->heard.content = false;
        r->heard.replies++;
    } else if (memcmp(line.p, "354", 3) == 0) {
        r->heard.content = true;
    } else if (memcmp(line.p, "353", 3) == 0) {
        r->heard.prdr = true;
    }
}

/* Lines of "ddd " or "ddd-", of at most 512 octets (a challenge may be longer), the same code
 * in all lines of a reply. A reply that is not complete yet is left. */
static void hear_all(struct run *r)
{
    barid_slice out = slice_from(buf_slice(&r->out), r->heard.at), rest = out;
    const char *code = NULL;

    while (slice_find(rest, '\n') < rest.n) {
        size_t n = slice_find(rest, '\n');
        const char *p = rest.p;

        must(n >= 5 && p[n - 1] == '\r');
        must(memchr(p, '\r', n - 1) == NULL && memchr(p, '\0', n) == NULL);
        must(p[0] >= '2' && p[0] <= '5' && (p[3] == ' ' || p[3] == '-'));
        must(n < 512 || memcmp(p, "334 ", 4) == 0);
        must(code == NULL || memcmp(code, p, 3) == 0);
        code = p;
        rest = slice_from(rest, n + 1);
        if (p[3] == '-')
            continue;
        hear(r, slice_head(out, (size_t)(rest.p - out.p)));
        code = NULL;
        r->heard.at += out.n - rest.n;
        out = rest;
    }
}

/* --- events --- */

static barid_verdict verdict_of(struct run *r, enum barid_event_id id)
{
    static const barid_verdict table[] = {
        {.kind = BARID_CONTINUE},
        {.kind = BARID_CONTINUE},
        {.kind = BARID_ACCEPT},
        {.kind = BARID_ACCEPT, .text = {"one\ntwo\r\n250 three\0\xff", 20}},
        {.kind = BARID_REJECT},
        {.kind = BARID_REJECT, .code = 556, .enhanced = {"5.10.100", 8}, .text = {"no", 2}},
        {.kind = BARID_TEMPFAIL},
        {.kind = BARID_TEMPFAIL, .code = 421},
        {.kind = BARID_DISCARD},
        {.kind = BARID_QUARANTINE},
        {.kind = BARID_HOLD},
        {.kind = BARID_DISCONNECT},
        {.kind = BARID_DISCONNECT, .silent = true},
        {.kind = BARID_REJECT, .code = 250},
        {.kind = BARID_ACCEPT, .secret_kind = BARID_SECRET_PLAIN, .secret = {"secret", 6}},
        {.kind = BARID_ACCEPT, .hide_extensions = 0x15},
    };
    unsigned pick = r->head[4 + r->events++ % VERDICTS];

    if (id == BARID_EVENT_COMMIT && pick % 2 == 0)
        return (barid_verdict){.kind = BARID_ACCEPT, .id = {"Q", 1}};
    return table[pick % (sizeof(table) / sizeof(table[0]))];
}

/* What was said before the answer to a commit: all replies to the commands before it. */
static void note_commit(struct run *r)
{
    struct run peek = *r;
    const uint8_t *p;
    size_t n = barid_session_output(r->s, &p);

    buf_init(&peek.out, NULL, 0);
    must(buf_append(&peek.out, slice_from(buf_slice(&r->out), r->heard.at)) == 0);
    must(buf_append(&peek.out, slice_of(p, n)) == 0);
    peek.heard.at = 0;
    hear_all(&peek);
    must(peek.heard.at == peek.out.len);
    if (r->commits < COMMITS)
        r->commit[r->commits].reply = peek.heard.replies;
    r->commits++;
    buf_deinit(&peek.out);
}

/* A stop, if this is its event; true: it was a forced one, and the event is void. */
static bool is_stopped(struct run *r)
{
    const uint8_t *o = r->head;

    if ((o[2] & 32) == 0 || r->events != o[3] % 16u)
        return false;
    barid_session_stop(r->s, (o[2] & 64) != 0);
    return (o[2] & 64) != 0;
}

static void take_disconnect(struct run *r, const barid_event *e)
{
    must(e->id == BARID_EVENT_DISCONNECT && e->reason != BARID_CLOSE_NONE);
    must(barid_session_close_reason(r->s) == e->reason);
    r->disconnects++;
}

static void take_events(struct run *r)
{
    barid_event e;

    while (barid_session_next(r->s, &e) == 1) {
        barid_verdict v = {0};
        bool taken;

        must(buf_fmt(&r->log, "%d %zu %zu %zu %zu %llu %d\n", (int)e.id, e.argument.n, e.data.n,
                     e.rcpt_index, e.authcid.n, (unsigned long long)e.size,
                     (int)e.reason) == 0);
        must(buf_append(&r->log, e.data) == 0 && buf_append(&r->log, e.argument) == 0);
        must(r->disconnects == 0);
        if (e.token == 0) {
            take_disconnect(r, &e);
            continue;
        }
        must(barid_session_close_reason(r->s) == BARID_CLOSE_NONE);
        v = verdict_of(r, e.id);
        if (is_stopped(r)) {
            must(barid_session_answer(r->s, e.token, &v) == BARID_EINVALID);
            continue;
        }
        if (e.id == BARID_EVENT_COMMIT)
            note_commit(r);
        taken = barid_session_answer(r->s, e.token, &v) == 0;
        if (e.id == BARID_EVENT_COMMIT && r->commits <= COMMITS)
            r->commit[r->commits - 1].accepted = taken && v.kind == BARID_ACCEPT;
        must(barid_session_answer(r->s, e.token, &v) == BARID_EINVALID);
    }
}

static void take_output(struct run *r)
{
    const uint8_t *p;
    size_t n = barid_session_output(r->s, &p);

    if (r->cut && n > 1)
        n = (size_t)(rng_u64(&r->rng.rng) % n) + 1;
    must(buf_append(&r->out, slice_of(p, n)) == 0);
    barid_session_sent(r->s, n);
    hear_all(r);
}

static void check_rest(struct run *r)
{
    unsigned wants = barid_session_wants(r->s);

    must(wants == BARID_WANT_READ || wants == BARID_WANT_TLS || wants == BARID_WANT_CLOSE);
    must((wants == BARID_WANT_CLOSE) == (barid_session_close_reason(r->s) != BARID_CLOSE_NONE));
    if (barid_session_idle(r->s) && is_one_each(r))
        must(r->heard.replies == barid_session_commands(r->s) + 1);
}

static void settle(struct run *r)
{
    const uint8_t *p;

    do {
        take_events(r);
        take_output(r);
        take_events(r);
    } while (barid_session_output(r->s, &p) > 0);
    check_rest(r);
}

static void feed_segment(struct run *r, barid_slice in)
{
    while (in.n > 0 && (barid_session_wants(r->s) & BARID_WANT_READ) != 0) {
        size_t n = r->cut ? (size_t)(rng_u64(&r->rng.rng) % (in.n < 9 ? in.n : 9)) + 1 : in.n;
        char *copy = malloc(n);

        must(copy != NULL);
        memcpy(copy, in.p, n);
        must(barid_session_feed(r->s, copy, n, 1) == 0);
        free(copy);
        in = slice_from(in, n);
        settle(r);
    }
    settle(r);
}

static void handshake(struct run *r)
{
    static const barid_tls_info info = {.version = {"TLSv1.3", 7}};

    if ((barid_session_wants(r->s) & BARID_WANT_TLS) == 0)
        return;
    barid_session_tls_done(r->s, r->events % 7 == 6 ? NULL : &info, 1);
    settle(r);
}

static void check(struct run *r)
{
    size_t replies = r->heard.replies, commands = barid_session_commands(r->s);

    must(r->heard.at == r->out.len);
    must(r->disconnects == (r->config.events != 0 ? 1 : 0));
    must(barid_session_wants(r->s) == BARID_WANT_CLOSE);
    must(barid_session_close_reason(r->s) != BARID_CLOSE_NONE);
    must(buf_fmt(&r->log, "%d", (int)barid_session_close_reason(r->s)) == 0);
    if (r->failing || !is_one_each(r))
        return;
    /* A greeting and one for each command; at the end one may be open (DATA, AUTH, BDAT), be
     * silent (disconnect), or be added (disconnect after a handshake, a stop). */
    must(replies <= commands + 2 && replies + 2 >= commands + 1);
}

/* The client falls silent: until the deadline nothing happens, then the session ends; a message
 * that came fast enough has another window. */
static void run_out_of_time(struct run *r)
{
    for (int i = 0; i < WINDOWS && barid_session_wants(r->s) != BARID_WANT_CLOSE; i++) {
        uint64_t deadline = barid_session_deadline(r->s);

        must(deadline > 1 && deadline != UINT64_MAX);
        barid_session_tick(r->s, deadline - 1);
        settle(r);
        must(barid_session_deadline(r->s) == deadline);
        must(barid_session_close_reason(r->s) == BARID_CLOSE_NONE);
        barid_session_tick(r->s, deadline);
        settle(r);
    }
    must(barid_session_wants(r->s) == BARID_WANT_CLOSE);
    must(barid_session_deadline(r->s) == UINT64_MAX);
}

static void end(struct run *r)
{
    if ((r->head[2] & 128) != 0) {
        run_out_of_time(r);
        return;
    }
    handshake(r);
    barid_session_eof(r->s);
    settle(r);
}

static void play(struct run *r, const barid_mem *mem, barid_slice input)
{
    barid_endpoint peer = {.family = BARID_FAMILY_IPV4, .addr = {192, 0, 2, 1}};
    barid_slice rest = input;

    set_options(r);
    if (barid_session_new(&r->s, &r->config, &peer, mem, 1) < 0) {
        must(r->failing);
        return;
    }
    settle(r);
    while (rest.n > 0) {
        size_t n = slice_find(rest, SEGMENT);

        feed_segment(r, slice_head(rest, n));
        rest = slice_from(rest, n + 1);
        if (rest.n > 0)
            handshake(r);
    }
    end(r);
    check(r);
    barid_session_del(&r->s);
}

static void run_init(struct run *r, const uint8_t *head, bool cut, bool failing)
{
    *r = (struct run){.head = head, .cut = cut, .failing = failing};
    rng_seeded_init(&r->rng, head[3]);
    buf_init(&r->out, NULL, 0);
    buf_init(&r->log, NULL, 0);
}

static void run_deinit(struct run *r)
{
    buf_deinit(&r->out);
    buf_deinit(&r->log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct run whole, cut, failing;
    struct fail_mem fm;
    barid_slice input;

    if (size < HEAD)
        return 0;
    input = slice_of(data + HEAD, size - HEAD);
    run_init(&whole, data, false, false);
    play(&whole, NULL, input);
    run_init(&cut, data, true, false);
    play(&cut, NULL, input);
    must(slice_eq(buf_slice(&whole.out), buf_slice(&cut.out)));
    must(slice_eq(buf_slice(&whole.log), buf_slice(&cut.log)));
    fail_mem_init(&fm, data[3] + 1u);
    run_init(&failing, data, false, true);
    play(&failing, &fm.mem, input);
    must(fm.live == 0);
    run_deinit(&whole);
    run_deinit(&cut);
    run_deinit(&failing);
    return 0;
}
