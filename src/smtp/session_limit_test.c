/* smtp/session_limit_test.c: limits, deadlines, stopping, backpressure and memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "smtp/session_lines_testing.h"

#define TOO_LONG "S: 500 5.5.2 Line too long\n"
#define TIMEOUT  "S: 421 4.4.2 mx.example closing: timeout\n"

static void test_lines(void **state)
{
    (void)state;
    check("O: line=64\n" GREETING
          "C: NOOP 789012345678901234567890123456789012345678901234567890123\nS: 250 2.0.0 Ok\n"
          "C: NOOP 78901234567890123456789012345678901234567890123456789012\nS: 250 2.0.0 Ok\n"
          "C: NOOP 7890123456789012345678901234567890123456789012345678901234\n" TOO_LONG
          "Z: 64 x\nR: \\r\\n\n" TOO_LONG "Z: 63 x\nR: \\r\\n\n" TOO_LONG
          "Z: 5000 x\nC: \n" TOO_LONG "Z: 62 \\n\nR: x\\r\\n\n" TOO_LONG
          "Z: 100 \\r\nR: \\n\n" TOO_LONG QUIT);
}

static void test_counts(void **state)
{
    (void)state;
    check("O: errors=2\n" GREETING "C: FOO\nS: 500 5.5.2 Command not recognized\n"
          "C: FOO\nS: 500 5.5.2 Command not recognized\nC: NOOP\nC: NOOP\n"
          "S: 421 4.7.0 mx.example closing: too many errors\n");
    check("O: errors=1\n" GREETING "C: FOO\nS: 500 5.5.2 Command not recognized\n" QUIT);
    check("O: commands=2\n" GREETING
          "C: NOOP\nC: NOOP\nC: NOOP\nS: 250 2.0.0 Ok\nS: 250 2.0.0 Ok\n"
          "S: 421 4.7.0 mx.example closing: too many commands\n");
    check("O: noops=2\n" GREETING HELO "C: NOOP\nS: 250 2.0.0 Ok\n" MAIL
          "C: NOOP\nS: 250 2.0.0 Ok\n" RSET
          "C: NOOP\nS: 421 4.7.0 mx.example closing: too many commands\n");
    /* RFC 5321 4.5.3.1.10; and no error of the client's that would end the session. */
    check("O: recipients=1 errors=1\n" GREETING HELO MAIL RCPT
          "C: RCPT TO:<c@y.example>\nS: 452 4.5.3 Too many recipients\n"
          "C: RCPT TO:<c@y.example>\nS: 452 4.5.3 Too many recipients\nC: DATA\n" GO MESSAGE
              QUEUED QUIT);
    check("O: transactions=1\n" GREETING HELO MAIL RSET
          "C: MAIL FROM:<a@x.example>\nS: 421 4.7.0 mx.example closing: too many commands\n");
    check("O: transactions=7 recipients=3 message=99\n" GREETING
          "C: EHLO c\nS: 250-mx.example\n"
          "S: 250-PIPELINING\nS: 250-SIZE 99\nS: 250-8BITMIME\nS: 250-SMTPUTF8\n"
          "S: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-BINARYMIME\n"
          "S: 250-LIMITS RCPTMAX=3 MAILMAX=7\nS: 250-PRDR\nS: 250 HELP\n");
}

static void test_command_deadline(void **state)
{
    (void)state;
    check(GREETING "W: 299999\nC: NOOP\nS: 250 2.0.0 Ok\nW: 299999\nR: NOOP\nW: 1\n" TIMEOUT
                   "L: connect\\nnoop verb=NOOP\\ndisconnect timeout\n");
    /* Dribbling does not help. */
    check("O: command_ms=100\n" GREETING "R: N\nW: 50\nR: O\nW: 49\nR: O\nW: 1\n" TIMEOUT
          "L: connect\\ndisconnect timeout\n");
    check("O: session_ms=100\n" GREETING "W: 60\nC: NOOP\nS: 250 2.0.0 Ok\nW: 39\nC: NOOP\n"
          "S: 250 2.0.0 Ok\nW: 1\n" TIMEOUT);
    check("O: implicit_tls tls_ms=100\nW: 99\nL: connect\nW: 1\nL: disconnect timeout\n");
    check("O: auth plain_auth command_ms=100\n" GREETING
          "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nW: 100\n" TIMEOUT);
}

#define IN_DATA GREETING HELO MAIL RCPT "C: DATA\n" GO

