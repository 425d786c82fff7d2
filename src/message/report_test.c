/* message/report_test.c: reports: whole texts, what is attached, who wants one, hostile texts, each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"
#include "message/report_int.h"
#include "message/transfer.h"

#define RECEIVED_US INT64_C(1795173699000000) /* Fri, 20 Nov 2026 11:21:39 +0000 */
#define NOW_US      (RECEIVED_US + INT64_C(300000000))
#define BOUNDARY    "=_barid_00000000000000ab"
#define DELIMITER   "--" BOUNDARY
#define SOURCE      "Message-ID: <m1@sender.test>\r\nSubject: hello\r\n"

struct fixture {
    struct arena arena;
    struct session_facts facts;
    struct mail m;
    struct report_rcpt rcpts[2];
    struct report r;
    struct report_text t;
};

/* 0, or what failed: with an allocator that fails this is part of what is tested. */
static int begin(struct fixture *f, const barid_mem *mem, const char *header)
{
    int rc;

    memset(f, 0, sizeof(*f));
    arena_init(&f->arena, mem, 0);
    if ((rc = mail_init(&f->m, &f->arena, &f->facts, RECEIVED_US)) != 0 ||
        (rc = mail_set_header(&f->m, slice_str(header), true)) != 0)
        return rc;
    f->m.id = 33;
    f->m.body_size = 10;
    if (!test_sender(&f->m, "anna@sender.test") ||
        test_rcpt(&f->m, "bob@example.com") == NULL ||
        test_rcpt(&f->m, "eve@example.org") == NULL)
        return BARID_ENOMEM;
    f->rcpts[0] = (struct report_rcpt){.rcpt = f->m.rcpts[0],
                                       .reply = BARID_S("550 5.1.1 no such user"),
                                       .remote = BARID_S("mail.example.com"),
                                       .attempted_us = NOW_US};
    f->rcpts[1] =
        (struct report_rcpt){.rcpt = f->m.rcpts[1], .reply = BARID_S("451 4.4.1 no answer")};
    f->r = (struct report){.mail = &f->m,
                           .rcpts = f->rcpts,
                           .n_rcpts = 2,
                           .hostname = BARID_S("mx.test"),
                           .now_us = NOW_US,
                           .id = 34,
                           .random = 0xab};
    return 0;
}

static void end(struct fixture *f)
{
    report_text_deinit(&f->t);
    arena_deinit(&f->arena);
}

static void written(struct fixture *f)
{
    report_text_deinit(&f->t);
    assert_int_equal(report_write(&f->r, &f->t), 0);
}

static void assert_text(const struct buf *b, const char *want)
{
    if (!slice_eq(buf_slice(b), slice_str(want)))
        print_error("got\n%.*s", (int)b->len, b->p);
    assert_true(slice_eq(buf_slice(b), slice_str(want)));
}

static bool has(const struct buf *b, const char *text)
{
    return b->len >= strlen(text) && memmem(b->p, b->len, text, strlen(text)) != NULL;
}

static void test_whole(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    written(&f);
    assert_text(&f.t.header, "Date: Fri, 20 Nov 2026 11:26:39 +0000\r\n"
                             "From: Mail Delivery System <MAILER-DAEMON@mx.test>\r\n"
                             "To: <anna@sender.test>\r\n"
                             "Subject: Your mail could not be delivered\r\n"
                             "Message-ID: <001K0PE28AEE0.0000000000012@mx.test>\r\n"
                             "In-Reply-To: <m1@sender.test>\r\n"
                             "References: <m1@sender.test>\r\n"
                             "Auto-Submitted: auto-replied\r\n"
                             "MIME-Version: 1.0\r\n"
                             "Content-Type: multipart/report; report-type=delivery-status;\r\n"
                             "\tboundary=\"" BOUNDARY "\"\r\n");
    assert_text(&f.t.before,
                "\r\n--" BOUNDARY "\r\n"
                "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
                "This is the mail server mx.test.\r\n\r\n"
                "Your mail could not be delivered to the recipients below. It will not be "
                "tried again.\r\n"
                "\r\n  <bob@example.com>\r\n"
                "    The mail server mail.example.com said: 550 5.1.1 no such user\r\n"
                "\r\n  <eve@example.org>\r\n    451 4.4.1 no answer\r\n"
                "\r\n--" BOUNDARY "\r\n"
                "Content-Type: message/delivery-status\r\n\r\n"
                "Reporting-MTA: dns; mx.test\r\n"
                "X-Barid-Id: 0000000000011\r\n"
                "Arrival-Date: Fri, 20 Nov 2026 11:21:39 +0000\r\n"
                "\r\nFinal-Recipient: rfc822; bob@example.com\r\n"
                "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mail.example.com\r\n"
                "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
                "Last-Attempt-Date: Fri, 20 Nov 2026 11:26:39 +0000\r\n"
                "\r\nFinal-Recipient: rfc822; eve@example.org\r\n"
                "Action: failed\r\nStatus: 4.4.1\r\n"
                "Diagnostic-Code: x-barid; 451 4.4.1 no answer\r\n"
                "\r\n--" BOUNDARY "\r\n"
                "Content-Type: message/rfc822\r\n\r\n" SOURCE "\r\n");
    assert_text(&f.t.after, "\r\n--" BOUNDARY "--\r\n");
    assert_true(f.t.has_source);
    assert_false(f.t.is_8bit);
    end(&f);
}

