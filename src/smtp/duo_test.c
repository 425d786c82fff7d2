/*
 * smtp/duo_test.c: the client session talks to the server session. Every way of sending, every
 * mechanism and both kinds of TLS, in pieces of several sizes: what the server's host gets is
 * the message that the client's host gave, to the last octet, and both ends agree about each
 * recipient.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "barid/client.h"
#include "barid/session.h"
#include "barid/verifier.h"
#include "base/buf.h"
#include "base/slice.h"
#include "base/testing.h"

#define RCPTS 4

struct duo {
    barid_session *s;
    barid_client *c;
    const barid_client_mail *mail;
    size_t mails; /* to send */
    barid_slice message;
    size_t given, cut;
    struct buf got; /* as the server's host saw it */
    size_t commits;
    char verifier[BARID_VERIFIER_TEXT_MAX];
    enum barid_auth_mechanism mechanism;
    uint16_t code[RCPTS];
    size_t results;
    barid_client_event closed;
    bool over, server_gone;
};

static void fill(void *user, void *p, size_t n)
{
    uint8_t *next = user;

    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (*next)++;
}

/* --- the server's host -------------------------------------------------------------------- */

static void answer_auth(const struct duo *d, const barid_event *e, barid_verdict *v)
{
    bool known = slice_eq(e->authcid, BARID_S("tim")) &&
                 (e->password.n == 0 || slice_eq(e->password, BARID_S("pencil")));

    v->kind = known ? BARID_ACCEPT : BARID_REJECT;
    if (e->mechanism == BARID_AUTH_CRAM_MD5) {
        v->secret_kind = BARID_SECRET_PLAIN;
        v->secret = BARID_S("pencil");
    } else if (e->mechanism >= BARID_AUTH_SCRAM_SHA_1) {
        v->secret_kind = BARID_SECRET_VERIFIER;
        v->secret = slice_str(d->verifier);
    }
}

/* c@x is refused at RCPT, d@x after the message. */
static void on_server_event(struct duo *d, const barid_event *e)
{
    barid_verdict v = {0};

    if (e->id == BARID_EVENT_AUTH)
        answer_auth(d, e, &v);
    else if (e->id == BARID_EVENT_RCPT && slice_eq(e->path->local, BARID_S("c")))
        v.kind = BARID_REJECT;
    else if (e->id == BARID_EVENT_RECIPIENT && slice_eq(e->path->local, BARID_S("d")))
        v.kind = BARID_REJECT;
    else if (e->id == BARID_EVENT_COMMIT)
        v.kind = BARID_ACCEPT;
    if (e->id == BARID_EVENT_HEADERS) {
        buf_clear(&d->got);
        buf_append(&d->got, e->data);
        if (e->has_blank_line)
            buf_str(&d->got, "\r\n");
    } else if (e->id == BARID_EVENT_BODY) {
        buf_append(&d->got, e->data);
    } else if (e->id == BARID_EVENT_COMMIT) {
        d->commits++;
    }
    if (e->token)
        assert_int_equal(barid_session_answer(d->s, e->token, &v), 0);
}

static bool serve(struct duo *d)
{
    const uint8_t *p;
    barid_event e;
    size_t n;

    while (barid_session_next(d->s, &e) == 1)
        on_server_event(d, &e);
    n = barid_session_output(d->s, &p);
    n = n < d->cut ? n : d->cut;
    if (n > 0) {
        assert_int_equal(barid_client_feed(d->c, p, n, 0), 0);
        barid_session_sent(d->s, n);
    } else if ((barid_session_wants(d->s) & BARID_WANT_CLOSE) && !d->server_gone) {
        d->server_gone = true;
        barid_client_eof(d->c);
        return true;
    }
    return n > 0;
}

/* --- the client's host -------------------------------------------------------------------- */

static void on_client_event(struct duo *d, const barid_client_event *e)
{
    size_t n;

    switch (e->id) {
    case BARID_CLIENT_READY:
        d->given = d->results = 0;
        if (d->mails-- == 0)
            barid_client_quit(d->c, 0);
        else
            assert_int_equal(barid_client_send(d->c, d->mail, 0), 0);
        break;
    case BARID_CLIENT_WANT_BODY:
        n = d->message.n - d->given;
        n = n < e->want ? n : e->want;
        assert_int_equal(barid_client_body(d->c, d->message.p + d->given, n,
                                           d->given + n == d->message.n, 0),
                         0);
        d->given += n;
        break;
    case BARID_CLIENT_RESULT:
        assert_int_equal(e->rcpt, d->results++);
        d->code[e->rcpt] = e->reply.code;
        break;
    case BARID_CLIENT_DONE:
        assert_int_equal(d->results, d->mail->n_rcpts);
        break;
    case BARID_CLIENT_CLOSED:
        d->closed = *e;
        d->over = true;
        break;
    default:
        break;
    }
}

