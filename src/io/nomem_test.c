/*
 * Every scenario of the runtime with its n-th allocation failing, for all n. The runtime has no
 * allocator to inject.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/malloc_testing.h"
#include "io/dns.h"
#include "io/dns_testing.h"
#include "io/endpoint.h"
#include "io/io_testing.h"
#include "io/listener.h"
#include "io/pool.h"
#include "io/tls_testing.h"

static struct fail_mem mem;

struct world {
    struct certs certs;
    struct name_server ns;
    struct loop *loop;
};

/* Runs the scenario with each of its allocations failing once, until it runs through whole.
 * Returns how many there are. */
static size_t each_failure(struct world *w, void (*scenario)(struct world *w))
{
    while (fail_mem_next(&mem)) {
        malloc_fails(&mem);
        scenario(w);
        malloc_fails(NULL);
    }
    return mem.injected;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));

    certs_make(&w->certs);
    name_server_start(&w->ns);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;

    name_server_stop(&w->ns);
    certs_remove(&w->certs);
    free(w);
    return 0;
}

static void on_fire(void *user)
{
    ++*(unsigned *)user;
}

static void timers(struct world *w)
{
    struct timer *t[70] = {NULL}; /* more than the heap's first size */
    struct loop *loop;
    unsigned fired = 0, made = 0;

    (void)w;
    if (loop_new(&loop, NULL, NULL, NULL) != 0) {
        assert_null(loop);
        return;
    }
    for (size_t i = 0; i < 70; i++) {
        t[i] = timer_new(loop, on_fire, &fired);
        if (t[i] == NULL)
            continue;
        made++;
        timer_set(t[i], 0);
    }
    loop_turn(loop, false);
    assert_int_equal(fired, made);
    for (size_t i = 0; i < 70; i++)
        timer_del(&t[i]);
    loop_del(&loop);
}

static void on_accept(void *user, struct stream *s)
{
    struct stream **accepted = user;

    stream_del(accepted);
    *accepted = s;
}

static void on_connected(void *user, struct stream *s, const struct err *err)
{
    struct stream **connected = user;

    assert_true((s != NULL) != (err != NULL));
    *connected = s;
}

/* Listen, connect, accept. What fails says so, and nothing is left behind (ASan). */
static void connections(struct world *w)
{
    struct stream *accepted = NULL, *connected = NULL;
    struct listen_address a;
    struct listener *l = NULL;
    struct loop *loop;
    barid_endpoint at;
    int fd;

    (void)w;
    if (loop_new(&loop, NULL, NULL, NULL) != 0)
        return;
    listen_address_parse(BARID_S("127.0.0.1:0"), &a, NULL);
    fd = listener_bind(&a, 0, NULL);
    assert_true(fd >= 0);
    if (listener_new(&l, loop, fd, on_accept, &accepted, NULL) == 0) {
        listener_local(l, &at);
        if (stream_connect(loop, &at, NULL, NULL, 1000, on_connected, &connected, NULL, NULL) ==
            0)
            TURN_UNTIL(loop, connected != NULL);
        turn_some(loop);
        /* one that was taken and could not be kept is closed */
        assert_true(accepted != NULL || mem.failed);
    }
    stream_del(&accepted);
    stream_del(&connected);
    listener_del(&l);
    loop_del(&loop);
}

/* A write that the socket does not take whole: without memory for the rest the stream is
 * broken, and both are told. */
static void backlog(struct world *w)
{
    enum { SIZE = 400 * 1000 };
    static char data[SIZE];
    struct stream *s = NULL;
    struct loop *loop;
    struct owner o;
    int fds[2], rc;

    (void)w;
    if (loop_new(&loop, NULL, NULL, NULL) != 0)
        return;
    make_pair(fds);
    if (stream_open(&s, loop, fds[0], NULL) == 0) {
        owner_take(&o, loop, s);
        rc = stream_write(s, data, SIZE);
        assert_true(rc == 0 || rc == BARID_ENOMEM);
        turn_some(loop);
        assert_int_equal(o.closes, rc != 0);
        if (rc != 0) {
            assert_int_equal(o.close_err, BARID_ENOMEM);
            assert_int_equal(stream_write(s, data, 1), BARID_ECLOSED);
        }
        stream_del(&s); /* flushing needs a timer, and does without */
    }
    close(fds[1]);
    loop_del(&loop);
}

