/* Plain streams: partial writes, half close, reset, deletion in callbacks, connecting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/mem.h"
#include "io/endpoint.h"
#include "io/io_testing.h"

static int setup(void **state)
{
    struct loop *loop;

    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    *state = loop;
    return 0;
}

static int teardown(void **state)
{
    struct loop *loop = *state;

    loop_del(&loop);
    return 0;
}

static void test_both_ways(void **state)
{
    struct loop *loop = *state;
    struct owner a, b;
    int fds[2];

    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    owner_open(&b, loop, fds[1]);
    b.echo = true;
    assert_int_equal(stream_write(a.s, "NOOP\r\n", 6), 0);
    assert_int_equal(stream_backlog(a.s), 0); /* the socket took it at once */
    TURN_UNTIL(loop, a.reads > 0);
    assert_true(owner_got(&a, "NOOP\r\n"));
    assert_int_equal(a.drains, 0);
    assert_false(stream_is_tls(a.s));
    assert_int_equal(stream_local(a.s)->family, BARID_FAMILY_UNIX);
    {
        unsigned uid = 12345;

        assert_int_equal(stream_peer_uid(a.s, &uid), 0);
        assert_int_equal(uid, getuid());
    }
    owner_close(&a);
    owner_close(&b);
}

/* A socket that takes little: the rest waits, in order, and the drain is told once. */
static void test_partial_writes(void **state)
{
    enum { SIZE = 700 * 1000 };
    struct loop *loop = *state;
    struct owner a, b;
    int fds[2], small = 4096;
    char *data = malloc(SIZE);

    make_pair(fds);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    owner_open(&a, loop, fds[0]);
    owner_open(&b, loop, fds[1]);
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < SIZE; i += 100 * 1000)
        assert_int_equal(stream_write(a.s, data + i, 100 * 1000), 0);
    assert_true(stream_backlog(a.s) > 0);
    assert_int_equal(stream_write(a.s, data, STREAM_BACKLOG_MAX - 1000), BARID_ELIMIT);
    TURN_UNTIL(loop, b.in.len == SIZE);
    assert_memory_equal(b.in.p, data, SIZE);
    TURN_UNTIL(loop, a.drains == 1);
    assert_int_equal(stream_backlog(a.s), 0);
    turn_some(loop);
    assert_int_equal(a.drains, 1);
    owner_close(&a);
    owner_close(&b);
    free(data);
}

/* Deleting with output waiting still delivers all of it, then closes. */
static void test_delete_flushes(void **state)
{
    enum { SIZE = 300 * 1000 };
    struct loop *loop = *state;
    struct owner a, b;
    int fds[2];
    char *data = calloc(1, SIZE);

    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    owner_open(&b, loop, fds[1]);
    assert_int_equal(stream_write(a.s, data, SIZE), 0);
    assert_true(stream_backlog(a.s) > 0);
    stream_del(&a.s);
    assert_null(a.s);
    TURN_UNTIL(loop, b.closes > 0);
    assert_int_equal(b.in.len, SIZE);
    assert_int_equal(b.close_err, 0);
    assert_int_equal(a.drains + a.closes, 0); /* no callback after deletion */
    owner_close(&a);
    owner_close(&b);
    free(data);
}

/* The loop's own end flushes too, for a bounded time. */
static void test_loop_del_flushes(void **state)
{
    struct loop *loop;
    struct owner a;
    int fds[2];
    enum { SIZE = 300 * 1000 };
    char *data = calloc(1, SIZE);
    size_t got = 0;
    ssize_t n;

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    assert_int_equal(stream_write(a.s, data, SIZE), 0);
    owner_close(&a);
    if (fork() == 0) { /* a reader that does not depend on this loop */
        close(fds[0]);
        while ((n = read(fds[1], data, SIZE)) > 0)
            got += (size_t)n;
        _exit(got == SIZE ? 0 : 1);
    }
    close(fds[1]);
    loop_del(&loop);
    {
        int status = -1;

        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    free(data);
}

static void test_half_close(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];
    char got[16] = "";

    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    assert_int_equal(write(fds[1], "QUIT\r\n", 6), 6);
    shutdown(fds[1], SHUT_WR);
    TURN_UNTIL(loop, a.closes > 0);
    assert_true(owner_got(&a, "QUIT\r\n"));
    assert_int_equal(a.close_err, 0);
    /* the peer said it sends no more, but it still reads */
    assert_int_equal(stream_write(a.s, "221 x\r\n", 7), 0);
    turn_some(loop);
    assert_int_equal(a.closes, 1);
    owner_close(&a);
    turn_some(loop);
    assert_int_equal(read(fds[1], got, sizeof(got)), 7);
    assert_int_equal(read(fds[1], got, sizeof(got)), 0);
    close(fds[1]);
}

