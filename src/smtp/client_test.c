/*
 * smtp/client_test.c: dialogues of the client session. A script has one line per step:
 *   S: a reply line    C: what the client must have sent    T, F: handshake done, failed
 *   E: the server closes    N: the clock moves by so many ms
 * It is played with the server's bytes whole, byte by byte and in random cuts; what the host
 * sees (results, ends) must be the same text each time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "barid/client.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "smtp/client_scenarios.h"

enum cut { CUT_WHOLE, CUT_BYTES, CUT_RANDOM, CUTS };

struct play {
    barid_client *c;
    const barid_client_mail *mails;
    size_t n_mails, next_mail;
    const char *body;
    size_t body_at, piece; /* piece 0 = as much as wanted */
    uint64_t now;
    struct buf log, sent, transcript;
    enum cut cut;
    struct rng_seeded rng;
};

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 7, n);
}

static void give_body(struct play *p, size_t want)
{
    size_t left = strlen(p->body) - p->body_at, n = p->piece > 0 ? p->piece : want;

    n = n < want ? n : want;
    n = n < left ? n : left;
    assert_int_equal(barid_client_body(p->c, p->body + p->body_at, n, n == left, p->now), 0);
    p->body_at = n == left ? 0 : p->body_at + n;
}

static void log_event(struct play *p, const barid_client_event *e)
{
    buf_fmt(&p->log, "%s %zu %s %u %.*s %d %.*s\n",
            e->id == BARID_CLIENT_RESULT ? "RESULT" : "CLOSED", e->rcpt,
            barid_client_stage_name(e->stage), e->reply.code, (int)e->reply.enhanced.n,
            e->reply.enhanced.p, e->error, (int)e->reply.text.n,
            e->reply.text.n ? e->reply.text.p : "");
}

static void on_event(struct play *p, const barid_client_event *e)
{
    int r;

    switch (e->id) {
    case BARID_CLIENT_READY:
        if (p->next_mail == p->n_mails) {
            barid_client_quit(p->c, p->now);
            break;
        }
        p->body_at = 0;
        r = barid_client_send(p->c, &p->mails[p->next_mail++], p->now);
        if (r != 0) {
            buf_fmt(&p->log, "send %d\n", r);
            barid_client_quit(p->c, p->now);
        }
        break;
    case BARID_CLIENT_WANT_BODY:
        give_body(p, e->want);
        break;
    case BARID_CLIENT_TRANSCRIPT:
        buf_fmt(&p->transcript, "%c: %.*s\n", e->from_server ? 'S' : 'C', (int)e->line.n,
                e->line.p);
        break;
    case BARID_CLIENT_DONE:
        buf_str(&p->log, "DONE\n");
        break;
    default:
        log_event(p, e);
    }
}

static void pump(struct play *p)
{
    barid_client_event e;
    const uint8_t *out;
    size_t n;

    do {
        while (barid_client_next(p->c, &e) == 1)
            on_event(p, &e);
        n = barid_client_output(p->c, &out);
        if (n > 0 && p->cut == CUT_RANDOM)
            n = 1 + rng_u64(&p->rng.rng) % n;
        buf_append(&p->sent, slice_of(out, n));
        barid_client_sent(p->c, n, p->now);
    } while (n > 0);
}

static void feed(struct play *p, barid_slice s)
{
    while (s.n > 0) {
        size_t n = p->cut == CUT_WHOLE   ? s.n
                   : p->cut == CUT_BYTES ? 1
                                         : 1 + rng_u64(&p->rng.rng) % s.n;
        char *copy = malloc(n);

        memcpy(copy, s.p, n);
        barid_client_feed(p->c, copy, n, p->now);
        free(copy);
        s = slice_from(s, n);
        pump(p);
    }
}

/* Consecutive S: lines are fed together: pipelined replies come in one segment. */
static void flush_server(struct play *p, struct buf *segment)
{
    if (segment->len == 0)
        return;
    feed(p, buf_slice(segment));
    buf_clear(segment);
}

static void expect_sent(struct play *p, barid_slice line, bool strict)
{
    size_t n = line.n + 2;

    if (strict && (p->sent.len < n || memcmp(p->sent.p, line.p, line.n) != 0 ||
                   memcmp(p->sent.p + line.n, "\r\n", 2) != 0))
        fail_msg("expected \"%.*s\", the client sent \"%.*s\"", (int)line.n, line.p,
                 (int)p->sent.len, p->sent.p);
    buf_consume(&p->sent, n < p->sent.len ? n : p->sent.len);
}

