/* delivery/relay_test.c: one mail by the relay: which server, what it is told, what it may be, and what becomes of the recipients. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "delivery/relay_testing.h"
#include "io/tls_testing.h"

static struct certs certs;

static void begin(struct post *p)
{
    assert_true(post_begin(p, NULL));
}

static void test_plain(void **state)
{
    struct post p;

    (void)state;
    begin(&p);
    post_server(&p, 0, NULL, true);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_string_equal(p.parcels[0].log[2], "done mx1.test final 250 ok");
    assert_int_equal(p.parcels[0].finals, 1);
    assert_true(server_saw(&p.servers[0],
                           "(1)EHLO us.test|MAIL FROM:<s@us.test>|RCPT TO:<a@x.test>|RCPT "
                           "TO:<b@x.test>|RCPT TO:<c@x.test>|DATA|.|"));
    assert_true(slice_eq(buf_slice(&p.servers[0].message),
                         BARID_S("Subject: x\r\nTo: y\r\n\r\nhello\r\n..dot\r\n")));
    post_end(&p);
}

static void test_exchangers(void **state)
{
    struct post p;

    (void)state;
    begin(&p);
    post_server(&p, 0, NULL, false);
    post_server(&p, 1, R({"", "421 4.3.2 busy"}), true);
    post_server(&p, 2, NULL, true);
    assert_string_equal(post_one(&p), "done mx3.test final 250 ok");
    assert_int_equal(p.servers[1].connections, 1);
    post_end(&p);

    /* who is open is asked about there, and only who is open */
    begin(&p);
    post_server(&p, 0, R({"RCPT TO:<b", "450 4.2.1 later"}, {"RCPT TO:<c", "550 5.1.1 no"}),
                true);
    post_server(&p, 1, NULL, true);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_string_equal(p.parcels[0].log[1], "done mx2.test final 250 ok");
    assert_string_equal(p.parcels[0].log[2], "failed mx1.test rcpt 550 5.1.1 no");
    assert_int_equal(p.parcels[0].finals, 2);
    post_end(&p);
}

/* One that follows within the TTL asks nobody. */
static void test_answers_are_kept(void **state)
{
    struct post p;

    (void)state;
    begin(&p);
    post_server(&p, 0, NULL, true);
    for (size_t i = 0; i < 3; i++) {
        if (i == 2)
            post_advance(&p, 60000);
        assert_int_equal(post_send(post_parcel(&p, i, "x.test", 1)), 0);
        post_run(&p.parcels[i]);
        assert_string_equal(p.parcels[i].log[0], "done mx1.test final 250 ok");
        assert_int_equal(p.asked, i < 2 ? 7 : 14); /* MX, then A and AAAA of three exchangers */
    }
    post_end(&p);
}

/* Nobody could be asked. */
static void test_unreached(void **state)
{
    static const struct {
        const char *name, *want;
    } rows[] = {
        {"null.test", "failed unreached  dns 556 5.1.10 null.test: takes no mail (null MX)"},
        {"gone.test", "failed unreached  dns 550 5.1.2 gone.test: no such domain"},
        {"fail.test", "again unreached  dns 451 4.4.3 fail.test: no answer about its mail "
                      "servers (DNS: servfail)"},
        {"slow.test", "again unreached  dns 451 4.4.3 slow.test: no answer about its mail "
                      "servers (DNS: timeout)"},
    };
    struct post p;

    (void)state;
    begin(&p);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct parcel *parcel = post_parcel(&p, 0, rows[i].name, 2);

        assert_int_equal(post_send(parcel), 0);
        post_run(parcel);
        assert_string_equal(parcel->log[0], rows[i].want);
        assert_string_equal(parcel->log[1], rows[i].want);
    }
    /* nobody there */
    assert_int_equal(
        strncmp(post_one(&p),
                "again unreached mx3.test connect 451 4.4.1 mx3.test (127.0.0.3:", 63),
        0);
    post_server(&p, 2, R({"", "554 5.3.2 not here"}), true);
    assert_string_equal(post_one(&p), "again unreached mx3.test connect 554 5.3.2 not here");
    post_end(&p);
    /* one was asked, the other could not be: not unreached */
    begin(&p);
    post_server(&p, 0, R({"MAIL", "451 4.3.0 later"}), true);
    assert_int_equal(strncmp(post_one(&p), "again mx3.test connect 451 4.4.1 mx3.test", 41), 0);
    post_end(&p);
}

