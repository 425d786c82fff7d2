/*
 * server/nomem_test.c: one whole delivery with the n-th allocation of the server failing, for
 * all n. Whatever fails: no crash, no leak, and no 250 for a message that is not in
 * the spool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/malloc_testing.h"
#include "server/server_testing.h"

static struct fail_mem mem;

static void begin_failing(struct fixture *f)
{
    (void)f;
    malloc_fails(&mem); /* of the loop's thread; others never fail */
}

static void end_failing(struct fixture *f)
{
    (void)f;
    malloc_fails(NULL);
}

struct scenario {
    const char *input;
    void (*set_up)(struct fixture *f);
};

/* All that the server says until it closes; the input may meet a closed connection. */
static void converse(struct client *c, const struct fixture *f, const char *input)
{
    ssize_t k = 1;

    dial(c, f);
    (void)!send(c->fd, input, strlen(input), MSG_NOSIGNAL);
    shutdown(c->fd, SHUT_WR); /* QUIT itself may fail */
    while (k > 0) {
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

        assert_int_equal(poll(&pfd, 1, 10000), 1);
        k = recv(c->fd, c->in + c->n, sizeof(c->in) - 1 - c->n, 0);
        c->n += k > 0 ? (size_t)k : 0;
    }
    c->in[c->n] = '\0';
    close(c->fd);
}

static size_t kept(const struct fixture *f)
{
    size_t n = 0;

    for (int s = 0; s < 4; s++)
        n += spooled(f, (enum spool_state)s);
    return n;
}

static void run(const struct scenario *sc)
{
    while (fail_mem_next(&mem)) {
        struct fixture *f = prepare();
        struct client c;

        f->quiet = true;
        if (sc->set_up != NULL)
            sc->set_up(f);
        start(f);
        on_loop(f, begin_failing);
        converse(&c, f, sc->input);
        on_loop(f, end_failing);
        if (strstr(c.in, "queued as") != NULL)
            assert_int_equal(kept(f), 1);
        else
            assert_true(mem.failed);
        stop(f);
    }
    assert_true(mem.injected > 10);
}

static void all_wait(struct fixture *f)
{
    for (int id = 0; id < BARID_EVENTS; id++)
        f->script.wait[id] = true;
}

static void with_user(struct fixture *f)
{
    char path[] = "/tmp/barid-users-XXXXXX";
    struct err err = {0};
    int fd = mkstemp(path);

    assert_int_equal(write(fd, "user:{PLAIN}secret\n", 19), 19);
    close(fd);
    assert_int_equal(users_load(&f->users, path, &err, NULL), 0);
    unlink(path);
    f->listen.protocol = BARID_SUBMISSION;
    f->listen.auth = LISTEN_AUTH_REQUIRED;
    f->listen.plain_auth_without_tls = true;
}

#define ENVELOPE                                                                               \
    "MAIL FROM:<user@example.com>\r\nRCPT TO:<one@example.com>\r\nRCPT "                       \
    "TO:<two@example.com>\r\n"
#define CONTENT "DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n"

static void test_delivery(void **state)
{
    static const struct scenario at_once = {"EHLO c.example\r\n" ENVELOPE CONTENT, NULL};
    static const struct scenario later = {"EHLO c.example\r\n" ENVELOPE CONTENT, all_wait};

    (void)state;
    run(&at_once);
    run(&later);
}

static void test_chunks(void **state)
{
    static const struct scenario chunks = {
        "EHLO c.example\r\n" ENVELOPE "BDAT 8\r\nA: b\r\n\r\nBDAT 7 LAST\r\nhello\r\nQUIT\r\n",
        NULL};

    (void)state;
    run(&chunks);
}

static void test_submission(void **state)
{
    static const struct scenario submit = {
        "EHLO c.example\r\nAUTH PLAIN AHVzZXIAc2VjcmV0\r\n" ENVELOPE CONTENT, with_user};

    (void)state;
    run(&submit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_submission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