static bool ask(struct duo *d)
{
    const uint8_t *p;
    barid_client_event e;
    size_t n;

    while (barid_client_next(d->c, &e) == 1)
        on_client_event(d, &e);
    n = barid_client_output(d->c, &p);
    n = n < d->cut ? n : d->cut;
    if (n > 0 && !(barid_session_wants(d->s) & BARID_WANT_READ))
        return false;
    if (n > 0) {
        assert_int_equal(barid_session_feed(d->s, p, n, 0), 0);
        barid_client_sent(d->c, n, 0);
    }
    return n > 0;
}

/* Both want it at the same moment, or one of them has it wrong. */
static bool shake_hands(struct duo *d)
{
    static const barid_tls_info info = {
        .version = {"TLSv1.3", 7}, .cipher = {"X", 1}, .bits = 128};

    if (!(barid_client_wants(d->c) & BARID_WANT_TLS) ||
        !(barid_session_wants(d->s) & BARID_WANT_TLS))
        return false;
    barid_session_tls_done(d->s, &info, 0);
    barid_client_tls_done(d->c, true, 0);
    return true;
}

static const barid_client_rcpt rcpts[RCPTS] = {{.address = {"b@x", 3}},
                                               {.address = {"c@x", 3}},
                                               {.address = {"d@x", 3}},
                                               {.address = {"b@x", 3}}};

static const char message[] =
    "Subject: x\r\n\r\n.\r\n..\r\n.a\r\n\r\n\r\nMAIL FROM:<x>\r\n.\r\n";

static void run(struct duo *d, const barid_session_config *sc, const barid_client_config *cc)
{
    barid_endpoint peer = {.family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}};
    barid_verifier v;

    buf_init(&d->got, NULL, 0);
    if (d->mechanism >= BARID_AUTH_SCRAM_SHA_1) {
        assert_int_equal(
            barid_verifier_make(&v, d->mechanism, BARID_S("pencil"), BARID_S("salt"), 4096), 0);
        barid_verifier_format(&v, d->verifier);
    }
    assert_int_equal(barid_session_new(&d->s, sc, &peer, NULL, 0), 0);
    assert_int_equal(barid_client_new(&d->c, cc, NULL, 0), 0);
    for (bool more = true; more && !d->over;) {
        more = serve(d);
        more = ask(d) || more;
        more = shake_hands(d) || more;
    }
    if (!d->over)
        fail_msg("the two wait for each other");
}

static void run_end(struct duo *d)
{
    barid_session_del(&d->s);
    barid_client_del(&d->c);
    buf_deinit(&d->got);
}

static uint8_t server_random, client_random;

static barid_session_config server_config(enum barid_protocol protocol)
{
    server_random = 100;
    return (barid_session_config){.size = sizeof(barid_session_config),
                                  .protocol = protocol,
                                  .hostname = BARID_S("mx.x"),
                                  .events = UINT64_MAX,
                                  .extensions = BARID_EXT_DEFAULT,
                                  .random = fill,
                                  .random_user = &server_random};
}

static barid_client_config client_config(enum barid_protocol protocol)
{
    client_random = 1;
    return (barid_client_config){.size = sizeof(barid_client_config),
                                 .protocol = protocol,
                                 .helo = BARID_S("me.x"),
                                 .random = fill,
                                 .random_user = &client_random};
}

static void check_mail(struct duo *d, bool per_recipient)
{
    const uint16_t d_code = per_recipient ? 550 : 250;

    assert_int_equal(d->closed.reply.code, 221);
    assert_int_equal(d->commits, 2);
    assert_int_equal(d->code[0], 250);
    assert_int_equal(d->code[1], 550);
    assert_int_equal(d->code[2], d_code);
    assert_int_equal(d->code[3], 250);
    if (!slice_eq(buf_slice(&d->got), d->message))
        fail_msg("got \"%.*s\"", (int)d->got.len, d->got.p);
}

