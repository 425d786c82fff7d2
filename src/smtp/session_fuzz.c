/*
 * smtp/session_fuzz.c: a whole session with scripted verdicts, taken from the input:
 *
 *   octet 0..2    options (see set_options)
 *   octet 3       seed of the cuts; also which allocation fails in the third run
 *   octet 4..19   verdicts: event N gets verdict octet N modulo 16
 *   the rest      what the client sends; octet 1 parts segments: at the end of one a handshake
 *                 that is wanted takes place
 *
 * Run three times: whole, in cuts (which must give the same output and events), and with one
 * allocation failing. Checked: replies are well formed, one per command; no message is
 * acknowledged unless its commit was accepted; the session always comes to an end; disconnect
 * comes once; nothing leaks.
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

struct run {
    const uint8_t *head;
    barid_session_config config;
    barid_session *s;
    struct buf out, log;
    struct rng_seeded rng;
    bool cut, failing;
    unsigned events, disconnects;
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

static void take_events(struct run *r)
{
    barid_event e;

    while (barid_session_next(r->s, &e) == 1) {
        barid_verdict v = {0};

        must(buf_fmt(&r->log, "%d %zu %zu %zu %zu %llu\n", (int)e.id, e.argument.n, e.data.n,
                     e.rcpt_index, e.authcid.n, (unsigned long long)e.size) == 0);
        must(buf_append(&r->log, e.data) == 0 && buf_append(&r->log, e.argument) == 0);
        if (e.token == 0) {
            r->disconnects++;
            must(e.id == BARID_EVENT_DISCONNECT && e.reason != BARID_CLOSE_NONE);
            continue;
        }
        v = verdict_of(r, e.id);
        r->commits += e.id == BARID_EVENT_COMMIT && v.kind == BARID_ACCEPT;
        barid_session_answer(r->s, e.token, &v);
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
}

static void settle(struct run *r)
{
    const uint8_t *p;

    do {
        take_events(r);
        take_output(r);
        take_events(r);
    } while (barid_session_output(r->s, &p) > 0);
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

static size_t count(barid_slice text, barid_slice word)
{
    size_t n = 0;

    for (size_t i = 0; i + word.n <= text.n; i++)
        n += memcmp(text.p + i, word.p, word.n) == 0;
    return n;
}

/* Lines of "ddd " or "ddd-", of at most 512 octets (a challenge may be longer), the same code
 * in all lines of a reply. Returns the replies that are not 3yz. */
static size_t check_replies(barid_slice out)
{
    size_t replies = 0;
    const char *code = NULL;

    while (out.n > 0) {
        size_t n = slice_find(out, '\n');

        must(n >= 5 && n < out.n && out.p[n - 1] == '\r');
        must(memchr(out.p, '\r', n - 1) == NULL && memchr(out.p, '\0', n) == NULL);
        must(out.p[0] >= '2' && out.p[0] <= '5' && (out.p[3] == ' ' || out.p[3] == '-'));
        must(n < 512 || memcmp(out.p, "334 ", 4) == 0);
        must(code == NULL || memcmp(code, out.p, 3) == 0);
        code = out.p[3] == '-' ? out.p : NULL;
        replies += code == NULL && out.p[0] != '3';
        out = slice_from(out, n + 1);
    }
    must(code == NULL);
    return replies;
}

static void check(struct run *r)
{
    size_t replies = check_replies(buf_slice(&r->out)), acks;
    size_t commands = barid_session_commands(r->s);

    acks = count(buf_slice(&r->out), BARID_S("queued as Q"));
    must(acks == 0 || r->commits > 0);
    must(r->disconnects == (r->config.events != 0 ? 1 : 0));
    must(barid_session_wants(r->s) == BARID_WANT_CLOSE);
    /* LMTP and PRDR have more replies than commands. */
    if (r->failing || r->config.protocol == BARID_LMTP ||
        count(buf_slice(&r->out), BARID_S("\r\n353 ")) > 0)
        return;
    must(acks <= r->commits);
    /* A greeting and one for each command; at the end one may be open (DATA, AUTH, BDAT), be
     * silent (disconnect), or be added (disconnect after a handshake). */
    must(replies <= commands + 2 && replies + 2 >= commands + 1);
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
        handshake(r);
        rest = slice_from(rest, n + 1);
    }
    handshake(r);
    barid_session_eof(r->s);
    settle(r);
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
