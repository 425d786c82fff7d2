/* message/trace_field_test.c: the fields a server writes: shape, folding, injection, each
 * allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"
#include "message/trace_field.h"

#define RECEIVED_US INT64_C(1795173699123456)
#define HOST        BARID_S("mx.example.com")

static void assert_field(const struct buf *out, const char *want)
{
    if (!test_slice_is(buf_slice(out), want))
        print_error("got\n%.*s", (int)out->len, out->p);
    assert_true(test_slice_is(buf_slice(out), want));
}

/* Exactly one field, printable, lines within 78 but for a single long word. */
static void assert_one_field(const struct buf *out)
{
    struct arena arena;
    struct header_list h;

    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, buf_slice(out)), 0);
    assert_int_equal(h.n, 1);
    assert_true(h.f[0].name.n > 0);
    for (size_t i = 0; i < out->len; i++)
        assert_true((uint8_t)out->p[i] >= ' ' || strchr("\r\n\t", out->p[i]) != NULL);
    for (size_t at = 0; at < out->len;) {
        barid_slice rest, line = slice_cut(slice_from(buf_slice(out), at), '\n', &rest);
        barid_slice inner = slice_trim(line);

        assert_true(line.n - 1 <= 78 || slice_find(inner, ' ') == inner.n ||
                    slice_find(inner, ' ') < 16);
        at += line.n + 1;
    }
    arena_deinit(&arena);
}

struct fixture {
    struct arena arena;
    struct session_facts facts;
    struct mail m;
    struct buf out;
};

static void begin(struct fixture *f)
{
    arena_init(&f->arena, NULL, 0);
    buf_init(&f->out, NULL, 0);
    f->facts = (struct session_facts){.client = {BARID_FAMILY_IPV4, {192, 0, 2, 1}, 25},
                                      .helo = BARID_S("client.example.org"),
                                      .esmtp = true};
    assert_int_equal(mail_init(&f->m, &f->arena, &f->facts, RECEIVED_US), 0);
    f->m.id = 33;
    assert_true(test_sender(&f->m, "sender@example.org"));
    assert_non_null(test_rcpt(&f->m, "anna@example.com"));
}

static void end(struct fixture *f)
{
    buf_deinit(&f->out);
    arena_deinit(&f->arena);
}

static void test_received(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
    assert_one_field(&f.out);
    assert_field(&f.out,
                 "Received: from client.example.org ([192.0.2.1]) by mx.example.com (Barid)\r\n"
                 "\twith ESMTP id 0000000000011 for <anna@example.com>;\r\n"
                 "\tFri, 20 Nov 2026 11:21:39 +0000\r\n");
    end(&f);
}

static void test_received_tls_name_ipv6(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.facts.client = (barid_endpoint){BARID_FAMILY_IPV6, {0x20, 1, 0xd, 0xb8, [15] = 1}, 25};
    f.facts.client_name = BARID_S("out.example.org");
    f.facts.tls = true;
    f.facts.tls_version = BARID_S("TLSv1.3");
    f.facts.tls_cipher = BARID_S("TLS_AES_256_GCM_SHA384");
    f.facts.tls_bits = 256;
    f.facts.user = BARID_S("anna");
    assert_non_null(test_rcpt(&f.m, "hidden@example.com"));
    assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
    assert_one_field(&f.out);
    assert_field(&f.out,
                 "Received: from client.example.org (out.example.org [IPv6:2001:db8::1]) by\r\n"
                 "\tmx.example.com (Barid) with ESMTPSA (using TLSv1.3 with cipher\r\n"
                 "\tTLS_AES_256_GCM_SHA384 (256 bits)) id 0000000000011;\r\n"
                 "\tFri, 20 Nov 2026 11:21:39 +0000\r\n");
    end(&f);
}

static void test_received_unix(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.facts.client.family = BARID_FAMILY_UNIX;
    f.facts.helo = BARID_S("");
    f.facts.protocol = BARID_LMTP;
    f.m.id = 0;
    f.m.n_rcpts = 0;
    assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
    assert_field(&f.out,
                 "Received: from unknown (local) by mx.example.com (Barid) with LMTP;\r\n"
                 "\tFri, 20 Nov 2026 11:21:39 +0000\r\n");
    end(&f);
}

