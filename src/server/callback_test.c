/*
 * server/callback_test.c: the callback server of the library: a message, what it refuses to listen
 * on, and both with each allocation failing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "barid/server.h"
#include "base/malloc_testing.h"

struct host {
    barid_server *server;
    struct fail_mem *mem; /* NULL = nothing fails */
    pthread_t thread;
    unsigned closed;
    bool committed;
};

static void on_event(barid_connection *c, const barid_event *ev, void *user)
{
    struct host *h = user;
    barid_verdict v = {.kind = BARID_CONTINUE};

    if (ev->id == BARID_EVENT_COMMIT) {
        v = (barid_verdict){.kind = BARID_ACCEPT, .id = BARID_S("Q")};
        h->committed = true;
    }
    if (ev->token != 0)
        assert_int_equal(barid_connection_answer(c, ev->token, &v), 0);
}

static void on_closed(barid_connection *c, void *user)
{
    (void)c;
    ((struct host *)user)->closed++;
}

static void *run(void *user)
{
    struct host *h = user;

    malloc_fails(h->mem);
    barid_server_run(h->server);
    malloc_fails(NULL);
    return NULL;
}

static const barid_session_config config = {.size = sizeof(config),
                                            .hostname = {"mx.example", 10},
                                            .events = UINT64_MAX,
                                            .extensions = BARID_EXT_DEFAULT};

/* Of the thread that makes the server; 0 or BARID_ENOMEM. */
static int make(struct host *h)
{
    char error[200];
    int rc = barid_server_new(&h->server, on_event, on_closed, h, error, sizeof(error));

    if (rc == 0)
        rc = barid_server_listen(h->server, "127.0.0.1:0", &config, NULL, error, sizeof(error));
    return rc;
}

static void converse(uint16_t port, char *out, size_t size)
{
    static const char input[] =
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nX: y\r\n\r\n"
        "body\r\n.\r\nQUIT\r\n";
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    size_t n = 0;
    ssize_t k;

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    (void)!send(fd, input, sizeof(input) - 1, MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    while (n + 1 < size && (k = recv(fd, out + n, size - 1 - n, 0)) > 0)
        n += (size_t)k;
    out[n] = '\0';
    close(fd);
}

static void serve_one(struct host *h, char *said, size_t size)
{
    assert_int_equal(pthread_create(&h->thread, NULL, run, h), 0);
    converse(barid_server_port(h->server, 0), said, size);
    barid_server_stop(h->server, 1000);
    pthread_join(h->thread, NULL);
}

static void test_message(void **state)
{
    struct host h = {.server = NULL};
    char said[4096];

    (void)state;
    assert_int_equal(make(&h), 0);
    serve_one(&h, said, sizeof(said));
    assert_non_null(strstr(said, "250 2.0.0 Ok: queued as Q\r\n221 2.0.0 Bye\r\n"));
    assert_int_equal(h.closed, 1);
    assert_int_equal(barid_server_port(h.server, 1), 0);
    barid_server_del(&h.server);
    barid_server_del(&h.server);
}

static void test_refusals(void **state)
{
    static const barid_server_tls none = {"/nonexistent", "/nonexistent"};
    barid_session_config nameless = config;
    struct host h = {.server = NULL};
    char error[200];

    (void)state;
    assert_int_equal(make(&h), 0);
    assert_int_equal(
        barid_server_listen(h.server, "nowhere", &config, NULL, error, sizeof(error)),
        BARID_ESYNTAX);
    assert_non_null(strstr(error, "nowhere"));
    assert_true(
        barid_server_listen(h.server, "127.0.0.1:0", &config, &none, error, sizeof(error)) < 0);
    assert_non_null(strstr(error, "/nonexistent"));
    assert_int_equal(
        barid_server_listen(h.server, "127.0.0.1:0", &(barid_session_config){0}, NULL, NULL, 0),
        BARID_EINVALID);
    nameless.hostname = (barid_slice){NULL, 0};
    assert_int_equal(
        barid_server_listen(h.server, "127.0.0.1:0", &nameless, NULL, error, sizeof(error)),
        BARID_EINVALID);
    assert_string_equal(error, "the session configuration is not valid");
    barid_server_del(&h.server);
}

/* Nothing is acknowledged that the embedder has not committed. */
static void test_no_memory(void **state)
{
    struct fail_mem mem = {0};

    (void)state;
    while (fail_mem_next(&mem)) {
        struct host h = {.mem = &mem};
        char said[4096] = "";
        int rc;

        malloc_fails(&mem);
        rc = make(&h);
        malloc_fails(NULL);
        if (rc == 0)
            serve_one(&h, said, sizeof(said));
        else
            assert_true(rc == BARID_ENOMEM && mem.failed);
        if (strstr(said, "queued as") != NULL)
            assert_true(h.committed);
        else
            assert_true(mem.failed);
        barid_server_del(&h.server);
    }
    assert_true(mem.injected > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_no_memory),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
