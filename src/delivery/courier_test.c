/* delivery/courier_test.c: one mail and several servers, each with a script: what moves on to the next and what never does. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/testing.h"
#include "delivery/courier.h"
#include "io/io_testing.h"

#define SERVERS_MAX 4
#define HOLDS       "hold" /* says nothing and keeps the connection */
#define CLOSES      "close"

/* A server that answers by rows: what a line begins with, and the reply ("." = the final dot, "" = the greeting). What no row
 * has is answered 250. A row with count n holds for the n-th such line only. */
struct rule {
    const char *line, *reply;
    unsigned count;
};
struct server {
    const struct rule *rules;
    int listener, fd;
    char in[4096];
    size_t n;
    bool in_data, is_closed;
    unsigned counts[8], connections;
    char seen[1024]; /* commands, separated by "|" */
};

struct fixture {
    struct loop *loop;
    struct server servers[SERVERS_MAX];
    struct host_address addresses[SERVERS_MAX];
    size_t n_servers;
    barid_client_config config;
    barid_client_rcpt rcpts[3];
    barid_client_mail mail;
    struct courier_options o;
    struct connections *connections;
    struct courier *c;
    barid_slice body;
    char log[3][300];
    unsigned over, results;
    int server_says; /* what on_server returns; 0 = 1 */
    bool server_waits, sets_size;
    unsigned asked;
};

static void say(struct server *s, const char *reply)
{
    if (strcmp(reply, HOLDS) == 0)
        return;
    if (strcmp(reply, CLOSES) == 0) {
        shutdown(s->fd, SHUT_RDWR);
        s->is_closed = true;
        return;
    }
    s->is_closed = send(s->fd, reply, strlen(reply), MSG_NOSIGNAL) < 0 ||
                   send(s->fd, "\r\n", 2, MSG_NOSIGNAL) < 0;
}

static const char *reply_to(struct server *s, const char *line)
{
    for (size_t i = 0; s->rules != NULL && s->rules[i].line != NULL; i++) {
        if (strncmp(line, s->rules[i].line, strlen(s->rules[i].line)) != 0 ||
            (line[0] != '\0') != (s->rules[i].line[0] != '\0'))
            continue;
        s->counts[i]++;
        if (s->rules[i].count == 0 || s->rules[i].count == s->counts[i])
            return s->rules[i].reply;
    }
    return line[0] == '\0'             ? "220 mx"
           : strcmp(line, "DATA") == 0 ? "354 go"
           : strcmp(line, "QUIT") == 0 ? "221 bye"
                                       : "250 ok";
}

static void take_line(struct server *s, const char *line)
{
    const char *reply;
    size_t n;

    if (s->in_data && strcmp(line, ".") != 0)
        return;
    n = strlen(s->seen);
    snprintf(s->seen + n, sizeof(s->seen) - n, "%s|", line);
    reply = reply_to(s, line);
    s->in_data = strncmp(reply, "354", 3) == 0;
    say(s, reply);
}

static void serve(struct server *s)
{
    char *end;
    ssize_t n;

    if (s->fd < 0) {
        s->fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (s->fd < 0)
            return;
        s->connections++;
        say(s, reply_to(s, ""));
    }
    n = recv(s->fd, s->in + s->n, sizeof(s->in) - 1 - s->n, MSG_DONTWAIT);
    if (n > 0)
        s->n += (size_t)n;
    s->in[s->n] = '\0';
    while (!s->is_closed && (end = strstr(s->in, "\r\n")) != NULL) {
        *end = '\0';
        take_line(s, s->in);
        s->n -= (size_t)(end + 2 - s->in);
        memmove(s->in, end + 2, s->n + 1);
    }
}

/* --- the owner --- */

static const char *const statuses[] = {"done", "again", "failed"};

static void on_result(void *user, size_t rcpt, const struct courier_result *r)
{
    struct fixture *f = user;

    assert_string_equal(f->log[rcpt], ""); /* once */
    f->results++;
    snprintf(f->log[rcpt], sizeof(f->log[rcpt]), "%s%s %td %s", statuses[r->status],
             r->is_suspect ? " suspect" : "", r->server - f->addresses, r->text);
}

static int on_body(void *user, uint64_t offset, size_t n, barid_slice *p_r, bool *last_r)
{
    struct fixture *f = user;

    *p_r = slice_head(slice_from(f->body, (size_t)offset), n);
    *last_r = offset + p_r->n == f->body.n;
    return 1;
}

static void on_over(void *user)
{
    struct fixture *f = user;

    f->over++;
    courier_del(&f->c);
}