static void tcp_pair(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(l, (struct sockaddr *)&in, n), 0);
    assert_int_equal(listen(l, 1), 0);
    getsockname(l, (struct sockaddr *)&in, &n);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&in, n), 0);
    fds[1] = accept(l, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(l);
}

static void reset_by_peer(int fd)
{
    struct linger now = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(fd);
}

static void test_reset_by_peer(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    reset_by_peer(fds[1]);
    TURN_UNTIL(loop, a.closes > 0);
    assert_int_equal(a.close_err, BARID_ECLOSED);
    assert_int_equal(stream_write(a.s, "x", 1), BARID_ECLOSED);
    turn_some(loop);
    assert_int_equal(a.closes, 1);
    owner_close(&a);
}

/* A peer that sends no more still gets what waits for it, and the owner hears when it left: its
 * next output may wait for that. */
static void test_drain_after_half_close(void **state)
{
    enum { SIZE = 700 * 1000 };
    struct loop *loop = *state;
    struct owner a;
    int fds[2];
    char *data = calloc(1, SIZE);
    size_t got = 0;

    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    assert_int_equal(stream_write(a.s, data, SIZE), 0);
    assert_true(stream_backlog(a.s) > 0);
    shutdown(fds[1], SHUT_WR);
    TURN_UNTIL(loop, a.closes > 0);
    assert_int_equal(a.close_err, 0);
    assert_int_equal(a.drains, 0);
    while (got < SIZE) {
        ssize_t n = recv(fds[1], data, SIZE, MSG_DONTWAIT);

        got += n > 0 ? (size_t)n : 0;
        turn_some(loop);
    }
    assert_int_equal(a.drains, 1);
    assert_int_equal(stream_write(a.s, "221 x\r\n", 7), 0);
    owner_close(&a);
    close(fds[1]);
    free(data);
}

/* It breaks while something waits: that goes, and the owner finds out by its next write. */
static void test_broken_after_half_close(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2], small = 4096;
    char *data = calloc(1, STREAM_BACKLOG_MAX);

    tcp_pair(fds);
    setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    owner_open(&a, loop, fds[0]);
    while (stream_backlog(a.s) < STREAM_BACKLOG_MAX / 2)
        assert_int_equal(stream_write(a.s, data, STREAM_BACKLOG_MAX / 4), 0);
    shutdown(fds[1], SHUT_WR);
    TURN_UNTIL(loop, a.closes > 0);
    assert_int_equal(a.close_err, 0);
    reset_by_peer(fds[1]);
    TURN_UNTIL(loop, a.drains > 0);
    assert_int_equal(stream_backlog(a.s), 0);
    assert_int_equal(stream_write(a.s, "221 x\r\n", 7), BARID_ECLOSED);
    turn_some(loop);
    assert_int_equal(a.closes, 1);
    assert_int_equal(a.drains, 1);
    owner_close(&a);
    free(data);
}

/* A write is what finds out: the owner hears of it from the call and, later and once, by
 * on_close. */
static void test_write_finds_reset(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    stream_read(a.s, false);
    loop_turn(loop, false);
    reset_by_peer(fds[1]);
    assert_int_equal(stream_write(a.s, "x", 1), BARID_ECLOSED);
    assert_int_equal(a.closes, 0); /* not from within */
    turn_some(loop);
    assert_int_equal(a.closes, 1);
    assert_int_equal(a.close_err, BARID_ECLOSED);
    owner_close(&a);
}

static void test_write_fails_then_deleted(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    reset_by_peer(fds[1]);
    assert_int_equal(stream_write(a.s, "x", 1), BARID_ECLOSED);
    stream_del(&a.s); /* the report still waits, and must find the memory */
    turn_some(loop);
    assert_int_equal(a.closes, 0);
    owner_close(&a);
}

static void test_stream_reset(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];
    char c;

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    stream_reset(&a.s);
    assert_null(a.s);
    turn_some(loop);
    assert_int_equal(read(fds[1], &c, 1), -1);
    assert_int_equal(errno, ECONNRESET);
    close(fds[1]);
    stream_reset(&a.s);
    owner_close(&a);
}

