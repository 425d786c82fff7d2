/* message/hop_test.c: every form and its one spelling, what is refused, lists, defaults, copies, numbers; each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "barid/event.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/hop.h"

static const uint8_t key[16] = "0123456789abcdef";

static barid_slice text_of(const char *s)
{
    return slice_of(s, strlen(s));
}

static void assert_slice(barid_slice s, const char *expected)
{
    assert_int_equal(s.n, strlen(expected));
    assert_memory_equal(s.n > 0 ? s.p : "", expected, s.n);
}

static void test_forms(void **state)
{
    static const struct {
        const char *text, *canonical, *name, *unix_path;
        uint16_t port;
        bool is_host;
        enum hop_protocol protocol;
    } rows[] = {
        {"example.com", "example.com", "example.com", "", 25, false, HOP_SMTP},
        {"Example.COM:2525", "example.com:2525", "example.com", "", 2525, false, HOP_SMTP},
        {"example.com:25", "example.com", "example.com", "", 25, false, HOP_SMTP},
        {"example.com:025", "example.com", "example.com", "", 25, false, HOP_SMTP},
        {"smtp:example.com:24", "example.com:24", "example.com", "", 24, false, HOP_SMTP},
        {"localhost", "localhost", "localhost", "", 25, false, HOP_SMTP},
        {"[Mail.example.com]:587", "[mail.example.com]:587", "mail.example.com", "", 587, true,
         HOP_SMTP},
        {"[mail.example.com]", "[mail.example.com]", "mail.example.com", "", 25, true,
         HOP_SMTP},
        {"[192.0.2.1]", "[192.0.2.1]", "[192.0.2.1]", "", 25, true, HOP_SMTP},
        {"[192.000.02.1]:65535", "[192.0.2.1]:65535", "[192.0.2.1]", "", 65535, true, HOP_SMTP},
        {"[ipv6:2001:DB8:0:0::1]:25", "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]", "", 25, true,
         HOP_SMTP},
        {"LMTP:[host]:24", "lmtp:[host]", "host", "", 24, true, HOP_LMTP},
        {"lmtp:example.com:25", "lmtp:example.com:25", "example.com", "", 25, false, HOP_LMTP},
        {"lmtp:unix:/run/Lmtp", "lmtp:unix:/run/Lmtp", "", "/run/Lmtp", 24, true, HOP_LMTP},
        {"B\xc3\xbc"
         "cher.Example",
         "b\xc3\xbc"
         "cher.example",
         "b\xc3\xbc"
         "cher.example",
         "", 25, false, HOP_SMTP},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char out[HOP_TEXT_SIZE];
        struct hop hop;

        hop_init(&hop);
        hop.max_mails = 7;
        assert_int_equal(hop_parse(&hop, &arena, text_of(rows[i].text), NULL), 0);
        assert_int_equal(hop_text(&hop, out), strlen(rows[i].canonical));
        assert_string_equal(out, rows[i].canonical);
        assert_slice(hop.name, rows[i].name);
        assert_slice(hop.unix_path, rows[i].unix_path);
        assert_int_equal(hop.port, rows[i].port);
        assert_int_equal(hop.is_host, rows[i].is_host);
        assert_int_equal(hop.protocol, rows[i].protocol);
        assert_int_equal(hop.max_mails, 7); /* only where is set */
    }
    arena_deinit(&arena);
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "neither a domain"},
        {"lmtp:", "neither a domain"},
        {"-", "neither a domain"},
        {"a b", "neither a domain"},
        {"user@example.com", "neither a domain"},
        {"192.0.2.1", "neither a domain"},
        {"lmtp:24", "neither a domain"},
        {"example.com.", "neither a domain"},
        {"smtp:smtp:example.com", "are no domains"},
        {"smtp:lmtp:48", "are no domains"},
        {"smtp", "are no domains"},
        {"example.com:", "a port is a number"},
        {"example.com:0", "a port is a number"},
        {"example.com:65536", "a port is a number"},
        {"2001:db8::1", "a port is a number"},
        {"[mail.example.com", "not closed"},
        {"[mail.example.com]25", "after the bracket"},
        {"[mail.example.com]:", "after the bracket"},
        {"[mail.example.com]:70000", "after the bracket"},
        {"[]", "in brackets stands"},
        {"[::1]", "in brackets stands"},
        {"[192.0.2.256]", "in brackets stands"},
        {"[IPv6:2001:db8::g]", "in brackets stands"},
        {"unix:/run/lmtp", "for lmtp:"},
        {"lmtp:unix:", "begins with /"},
        {"lmtp:unix:run/lmtp", "begins with /"},
        {"lmtp:unix:/run/a b", "a space"},
        {"lmtp:unix:/run/a\x7f", "a space"},
    };
    char before[sizeof(struct hop)];
    struct arena arena;
    struct hop hop;

    (void)state;
    arena_init(&arena, NULL, 0);
    hop_init(&hop);
    memcpy(before, &hop, sizeof(hop));
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct err err = {0};

        assert_int_equal(hop_parse(&hop, &arena, text_of(rows[i].text), &err), BARID_ESYNTAX);
        if (strstr(err.text, rows[i].why) == NULL)
            fail_msg("\"%s\": %s", rows[i].text, err.text);
        assert_memory_equal(before, &hop, sizeof(hop)); /* nothing was changed */
    }
    arena_deinit(&arena);
}