static int on_server(void *user, const barid_client *client, barid_client_mail *mail,
                     char refusal[COURIER_TEXT_SIZE])
{
    struct fixture *f = user;

    f->asked++;
    assert_int_equal(barid_client_at(client), BARID_STAGE_IDLE);
    if (f->sets_size)
        mail->params = (barid_mail_params){.size_given = true, .size = 77};
    if (f->server_waits)
        return 0;
    strcpy(refusal, "554 5.6.3 not for this one");
    return f->server_says != 0 ? f->server_says : 1;
}

static const struct courier_ops ops = {
    .on_result = on_result, .on_body = on_body, .on_over = on_over, .on_server = on_server};

static void begin(struct fixture *f)
{
    struct connections_options o = {.rng = &rng_system};

    memset(f, 0, sizeof(*f));
    f->config =
        (barid_client_config){.size = sizeof(barid_client_config), .helo = BARID_S("us.test")};
    f->rcpts[0].address = BARID_S("a@x.test");
    f->rcpts[1].address = BARID_S("b@x.test");
    f->rcpts[2].address = BARID_S("c@x.test");
    f->mail =
        (barid_client_mail){.sender = BARID_S("s@us.test"), .rcpts = f->rcpts, .n_rcpts = 3};
    f->body = BARID_S("Subject: x\r\n\r\nhello\r\n");
    assert_int_equal(loop_new(&f->loop, NULL, NULL, NULL), 0);
    o.loop = f->loop;
    assert_int_equal(connections_new(&f->connections, &o), 0);
    f->o = (struct courier_options){.loop = f->loop,
                                    .connections = f->connections,
                                    .config = &f->config,
                                    .connect_ms = 30000,
                                    .ops = &ops,
                                    .user = f};
}

/* rules NULL: a server that takes everything. */
static void add_server(struct fixture *f, const struct rule *rules, bool listens)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct server *s = &f->servers[f->n_servers];
    socklen_t n = sizeof(in);

    *s = (struct server){.rules = rules, .fd = -1};
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&in, n), 0);
    getsockname(s->listener, (struct sockaddr *)&in, &n);
    if (listens)
        assert_int_equal(listen(s->listener, 4), 0);
    f->addresses[f->n_servers++] = (struct host_address){
        .name = BARID_S("mx.test"),
        .endpoint = {
            .family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}, .port = ntohs(in.sin_port)}};
}

static void end(struct fixture *f)
{
    courier_del(&f->c);
    connections_del(&f->connections);
    for (size_t i = 0; i < f->n_servers; i++) {
        close(f->servers[i].listener);
        if (f->servers[i].fd >= 0)
            close(f->servers[i].fd);
    }
    loop_del(&f->loop);
}

static void run(struct fixture *f)
{
    assert_int_equal(courier_new(&f->c, &f->o, &f->mail, f->addresses, f->n_servers), 0);
    assert_int_equal(f->results, 0);
    while (f->over == 0) {
        loop_turn(f->loop, false);
        for (size_t i = 0; i < f->n_servers; i++)
            serve(&f->servers[i]);
    }
    assert_int_equal(f->over, 1);
    assert_int_equal(f->results, f->mail.n_rcpts);
}

/* The first server goes by the rules, the second takes everything. want: what becomes of a, b and c. */
static void expect(const struct rule *rules, const char *a, const char *b, const char *c,
                   unsigned connections)
{
    struct fixture f;

    begin(&f);
    add_server(&f, rules, true);
    add_server(&f, NULL, true);
    run(&f);
    assert_string_equal(f.log[0], a);
    assert_string_equal(f.log[1], b);
    assert_string_equal(f.log[2], c);
    assert_int_equal(f.servers[1].connections, connections);
    end(&f);
}

#define ALL_SECOND "done 1 250 ok", "done 1 250 ok", "done 1 250 ok", 1
#define R(...)     ((const struct rule[]){__VA_ARGS__, {0}})