static void test_suspect(void **state)
{
    struct post p;

    (void)state;
    begin(&p);
    post_server(&p, 0, R({".", CLOSES}), true);
    post_server(&p, 1, NULL, true);
    assert_int_equal(
        strncmp(post_one(&p), "again suspect mx1.test final 451 4.4.2 mx1.test", 47), 0);
    assert_int_equal(p.parcels[0].finals, 1);
    assert_int_equal(p.servers[1].connections, 0);
    post_end(&p);
}

#define OFFERS                                                                                 \
    "250-mx\r\n250-SIZE "                                                                      \
    "10000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n250-"                 \
    "BINARYMIME\r\n250 PIPELINING"

static void test_parameters(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    post_server(&p, 0, R({"EHLO", OFFERS}), true);
    p.mail.params = (barid_mail_params){.body = BARID_BODY_8BITMIME,
                                        .smtputf8 = true,
                                        .ret = BARID_RET_HDRS,
                                        .envid = BARID_S("id1"),
                                        .auth_given = true,
                                        .auth = BARID_S("<>")};
    p.mail.rcpts[1]->notify = BARID_NOTIFY_SUCCESS | BARID_NOTIFY_FAILURE;
    p.mail.rcpts[1]->orcpt = BARID_S("rfc822;q@x.test");
    parcel = post_parcel(&p, 0, "x.test", 2);
    post_send(parcel);
    post_run(parcel);
    assert_string_equal(parcel->log[1], "done mx1.test final 250 ok");
    assert_true(parcel->dsn_passed);
    assert_true(
        server_saw(&p.servers[0],
                   "MAIL FROM:<s@us.test> SIZE=34 BODY=8BITMIME SMTPUTF8 RET=HDRS "
                   "ENVID=id1|RCPT TO:<a@x.test>|RCPT "
                   "TO:<b@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;q@x.test|BDAT 34 LAST|"));
    assert_true(slice_eq(buf_slice(&p.servers[0].message),
                         BARID_S("Subject: x\r\nTo: y\r\n\r\nhello\r\n.dot\r\n")));
    /* the hop does without: DSN is left out and said to be, what is needed is refused here */
    p.mail.params.smtputf8 = false;
    p.mail.params.body = BARID_BODY_DEFAULT;
    parcel = post_parcel(&p, 0, "x.test", 2);
    parcel->hop.dsn = parcel->hop.chunking = parcel->hop.pipelining = false;
    post_send(parcel);
    post_run(parcel);
    assert_false(parcel->dsn_passed);
    assert_true(server_saw(&p.servers[0], "(2)EHLO us.test|MAIL FROM:<s@us.test> SIZE=34|RCPT "
                                          "TO:<a@x.test>|RCPT TO:<b@x.test>|DATA|.|"));
    post_end(&p);
}

static void expect_refusal(struct post *p, const char *want)
{
    struct parcel *parcel = post_parcel(p, 0, "x.test", 1);

    parcel->hop.downgrade = HOP_REFUSE;
    parcel->hop.eightbit = parcel->hop.binary = parcel->hop.smtputf8 = false;
    post_send(parcel);
    post_run(parcel);
    assert_string_equal(parcel->log[0], want);
}

/* What no server takes, because the hop does not use it. */
static void test_needs(void **state)
{
    const struct rule *rules = R({"EHLO", OFFERS});
    struct post p;

    (void)state;
    begin(&p);
    for (size_t i = 0; i < 3; i++)
        post_server(&p, i, rules, true);
    p.mail.params.body = BARID_BODY_8BITMIME;
    expect_refusal(&p, "failed mx3.test local 554 5.6.3 the server does not offer 8BITMIME");
    p.mail.params.body = BARID_BODY_BINARYMIME;
    expect_refusal(&p, "failed mx3.test local 554 5.6.3 the server does not offer BINARYMIME");
    p.mail.params.body = BARID_BODY_7BIT;
    p.mail.params.smtputf8 = true;
    expect_refusal(&p, "failed mx3.test local 550 5.6.7 the server does not offer SMTPUTF8");
    p.mail.params.smtputf8 = false;
    p.mail.rcpts[0]->box.address = BARID_S("\xc3\xa4@x.test");
    expect_refusal(&p, "failed mx3.test local 550 5.6.7 the server does not offer SMTPUTF8");
    for (size_t i = 0; i < 3; i++)
        assert_false(server_saw(&p.servers[i], "MAIL"));
    post_end(&p);
}