static void handshake(struct loop *loop, struct owner *o, struct tls_ctx *server,
                      struct tls_ctx *client)
{
    if (stream_tls_accept(o[0].s, server) != 0 ||
        stream_tls_connect(o[1].s, client, "mx.example.com") != 0)
        return;
    TURN_UNTIL(loop, o[0].handshakes == 1 && o[1].handshakes == 1);
    if (!o[0].tls_ok || !o[1].tls_ok)
        return;
    o[0].pause_on_read = true;
    stream_write(o[1].s, "one", 3);
    stream_write(o[1].s, "two", 3);
    turn_some(loop); /* the second record is kept, or the stream broken */
    if (o[0].closes > 0)
        assert_int_equal(o[0].close_err, BARID_ENOMEM);
    else
        stream_read(o[0].s, true);
    turn_some(loop);
}

static void tls(struct world *w)
{
    struct tls_sni sni = {"*.example.net", w->certs.cert2, w->certs.key2};
    struct tls_server_options so = {
        .cert_file = w->certs.cert, .key_file = w->certs.key, .sni = &sni, .n_sni = 1};
    struct tls_client_options co = {TLS_VERIFY_PEER, w->certs.cert};
    struct tls_ctx *server = NULL, *client = NULL;
    struct stream *s[2] = {NULL};
    struct owner o[2];
    struct loop *loop;
    int fds[2];

    if (loop_new(&loop, NULL, NULL, NULL) != 0)
        return;
    make_pair(fds);
    if (stream_open(&s[0], loop, fds[0], NULL) == 0)
        owner_take(&o[0], loop, s[0]);
    if (stream_open(&s[1], loop, fds[1], NULL) == 0)
        owner_take(&o[1], loop, s[1]);
    if (tls_server_new(&server, &so, NULL) == 0 && tls_client_new(&client, &co, NULL) == 0 &&
        s[0] != NULL && s[1] != NULL)
        handshake(loop, o, server, client);
    for (int i = 0; i < 2; i++) {
        if (s[i] != NULL)
            owner_close(&o[i]);
    }
    tls_unref(&server);
    tls_unref(&client);
    loop_del(&loop);
}

static void on_answer(void *user, const struct dns_answer *answer)
{
    unsigned *done = user;

    assert_true(answer->status == DNS_OK || answer->status == DNS_SERVFAIL ||
                answer->status == DNS_TIMEOUT);
    ++*done;
}

static void dns(struct world *w)
{
    char address[32];
    const char *servers[] = {address};
    struct dns_options o = {.servers = servers, .n_servers = 1, .timeout_ms = 20, .tries = 1};
    unsigned done = 0, asked = 0;
    struct loop *loop;
    struct dns *d;

    snprintf(address, sizeof(address), "127.0.0.1:%u", w->ns.port);
    if (loop_new(&loop, NULL, NULL, NULL) != 0)
        return;
    if (dns_new(&d, loop, &o, NULL) == 0) {
        asked += dns_ask(d, BARID_S("far.test"), DNS_A, on_answer, &done, NULL) == 0;
        asked += dns_ask(d, BARID_S("txt.test"), DNS_TXT, on_answer, &done, NULL) == 0;
        TURN_UNTIL(loop, done == asked);
        dns_del(&d);
    }
    loop_del(&loop);
}

static void pool(struct world *w)
{
    struct pool *p;

    (void)w;
    if (pool_new(&p, 2, 4, NULL) != 0)
        assert_null(p);
    pool_del(&p);
}

static void test_timers(void **state)
{
    assert_true(each_failure(*state, timers) > 72);
}

static void test_connections(void **state)
{
    assert_true(each_failure(*state, connections) >= 8);
}

static void test_backlog(void **state)
{
    assert_true(each_failure(*state, backlog) >= 5);
}

static void test_tls(void **state)
{
    assert_true(each_failure(*state, tls) >= 10);
}

static void test_dns(void **state)
{
    assert_true(each_failure(*state, dns) >= 10);
}

static void test_pool(void **state)
{
    assert_int_equal(each_failure(*state, pool), 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {T(test_timers), T(test_connections), T(test_backlog),
                                       T(test_tls),    T(test_dns),         T(test_pool)};

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