static void test_moves_on(void **state)
{
    (void)state;
    expect(R({"", "421 4.3.2 busy"}), ALL_SECOND);
    expect(R({"", "554 5.3.2 not here"}), ALL_SECOND);
    expect(R({"", CLOSES}), ALL_SECOND);
    expect(R({"EHLO", "550 no"}, {"HELO", "550 no"}), ALL_SECOND);
    expect(R({"EHLO", CLOSES}), ALL_SECOND);
    expect(R({"MAIL", "421 4.3.2 going down"}), ALL_SECOND);
    expect(R({"MAIL", "451 4.3.0 later"}), ALL_SECOND);
    expect(R({"MAIL", CLOSES}), ALL_SECOND);
    expect(R({"DATA", "451 4.3.0 later"}), ALL_SECOND);
    expect(R({"DATA", CLOSES}), ALL_SECOND);
    expect(R({"RCPT", "450 4.2.1 later"}), ALL_SECOND);
    /* only who is open is asked about again */
    expect(R({"RCPT TO:<b", "450 4.2.1 later"}), "done 0 250 ok", "done 1 250 ok",
           "done 0 250 ok", 1);
    expect(R({"RCPT TO:<b", "550 5.1.1 no"}, {"RCPT TO:<c", "450 4.2.1 later"}),
           "done 0 250 ok", "failed 0 550 5.1.1 no", "done 1 250 ok", 1);
    /* what this server cannot take, another may */
    expect(R({"EHLO", "250-mx\r\n250 SIZE 1"}), "done 0 250 ok", "done 0 250 ok",
           "done 0 250 ok", 0);
}

static void test_never_moves_on(void **state)
{
    (void)state;
    expect(R({"MAIL", "550 5.7.1 no"}), "failed 0 550 5.7.1 no", "failed 0 550 5.7.1 no",
           "failed 0 550 5.7.1 no", 0);
    expect(R({"RCPT", "550 5.1.1 no"}), "failed 0 550 5.1.1 no", "failed 0 550 5.1.1 no",
           "failed 0 550 5.1.1 no", 0);
    expect(R({"DATA", "554 5.7.1 no"}), "failed 0 554 5.7.1 no", "failed 0 554 5.7.1 no",
           "failed 0 554 5.7.1 no", 0);
    expect(R({".", "554 5.6.0 no"}), "failed 0 554 5.6.0 no", "failed 0 554 5.6.0 no",
           "failed 0 554 5.6.0 no", 0);
    expect(R({".", "451 4.3.0 later"}), "again 0 451 4.3.0 later", "again 0 451 4.3.0 later",
           "again 0 451 4.3.0 later", 0);
    expect(R({".", "421 4.3.2 going down"}), "again 0 421 4.3.2 going down",
           "again 0 421 4.3.2 going down", "again 0 421 4.3.2 going down", 0);
}

/* Lost after the final dot: it may be there. */
static void test_suspect(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add_server(&f, R({".", CLOSES}), true);
    add_server(&f, NULL, true);
    run(&f);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(strncmp(f.log[i], "again suspect 0 451 4.4.2 mx.test (127.0.0.1:", 44),
                         0);
    assert_int_equal(f.servers[1].connections, 0);
    end(&f);
}

/* SIZE is told before anything is sent; the next server has no such limit. */
static void test_what_one_cannot_take(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add_server(&f, R({"EHLO", "250-mx\r\n250 SIZE 10"}), true);
    add_server(&f, NULL, true);
    f.mail.params.size_given = true;
    f.mail.params.size = 1000;
    run(&f);
    assert_string_equal(f.log[0], "done 1 250 ok");
    assert_null(strstr(f.servers[0].seen, "MAIL"));
    end(&f);
    begin(&f);
    add_server(&f, R({"EHLO", "250-mx\r\n250 SIZE 10"}), true);
    f.mail.params.size_given = true;
    f.mail.params.size = 1000;
    run(&f);
    assert_int_equal(strncmp(f.log[0], "failed 0 5", 10), 0);
    end(&f);
}

/* There is no other: the last word counts, but a 5xx for good only where nobody put the mail off. */
static void test_the_last_one(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add_server(&f, NULL, false);
    add_server(&f, R({"", "554 5.3.2 not here"}), true);
    run(&f);
    assert_string_equal(f.log[0], "again 1 554 5.3.2 not here");
    end(&f);
    begin(&f);
    add_server(&f, R({"", "554 5.3.2 not here"}), true);
    add_server(&f, NULL, false);
    run(&f);
    assert_int_equal(strncmp(f.log[0], "again 1 451 4.4.1 mx.test (127.0.0.1:", 37), 0);
    end(&f);
    begin(&f);
    add_server(&f, R({"", "554 5.3.2 not here"}), true);
    add_server(&f, R({"", "554 5.3.2 neither"}), true);
    run(&f);
    assert_string_equal(f.log[0], "failed 1 554 5.3.2 neither");
    end(&f);
    begin(&f);
    add_server(&f, R({"RCPT TO:<a", "450 4.2.1 later"}), true);
    run(&f);
    assert_string_equal(f.log[0], "again 0 450 4.2.1 later");
    assert_string_equal(f.log[1], "done 0 250 ok");
    end(&f);
}