static void run_script(struct play *p, const char *script, bool strict)
{
    barid_slice rest = slice_str(script);
    struct buf segment;

    buf_init(&segment, NULL, 0);
    pump(p);
    while (rest.n > 0) {
        barid_slice line = slice_cut(rest, '\n', &rest), text = slice_from(line, 3);

        if (line.p[0] != 'S')
            flush_server(p, &segment);
        switch (line.p[0]) {
        case 'S':
            buf_append(&segment, text);
            buf_str(&segment, "\r\n");
            break;
        case 'C':
            expect_sent(p, text, strict);
            break;
        case 'T':
        case 'F':
            if (strict)
                assert_int_equal(barid_client_wants(p->c), BARID_WANT_TLS);
            barid_client_tls_done(p->c, line.p[0] == 'T', p->now);
            break;
        case 'E':
            barid_client_eof(p->c);
            break;
        case 'N':
            p->now += strtoul(text.p, NULL, 10);
            if (barid_client_deadline(p->c) <= p->now)
                barid_client_tick(p->c, p->now);
            break;
        default:
            fail_msg("script: %.*s", (int)line.n, line.p);
        }
        pump(p);
    }
    flush_server(p, &segment);
    buf_deinit(&segment);
}

static void play_begin(struct play *p, enum cut cut, const char *body)
{
    p->cut = cut;
    p->body = body;
    p->now = 1000;
    p->next_mail = p->body_at = 0;
    rng_seeded_init(&p->rng, 42);
    buf_init(&p->log, NULL, 0);
    buf_init(&p->sent, NULL, 0);
    buf_init(&p->transcript, NULL, 0);
}

static void play_end(struct play *p)
{
    barid_client_del(&p->c);
    buf_deinit(&p->log);
    buf_deinit(&p->sent);
    buf_deinit(&p->transcript);
}

static barid_client_config config_of(const struct scenario *s)
{
    barid_client_config k = s->config;

    k.size = sizeof(k);
    k.helo = BARID_S("me.example");
    k.random = fill;
    k.transcript = s->transcript != NULL;
    return k;
}

static void play_cuts(const struct scenario *s)
{
    barid_client_config k = config_of(s);

    for (int cut = 0; cut < CUTS; cut++) {
        struct play p = {.mails = s->mails, .n_mails = s->n_mails, .piece = s->piece};

        play_begin(&p, (enum cut)cut, s->body ? s->body : "");
        assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
        run_script(&p, s->script, true);
        if (!slice_eq(buf_slice(&p.log), slice_str(s->log)))
            fail_msg("%s, cut %d: got\n%.*swant\n%s", s->name, cut, (int)p.log.len, p.log.p,
                     s->log);
        if (p.sent.len > 0)
            fail_msg("%s: more was sent: %.*s", s->name, (int)p.sent.len, p.sent.p);
        if (s->transcript && !slice_eq(buf_slice(&p.transcript), slice_str(s->transcript)))
            fail_msg("%s: transcript\n%.*s", s->name, (int)p.transcript.len, p.transcript.p);
        assert_true(barid_client_wants(p.c) & BARID_WANT_CLOSE);
        assert_true(barid_client_deadline(p.c) == UINT64_MAX);
        play_end(&p);
    }
}

/* With its n-th allocation failing: no crash, no leak, and the host learns that it is over. */
static void play_nomem(const struct scenario *s)
{
    barid_client_config k = config_of(s);
    struct fail_mem fm = {0};

    while (fail_mem_next(&fm)) {
        struct play p = {.mails = s->mails, .n_mails = s->n_mails, .piece = s->piece};

        play_begin(&p, CUT_WHOLE, s->body ? s->body : "");
        if (barid_client_new(&p.c, &k, &fm.mem, p.now) == 0) {
            run_script(&p, s->script, false);
            barid_client_eof(p.c);
            pump(&p);
            pump(&p);
            assert_true(barid_client_wants(p.c) & BARID_WANT_CLOSE);
            assert_non_null(memmem(p.log.p, p.log.len, "CLOSED", 6));
        }
        play_end(&p);
    }
}

static void test_scenarios(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        play_cuts(&scenarios[i]);
}

static void test_nomem(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        play_nomem(&scenarios[i]);
}

/* Every octet of BINARYMIME goes out as it is; newlines cannot stand in a script. */
static void test_binary(void **state)
{
    const struct scenario s = {.name = "binary"};
    barid_client_config k = config_of(&s);
    struct play p = {.mails = &mail_binary, .n_mails = 1};

    (void)state;
    play_begin(&p, CUT_BYTES, "a\rb\n.\r\n\n");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    run_script(
        &p,
        HELLO
        "S: 250-mx\nS: 250-BINARYMIME\nS: 250 CHUNKING\nC: MAIL FROM:<a@x> BODY=BINARYMIME\n"
        "S: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: BDAT 8 LAST\n",
        true);
    assert_true(slice_eq(buf_slice(&p.sent), BARID_S("a\rb\n.\r\n\n")));
    play_end(&p);
}

