/* Listen addresses, binding, accepting, stale unix sockets, running out of descriptors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/testing.h"
#include "io/endpoint.h"
#include "io/io_testing.h"
#include "io/listener.h"

enum { MAX_ACCEPTED = 8 };

struct fixture {
    struct loop *loop;
    struct clock_fake clock;
    struct log_memory log;
    char dir[64], path[96];
    struct stream *accepted[MAX_ACCEPTED];
    size_t n;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_fake_init(&f->clock, 0);
    log_memory_init(&f->log);
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, &f->log.log, NULL), 0);
    snprintf(f->dir, sizeof(f->dir), "/tmp/barid-listener-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/lmtp", f->dir);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i < f->n; i++)
        stream_del(&f->accepted[i]);
    loop_del(&f->loop);
    log_memory_deinit(&f->log);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0);
    free(f);
    return 0;
}

static void on_accept(void *user, struct stream *s)
{
    struct fixture *f = user;

    assert_true(f->n < MAX_ACCEPTED);
    f->accepted[f->n++] = s;
}

static void test_parse(void **state)
{
    static const char *const good[] = {"127.0.0.1:25", "[::1]:25", "*:2525",
                                       "unix:/run/barid/lmtp"};
    static const char *const bad[] = {"",      "25",      "*",      "*:",       "*:70000",
                                      "unix:", "host:25", "::1:25", "127.0.0.1"};
    struct listen_address a;
    struct err err;
    char text[200] = "unix:/";

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(listen_address_parse(slice_str(good[i]), &a, &err), 0);
        listen_address_format(&a, text, sizeof(text));
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(listen_address_parse(slice_str(bad[i]), &a, &err), BARID_ESYNTAX);
        snprintf(text, sizeof(text), "listen address \"%s\": ", bad[i]);
        assert_memory_equal(err.text, text, strlen(text));
    }
    memset(text, 'x', 113);
    memcpy(text, "unix:/", 6);
    assert_int_equal(listen_address_parse(slice_of(text, 112), &a, &err), 0);
    assert_int_equal(listen_address_parse(slice_of(text, 113), &a, &err), BARID_ESYNTAX);
    assert_int_equal(listen_address_parse(BARID_S("unix:/a\0b"), &a, &err), BARID_ESYNTAX);
}

static int bind_text(const char *text, struct err *err)
{
    struct listen_address a;

    assert_int_equal(listen_address_parse(slice_str(text), &a, err), 0);
    return listener_bind(&a, 0600, err);
}

static struct listener *listen_on(struct fixture *f, int fd)
{
    struct listener *l;

    assert_true(fd >= 0);
    assert_int_equal(listener_new(&l, f->loop, fd, on_accept, f, NULL), 0);
    return l;
}

static int connect_to(const barid_endpoint *e)
{
    struct sockaddr_storage sa;
    socklen_t n = endpoint_to_sockaddr(e, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, n), 0);
    return fd;
}

static int connect_path(const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&un, sizeof(un)) == 0)
        return fd;
    close(fd);
    return -1;
}

static void test_tcp(void **state)
{
    struct fixture *f = *state;
    struct listener *l = listen_on(f, bind_text("127.0.0.1:0", NULL));
    barid_endpoint at;
    int c[3];

    listener_local(l, &at);
    for (int i = 0; i < 3; i++)
        c[i] = connect_to(&at);
    TURN_UNTIL(f->loop, f->n == 3);
    assert_int_equal(stream_local(f->accepted[0])->port, at.port);
    assert_int_equal(stream_peer(f->accepted[0])->addr[0], 127);
    {
        unsigned uid;

        assert_int_equal(stream_peer_uid(f->accepted[0], &uid), BARID_EUNSUPPORTED);
    }
    listener_pause(l, true);
    close(connect_to(&at));
    turn_some(f->loop);
    assert_int_equal(f->n, 3);
    listener_pause(l, false);
    TURN_UNTIL(f->loop, f->n == 4);
    for (int i = 0; i < 3; i++)
        close(c[i]);
    listener_del(&l);
    listener_del(&l);
}

/* Each worker binds for itself; a program that does not share the port may not. */
static void test_reuseport_and_in_use(void **state)
{
    struct fixture *f = *state;
    struct listener *l = listen_on(f, bind_text("127.0.0.1:0", NULL));
    barid_endpoint at;
    struct listen_address a = {
        .endpoint = {.family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}}};
    char text[ENDPOINT_SIZE];
    struct err err;
    int fd;

    listener_local(l, &at);
    endpoint_format(&at, text);
    fd = bind_text(text, &err);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(listener_probe(&a, &err), 0); /* port 0: nothing to find */
    a.endpoint = at;
    assert_int_equal(listener_probe(&a, &err), BARID_EEXISTS);
    assert_non_null(strstr(err.text, text));
    listener_del(&l);
    turn_some(f->loop);
    assert_int_equal(listener_probe(&a, &err), 0);
    {
        struct sockaddr_in in = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t n = sizeof(in);
        int other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(bind(other, (struct sockaddr *)&in, n), 0);
        assert_int_equal(listen(other, 1), 0);
        getsockname(other, (struct sockaddr *)&in, &n);
        snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(in.sin_port));
        assert_int_equal(bind_text(text, &err), BARID_EEXISTS);
        assert_non_null(strstr(err.text, text));
        assert_non_null(strstr(err.text, "in use"));
        close(other);
    }
    assert_int_equal(bind_text("192.0.2.1:0", &err), BARID_EIO);
    assert_non_null(strstr(err.text, "no such address"));
}