/* The owner looks at each server before it is asked, and may take its time. */
static void test_owner_chooses(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add_server(&f, R({"EHLO", "250-mx\r\n250 SIZE"}), true);
    f.server_waits = f.sets_size = true;
    assert_int_equal(courier_new(&f.c, &f.o, &f.mail, f.addresses, 1), 0);
    while (f.asked == 0) {
        loop_turn(f.loop, false);
        serve(&f.servers[0]);
    }
    turn_some(f.loop);
    assert_int_equal(f.asked, 1);
    assert_null(strstr(f.servers[0].seen, "MAIL"));
    f.server_waits = false;
    courier_server_ready(f.c);
    courier_server_ready(f.c); /* once is enough */
    while (f.over == 0) {
        loop_turn(f.loop, false);
        serve(&f.servers[0]);
    }
    assert_string_equal(f.log[0], "done 0 250 ok");
    assert_non_null(strstr(f.servers[0].seen, "MAIL FROM:<s@us.test> SIZE=77|"));
    assert_int_equal(f.asked, 2);
    end(&f);
    begin(&f);
    add_server(&f, NULL, true);
    add_server(&f, NULL, true);
    f.server_says = BARID_EUNSUPPORTED;
    run(&f);
    assert_string_equal(f.log[0], "failed 1 554 5.6.3 not for this one");
    assert_int_equal(f.asked, 2);
    end(&f);
    /* another error: nor the next */
    begin(&f);
    add_server(&f, NULL, true);
    add_server(&f, NULL, true);
    f.server_says = BARID_ENOMEM;
    run(&f);
    assert_string_equal(f.log[0], "failed 0 554 5.6.3 not for this one");
    assert_int_equal(f.asked, 1);
    end(&f);
}

static void test_nothing_to_say(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    add_server(&f, NULL, true);
    f.rcpts[1].address = BARID_S("b@x.test>\r\nQUIT");
    run(&f);
    assert_string_equal(f.log[1],
                        "failed 0 553 5.1.3 an address or parameter cannot stand in a command");
    assert_null(strstr(f.servers[0].seen, "MAIL"));
    end(&f);
}

/* Given up at every turn: nothing is called any more. */
static void test_deleted(void **state)
{
    (void)state;
    for (int turns = 0; turns < 30; turns++) {
        struct fixture f;
        unsigned results;

        begin(&f);
        add_server(&f, R({"RCPT", "450 4.2.1 later"}), true);
        add_server(&f, NULL, true);
        assert_int_equal(courier_new(&f.c, &f.o, &f.mail, f.addresses, f.n_servers), 0);
        for (int i = 0; i < turns && f.over == 0; i++) {
            loop_turn(f.loop, false);
            serve(&f.servers[0]);
            serve(&f.servers[1]);
        }
        results = f.results;
        courier_del(&f.c);
        turn_some(f.loop);
        assert_int_equal(f.results, results);
        end(&f);
    }
}

static void test_no_memory(void **state)
{
    struct fail_mem fail = {0};

    (void)state;
    while (fail_mem_next(&fail)) {
        struct fixture f;

        begin(&f);
        add_server(&f, NULL, true);
        f.o.mem = &fail.mem;
        connections_del(&f.connections);
        if (connections_new(&f.connections, &(struct connections_options){
                                                .loop = f.loop, .rng = &rng_system, .mem = &fail.mem}) != 0) {
            end(&f);
            continue;
        }
        f.o.connections = f.connections;
        if (courier_new(&f.c, &f.o, &f.mail, f.addresses, 1) == 0) {
            while (f.over == 0) {
                loop_turn(f.loop, false);
                serve(&f.servers[0]);
            }
            assert_int_equal(f.results, 3);
            /* Nothing is said to be there that is not. */
            assert_true(strncmp(f.log[0], "done", 4) != 0 ||
                        strstr(f.servers[0].seen, "|.|") != NULL);
            assert_true(strncmp(f.log[0], "failed", 6) != 0);
        }
        end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves_on),     cmocka_unit_test(test_never_moves_on),
        cmocka_unit_test(test_suspect),      cmocka_unit_test(test_what_one_cannot_take),
        cmocka_unit_test(test_the_last_one), cmocka_unit_test(test_nothing_to_say),
        cmocka_unit_test(test_owner_chooses),
        cmocka_unit_test(test_deleted),      cmocka_unit_test(test_no_memory),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