static void test_actions(void **state)
{
    static const struct {
        enum report_action action;
        const char *subject, *fields;
    } cases[] = {
        {REPORT_DELAYED, "Your mail is delayed",
         "Action: delayed\r\nStatus: 4.4.1\r\nDiagnostic-Code: x-barid; 451 4.4.1 no answer\r\n"
         "Will-Retry-Until: Fri, 20 Nov 2026 11:26:39 +0000\r\n"},
        {REPORT_DELIVERED, "Your mail was delivered", "Action: delivered\r\nStatus: 2.0.0\r\n"},
        {REPORT_RELAYED, "Your mail was passed on", "Action: relayed\r\nStatus: 2.0.0\r\n"},
    };
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    f.rcpts[1].retry_until_us = NOW_US;
    for (size_t i = 0; i < 3; i++) {
        f.r.action = cases[i].action;
        written(&f);
        assert_true(has(&f.t.header, cases[i].subject));
        assert_true(has(&f.t.before, cases[i].fields));
        assert_true(has(&f.t.before, "Content-Type: text/rfc822-headers\r\n\r\n" SOURCE));
        assert_false(f.t.has_source);
    }
    end(&f);
}

/* What RET, policy, the size and the kind of body make of it. */
static void test_attached(void **state)
{
    static const struct {
        enum report_action action;
        enum barid_ret ret;
        enum report_attach attach;
        enum barid_body_type body;
        uint64_t size;
        enum report_attach want;
    } cases[] = {
        {REPORT_FAILED, BARID_RET_DEFAULT, 0, 0, REPORT_SOURCE_MAX, REPORT_ATTACH_SOURCE},
        {REPORT_FAILED, BARID_RET_DEFAULT, 0, 0, REPORT_SOURCE_MAX + 1, REPORT_ATTACH_HEADER},
        {REPORT_FAILED, BARID_RET_FULL, 0, 0, REPORT_SOURCE_MAX + 1, REPORT_ATTACH_SOURCE},
        {REPORT_FAILED, BARID_RET_HDRS, 0, 0, 1, REPORT_ATTACH_HEADER},
        {REPORT_FAILED, BARID_RET_HDRS, REPORT_ATTACH_SOURCE, 0, 1, REPORT_ATTACH_HEADER},
        {REPORT_FAILED, BARID_RET_FULL, REPORT_ATTACH_NOTHING, 0, 1, REPORT_ATTACH_NOTHING},
        {REPORT_FAILED, BARID_RET_FULL, 0, BARID_BODY_BINARYMIME, 1, REPORT_ATTACH_HEADER},
        {REPORT_DELAYED, BARID_RET_FULL, 0, 0, 1, REPORT_ATTACH_HEADER},
        {REPORT_DELAYED, BARID_RET_DEFAULT, REPORT_ATTACH_SOURCE, 0, 1, REPORT_ATTACH_SOURCE},
        {REPORT_RELAYED, BARID_RET_FULL, 0, 0, 1, REPORT_ATTACH_HEADER},
    };
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        f.r.action = cases[i].action;
        f.r.attach = cases[i].attach;
        f.m.params.ret = cases[i].ret;
        f.m.params.body = cases[i].body;
        f.m.body_size = cases[i].size;
        written(&f);
        assert_int_equal(f.t.has_source, cases[i].want == REPORT_ATTACH_SOURCE);
        assert_int_equal(has(&f.t.before, "message/rfc822\r\n"),
                         cases[i].want == REPORT_ATTACH_SOURCE);
        assert_int_equal(has(&f.t.before, "text/rfc822-headers"),
                         cases[i].want == REPORT_ATTACH_HEADER);
        assert_int_equal(has(&f.t.before, "<m1@sender.test>"),
                         cases[i].want != REPORT_ATTACH_NOTHING);
    }
    end(&f);
}