static void test_limits(void **state)
{
    const struct scenario s = {.name = "limits"};
    barid_client_config k = config_of(&s);
    struct play p = {0};
    barid_slice value;

    (void)state;
    play_begin(&p, CUT_WHOLE, "");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    feed(&p, BARID_S("220 mx\r\n"));
    for (int i = 0; i <= BARID_CLIENT_KEYWORDS_MAX; i++)
        feed(&p, BARID_S("250-X\r\n"));
    feed(&p, BARID_S("250 X\r\n"));
    assert_true(slice_eq(buf_slice(&p.log),
                         BARID_S("CLOSED 0 helo 0  -4 a named limit was reached\n")));
    play_end(&p);

    play_begin(&p, CUT_WHOLE, "");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    feed(&p, BARID_S("220 mx\r\n250-mx\r\n250-SIZE 77\r\n250 X-Y a b\r\n"));
    assert_true(barid_client_extension(p.c, BARID_S("x-y"), &value));
    assert_true(slice_eq(value, BARID_S("a b")));
    assert_false(barid_client_extension(p.c, BARID_S("mx"), &value));
    assert_int_equal(barid_client_extensions(p.c), BARID_EXT_SIZE);
    play_end(&p);
}

/* What is fed while nothing is read is kept up to a limit; beyond, the session is lost. */
static void test_input_limit(void **state)
{
    const struct scenario s = {.name = "input"};
    barid_client_config k = config_of(&s);
    struct play p = {0};
    static char text[BARID_CLIENT_INPUT_MAX + 1];

    (void)state;
    play_begin(&p, CUT_WHOLE, "");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    memset(text, 'x', sizeof(text));
    barid_client_feed(p.c, text, sizeof(text), p.now);
    pump(&p);
    assert_non_null(memmem(p.log.p, p.log.len, "CLOSED", 6));
    play_end(&p);
}

/* Of a reply so many octets are kept. */
static void test_text_limit(void **state)
{
    const struct scenario s = {.name = "text"};
    barid_client_config k = config_of(&s);
    struct play p = {0};
    char reply[BARID_CLIENT_TEXT_MAX + 200];
    size_t kept = 0;

    (void)state;
    play_begin(&p, CUT_WHOLE, "");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    memset(reply, 'y', sizeof(reply));
    memcpy(reply, "554 ", 4);
    memcpy(reply + sizeof(reply) - 2, "\r\n", 2);
    feed(&p, slice_of(reply, sizeof(reply)));
    barid_client_eof(p.c);
    pump(&p);
    for (size_t i = 0; i < p.log.len; i++)
        kept += p.log.p[i] == 'y';
    assert_int_equal(kept, BARID_CLIENT_TEXT_MAX);
    play_end(&p);
}

/* A server that asks on and on, and does not take "*" for an answer. */
static void test_challenge_limit(void **state)
{
    const struct scenario s = {.name = "challenges",
                               .config = {.authcid = BARID_S("tim"),
                                          .password = BARID_S("pw"),
                                          .mechanisms_plain = 1 << BARID_AUTH_LOGIN}};
    barid_client_config k = config_of(&s);
    struct play p = {0};
    unsigned asked = 0;

    (void)state;
    play_begin(&p, CUT_WHOLE, "");
    assert_int_equal(barid_client_new(&p.c, &k, NULL, p.now), 0);
    feed(&p, BARID_S("220 mx\r\n250-mx\r\n250 AUTH LOGIN\r\n"));
    for (; memmem(p.log.p != NULL ? p.log.p : "", p.log.len, "CLOSED", 6) == NULL; asked++) {
        assert_true(asked <= BARID_CLIENT_CHALLENGES_MAX);
        feed(&p, BARID_S("334 VXNlcm5hbWU6\r\n"));
    }
    play_end(&p);
}

static void test_config(void **state)
{
    barid_client_config k = {.size = sizeof(k)};
    barid_client *c;

    (void)state;
    assert_int_equal(barid_client_new(&c, &k, NULL, 0), BARID_EINVALID);
    k.helo = BARID_S("a b");
    assert_int_equal(barid_client_new(&c, &k, NULL, 0), BARID_EINVALID);
    k.helo = BARID_S("[127.0.0.1]");
    k.implicit_tls = true;
    k.tls = BARID_CLIENT_TLS_REQUIRED;
    assert_int_equal(barid_client_new(&c, &k, NULL, 0), BARID_EINVALID);
    k.implicit_tls = false;
    assert_int_equal(barid_client_new(&c, &k, NULL, 0), 0);
    assert_int_equal(barid_client_send(c, &mail_one, 0), BARID_EINVALID);
    barid_client_del(&c);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenarios),  cmocka_unit_test(test_nomem),
        cmocka_unit_test(test_binary),     cmocka_unit_test(test_limits),
        cmocka_unit_test(test_config),     cmocka_unit_test(test_input_limit),
        cmocka_unit_test(test_text_limit), cmocka_unit_test(test_challenge_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