static void test_data_deadlines(void **state)
{
    (void)state;
    check("O: no_events data_idle_ms=100\n" IN_DATA
          "W: 99\nC: x\nW: 99\nC: x\nW: 100\n" TIMEOUT);
    check(
        "O: no_events data_min_rate=10 data_rate_window_ms=1000\n" IN_DATA
        "W: 500\nC: 12345678\nW: 500\n"
        "W: 999\nC: 1234567\nW: 1\nS: 421 4.4.2 mx.example closing: data arrives too slowly\n");
    check("O: no_events data_idle_ms=100\n" GREETING HELO MAIL RCPT
          "C: BDAT 10\nR: abc\nW: 100\n" TIMEOUT);
}

static void test_stop(void **state)
{
    (void)state;
#define STOPPED "S: 421 4.3.2 mx.example closing: shutting down\n"
    check(GREETING HELO "P: soft\n" STOPPED
                        "L: connect\\nhelo verb=HELO arg=c\\ndisconnect shutdown\n");
    check("O: no_events\n" GREETING HELO MAIL "P: soft\n" RCPT "C: DATA\n" GO MESSAGE QUEUED
          "C: NOOP\n" STOPPED "L: commit 20\n");
    check("O: no_events\n" GREETING HELO MAIL "P: soft\n" RSET STOPPED);
    check("O: no_events\n" IN_DATA "P: force\n" STOPPED);
    check("O: implicit_tls\nP: soft\nL: connect\\ndisconnect shutdown\n");
}

/* --- below the dialogues --- */

struct counted {
    barid_mem mem;
    size_t now, most;
};

static void *count_malloc(size_t n, void *user)
{
    struct counted *c = user;
    size_t *p = malloc(n + 16);

    assert_non_null(p);
    p[0] = n;
    c->now += n;
    c->most = c->now > c->most ? c->now : c->most;
    return (char *)p + 16;
}

static void count_free(void *ptr, void *user)
{
    struct counted *c = user;

    if (ptr == NULL)
        return;
    c->now -= *(size_t *)(void *)((char *)ptr - 16);
    free((char *)ptr - 16);
}

static void *count_realloc(void *ptr, size_t n, void *user)
{
    void *p = count_malloc(n, user);
    size_t old = ptr != NULL ? *(size_t *)(void *)((char *)ptr - 16) : 0;

    if (old > 0)
        memcpy(p, ptr, old < n ? old : n);
    count_free(ptr, user);
    return p;
}

struct peer {
    struct counted c;
    barid_session_config config;
    barid_session *s;
    barid_event event;
};

static void peer_init(struct peer *p, uint64_t events)
{
    *p = (struct peer){.c.mem = {count_malloc, count_realloc, count_free, &p->c}};
    p->config = (barid_session_config){.size = sizeof(p->config),
                                       .hostname = BARID_S("mx.example"),
                                       .extensions = BARID_EXT_DEFAULT,
                                       .events = events};
}

static void peer_open(struct peer *p)
{
    assert_int_equal(barid_session_new(&p->s, &p->config, NULL, &p->c.mem, 0), 0);
}

static void peer_says(struct peer *p, const char *text)
{
    assert_int_equal(barid_session_feed(p->s, text, strlen(text), 0), 0);
}

static size_t peer_reads(struct peer *p)
{
    const uint8_t *out;
    size_t n = barid_session_output(p->s, &out);

    barid_session_sent(p->s, n);
    return n;
}

static void test_idle_memory(void **state)
{
    struct peer p;

    (void)state;
    peer_init(&p, 0);
    peer_open(&p);
    peer_says(&p, "EHLO client.example\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\n"
                  "RSET\r\nNOOP\r\n");
    peer_reads(&p);
    assert_true(barid_session_idle(p.s));
    /* The session and a host name; no buffer. Written down because connections are many. */
    print_message("# idle session: %zu octets\n", p.c.now);
    assert_true(p.c.now < 900);
    barid_session_del(&p.s);
    assert_int_equal(p.c.now, 0);
}

static void test_message_memory(void **state)
{
    struct peer p;
    barid_verdict v = {0};
    char block[8192];

    (void)state;
    memset(block, 'x', sizeof(block));
    memcpy(block + sizeof(block) - 2, "\r\n", 2);
    peer_init(&p, BARID_EVENT_BIT(BARID_EVENT_BODY));
    peer_open(&p);
    peer_says(&p, "EHLO c\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n\r\n");
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(barid_session_feed(p.s, block, sizeof(block), 0), 0);
        while (barid_session_next(p.s, &p.event) == 1)
            assert_int_equal(barid_session_answer(p.s, p.event.token, &v), 0);
    }
    /* One chunk, what one feed leaves, the transaction; doubling buffers at worst twice that.
     */
    assert_true(p.c.most < 220000);
    barid_session_del(&p.s);
    assert_int_equal(p.c.now, 0);
}