static void test_wanted(void **state)
{
    struct fixture f;
    struct rcpt *r;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    r = f.m.rcpts[0];
    for (unsigned notify = 0; notify < 16; notify++) {
        bool never = (notify & BARID_NOTIFY_NEVER) != 0;

        r->notify = notify;
        assert_int_equal(report_is_wanted(&f.m, r, REPORT_FAILED),
                         !never && (notify == 0 || (notify & BARID_NOTIFY_FAILURE) != 0));
        assert_int_equal(report_is_wanted(&f.m, r, REPORT_DELAYED),
                         !never && (notify == 0 || (notify & BARID_NOTIFY_DELAY) != 0));
        assert_int_equal(report_is_wanted(&f.m, r, REPORT_DELIVERED),
                         !never && (notify & BARID_NOTIFY_SUCCESS) != 0);
        assert_int_equal(report_is_wanted(&f.m, r, REPORT_RELAYED),
                         !never && (notify & BARID_NOTIFY_SUCCESS) != 0);
    }
    r->notify = BARID_NOTIFY_FAILURE;
    f.m.sender = (struct mailbox){.null = true};
    assert_false(report_is_wanted(&f.m, r, REPORT_FAILED));
    assert_int_equal(report_write(&f.r, &f.t), BARID_EINVALID);
    end(&f);
}

static void test_envelope_parameters(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    f.m.params.envid = BARID_S("QQ+2B7+20x");
    f.m.rcpts[0]->orcpt = BARID_S("rfc822;Bob+2Bx@Example.COM");
    f.m.rcpts[1]->orcpt = BARID_S("x400;not+text");
    written(&f);
    assert_true(has(&f.t.before, "Original-Envelope-Id: QQ+7 x\r\n"));
    assert_true(has(&f.t.before, "\r\n\r\nOriginal-Recipient: rfc822; "
                                 "Bob+x@Example.COM\r\nFinal-Recipient: rfc822; bob@"));
    assert_true(has(&f.t.before, "Original-Recipient: x400; not+text\r\n"));
    end(&f);
}

/* RFC 6533: with SMTPUTF8 as it is, else as escapes. */
static void test_utf8(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, "Subject: gr\xc3\xbc\xc3\x9f\x65\r\n"), 0);
    assert_int_equal(mailbox_from_text(&f.m.rcpts[0]->box, &f.arena,
                                       BARID_S("j\xc3\xbcr+g@b\xc3\xbc\x63her.test"), 0),
                     0);
    f.m.rcpts[1]->orcpt = BARID_S("utf-8;j\xc3\xbcr\\x{2B}g@x.test");
    f.rcpts[0].reply = BARID_S("550 5.1.1 gibt's nicht: j\xc3\xbcrg");
    f.m.rcpts[0]->original = f.m.rcpts[0]->box.address;
    written(&f);
    assert_true(
        has(&f.t.before, "Final-Recipient: utf-8; j\\x{FC}r\\x{2B}g@b\\x{FC}cher.test\r\n"));
    assert_true(has(&f.t.before, "Original-Recipient: utf-8; j\\x{FC}r\\x{2B}g@x.test\r\n"));
    assert_true(has(&f.t.before, "Diagnostic-Code: smtp; 550 5.1.1 gibt's nicht: j??rg\r\n"));
    assert_true(has(&f.t.before,
                    "charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"));
    assert_true(has(&f.t.before, "  <j=C3=BCr+g@b=C3=BCcher.test>\r\n"));
    assert_true(has(&f.t.before,
                    "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: gr"));
    assert_true(f.t.is_8bit);
    f.m.params.smtputf8 = true;
    written(&f);
    assert_true(has(&f.t.before,
                    "message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"));
    assert_true(has(&f.t.before,
                    "Final-Recipient: utf-8; j\xc3\xbcr\\x{2B}g@b\xc3\xbc\x63her.test\r\n"));
    assert_true(has(&f.t.before, "Original-Recipient: utf-8; j\xc3\xbcr\\x{2B}g@x.test\r\n"));
    assert_true(has(&f.t.before, "nicht: j\xc3\xbcrg\r\n"));
    assert_true(has(&f.t.before, "Content-Type: message/global\r\n"));
    f.r.attach = REPORT_ATTACH_HEADER;
    written(&f);
    assert_true(has(&f.t.before, "Content-Type: message/global-headers\r\n"));
    end(&f);
}

