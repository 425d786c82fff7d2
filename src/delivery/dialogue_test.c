/* delivery/dialogue_test.c: a client session on a real socket, the server played by the test: whole mails, bodies that come later
 * or not at all, a server that goes away or does not read, deletion, each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/testing.h"
#include "delivery/dialogue.h"
#include "io/io_testing.h"

#define GREETING "220 mx.test\r\n"
#define EHLO_OK  "250-mx.test\r\n250 PIPELINING\r\n"

struct fixture {
    struct loop *loop;
    struct dialogue *d;
    barid_client_config config;
    barid_client_rcpt rcpts[2];
    barid_client_mail mail;
    int peer;         /* the server's end */
    char heard[1024]; /* what the server got, at first */
    size_t n_heard;
    unsigned heard_all; /* octets */
    char log[512];      /* what the owner was told */
    barid_slice body;
    size_t body_at;
    int body_says; /* what on_body returns */
    unsigned asked, over;
    size_t mails;
};

static void note(struct fixture *f, const char *fmt, ...) BARID_PRINTF(2, 3);
static void note(struct fixture *f, const char *fmt, ...)
{
    size_t n = strlen(f->log);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(f->log + n, sizeof(f->log) - n, fmt, ap);
    va_end(ap);
}

static void on_event(void *user, const barid_client_event *event)
{
    struct fixture *f = user;

    switch (event->id) {
    case BARID_CLIENT_READY:
        note(f, "ready ");
        if (f->mails == 0 || f->mails-- == 0 || dialogue_send(f->d, &f->mail) != 0)
            dialogue_quit(f->d);
        break;
    case BARID_CLIENT_RESULT:
        note(f, "%zu:%u ", event->rcpt, event->reply.code);
        break;
    case BARID_CLIENT_DONE:
        note(f, "done ");
        break;
    case BARID_CLIENT_CLOSED:
        note(f, "closed:%s:%u ", barid_client_stage_name(event->stage), event->reply.code);
        break;
    case BARID_CLIENT_NONE:
    case BARID_CLIENT_WANT_BODY:
    case BARID_CLIENT_TRANSCRIPT:
        fail_msg("event %d", event->id);
    }
}

static int on_body(void *user, size_t n, barid_slice *p_r, bool *last_r)
{
    struct fixture *f = user;

    f->asked++;
    if (f->body_says != 1)
        return f->body_says;
    *p_r = slice_head(slice_from(f->body, f->body_at), n);
    f->body_at += p_r->n;
    *last_r = f->body_at == f->body.n;
    return 1;
}

static void on_over(void *user)
{
    struct fixture *f = user;

    f->over++;
    dialogue_del(&f->d);
}

/* Before the end leaves: the server has not seen it. */
static void on_final(void *user)
{
    struct fixture *f = user;
    char p[4096];
    ssize_t n = recv(f->peer, p, sizeof(p) - 1, MSG_PEEK | MSG_DONTWAIT);

    p[n > 0 ? n : 0] = '\0';
    assert_null(strstr(p, "\r\n.\r\n"));
    assert_null(strstr(p, "LAST"));
    note(f, "final ");
}

static void on_unreachable(void *user, const struct err *err)
{
    struct fixture *f = user;

    assert_int_not_equal(err->code, 0);
    assert_true(err->text[0] != '\0');
    note(f, "unreachable ");
}

static const struct dialogue_ops ops = {.on_event = on_event,
                                        .on_unreachable = on_unreachable,
                                        .on_over = on_over,
                                        .on_body = on_body,
                                        .on_final = on_final};

/* 0 or why the dialogue was not made. */
static int begin(struct fixture *f, const barid_mem *mem)
{
    struct dialogue_options o = {.config = &f->config, .ops = &ops, .user = f, .mem = mem};
    struct stream *stream;
    int fds[2];

    *f = (struct fixture){
        .config = {.size = sizeof(barid_client_config), .helo = BARID_S("us.test")},
        .rcpts = {{.address = BARID_S("a@x.test")}, {.address = BARID_S("b@x.test")}},
        .mail = {.sender = BARID_S("s@us.test"), .n_rcpts = 2},
        .body = BARID_S("Subject: x\r\n\r\nhello\r\n"),
        .body_says = 1,
        .mails = 1};
    f->mail.rcpts = f->rcpts;
    assert_int_equal(loop_new(&f->loop, NULL, NULL, NULL), 0);
    make_pair(fds);
    f->peer = fds[1];
    assert_int_equal(stream_open(&stream, f->loop, fds[0], NULL), 0);
    o.loop = f->loop;
    return dialogue_new(&f->d, &o, stream);
}

static void end(struct fixture *f)
{
    dialogue_del(&f->d);
    close(f->peer);
    loop_del(&f->loop);
}