static void test_backpressure(void **state)
{
    struct peer p;
    barid_verdict v = {0};
    unsigned fed = 0;

    (void)state;
    peer_init(&p, BARID_EVENT_BIT(BARID_EVENT_NOOP));
    p.config.limits.pipelined = 100;
    peer_open(&p);
    peer_reads(&p);
    peer_says(&p, "NOOP\r\n");
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    assert_int_equal(barid_session_next(p.s, &p.event), 0);
    while ((barid_session_wants(p.s) & BARID_WANT_READ) != 0 && fed++ < 100)
        peer_says(&p, "NOOP\r\n");
    assert_int_equal(fed, 17);
    assert_int_equal(barid_session_feed(p.s, "x", 1, 0), BARID_ELIMIT);
    assert_int_equal(barid_session_answer(p.s, p.event.token + 1, &v), BARID_EINVALID);
    for (fed = 0; barid_session_answer(p.s, p.event.token, &v) == 0; fed++)
        barid_session_next(p.s, &p.event);
    assert_int_equal(fed, 18);
    assert_int_equal(peer_reads(&p), 18 * strlen("250 2.0.0 Ok\r\n"));
    barid_session_del(&p.s);
}

static void test_unread_output(void **state)
{
    struct peer p;
    size_t n;

    (void)state;
    peer_init(&p, 0);
    p.config.limits.output = 100;
    p.config.limits.pipelined = 100;
    peer_open(&p);
    peer_says(&p,
              "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"
              "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n"
              "NOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\nNOOP\r\n");
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_WRITE);
    for (n = 0; (barid_session_wants(p.s) & BARID_WANT_WRITE) != 0;)
        n += peer_reads(&p);
    assert_int_equal(n, strlen("220 mx.example ESMTP Barid\r\n") +
                            28 * strlen("250 2.0.0 Ok\r\n"));
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_READ);
    /* One who never reads is dropped in the end. */
    peer_says(&p, "NOOP\r\n");
    assert_int_equal(barid_session_close_reason(p.s), BARID_CLOSE_NONE);
    barid_session_tick(p.s, barid_session_deadline(p.s));
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_WRITE);
    barid_session_tick(p.s, barid_session_deadline(p.s));
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_CLOSE);
    assert_int_equal(barid_session_close_reason(p.s), BARID_CLOSE_TIMEOUT);
    barid_session_del(&p.s);
}

static void test_late_answer_and_time(void **state)
{
    struct peer p;
    barid_verdict v = {0};

    (void)state;
    peer_init(&p, BARID_EVENT_BIT(BARID_EVENT_NOOP));
    p.config.limits.command_ms = 100;
    peer_open(&p);
    peer_reads(&p);
    peer_says(&p, "NOOP\r\n");
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    /* Policy may think as long as it likes; then the peer has its full time. */
    assert_true(barid_session_deadline(p.s) == UINT64_MAX);
    barid_session_tick(p.s, 5000);
    assert_int_equal(barid_session_answer(p.s, p.event.token, &v), 0);
    peer_reads(&p);
    barid_session_tick(p.s, 5099);
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_READ);
    barid_session_tick(p.s, 5100);
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_WRITE);
    barid_session_del(&p.s);
}

static void test_force_with_open_event(void **state)
{
    struct peer p;
    barid_verdict v = {0};

    (void)state;
    peer_init(&p, UINT64_MAX);
    peer_open(&p);
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    barid_session_stop(p.s, true);
    assert_int_equal(barid_session_answer(p.s, p.event.token, &v), BARID_EINVALID);
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    assert_int_equal(p.event.id, BARID_EVENT_DISCONNECT);
    assert_int_equal(p.event.reason, BARID_CLOSE_SHUTDOWN);
    assert_int_equal(barid_session_next(p.s, &p.event), 0);
    barid_session_del(&p.s);
}

static void test_handshake_behind_proxy_header(void **state)
{
    static const char header[] = "PROXY TCP4 198.51.100.7 203.0.113.9 1025 25\r\n\x16\x03";
    const barid_tls_info info = {.version = BARID_S("TLSv1.3")};
    const uint8_t *early;
    struct peer p;

    (void)state;
    peer_init(&p, 0);
    p.config.proxy = p.config.implicit_tls = true;
    peer_open(&p);
    peer_says(&p, header);
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_TLS);
    assert_int_equal(barid_session_tls_input(p.s, &early), 2);
    assert_memory_equal(early, "\x16\x03", 2);
    assert_int_equal(barid_session_feed(p.s, "x", 1, 0), BARID_EINVALID);
    barid_session_tls_done(p.s, &info, 0);
    assert_int_equal(barid_session_tls_input(p.s, &early), 0);
    assert_int_equal(peer_reads(&p), strlen("220 mx.example ESMTP Barid\r\n"));
    barid_session_del(&p.s);
    assert_int_equal(p.c.now, 0);
}