static void test_texts_of_policy(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    f.r.sender = BARID_S("help@mx.test");
    f.r.subject =
        BARID_S("Zustellung von "
                "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3"
                "\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc gescheitert");
    f.r.text = BARID_S("One.\nTwo.\r\n");
    f.r.rcpt_text = BARID_S("%{address}: %{reason} (100%%, %{nothing} %)");
    f.r.footer = BARID_S("Call 12");
    written(&f);
    assert_true(has(&f.t.header, "From: Mail Delivery System <help@mx.test>\r\n"));
    assert_true(has(
        &f.t.header,
        "Subject: =?utf-8?B?WnVzdGVsbHVuZyB2b24gw7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8w7zDvMO8?=\r\n"
        " =?utf-8?B?w7wgZ2VzY2hlaXRlcnQ=?=\r\n"));
    assert_true(
        has(&f.t.before,
            "One.\r\nTwo.\r\n"
            "bob@example.com: The mail server mail.example.com said: 550 5.1.1 no such user "
            "(100%, %{nothing} %)\r\n"
            "eve@example.org: 451 4.4.1 no answer (100%, %{nothing} %)\r\n"
            "\r\nCall 12\r\n\r\n--"));
    end(&f);
}

/* Status: the class is the action's, and what is no enhanced code is none. */
static void test_status(void **state)
{
    static const struct {
        enum report_action action;
        const char *reply, *want;
    } cases[] = {
        {REPORT_FAILED, "550 5.7.1 no", "5.7.1"},
        {REPORT_FAILED, "550 no", "5.0.0"},
        {REPORT_FAILED, "", "5.0.0"},
        {REPORT_FAILED, "450 4.2.2 full", "4.2.2"},
        {REPORT_FAILED, "250 2.0.0 held", "5.0.0"},
        {REPORT_FAILED, "550 4.2.2 odd", "5.0.0"},
        {REPORT_FAILED, "550 5.1", "5.0.0"},
        {REPORT_FAILED, "550 5.1.", "5.0.0"},
        {REPORT_FAILED, "550 5.1.x", "5.0.0"},
        {REPORT_FAILED, "550 5.1.1.1", "5.0.0"},
        {REPORT_FAILED, "550 5.100.200", "5.100.200"},
        {REPORT_FAILED, "550 5.1000.200", "5.0.0"},
        {REPORT_DELAYED, "550 5.1.1 x", "4.0.0"},
        {REPORT_DELIVERED, "250 2.1.5 ok", "2.1.5"},
    };
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[64];

        f.r.action = cases[i].action;
        f.rcpts[0].reply = slice_str(cases[i].reply);
        written(&f);
        snprintf(want, sizeof(want), "\r\nAction: %s\r\nStatus: %s\r\n",
                 report_action_name(cases[i].action), cases[i].want);
        assert_true(has(&f.t.before, want));
    }
    end(&f);
}

/* CRLF and nothing else ends a line; none is too long; no control octets. */
static void assert_lines(const struct buf *b, size_t longest)
{
    size_t n = 0;

    for (size_t i = 0; i < b->len; i++) {
        uint8_t c = (uint8_t)b->p[i];

        if (c == '\r') {
            assert_true(i + 1 < b->len && b->p[i + 1] == '\n');
        } else if (c == '\n') {
            assert_true(i > 0 && b->p[i - 1] == '\r');
            n = 0;
        } else {
            assert_true(c >= ' ' || c == '\t');
            assert_true(++n <= longest);
        }
    }
}

/* What is longer than a line or a command is cut, broken or left out. */
static void test_long_texts(void **state)
{
    char text[2000];
    struct fixture f;
    size_t column = 0, longest = 0;

    (void)state;
    memset(text, 'a', sizeof(text));
    assert_int_equal(begin(&f, NULL, SOURCE), 0);
    f.r.subject = slice_of(text, sizeof(text));
    f.r.text = slice_of(text, sizeof(text));
    f.m.params.envid = slice_of(text, REPORT_XTEXT_MAX);
    written(&f);
    assert_lines(&f.t.header, REPORT_SUBJECT_MAX + strlen("Subject: "));
    assert_true(has(&f.t.before, "Original-Envelope-Id: aaaa"));
    for (size_t i = 0; i < f.t.before.len;
         i++) { /* up to the fields, of which this one is long */
        if (slice_starts_nocase(slice_from(buf_slice(&f.t.before), i),
                                BARID_S("message/delivery-status")))
            break;
        column = f.t.before.p[i] == '\n' || f.t.before.p[i] == '\r' ? 0 : column + 1;
        longest = column > longest ? column : longest;
    }
    assert_int_equal(longest, TRANSFER_LINE_MAX);
    f.m.params.envid = slice_of(text, REPORT_XTEXT_MAX + 1);
    written(&f);
    assert_false(has(&f.t.before, "Original-Envelope-Id"));
    end(&f);
}