static void hear(struct fixture *f)
{
    char p[65536];
    ssize_t n;

    turn_some(f->loop);
    while ((n = recv(f->peer, p, sizeof(p), MSG_DONTWAIT)) > 0) {
        size_t keep = sizeof(f->heard) - 1 - f->n_heard;

        keep = (size_t)n < keep ? (size_t)n : keep;
        memcpy(f->heard + f->n_heard, p, keep);
        f->n_heard += keep;
        f->heard_all += (unsigned)n;
        turn_some(f->loop);
    }
}

/* The server says something, and what it heard by then is forgotten. */
static void says(struct fixture *f, const char *text)
{
    f->n_heard = 0;
    memset(f->heard, 0, sizeof(f->heard));
    assert_int_equal(send(f->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    hear(f);
}

static void to_data(struct fixture *f)
{
    dialogue_start(f->d);
    says(f, GREETING);
    assert_string_equal(f->heard, "EHLO us.test\r\n");
    says(f, EHLO_OK);
    assert_string_equal(
        f->heard,
        "MAIL FROM:<s@us.test>\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n");
    says(f, "250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n");
}

static void test_two_mails(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL), 0);
    f.mails = 2;
    to_data(&f);
    assert_string_equal(f.heard, "Subject: x\r\n\r\nhello\r\n.\r\n");
    f.body_at = 0;
    says(&f, "250 taken\r\n");
    says(&f, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_string_equal(f.heard, "Subject: x\r\n\r\nhello\r\n.\r\n");
    says(&f, "250 taken\r\n");
    assert_string_equal(f.heard, "QUIT\r\n");
    says(&f, "221 bye\r\n");
    assert_string_equal(f.log,
                        "ready final 0:250 1:550 done ready final 0:250 1:250 done ready "
                        "closed:idle:221 ");
    assert_int_equal(f.over, 1);
    assert_null(f.d);
    end(&f);
}

/* Not now: nothing is sent, the owner is not asked again, until it says so. */
static void test_body_later(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL), 0);
    f.body_says = 0;
    to_data(&f);
    assert_string_equal(f.heard, "");
    assert_int_equal(f.asked, 1);
    hear(&f);
    assert_int_equal(f.asked, 1);
    f.body_says = 1;
    dialogue_body_ready(f.d);
    hear(&f);
    assert_string_equal(f.heard, "Subject: x\r\n\r\nhello\r\n.\r\n");
    end(&f); /* in the middle: nothing is called any more */
    assert_int_equal(f.over, 0);
}

/* A mail that cannot be read on is not ended: the server must not take the half for the whole. */
static void test_body_fails(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL), 0);
    f.body_says = 0;
    to_data(&f);
    f.body_says = BARID_EIO;
    dialogue_body_ready(f.d);
    hear(&f);
    assert_string_equal(f.heard, "");
    assert_int_equal(f.over, 1);
    assert_non_null(strstr(f.log, "0:0 1:550 done closed"));
    end(&f);
}

/* The last chunk; and no end where the body is refused. */
static void test_final(void **state)
{
    static const struct {
        const char *body, *log;
    } rows[] = {{"Subject: x\r\n\r\nhello\r\n", "ready final "},
                {"Subject: x\r\n\r\nhel\rlo\r\n", "ready 0:550 1:550 done "}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;

        assert_int_equal(begin(&f, NULL), 0);
        f.body = slice_str(rows[i].body);
        dialogue_start(f.d);
        says(&f, GREETING);
        says(&f, "250-mx.test\r\n250 CHUNKING\r\n");
        says(&f, "250 ok\r\n");
        says(&f, "250 ok\r\n");
        says(&f, "250 ok\r\n");
        assert_string_equal(f.log, rows[i].log);
        assert_int_equal(strncmp(f.heard, i == 0 ? "BDAT" : "RSET", 4), 0);
        end(&f);
    }
}

static void test_server_goes_away(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL), 0);
    to_data(&f);
    shutdown(f.peer, SHUT_RDWR);
    TURN_UNTIL(f.loop, f.over > 0);
    assert_string_equal(f.log, "ready final 0:0 1:550 done closed:final:0 ");
    end(&f);
    assert_int_equal(begin(&f, NULL), 0);
    shutdown(f.peer, SHUT_RDWR);
    dialogue_start(f.d);
    TURN_UNTIL(f.loop, f.over > 0);
    assert_string_equal(f.log, "closed:connect:0 ");
    end(&f);
}