/* HOP_TEXT_MAX and HOP_UNIX_PATH_MAX: the last that is one, the first that is none. */
static void test_limits(void **state)
{
    char path[HOP_TEXT_MAX + 8], out[HOP_TEXT_SIZE];
    struct hop hop = {0};
    struct arena arena;
    struct err err;

    (void)state;
    arena_init(&arena, NULL, 0);
    memset(path, 'x', sizeof(path));
    memcpy(path, "lmtp:unix:/", 11);
    assert_int_equal(hop_parse(&hop, &arena, slice_of(path, 10 + HOP_UNIX_PATH_MAX), &err), 0);
    assert_int_equal(hop_text(&hop, out), 10 + HOP_UNIX_PATH_MAX);
    assert_int_equal(hop_parse(&hop, &arena, slice_of(path, 11 + HOP_UNIX_PATH_MAX), &err),
                     BARID_ESYNTAX);
    assert_non_null(strstr(err.text, "at most 107 octets"));
    assert_int_equal(hop_parse(&hop, &arena, slice_of(path, HOP_TEXT_MAX + 1), &err),
                     BARID_ESYNTAX);
    assert_non_null(strstr(err.text, "longer than 512 octets"));
    /* One that policy made: cut, never over the end. */
    hop.unix_path = slice_of(path, HOP_TEXT_MAX);
    assert_int_equal(hop_text(&hop, out), HOP_TEXT_MAX);
    assert_int_equal(out[HOP_TEXT_MAX], '\0');
    arena_deinit(&arena);
}

static void test_list(void **state)
{
    barid_slice rest = BARID_S("  a.example \t[b.example]:587\r\nlmtp:unix:/run/lmtp "), text;

    (void)state;
    assert_true(hop_list_next(&rest, &text));
    assert_slice(text, "a.example");
    assert_true(hop_list_next(&rest, &text));
    assert_slice(text, "[b.example]:587");
    assert_true(hop_list_next(&rest, &text));
    assert_slice(text, "lmtp:unix:/run/lmtp");
    assert_false(hop_list_next(&rest, &text));
    rest = BARID_S("");
    assert_false(hop_list_next(&rest, &text));
}

/* One text, and HOP_LIST_MAX. */
static void test_list_text(void **state)
{
    static const char nine[] = "a b c d e f g h i";
    struct arena arena;
    barid_slice text;
    struct err err;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(hop_list_text(&arena, BARID_S(" A.example:25\n[B.example] "), &text, &err),
                     0);
    assert_slice(text, "a.example [b.example]");
    assert_int_equal(hop_list_text(&arena, BARID_S(" "), &text, &err), 0);
    assert_slice(text, "");
    assert_int_equal(hop_list_text(&arena, slice_of(nine, 2 * HOP_LIST_MAX - 1), &text, &err),
                     0);
    assert_int_equal(hop_list_text(&arena, slice_of(nine, 2 * HOP_LIST_MAX + 1), &text, &err),
                     BARID_ESYNTAX);
    assert_string_equal(err.text, "more than 8 next hops");
    assert_int_equal(hop_list_text(&arena, BARID_S("a.example b_"), &text, &err),
                     BARID_ESYNTAX);
    assert_non_null(strstr(err.text, "\"b_\""));
    arena_deinit(&arena);
}

static void test_defaults(void **state)
{
    uint32_t shows_password = 1u << BARID_AUTH_PLAIN | 1u << BARID_AUTH_LOGIN;
    struct hop hop;

    (void)state;
    hop_init(&hop);
    assert_int_equal(hop.port, 25);
    assert_int_equal(hop.tls, HOP_TLS_OPPORTUNISTIC);
    assert_int_equal(hop.mechanisms_plain & shows_password, 0);
    assert_int_equal(hop.mechanisms_secure, hop.mechanisms_plain | shows_password);
    assert_true(hop.starttls && hop.pipelining && hop.chunking && hop.eightbit && hop.binary);
    assert_true(hop.smtputf8 && hop.dsn && !hop.implicit_tls && !hop.require_auth);
    assert_int_equal(hop.downgrade, HOP_CONVERT);
    assert_true(hop.chunk == 102400 && hop.connect_ms == 30000 && hop.max_connections == 20);
    assert_true(hop.max_rcpts == 100 && hop.max_mails == 100 && hop.rate == 0);
}

static uint32_t group_of(struct arena *arena, const char *text, const uint8_t k[16])
{
    struct hop hop;

    hop_init(&hop);
    assert_int_equal(hop_parse(&hop, arena, text_of(text), NULL), 0);
    hop.user = BARID_S("not part of where");
    return hop_group(&hop, k);
}