static void test_any_is_dual_stack(void **state)
{
    struct fixture *f = *state;
    struct listener *l = listen_on(f, bind_text("*:0", NULL));
    barid_endpoint at;
    int c;

    listener_local(l, &at);
    {
        barid_endpoint v4 = {BARID_FAMILY_IPV4, {127, 0, 0, 1}, at.port};

        c = connect_to(&v4);
    }
    TURN_UNTIL(f->loop, f->n == 1);
    assert_int_equal(stream_peer(f->accepted[0])->family, BARID_FAMILY_IPV4);
    close(c);
    listener_del(&l);
}

static int bind_path(struct fixture *f, unsigned mode, struct err *err)
{
    struct listen_address a = {.endpoint = {.family = BARID_FAMILY_UNIX}};

    snprintf(a.path, sizeof(a.path), "%s", f->path);
    return listener_bind(&a, mode, err);
}

static void test_unix(void **state)
{
    struct fixture *f = *state;
    mode_t old = umask(077);
    int fd = bind_path(f, 0666, NULL), c;
    struct listener *l, *second;
    struct stat st;
    struct err err;

    umask(old);
    assert_true(fd >= 0);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0666);
    assert_int_equal(bind_path(f, 0600, &err), BARID_EEXISTS);
    assert_non_null(strstr(err.text, "another program is listening"));
    second = listen_on(f, dup(fd)); /* as another worker would */
    l = listen_on(f, fd);
    c = connect_path(f->path);
    TURN_UNTIL(f->loop, f->n >= 1);
    assert_int_equal(stream_peer(f->accepted[0])->family, BARID_FAMILY_UNIX);
    turn_some(f->loop);
    listener_pause(second, true);
    listener_del(&l);
    assert_int_equal(stat(f->path, &st), 0); /* the other still serves it */
    listener_del(&second);
    assert_int_equal(stat(f->path, &st), -1);
    close(c);
}

static void test_unix_stale(void **state)
{
    struct fixture *f = *state;
    int fd = bind_path(f, 0600, NULL), c;
    struct listener *l;
    struct stat st;
    struct err err;
    FILE *file;

    assert_true(fd >= 0);
    close(fd); /* as a killed daemon leaves it */
    assert_int_equal(stat(f->path, &st), 0);
    l = listen_on(f, bind_path(f, 0600, NULL));
    c = connect_path(f->path);
    assert_true(c >= 0);
    close(c);
    /* somebody replaced the path: it is not ours to remove */
    unlink(f->path);
    file = fopen(f->path, "w");
    assert_non_null(file);
    fclose(file);
    listener_del(&l);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(bind_path(f, 0600, &err), BARID_EEXISTS);
    assert_non_null(strstr(err.text, "not a socket"));
    snprintf(f->path, sizeof(f->path), "%s/missing/x", f->dir);
    assert_int_equal(bind_path(f, 0600, &err), BARID_EIO);
    snprintf(f->path, sizeof(f->path), "%s/lmtp", f->dir);
}

/* No descriptor left: nothing is lost, the log has one line, and accepting goes on when there
 * is one again. */
static void test_out_of_descriptors(void **state)
{
    struct fixture *f = *state;
    struct listener *l = listen_on(f, bind_text("127.0.0.1:0", NULL));
    struct rlimit old, none;
    barid_endpoint at;
    int c;
    const char *line;

    listener_local(l, &at);
    c = connect_to(&at);
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = (rlim_t)c;
    setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 0; i < 3; i++) {
        turn_some(f->loop);
        clock_fake_advance(&f->clock, 100);
    }
    assert_int_equal(f->n, 0);
    setrlimit(RLIMIT_NOFILE, &old);
    turn_some(f->loop);
    assert_int_equal(f->n, 1);
    assert_int_equal(buf_byte(&f->log.text, '\0'), 0);
    line = strstr(f->log.text.p, "cannot accept");
    assert_non_null(line);
    assert_null(strstr(line + 1, "cannot accept"));
    close(c);
    listener_del(&l);
}

static void on_accept_delete(void *user, struct stream *s)
{
    struct listener **l = user;

    stream_del(&s);
    listener_del(l);
}

static void test_delete_in_callback(void **state)
{
    struct fixture *f = *state;
    struct listener *l;
    barid_endpoint at;
    int a, b;

    assert_int_equal(
        listener_new(&l, f->loop, bind_text("127.0.0.1:0", NULL), on_accept_delete, &l, NULL),
        0);
    listener_local(l, &at);
    a = connect_to(&at);
    b = connect_to(&at);
    TURN_UNTIL(f->loop, l == NULL);
    turn_some(f->loop);
    close(a);
    close(b);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_parse),
        T(test_tcp),
        T(test_reuseport_and_in_use),
        T(test_any_is_dual_stack),
        T(test_unix),
        T(test_unix_stale),
        T(test_out_of_descriptors),
        T(test_delete_in_callback),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