/* A server that does not read: no more of the message is asked for than may wait. */
static void test_slow_server(void **state)
{
    enum { SIZE = 8 << 20 };
    struct fixture f;
    char *octets = malloc(SIZE);

    (void)state;
    assert_non_null(octets);
    for (size_t i = 0; i < SIZE; i++)
        octets[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'a';
    assert_int_equal(begin(&f, NULL), 0);
    f.body = slice_of(octets, SIZE);
    dialogue_start(f.d);
    says(&f, GREETING);
    says(&f, EHLO_OK);
    assert_true(send(f.peer, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", 32, MSG_NOSIGNAL) ==
                32);
    turn_some(f.loop);
    assert_true(f.body_at > 0 && f.body_at < 2 * DIALOGUE_BACKLOG_MAX +
                                                 (512u << 10)); /* and what the sockets hold */
    f.heard_all = 0;
    while (f.heard_all < SIZE + 3)
        hear(&f);
    says(&f, "250 taken\r\n");
    assert_non_null(strstr(f.log, "0:250 1:250 done"));
    end(&f);
    free(octets);
}

/* TLS is required and there is nothing to do it with: nothing is said in the clear. */
static void test_no_tls(void **state)
{
    struct fixture f;

    (void)state;
    assert_int_equal(begin(&f, NULL), 0);
    f.config.tls = BARID_CLIENT_TLS_REQUIRED;
    dialogue_start(f.d);
    says(&f, GREETING);
    says(&f, "250-mx.test\r\n250 STARTTLS\r\n");
    assert_string_equal(f.heard, "STARTTLS\r\n");
    says(&f, "220 go\r\n");
    assert_string_equal(f.heard, "");
    assert_int_equal(f.over, 1);
    assert_string_equal(f.log, "closed:tls:0 ");
    end(&f);
}

/* A configuration that contradicts itself: the stream is closed all the same. */
static void test_refused_configuration(void **state)
{
    barid_client_config config = {.size = sizeof(config)};
    struct dialogue_options o = {.config = &config, .ops = &ops};
    struct stream *stream;
    struct dialogue *d;
    int fds[2];
    char c;

    (void)state;
    assert_int_equal(loop_new(&o.loop, NULL, NULL, NULL), 0);
    make_pair(fds);
    assert_int_equal(stream_open(&stream, o.loop, fds[0], NULL), 0);
    assert_int_equal(dialogue_new(&d, &o, stream), BARID_EINVALID);
    assert_null(d);
    assert_int_equal(read(fds[1], &c, 1), 0);
    close(fds[1]);
    loop_del(&o.loop);
}

/* A socket on loopback that listens, or does not. */
static int listener(barid_endpoint *at, bool listens)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&in, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
    if (listens)
        assert_int_equal(listen(fd, 1), 0);
    *at = (barid_endpoint){
        .family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}, .port = ntohs(in.sin_port)};
    return fd;
}

/* Connecting is part of it: it may come to a session, to nothing, or be given up. */
static void test_open(void **state)
{
    enum { LISTENS, REFUSES, DELETED, CONTRADICTS };
    static const char *const said[] = {"ready ", "unreachable ", "", "unreachable "};

    (void)state;
    for (int which = LISTENS; which <= CONTRADICTS; which++) {
        struct fixture f;
        struct dialogue_options o = {.config = &f.config, .ops = &ops, .user = &f};
        struct dialogue_place place = {.connect_ms = 10000};
        int fd = listener(&place.to, which != REFUSES);

        assert_int_equal(begin(&f, NULL), 0);
        dialogue_del(&f.d);
        close(f.peer);
        o.loop = f.loop;
        if (which == CONTRADICTS)
            f.config.helo = BARID_S("");
        assert_int_equal(dialogue_open(&f.d, &o, &place, NULL), 0);
        if (which == DELETED)
            dialogue_del(&f.d);
        else if (which != LISTENS)
            TURN_UNTIL(f.loop, f.over > 0);
        f.peer = which == REFUSES ? fd : accept(fd, NULL, NULL);
        if (which == LISTENS) {
            says(&f, GREETING);
            says(&f, EHLO_OK);
        }
        turn_some(f.loop);
        assert_string_equal(f.log, said[which]);
        assert_int_equal(f.over, which == REFUSES || which == CONTRADICTS);
        end(&f);
        if (which != REFUSES)
            close(fd);
    }
}

static void test_no_memory(void **state)
{
    struct fail_mem fail = {0};

    (void)state;
    while (fail_mem_next(&fail)) {
        struct fixture f;

        if (begin(&f, &fail.mem) == 0) {
            dialogue_start(f.d);
            says(&f, GREETING);
            if (f.over == 0)
                says(&f, EHLO_OK);
            if (f.over == 0)
                says(&f, "250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n");
            if (f.over == 0)
                says(&f, "250 taken\r\n");
            if (f.over == 0)
                says(&f, "221 bye\r\n");
            assert_int_equal(f.over, 1);
            assert_true(fail.failed || strstr(f.log, "closed:idle:221") != NULL);
            assert_true(strstr(f.log, "done") == NULL || strstr(f.log, "0:") != NULL);
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_mails),
        cmocka_unit_test(test_body_later),
        cmocka_unit_test(test_body_fails),
        cmocka_unit_test(test_final),
        cmocka_unit_test(test_server_goes_away),
        cmocka_unit_test(test_slow_server),
        cmocka_unit_test(test_no_tls),
        cmocka_unit_test(test_refused_configuration),
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_no_memory),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