static void test_group(void **state)
{
    static const char *const different[] = {"example.com", "[example.com]", "example.com:26",
                                            "lmtp:example.com", "example.org"};
    const uint8_t other[16] = {1};
    struct arena arena;
    char name[32];

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(group_of(&arena, "example.com", key),
                     group_of(&arena, "smtp:EXAMPLE.com:25", key));
    assert_int_not_equal(group_of(&arena, "example.com", key),
                         group_of(&arena, "example.com", other));
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(group_of(&arena, different[i], key),
                                 group_of(&arena, different[j], key));
    /* A spool that is found again has the same numbers: they are not to change from version to version. */
    assert_int_equal(group_of(&arena, "example.com", key), UINT32_C(0x39c26e6));
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof(name), "d%u.example", i);
        assert_true(group_of(&arena, name, key) >= 2);
    }
    arena_deinit(&arena);
}

static void assert_hops(struct arena *arena, const struct routing *r, barid_slice target,
                        size_t max, const char *want)
{
    char text[HOP_LIST_MAX * HOP_TEXT_SIZE] = "";
    struct hop hops[HOP_LIST_MAX];
    size_t n, at = 0;

    assert_int_equal(routing_hops(r, arena, target, BARID_S("[ipv6:2001:DB8::1]"), hops, max, &n, NULL),
                     0);
    for (size_t i = 0; i < n; i++) {
        at += hop_text(&hops[i], text + at);
        text[at++] = i + 1 < n ? ' ' : '\0';
        assert_int_equal(hops[i].max_mails, r != NULL ? 7 : 100);
    }
    assert_string_equal(text, want);
}

/* Target, then relay hosts, then the recipient's domain. */
static void test_routing(void **state)
{
    struct hop relay[2], hop;
    struct routing r = {.relayhosts = relay};
    struct arena arena;
    struct err err;
    size_t n;

    (void)state;
    arena_init(&arena, NULL, 0);
    hop_init(&r.base);
    r.base.max_mails = 7;
    relay[0] = relay[1] = r.base;
    assert_int_equal(hop_parse(&relay[0], &arena, BARID_S("[smart.example]"), NULL), 0);
    assert_int_equal(hop_parse(&relay[1], &arena, BARID_S("spare.example"), NULL), 0);
    assert_hops(&arena, &r, BARID_S("b.example:26 c.example"), 8, "b.example:26 c.example");
    assert_hops(&arena, &r, BARID_S("b.example:26 c.example"), 1, "b.example:26");
    assert_hops(&arena, &r, BARID_S(""), 8, "[IPv6:2001:db8::1]");
    r.n_relayhosts = 2;
    assert_hops(&arena, &r, BARID_S(""), 8, "[smart.example] spare.example");
    assert_hops(&arena, &r, BARID_S(""), 1, "[smart.example]");
    assert_hops(&arena, &r, BARID_S("b.example"), 8, "b.example");
    assert_hops(&arena, NULL, BARID_S(""), 8, "[IPv6:2001:db8::1]");
    assert_int_equal(routing_hops(NULL, &arena, BARID_S(""), BARID_S("1.2.3.4"), &hop, 1, &n, NULL),
                     BARID_ESYNTAX);
    assert_int_equal(routing_hops(NULL, &arena, BARID_S(" "), BARID_S("b.example"), &hop, 1, &n, NULL),
                     BARID_ESYNTAX);
    assert_int_equal(routing_hops(NULL, &arena, BARID_S(""), BARID_S(""), &hop, 1, &n, &err),
                     BARID_ESYNTAX);
    assert_string_equal(err.text, "an address without a domain");
    arena_deinit(&arena);
}

static int copy(const barid_mem *mem)
{
    struct arena a, b;
    struct hop from, to = {0};
    int rc;

    arena_init(&a, mem, 0);
    arena_init(&b, mem, 0);
    hop_init(&from);
    rc = hop_parse(&from, &a, BARID_S("[mail.example.com]:587"), NULL);
    from.helo = BARID_S("mx.example.net");
    from.user = BARID_S("anna");
    from.password = BARID_S("secret");
    if (rc == 0)
        rc = hop_copy(&to, &b, &from);
    if (rc == 0)
        rc = hop_parse(&to, &b, BARID_S("lmtp:unix:/run/lmtp"), NULL);
    if (rc == 0)
        rc = hop_copy(&from, &a, &to);
    arena_deinit(&b);
    if (rc == 0) {
        assert_slice(from.unix_path, "/run/lmtp");
        assert_slice(from.helo, "mx.example.net");
        assert_slice(from.user, "anna");
        assert_slice(from.password, "secret");
        assert_int_equal(from.max_rcpts, 100);
    }
    if (rc == 0)
        rc = hop_parse(&from, &a, BARID_S("[IPv6:::1]"), NULL);
    if (rc == 0)
        rc = hop_list_text(&a, BARID_S("a.example [192.0.2.1]"), &from.name, NULL);
    arena_deinit(&a);
    return rc;
}

static void test_nomem(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        int rc = copy(&f.mem);

        assert_int_equal(rc, f.failed ? BARID_ENOMEM : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_list),
        cmocka_unit_test(test_list_text), cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_group),     cmocka_unit_test(test_routing),
        cmocka_unit_test(test_nomem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