/* Bare line ends never leave: they are where smuggling begins. */
static void test_smuggling(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    post_server(&p, 0, NULL, true);
    parcel = post_parcel(&p, 0, "mx1.test", 1);
    parcel->hop.is_host = true;
    parcel->body = BARID_S("hello\n.\r\nMAIL FROM:<evil@x.test>\r\n");
    parcel->c.body_size = parcel->body.n;
    post_send(parcel);
    post_run(parcel);
    assert_string_equal(parcel->log[0],
                        "failed mx1.test local 550 5.6.11 the message has a bare CR or LF");
    assert_int_equal(parcel->finals, 0);
    assert_false(server_saw(&p.servers[0], "evil"));
    post_end(&p);
}

static void test_lmtp(void **state)
{
    char path[128];
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    snprintf(path, sizeof(path), "%s/lmtp", certs.dir);
    post_unix_server(&p, 0, R({".", "250 2.0.0 a\r\n452 4.2.2 full\r\n550 5.7.1 no"}), path);
    parcel = post_parcel(&p, 0, "", 3);
    parcel->hop.unix_path = slice_str(path);
    parcel->hop.protocol = HOP_LMTP;
    post_send(parcel);
    post_run(parcel);
    unlink(path);
    assert_non_null(strstr(parcel->log[0], "/lmtp final 250 2.0.0 a"));
    assert_non_null(strstr(parcel->log[1], "/lmtp final 452 4.2.2 full"));
    assert_non_null(strstr(parcel->log[2], "/lmtp final 550 5.7.1 no"));
    assert_int_equal(strncmp(parcel->log[1], "again /", 7), 0);
    assert_true(server_saw(&p.servers[0], "(1)LHLO us.test|MAIL"));
    /* nobody there */
    parcel = post_parcel(&p, 1, "", 1);
    parcel->hop.unix_path = BARID_S("/nonexistent/lmtp");
    parcel->hop.protocol = HOP_LMTP;
    post_send(parcel);
    post_run(parcel);
    assert_int_equal(
        strncmp(parcel->log[0], "again unreached /nonexistent/lmtp connect 451 4.4.1", 50), 0);
    post_end(&p);
}

/* --- TLS and AUTH --- */

static void serve_tls(struct post *p, size_t i, const struct rule *rules, const char *cert,
                      const char *key)
{
    struct err err = {0};

    post_server(p, i, rules, true);
    assert_int_equal(
        tls_server_new(&p->servers[i].tls,
                       &(struct tls_server_options){.cert_file = cert, .key_file = key}, &err),
        0);
}

#define TLS_RULES                                                                              \
    R({"EHLO", "250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS"}, {"STARTTLS", STARTS_TLS},          \
      {"AUTH", "235 ok"})

static struct parcel *tls_parcel(struct post *p, enum hop_tls tls)
{
    struct parcel *parcel = post_parcel(p, 0, "x.test", 1);

    parcel->hop.tls = tls;
    assert_int_equal(post_send(parcel), 0);
    post_run(parcel);
    return parcel;
}

static void test_tls(void **state)
{
    const struct rule *rules = TLS_RULES;
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    post_tls(&p, certs.cert);
    post_server(&p, 0, R({"EHLO", "250 mx"}), true);
    serve_tls(&p, 1, TLS_RULES, certs.cert, certs.key);
    assert_string_equal(tls_parcel(&p, HOP_TLS_OPPORTUNISTIC)->log[0],
                        "done mx1.test final 250 ok");
    assert_string_equal(tls_parcel(&p, HOP_TLS_REQUIRED)->log[0], "done mx2.test final 250 ok");
    assert_true(server_saw(&p.servers[1], "(1)EHLO us.test|STARTTLS|EHLO us.test|MAIL"));
    /* the certificate names mx.example.com, the exchanger is mx2.test */
    parcel = tls_parcel(&p, HOP_TLS_VERIFIED);
    assert_int_equal(strncmp(parcel->log[0], "again unreached mx3.test connect", 32), 0);
    assert_true(server_saw(&p.servers[1], "(2)EHLO us.test|STARTTLS|"));
    post_end(&p);
    /* alone it says why */
    begin(&p);
    post_tls(&p, certs.cert);
    for (size_t i = 0; i < 3; i++)
        serve_tls(&p, i, rules, certs.cert, certs.key);
    parcel = tls_parcel(&p, HOP_TLS_VERIFIED);
    assert_int_equal(strncmp(parcel->log[0],
                             "again unreached mx3.test tls 451 4.7.5 mx3.test (127.0.0.3:", 59),
                     0);
    assert_non_null(strstr(parcel->log[0], "hostname mismatch"));
    post_end(&p);
}