/* --- texts from enemies --- */

static barid_slice random_text(struct arena *arena, const struct rng *rng)
{
    static const char *const words[] = {"\r\n",       "\n",
                                        "\r",         "\r\n\r\n",
                                        DELIMITER,    "<",
                                        ">",          "%{reason}",
                                        "=",          " ",
                                        "\t",         "\0x",
                                        "\x80",       "\xc3\xbc",
                                        "550 5.1.1 ", "X: y",
                                        ":",          ";",
                                        "\"",         "\\",
                                        "a",          "bcdefghijklmnopqrstuvwxyz",
                                        "\x7f"};
    char text[256];
    size_t n = 0;
    barid_slice copy;

    for (uint64_t i = rng_u64(rng) % 12; i > 0; i--) {
        const char *w = words[rng_u64(rng) % (sizeof(words) / sizeof(words[0]))];
        size_t len = w[0] == '\0' ? 2 : strlen(w);

        memcpy(text + n, w, len);
        n += len;
        if (n > sizeof(text) - 32)
            break;
    }
    assert_int_equal(arena_slice(arena, slice_of(text, n), &copy), 0);
    return copy;
}

static size_t count(const struct buf *b, const char *text)
{
    size_t n = 0;

    for (const char *at = b->p;
         (at = memmem(at, b->len - (size_t)(at - b->p), text, strlen(text))) != NULL; at++)
        n++;
    return n;
}

static void test_hostile_texts(void **state)
{
    struct rng_seeded seeded;
    const struct rng *rng = &seeded.rng;

    (void)state;
    rng_seeded_init(&seeded, 7);
    for (int round = 0; round < 3000; round++) {
        struct fixture f;
        struct header_list h;

        assert_int_equal(begin(&f, NULL, SOURCE), 0);
        for (size_t i = 0; i < 2; i++) {
            f.rcpts[i].reply = random_text(&f.arena, rng);
            f.rcpts[i].remote = random_text(&f.arena, rng);
            f.m.rcpts[i]->original = random_text(&f.arena, rng);
            f.m.rcpts[i]->orcpt = random_text(&f.arena, rng);
            f.m.rcpts[i]->box.address = random_text(&f.arena, rng);
        }
        f.m.params.envid = random_text(&f.arena, rng);
        f.m.params.smtputf8 = rng_u64(rng) % 2 == 0;
        f.r.sender = random_text(&f.arena, rng);
        f.r.subject = random_text(&f.arena, rng);
        f.r.text = random_text(&f.arena, rng);
        f.r.rcpt_text = random_text(&f.arena, rng);
        f.r.footer = random_text(&f.arena, rng);
        f.r.random = 0xcd; /* not the one that they know */
        written(&f);
        assert_lines(&f.t.header, 998);
        assert_lines(&f.t.before, 998);
        assert_int_equal(header_parse(&h, &f.arena, buf_slice(&f.t.header)), 0);
        assert_int_equal(h.n, 10);
        assert_int_equal(count(&f.t.before, "\r\n--=_barid_00000000000000cd\r\n"), 3);
        assert_int_equal(count(&f.t.before, "\r\nAction: failed\r\nStatus: "), 2);
        assert_true(count(&f.t.before, "\r\nReporting-MTA: ") == 1);
        end(&f);
    }
}

static void test_no_memory(void **state)
{
    struct fail_mem fail = {0};

    (void)state;
    while (fail_mem_next(&fail)) {
        struct fixture f;
        int rc = begin(&f, &fail.mem, SOURCE);

        f.r.subject = BARID_S("\xc3\xbc");
        if (rc == 0)
            rc = report_write(&f.r, &f.t);
        assert_int_equal(rc, fail.failed ? BARID_ENOMEM : 0);
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_attached),
        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_envelope_parameters),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_texts_of_policy),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