static void test_eof_while_policy_thinks(void **state)
{
    struct peer p;
    barid_verdict v = {0};

    (void)state;
    peer_init(&p, BARID_EVENT_BIT(BARID_EVENT_NOOP) | BARID_EVENT_BIT(BARID_EVENT_DISCONNECT));
    peer_open(&p);
    peer_says(&p, "NOOP\r\nRSET\r\nNO");
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    barid_session_eof(p.s);
    assert_int_equal(barid_session_next(p.s, &p.event), 0);
    /* A client that closed only its sending half still gets what it asked for. */
    assert_int_equal(barid_session_answer(p.s, p.event.token, &v), 0);
    assert_int_equal(peer_reads(&p), strlen("220 mx.example ESMTP Barid\r\n"
                                            "250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n"));
    assert_int_equal(barid_session_next(p.s, &p.event), 1);
    assert_int_equal(p.event.reason, BARID_CLOSE_PEER);
    assert_int_equal(barid_session_wants(p.s), BARID_WANT_CLOSE);
    assert_int_equal(barid_session_close_reason(p.s), BARID_CLOSE_PEER);
    barid_session_del(&p.s);
}

static void test_bad_config(void **state)
{
    struct peer p;
    barid_replies replies = {0};

    (void)state;
#define BAD(change)                                                                            \
    peer_init(&p, 0);                                                                          \
    change;                                                                                    \
    assert_int_equal(barid_session_new(&p.s, &p.config, NULL, NULL, 0), BARID_EINVALID)
    BAD(p.config.size = 0);
    BAD(p.config.hostname.n = 0);
    BAD(p.config.extensions |= BARID_EXT_AUTH);
    BAD(p.config.extensions = BARID_EXT_BINARYMIME);
    BAD(p.config.tls_required = true);
    BAD(p.config.auth_required = true);
    BAD(p.config.limits.line = 10);
    replies.row[BARID_REPLY_MAIL_OK].code = 550;
    BAD(p.config.replies = &replies);
}

static void test_catalogue(void **state)
{
    struct peer p;
    barid_replies replies = {0};
    const uint8_t *out;
    size_t n;

    (void)state;
    replies.row[BARID_REPLY_GREETING] =
        (barid_reply){220, {NULL, 0}, BARID_S("%h 100% %s ready")};
    peer_init(&p, 0);
    p.config.replies = &replies;
    peer_open(&p);
    n = barid_session_output(p.s, &out);
    assert_int_equal(n, strlen("220 mx.example 100%  ready\r\n"));
    assert_memory_equal(out, "220 mx.example 100%  ready\r\n", n);
    barid_session_del(&p.s);
}

/* Whatever allocation fails, QUIT ends the session, and never with an error. */
static void test_quit_without_memory(void **state)
{
    struct fail_mem fm = {0};
    bool unasked = false;

    (void)state;
    while (fail_mem_next(&fm)) {
        struct script_mode mode = {.mem = &fm.mem};
        struct script_result r;
        bool bye;

        script_run(GREETING QUIT, &mode, &r);
        bye = r.out.len > 0 && memmem(r.out.p, r.out.len, "221 2.0.0 Bye\r\n", 15) != NULL;
        assert_true(r.out.len == 0 || memmem(r.out.p, r.out.len, "451 ", 4) == NULL);
        if (bye) {
            assert_non_null(memmem(r.log.p, r.log.len, "disconnect quit", 15));
            unasked = unasked || memmem(r.log.p, r.log.len, "quit verb", 9) == NULL;
        }
        script_result_deinit(&r);
    }
    assert_true(unasked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quit_without_memory),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_command_deadline),
        cmocka_unit_test(test_data_deadlines),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_idle_memory),
        cmocka_unit_test(test_message_memory),
        cmocka_unit_test(test_backpressure),
        cmocka_unit_test(test_unread_output),
        cmocka_unit_test(test_late_answer_and_time),
        cmocka_unit_test(test_force_with_open_event),
        cmocka_unit_test(test_handshake_behind_proxy_header),
        cmocka_unit_test(test_eof_while_policy_thinks),
        cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_catalogue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