/* Input that nobody read must not turn the close into a reset that eats the last reply. */
static void test_unread_input_does_not_reset(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];
    char got[32];

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    stream_read(a.s, false);
    assert_int_equal(write(fds[1], "MORE\r\n", 6), 6);
    assert_int_equal(stream_write(a.s, "421 bye\r\n", 9), 0);
    stream_del(&a.s);
    turn_some(loop);
    assert_int_equal(read(fds[1], got, sizeof(got)), 9);
    assert_int_equal(read(fds[1], got, sizeof(got)), 0);
    assert_int_equal(write(fds[1], "QUIT\r\n", 6), 6); /* still being read away */
    close(fds[1]);
    owner_close(&a);
}

/* Nothing is there unread, but the peer does not know yet that it should stop. */
static void test_linger(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];
    char got[32];

    tcp_pair(fds);
    owner_open(&a, loop, fds[0]);
    assert_int_equal(stream_write(a.s, "421 bye\r\n", 9), 0);
    stream_linger(a.s);
    stream_del(&a.s);
    for (int i = 0; i < 3; i++) {
        turn_some(loop);
        assert_int_equal(send(fds[1], "NOOP\r\n", 6, MSG_NOSIGNAL), 6);
    }
    assert_int_equal(read(fds[1], got, sizeof(got)), 9);
    assert_int_equal(read(fds[1], got, sizeof(got)), 0);
    close(fds[1]);
    owner_close(&a);
}

static void test_delete_in_callbacks(void **state)
{
    struct loop *loop = *state;

    for (int which = 0; which < 3; which++) {
        struct owner a;
        int fds[2], small = 4096;
        char drain[65536];
        char *data = calloc(1, 200 * 1000);

        make_pair(fds);
        setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
        owner_open(&a, loop, fds[0]);
        a.del_on_read = which == 0;
        a.del_on_close = which == 1;
        a.del_on_drain = which == 2;
        if (which == 0) {
            assert_int_equal(write(fds[1], "x", 1), 1);
        } else if (which == 1) {
            shutdown(fds[1], SHUT_WR);
        } else {
            stream_write(a.s, data, 200 * 1000);
            while (a.s != NULL) {
                assert_true(read(fds[1], drain, sizeof(drain)) > 0);
                loop_turn(loop, false);
            }
        }
        TURN_UNTIL(loop, a.s == NULL);
        turn_some(loop);
        close(fds[1]);
        owner_close(&a);
        free(data);
    }
}

static void test_pause(void **state)
{
    struct loop *loop = *state;
    struct owner a;
    int fds[2];

    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    a.pause_on_read = true;
    assert_int_equal(write(fds[1], "1", 1), 1);
    TURN_UNTIL(loop, a.reads == 1);
    assert_int_equal(write(fds[1], "2", 1), 1);
    turn_some(loop);
    assert_int_equal(a.reads, 1);
    stream_read(a.s, true);
    TURN_UNTIL(loop, a.reads == 2);
    assert_true(owner_got(&a, "12"));
    close(fds[1]);
    owner_close(&a);
}

struct connecting {
    unsigned done;
    struct stream *s;
    struct err err;
};

static void on_connected(void *user, struct stream *s, const struct err *err)
{
    struct connecting *c = user;

    c->done++;
    c->s = s;
    if (err != NULL)
        c->err = *err;
}

static int listen_loopback(barid_endpoint *e, int backlog)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    endpoint_parse(BARID_S("127.0.0.1:0"), e);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, endpoint_to_sockaddr(e, &sa)), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    getsockname(fd, (struct sockaddr *)&sa, &n);
    endpoint_from_sockaddr(&sa, e);
    return fd;
}

static void test_connect(void **state)
{
    struct loop *loop = *state;
    struct connecting c = {0};
    struct stream_connect *handle = NULL;
    barid_endpoint to, from;
    int fd = listen_loopback(&to, 4);

    endpoint_parse(BARID_S("127.0.0.3:0"), &from);
    assert_int_equal(
        stream_connect(loop, &to, NULL, &from, 5000, on_connected, &c, &handle, NULL), 0);
    assert_int_equal(c.done, 0);
    TURN_UNTIL(loop, c.done > 0);
    assert_non_null(c.s);
    assert_int_equal(stream_peer(c.s)->port, to.port);
    assert_int_equal(stream_local(c.s)->addr[3], 3);
    stream_del(&c.s);
    close(fd);
}