/* Protocol, PIPELINING, CHUNKING, PRDR, size of chunks, size of segments. */
static void test_transfer(void **state)
{
    static const size_t sizes[] = {1, 7, 100000};

    (void)state;
    for (unsigned bits = 0; bits < 16; bits++)
        for (size_t i = 0; i < 9; i++) {
            enum barid_protocol protocol = bits & 1 ? BARID_LMTP : BARID_SMTP;
            barid_session_config sc = server_config(protocol);
            barid_client_config cc = client_config(protocol);
            barid_client_mail mail = {.sender = BARID_S("a@x"),
                                      .rcpts = rcpts,
                                      .n_rcpts = RCPTS,
                                      .params = {.prdr = (bits & 8) != 0,
                                                 .size_given = true,
                                                 .size = sizeof(message) - 1}};
            struct duo d = {.mail = &mail,
                            .mails = 2,
                            .cut = sizes[i % 3],
                            .message = {message, sizeof(message) - 1}};

            cc.no_pipelining = (bits & 2) != 0;
            cc.no_chunking = (bits & 4) != 0;
            cc.chunk = sizes[i / 3];
            run(&d, &sc, &cc);
            check_mail(&d, (bits & 1) || (bits & 8));
            run_end(&d);
        }
}

/* A message of many chunks, all octets, as BINARYMIME. */
static void test_binary(void **state)
{
    barid_session_config sc = server_config(BARID_SMTP);
    barid_client_config cc = client_config(BARID_SMTP);
    barid_client_mail mail = {.sender = BARID_S("a@x"),
                              .rcpts = rcpts,
                              .n_rcpts = 1,
                              .params = {.body = BARID_BODY_BINARYMIME}};
    struct duo d = {.mail = &mail, .mails = 2, .cut = 5000};
    struct buf big;

    (void)state;
    buf_init(&big, NULL, 0);
    buf_str(&big, "A: b\r\n\r\n");
    for (int i = 0; i < 300000; i++)
        buf_byte(&big, (char)(i * 7 + i / 256));
    d.message = buf_slice(&big);
    run(&d, &sc, &cc);
    assert_int_equal(d.closed.reply.code, 221);
    assert_int_equal(d.code[0], 250);
    assert_int_equal(d.commits, 2);
    assert_true(slice_eq(buf_slice(&d.got), d.message));
    run_end(&d);
    buf_deinit(&big);
}

/* Each mechanism, right and wrong password, in the clear, after STARTTLS, and under implicit
 * TLS. */
static void test_auth(void **state)
{
    (void)state;
    for (int m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++)
        for (unsigned bits = 0; bits < 6; bits++) {
            enum barid_auth_mechanism mechanism = (enum barid_auth_mechanism)m;
            bool right = bits & 1, starttls = bits / 2 == 1, implicit = bits / 2 == 2;
            barid_session_config sc = server_config(BARID_SUBMISSION);
            barid_client_config cc = client_config(BARID_SUBMISSION);
            barid_client_mail mail = {
                .sender = BARID_S("a@x"), .rcpts = rcpts, .n_rcpts = RCPTS};
            struct duo d = {.mail = &mail,
                            .mails = 2,
                            .cut = 13,
                            .mechanism = mechanism,
                            .message = {message, sizeof(message) - 1}};

            sc.extensions |= BARID_EXT_AUTH | (starttls ? BARID_EXT_STARTTLS : 0u);
            sc.mechanisms = 1u << m;
            sc.auth_required = true;
            sc.plain_auth_without_tls = true;
            sc.implicit_tls = implicit;
            cc.implicit_tls = implicit;
            cc.tls = starttls ? BARID_CLIENT_TLS_REQUIRED : BARID_CLIENT_TLS_NONE;
            cc.authcid = BARID_S("tim");
            cc.password = right ? BARID_S("pencil") : BARID_S("pen");
            cc.mechanisms_plain = starttls || implicit ? 0 : 1u << m;
            cc.mechanisms_secure = 1u << m;
            run(&d, &sc, &cc);
            if (right) {
                check_mail(&d, false);
                assert_int_equal(barid_client_mechanism(d.c), mechanism);
                assert_true(slice_eq(barid_session_user(d.s), BARID_S("tim")));
            } else {
                assert_int_equal(d.closed.stage, BARID_STAGE_AUTH);
                assert_int_equal(d.closed.reply.code, 535);
                assert_int_equal(d.commits, 0);
            }
            run_end(&d);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transfer),
        cmocka_unit_test(test_binary),
        cmocka_unit_test(test_auth),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
