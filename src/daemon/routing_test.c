/* daemon/routing_test.c: what declarations about outgoing mail become; each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "daemon/routing.h"

static struct config *load(const char *text)
{
    struct config_report report = {.line = NULL};
    struct config *c = config_load_text("/nonexistent/p.lua", slice_str(text), 0, &report);

    assert_non_null(c);
    return c;
}

static void test_defaults(void **state)
{
    struct config *c = config_default();
    struct routing r;
    struct arena arena;
    struct hop usual;

    (void)state;
    assert_non_null(c);
    arena_init(&arena, NULL, 0);
    hop_init(&usual);
    assert_int_equal(routing_make(&r, &arena, c, NULL), 0);
    assert_true(slice_eq(r.base.helo, slice_str(c->hostname)));
    r.base.helo = usual.helo;
    assert_memory_equal(&r.base, &usual, sizeof(usual));
    assert_int_equal(r.n_relayhosts, 0);
    assert_int_equal(r.idle_ms, 10000);
    assert_null(r.ca);
    arena_deinit(&arena);
    config_del(&c);
}

static const char declared[] =
    "relay { helo = 'mx.example.com', source = { '192.0.2.7', '2001:db8::7' }, tls = "
    "'required',\n"
    "  connect_timeout = '5s', max_connections = 3, max_recipients = 0, max_mails = 9,\n"
    "  idle_timeout = 0, chunk = '64K', downgrade = 'refuse', ca = '/dev/null' }\n"
    "relayhost { '[Smtp.example.net]:587', host = nil, 'lmtp:unix:/run/x', user = 'u', "
    "password = 'p',\n"
    "  tls = 'verified', implicit_tls = true }\n";

static void assert_base(const struct hop *h)
{
    assert_true(slice_eq(h->helo, BARID_S("mx.example.com")));
    assert_int_equal(h->source4.family, BARID_FAMILY_IPV4);
    assert_int_equal(h->source4.addr[3], 7);
    assert_int_equal(h->source6.family, BARID_FAMILY_IPV6);
    assert_int_equal(h->source6.addr[15], 7);
    assert_int_equal(h->connect_ms, 5000);
    assert_int_equal(h->max_connections, 3);
    assert_int_equal(h->max_rcpts, 0);
    assert_int_equal(h->max_mails, 9);
    assert_int_equal(h->chunk, 65536);
    assert_int_equal(h->downgrade, HOP_REFUSE);
}

static void test_declared(void **state)
{
    struct config *c = load(declared);
    struct routing r;
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(routing_make(&r, &arena, c, NULL), 0);
    assert_base(&r.base);
    assert_int_equal(r.base.tls, HOP_TLS_REQUIRED);
    assert_true(r.base.user.n == 0 && !r.base.require_auth);
    assert_string_equal(r.ca, "/dev/null");
    assert_int_equal(r.idle_ms, 0);
    assert_int_equal(r.n_relayhosts, 2);
    assert_base(&r.relayhosts[0]);
    assert_true(slice_eq(r.relayhosts[0].name, BARID_S("smtp.example.net")));
    assert_true(r.relayhosts[0].is_host && r.relayhosts[0].port == 587);
    assert_int_equal(r.relayhosts[0].tls, HOP_TLS_VERIFIED);
    assert_true(r.relayhosts[0].implicit_tls && r.relayhosts[0].require_auth);
    assert_true(slice_eq(r.relayhosts[1].user, BARID_S("u")));
    assert_true(slice_eq(r.relayhosts[1].password, BARID_S("p")));
    assert_int_equal(r.relayhosts[1].protocol, HOP_LMTP);
    arena_deinit(&arena);
    config_del(&c);
}

/* tls of relay counts for the relay host, too, unless it has its own. */
static void test_tls_of_relay(void **state)
{
    struct config *c = load("relay { tls = 'off' } relayhost 'a.example'");
    struct routing r;
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(routing_make(&r, &arena, c, NULL), 0);
    assert_int_equal(r.n_relayhosts, 1);
    assert_int_equal(r.relayhosts[0].tls, HOP_TLS_OFF);
    assert_false(r.relayhosts[0].require_auth);
    arena_deinit(&arena);
    config_del(&c);
}

static void test_no_memory(void **state)
{
    struct config *c = load(declared);
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct arena arena;
        struct routing r;
        int rc;

        arena_init(&arena, &f.mem, 0);
        rc = routing_make(&r, &arena, c, NULL);
        assert_int_equal(rc, f.failed ? BARID_ENOMEM : 0);
        arena_deinit(&arena);
    }
    config_del(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_declared),
        cmocka_unit_test(test_tls_of_relay),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