static void test_verified(void **state)
{
    char cert[160], key[160];
    struct err err;
    struct post p;

    (void)state;
    snprintf(cert, sizeof(cert), "%s/mx1.pem", certs.dir);
    snprintf(key, sizeof(key), "%s/mx1.key", certs.dir);
    assert_int_equal(tls_self_signed("mx1.test", cert, key, &err), 0);
    begin(&p);
    post_tls(&p, cert);
    serve_tls(&p, 0, TLS_RULES, cert, key);
    assert_string_equal(tls_parcel(&p, HOP_TLS_VERIFIED)->log[0], "done mx1.test final 250 ok");
    post_end(&p);
    unlink(cert);
    unlink(key);
}

/* Where TLS is a wish, a handshake that fails is no reason to keep the mail. */
static void test_broken_tls(void **state)
{
    struct post p;

    (void)state;
    begin(&p);
    post_tls(&p, certs.cert);
    post_server(&p, 0, R({"EHLO", "250-mx\r\n250 STARTTLS"}, {"STARTTLS", STARTS_TLS}), true);
    p.servers[0].tls = tls_ref(p.tls); /* nothing to accept with: it closes */
    assert_string_equal(tls_parcel(&p, HOP_TLS_OPPORTUNISTIC)->log[0],
                        "done mx1.test final 250 ok");
    assert_true(server_saw(&p.servers[0], "(1)EHLO us.test|STARTTLS|(2)EHLO us.test|MAIL"));
    assert_int_equal(
        strncmp(tls_parcel(&p, HOP_TLS_REQUIRED)->log[0], "again unreached mx3.test", 24), 0);
    post_end(&p);
}

static void test_implicit_tls(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p);
    post_tls(&p, certs.cert);
    serve_tls(&p, 0, TLS_RULES, certs.cert, certs.key);
    p.servers[0].implicit_tls = true;
    parcel = post_parcel(&p, 0, "x.test", 1);
    parcel->hop.implicit_tls = true;
    post_send(parcel);
    post_run(parcel);
    assert_string_equal(parcel->log[0], "done mx1.test final 250 ok");
    assert_true(server_saw(&p.servers[0], "(1)EHLO us.test|MAIL"));
    post_end(&p);
}

static const char *with_auth(struct post *p, bool required, barid_slice user)
{
    struct parcel *parcel = post_parcel(p, 0, "mx1.test", 1);

    parcel->hop.is_host = true;
    parcel->hop.user = user;
    parcel->hop.password = BARID_S("pw");
    parcel->hop.require_auth = required;
    post_send(parcel);
    post_run(parcel);
    return parcel->log[0];
}

static void test_auth(void **state)
{
    const barid_slice tim = BARID_S("tim");
    struct post p;

    (void)state;
    begin(&p);
    post_tls(&p, certs.cert);
    serve_tls(&p, 0, TLS_RULES, certs.cert, certs.key);
    assert_string_equal(with_auth(&p, true, tim), "done mx1.test final 250 ok");
    assert_true(
        server_saw(&p.servers[0], "STARTTLS|EHLO us.test|AUTH PLAIN AHRpbQBwdw==|MAIL"));
    assert_string_equal(with_auth(&p, true, BARID_S("")),
                        "again mx1.test local 454 4.7.0 authentication is required and there "
                        "is nothing to authenticate with");
    post_end(&p);
    /* not offered */
    begin(&p);
    post_server(&p, 0, NULL, true);
    assert_string_equal(with_auth(&p, false, tim), "done mx1.test final 250 ok");
    assert_int_equal(
        strncmp(with_auth(&p, true, tim), "again unreached mx1.test auth 451 4.7.0 ", 40), 0);
    post_end(&p);
    /* refused: never for good, as the mail has no part in it */
    begin(&p);
    post_tls(&p, certs.cert);
    serve_tls(&p, 0,
              R({"EHLO", "250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS"}, {"STARTTLS", STARTS_TLS},
                {"AUTH", "535 5.7.8 no"}),
              certs.cert, certs.key);
    assert_string_equal(with_auth(&p, false, tim),
                        "again unreached mx1.test auth 535 5.7.8 no");
    post_end(&p);
}

static int set_up(void **state)
{
    (void)state;
    certs_make(&certs);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),      cmocka_unit_test(test_exchangers), cmocka_unit_test(test_answers_are_kept),
        cmocka_unit_test(test_unreached),  cmocka_unit_test(test_suspect),
        cmocka_unit_test(test_parameters), cmocka_unit_test(test_needs),
        cmocka_unit_test(test_smuggling),  cmocka_unit_test(test_lmtp),
        cmocka_unit_test(test_tls),        cmocka_unit_test(test_verified),
        cmocka_unit_test(test_broken_tls), cmocka_unit_test(test_implicit_tls),
        cmocka_unit_test(test_auth),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