static void test_injection(void **state)
{
    static const char *const evil[] = {
        "x\r\nX-Evil: 1", "x\ny",         "x) by evil (", "x;", "(((((((", "\\", "\"",
        "a b c",          "\x01\x7f\xff", "<x>",          ",",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(evil) / sizeof(*evil); i++) {
        struct fixture f;

        begin(&f);
        f.facts.helo = f.facts.client_name = f.facts.tls_cipher = f.facts.tls_version =
            slice_str(evil[i]);
        f.facts.tls = true;
        assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
        assert_one_field(&f.out);
        assert_int_equal(buf_byte(&f.out, '\0'), 0);
        assert_null(strstr(f.out.p, "by evil"));
        buf_clear(&f.out);
        f.m.rcpts[0]->original = f.m.rcpts[0]->box.address = f.m.sender.address =
            slice_str(evil[i]);
        assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
        assert_one_field(&f.out);
        buf_clear(&f.out);
        assert_int_equal(trace_return_path(&f.out, &f.m), 0);
        assert_one_field(&f.out);
        buf_clear(&f.out);
        assert_int_equal(trace_delivered_to(&f.out, f.m.rcpts[0]), 0);
        assert_one_field(&f.out);
        buf_clear(&f.out);
        assert_int_equal(trace_message_id(&f.out, 1, RECEIVED_US, slice_str(evil[i])), 0);
        assert_one_field(&f.out);
        end(&f);
    }
}

/* A HELO of any length and content gives one field with balanced parentheses. */
static void test_random_helo(void **state)
{
    struct rng_seeded rng;

    (void)state;
    rng_seeded_init(&rng, 23);
    for (int i = 0; i < 3000; i++) {
        struct fixture f;
        char helo[600];
        size_t n = rng_u64(&rng.rng) % (i % 2 ? 20 : sizeof(helo));
        long depth = 0;

        rng_fill(&rng.rng, helo, n);
        for (size_t k = 0; i % 3 == 0 && k < n; k++)
            helo[k] = "()\\\r\n a\"<"[(uint8_t)helo[k] % 9];
        begin(&f);
        f.facts.helo = f.facts.client_name = slice_of(helo, n);
        assert_int_equal(trace_received(&f.out, &f.m, HOST), 0);
        assert_one_field(&f.out);
        for (size_t k = 0; k < f.out.len; k++) {
            depth += f.out.p[k] == '(' ? 1 : f.out.p[k] == ')' ? -1 : 0;
            assert_true(depth == 0 || depth == 1);
        }
        assert_int_equal(depth, 0);
        end(&f);
    }
}

static void test_final_fields(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_int_equal(trace_return_path(&f.out, &f.m), 0);
    assert_int_equal(trace_delivered_to(&f.out, f.m.rcpts[0]), 0);
    assert_int_equal(trace_date(&f.out, RECEIVED_US), 0);
    assert_int_equal(trace_message_id(&f.out, UINT64_MAX, 32, HOST), 0);
    assert_field(&f.out,
                 "Return-Path: <sender@example.org>\r\nDelivered-To: anna@example.com\r\n"
                 "Date: Fri, 20 Nov 2026 11:21:39 +0000\r\n"
                 "Message-ID: <0000000000010.FZZZZZZZZZZZZ@mx.example.com>\r\n");
    buf_clear(&f.out);
    assert_true(test_sender(&f.m, "<>"));
    assert_int_equal(trace_return_path(&f.out, &f.m), 0);
    assert_field(&f.out, "Return-Path: <>\r\n");
    end(&f);
}

/* No memory, or no room: nothing is appended. */
static void test_no_room(void **state)
{
    struct fail_mem fm = {0};
    struct fixture f;
    struct buf whole;

    (void)state;
    begin(&f);
    buf_init(&whole, NULL, 0);
    assert_int_equal(trace_received(&whole, &f.m, HOST), 0);
    for (size_t max = 1; max < whole.len; max++) {
        struct buf out;

        buf_init(&out, NULL, max);
        assert_int_equal(trace_received(&out, &f.m, HOST), BARID_ELIMIT);
        assert_int_equal(out.len, 0);
        buf_deinit(&out);
    }
    while (fail_mem_next(&fm)) {
        struct buf out;
        int rc;

        buf_init(&out, &fm.mem, 0);
        rc = trace_received(&out, &f.m, HOST);
        assert_int_equal(rc, fm.failed ? BARID_ENOMEM : 0);
        assert_int_equal(out.len, fm.failed ? 0 : whole.len);
        buf_deinit(&out);
    }
    buf_deinit(&whole);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_received),      cmocka_unit_test(test_received_tls_name_ipv6),
        cmocka_unit_test(test_received_unix), cmocka_unit_test(test_injection),
        cmocka_unit_test(test_random_helo),   cmocka_unit_test(test_final_fields),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