static void test_connect_refused(void **state)
{
    struct loop *loop = *state;
    struct connecting c = {0};
    barid_endpoint to;
    int fd = listen_loopback(&to, -1); /* bound, not listening */
    char name[ENDPOINT_SIZE];

    assert_int_equal(stream_connect(loop, &to, NULL, NULL, 5000, on_connected, &c, NULL, NULL),
                     0);
    TURN_UNTIL(loop, c.done > 0);
    assert_null(c.s);
    assert_int_equal(c.err.code, BARID_EIO);
    endpoint_format(&to, name);
    assert_non_null(strstr(c.err.text, name));
    assert_non_null(strstr(c.err.text, "refused"));
    close(fd);
}

static void test_connect_cancel(void **state)
{
    struct loop *loop = *state;
    struct connecting c = {0};
    struct stream_connect *handle = NULL;
    barid_endpoint to;
    int fd = listen_loopback(&to, 4);

    assert_int_equal(
        stream_connect(loop, &to, NULL, NULL, 5000, on_connected, &c, &handle, NULL), 0);
    stream_connect_cancel(&handle);
    assert_null(handle);
    stream_connect_cancel(&handle);
    turn_some(loop);
    assert_int_equal(c.done, 0);
    close(fd);
}

/* Nobody accepts and the backlog is full: only the clock, moved by hand, ends it. */
static void test_connect_timeout(void **state)
{
    struct clock_fake clock;
    struct loop *loop;
    struct connecting c[4] = {{0}};
    barid_endpoint to;
    int fd = listen_loopback(&to, 0);
    unsigned timed_out = 0;

    (void)state;
    clock_fake_init(&clock, 0);
    assert_int_equal(loop_new(&loop, &clock.clock, NULL, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(
            stream_connect(loop, &to, NULL, NULL, 30000, on_connected, &c[i], NULL, NULL), 0);
    turn_some(loop);
    clock_fake_advance(&clock, 29999);
    turn_some(loop);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(c[i].err.code, 0);
    clock_fake_advance(&clock, 1);
    turn_some(loop);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(c[i].done, 1);
        timed_out += c[i].err.code == BARID_ETIMEOUT;
        stream_del(&c[i].s);
    }
    assert_true(timed_out >= 2);
    close(fd);
    loop_del(&loop);
}

static void test_connect_unix_missing(void **state)
{
    struct loop *loop = *state;
    struct connecting c = {0};
    struct err err;
    char path[200];

    assert_int_equal(stream_connect(loop, NULL, "/nonexistent/sock", NULL, 1000, on_connected,
                                    &c, NULL, &err),
                     BARID_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/sock"));
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    assert_int_equal(stream_connect(loop, NULL, path, NULL, 1000, on_connected, &c, NULL, &err),
                     BARID_ESYNTAX);
    turn_some(loop);
    assert_int_equal(c.done, 0);
}

static void test_loop_del_closes_what_is_left(void **state)
{
    struct loop *loop;
    struct owner a;
    struct connecting c = {0};
    barid_endpoint to;
    int fds[2], fd = listen_loopback(&to, 4);
    char byte;

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    make_pair(fds);
    owner_open(&a, loop, fds[0]);
    assert_int_equal(stream_connect(loop, &to, NULL, NULL, 1000, on_connected, &c, NULL, NULL),
                     0);
    loop_del(&loop);
    assert_int_equal(a.closes + c.done, 0);
    assert_int_equal(read(fds[1], &byte, 1), 0);
    close(fds[1]);
    close(fd);
    buf_deinit(&a.in);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_both_ways),
        T(test_partial_writes),
        T(test_delete_flushes),
        T(test_loop_del_flushes),
        T(test_half_close),
        T(test_reset_by_peer),
        T(test_drain_after_half_close),
        T(test_broken_after_half_close),
        T(test_write_finds_reset),
        T(test_write_fails_then_deleted),
        T(test_stream_reset),
        T(test_unread_input_does_not_reset),
        T(test_linger),
        T(test_delete_in_callbacks),
        T(test_pause),
        T(test_connect),
        T(test_connect_refused),
        T(test_connect_cancel),
        T(test_connect_timeout),
        T(test_connect_unix_missing),
        T(test_loop_del_closes_what_is_left),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
