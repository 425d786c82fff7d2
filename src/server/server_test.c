/*
 * server/server_test.c: the server of one worker with a memory spool, a policy of C handlers
 * and real sockets on loopback: deliveries, refusals, limits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/slice.h"
#include "message/record.h"
#include "server/server_testing.h"

static void test_delivery(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    struct mail m;
    struct unit *units;
    size_t n;
    struct arena arena;
    (void)state;
    start(f);
    greet(&c, f);
    envelope(&c, "user+tag@example.com");
    message(&c, "250 2.0.0 Ok: queued as ");
    quit(&c);
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 1);
    load_only(f, &l);
    assert_body(f, l.info.id, "hello\r\n.dot\r\n", 13);
    arena_init(&arena, NULL, 0);
    assert_int_equal(record_decode(&m, &arena, l.meta, l.header, &units, &n), 0);
    assert_int_equal(n, 1);
    assert_true(slice_eq(units[0].target, BARID_S("user")));
    assert_true(slice_eq(m.rcpts[0]->box.address, BARID_S("user+tag@example.com")));
    assert_true(slice_starts_nocase(l.header, BARID_S("Received: from client.example")));
    assert_true(slice_ends_nocase(l.header, BARID_S("Subject: x\r\n")));
    assert_int_equal(m.policy_version, 7);
    arena_deinit(&arena);
    f->spool->ops->loaded_free(&l);
    stop(f);
}

struct fate {
    const char *name;
    enum barid_event_id event;
    barid_verdict verdict;
    bool no_store;
    const char *reply;
    size_t messages[4]; /* in the spool, by state */
};

static const struct fate fates[] = {
    {"accept",
     BARID_EVENT_MESSAGE,
     {.kind = BARID_ACCEPT, .text = {"thanks", 6}},
     false,
     "250 2.0.0 thanks",
     {1, 0, 0, 0}},
    {"reject",
     BARID_EVENT_MESSAGE,
     {.kind = BARID_REJECT, .text = {"spam", 4}},
     false,
     "550 5.7.1 spam",
     {0}},
    {"tempfail", BARID_EVENT_HEADERS, {.kind = BARID_TEMPFAIL}, false, "451 ", {0}},
    {"discard",
     BARID_EVENT_MESSAGE,
     {.kind = BARID_DISCARD},
     false,
     "250 2.0.0 Ok: queued as ",
     {0}},
    {"discard early",
     BARID_EVENT_HEADERS,
     {.kind = BARID_DISCARD},
     false,
     "250 2.0.0 Ok: queued as ",
     {0}},
    {"hold", BARID_EVENT_MESSAGE, {.kind = BARID_HOLD}, false, "250 ", {0, 1, 0, 0}},
    {"hold without a row",
     BARID_EVENT_MESSAGE,
     {.kind = BARID_HOLD},
     true,
     "250 ",
     {0, 1, 0, 0}},
    {"quarantine", BARID_EVENT_BODY, {.kind = BARID_QUARANTINE}, false, "250 ", {0, 0, 0, 1}},
    {"hold one", BARID_EVENT_RECIPIENT, {.kind = BARID_HOLD}, false, "250 ", {1, 0, 0, 0}},
    {"discard one", BARID_EVENT_RECIPIENT, {.kind = BARID_DISCARD}, false, "250 ", {0}},
    {"undecided", BARID_EVENT_NONE, {0}, true, "550 5.1.1 ", {0}},
};

static void run_fate(const struct fate *t, bool wait)
{
    struct fixture *f = prepare();
    struct client c;
    f->script.verdict[t->event] = t->verdict;
    for (int id = 0; wait && id < BARID_EVENTS; id++)
        f->script.wait[id] = true;
    if (t->no_store)
        f->script.store = NULL;
    start(f);
    greet(&c, f);
    envelope(&c, "user@example.com");
    message(&c, t->reply);
    quit(&c);
    for (int s = 0; s < 4; s++)
        if (spooled(f, (enum spool_state)s) != t->messages[s])
            fail_msg("%s: %zu messages in state %d, not %zu", t->name,
                     spooled(f, (enum spool_state)s), s, t->messages[s]);
    stop(f);
}

static void test_fates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        run_fate(&fates[i], false);
        run_fate(&fates[i], true);
    }
}

static void test_no_relay(void **state)
{
    static const char *const tries[] = {
        "user@elsewhere.example", "user%elsewhere.example@[127.0.0.1]",
        "@example.com:user@elsewhere.example", "\"user@elsewhere.example\"@elsewhere.example"};
    struct fixture *f = prepare();
    struct client c;
    (void)state;
    for (int id = 0; id < BARID_EVENTS; id++)
        f->script.verdict[id].kind = BARID_CONTINUE;
    f->script.verdict[BARID_EVENT_RCPT].kind =
        BARID_ACCEPT; /* an accept never bypasses the check */
    start(f);
    greet(&c, f);
    exchange(&c, "MAIL FROM:<>", "250 ");
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++) {
        char line[256];
        snprintf(line, sizeof line, "RCPT TO:<%s>", tries[i]);
        exchange(&c, line, "550 5.7.1 ");
    }
    exchange(&c, "DATA", "554 ");
    quit(&c);
    stop(f);
}

static uint32_t group_of(const char *text, const uint8_t key[16])
{
    struct arena arena;
    struct hop hop = {0};
    arena_init(&arena, NULL, 0);
    assert_int_equal(hop_parse(&hop, &arena, slice_str(text), NULL), 0);
    uint32_t group = hop_group(&hop, key);
    arena_deinit(&arena);
    assert_int_equal(HOP_GROUP_FIRST, SPOOL_GROUP_FIRST); /* two layers, one number */
    assert_true(group >= SPOOL_GROUP_FIRST);
    return group;
}

/* Who may relay is let out: a recipient elsewhere becomes a unit that waits for its domain, or for
 * the relay host; so does where an alias of ours leads, whoever writes to it. */
static void run_let_out(bool trusted, bool relayhost)
{
    static const char *outside[] = {"b@Other.example", "one@example.com"};
    struct config_alias alias = {"out@example.com", outside, 2};
    struct network loopback = {BARID_FAMILY_IPV4, {127}, 8};
    struct hop smart = {0};
    struct routing routing = {.relayhosts = &smart, .n_relayhosts = relayhost ? 1 : 0};
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    hop_init(&routing.base);
    smart = routing.base;
    smart.name = BARID_S("smart.example");
    f->routing = &routing;
    f->config->aliases = &alias;
    f->config->n_aliases = 1;
    f->script.store = NULL;
    f->script.store_for = "one@example.com";
    memset(f->spool->key, 7, sizeof f->spool->key);
    memset(f->gate.spool.key, 7, sizeof f->gate.spool.key);
    if (trusted)
        f->config->trusted = (struct network_list){&loopback, 1};
    start(f);
    greet(&c, f);
    exchange(&c, "MAIL FROM:<a@sender.example>", "250 ");
    exchange(&c, "RCPT TO:<out@example.com>", "250 ");
    exchange(&c, "RCPT TO:<a@[192.0.2.1]>", trusted ? "250 " : "550 5.7.1 ");
    message(&c, "250 ");
    load_only(f, &l);
    assert_int_equal(l.n_units, trusted ? 3 : 2);
    assert_int_equal(l.units[0].group, SPOOL_GROUP_NONE); /* stored */
    assert_int_equal(l.units[1].group, group_of(relayhost ? "smart.example" : "other.example", f->spool->key));
    if (trusted)
        assert_int_equal(l.units[2].group, group_of(relayhost ? "smart.example" : "[192.0.2.1]", f->spool->key));
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

static void test_let_out(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        run_let_out(i & 1, i & 2);
}

static void test_aliases(void **state)
{
    static const char *team[] = {"one@example.com", "two@example.com", "team@example.com"};
    static const char *all[] = {"one@example.com"};
    struct config_alias aliases[] = {{"team@example.com", team, 3}, {"@example.com", all, 1}};
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    f->config->aliases = aliases;
    f->config->n_aliases = 2;
    start(f);
    greet(&c, f);
    envelope(&c, "Team@Example.com");
    message(&c, "250 ");
    load_only(f, &l);
    /* one, two and (the alias names itself) team; two is no alias, so the catch-all would lead
     * it to one, which is there already: @example.com was not followed yet on that way */
    assert_in_range(l.n_units, 2, 3);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

/* Hooks of the session see no mail, however the client pipelines; `queued` sees its own. */
static void test_mail_in_scope(void **state)
{
    static const char all[] = "NOOP\r\nMAIL FROM:<sender@client.example>\r\nVRFY x\r\n"
                              "RCPT TO:<user@example.com>\r\nHELP\r\nDATA\r\n";
    static const char rest[] = "Subject: x\r\n\r\nhello\r\n.\r\nNOOP\r\nFOO\r\n"
                               "MAIL FROM:<sender@client.example>\r\nRSET\r\nQUIT\r\n";
    struct fixture *f = prepare();
    struct client c;
    (void)state;
    start(f);
    greet(&c, f);
    say(&c, all, sizeof all - 1);
    expect(&c, "250 ");
    expect(&c, "250 ");
    expect(&c, "252 ");
    expect(&c, "250 ");
    expect(&c, "214 ");
    expect(&c, "354 ");
    say(&c, rest, sizeof rest - 1);
    expect(&c, "250 2.0.0 Ok: queued as ");
    expect(&c, "250 ");
    expect(&c, "500 ");
    expect(&c, "250 ");
    expect(&c, "250 ");
    expect(&c, "221 ");
    expect_end(&c);
    begin_stop(f);
    await_stop(f);
    assert_int_equal(f->mails_in_session, 0);
    assert_int_equal(f->mails, 9); /* two mails; rcpt to recipient; queued */
    finish(f);
}

static void accept_plainly(struct fixture *f)
{
    f->script.verdict[BARID_EVENT_RCPT] = (barid_verdict){.kind = BARID_ACCEPT};
}

/* A handler accepts with an enhanced code of refusals: the client hears 451, and the mail has
 * only the recipients that it heard 250 for. */
static void test_wrong_accept(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    struct mail m;
    struct unit *units;
    size_t n;
    struct arena arena;
    (void)state;
    f->script.verdict[BARID_EVENT_RCPT] =
        (barid_verdict){.kind = BARID_ACCEPT, .enhanced = BARID_S("5.1.1")};
    start(f);
    greet(&c, f);
    exchange(&c, "MAIL FROM:<sender@client.example>", "250 ");
    exchange(&c, "RCPT TO:<one@example.com>", "451 4.3.0");
    on_loop(f, accept_plainly);
    exchange(&c, "RCPT TO:<two@example.com>", "250 ");
    message(&c, "250 ");
    quit(&c);
    load_only(f, &l);
    arena_init(&arena, NULL, 0);
    assert_int_equal(record_decode(&m, &arena, l.meta, l.header, &units, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(m.n_rcpts, 1);
    assert_true(slice_eq(m.rcpts[0]->box.address, BARID_S("two@example.com")));
    arena_deinit(&arena);
    f->spool->ops->loaded_free(&l);
    stop(f);
}

/* Trust in the proxy's host is none in the clients that it speaks for. */
static void test_no_xclient_behind_proxy(void **state)
{
    struct network loopback = {.family = BARID_FAMILY_IPV4, .addr = {127}, .bits = 8};
    struct fixture *f = prepare();
    struct client c;
    (void)state;
    f->config->proxies = f->config->xclients = (struct network_list){.v = &loopback, .n = 1};
    f->listen.proxy = true;
    start(f);
    dial(&c, f);
    say(&c, "PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n", 45);
    expect(&c, "220 ");
    exchange(&c, "EHLO client.example", "250 ");
    exchange(&c, "XCLIENT LOGIN=admin", "500 ");
    quit(&c);
    f->config->proxies = f->config->xclients = (struct network_list){0};
    stop(f);
}

static void test_big_body(void **state)
{
    enum { SIZE = 3 << 20 };
    struct fixture *f = prepare();
    struct client c;
    struct spool_message m;
    char command[64], *body = malloc(SIZE);
    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        body[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char)('a' + i % 23);
    memcpy(body + SIZE - 2, "\r\n", 2);
    body[SIZE - 3] = body[SIZE - 4] = 'x';
    start(f);
    greet(&c, f);
    envelope(&c, "user@example.com");
    snprintf(command, sizeof command, "BDAT %d LAST\r\n\r\n", SIZE + 2);
    say(&c, command, strlen(command));
    say(&c, body, SIZE);
    expect(&c, "250 2.0.0 Ok: queued as ");
    assert_int_equal(f->spool->ops->after(f->spool, 0, &m), 0);
    assert_body(f, m.id, body, SIZE);
    free(body);
    quit(&c);
    stop(f);
}

static void test_spool_full(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct err err = {0};
    (void)state;
    f->spool->ops->close(f->spool);
    assert_int_equal(
        spool_memory_open(&f->spool, &(struct spool_memory_options){.max_bytes = 1}, &err), 0);
    start(f);
    greet(&c, f);
    exchange(&c, "MAIL FROM:<a@b.example> SIZE=1000000", "452 4.3.1");
    exchange(&c, "MAIL FROM:<a@b.example>", "250 ");
    exchange(&c, "RCPT TO:<user@example.com>", "250 ");
    message(&c, "452 4.3.1");
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 0);
    quit(&c);
    stop(f);
}

static void test_connection_limits(void **state)
{
    struct fixture *f = prepare();
    struct client a, b;
    (void)state;
    f->config->limits.connections = 1;
    start(f);
    greet(&a, f);
    dial(&b, f);
    expect(&b, "421 4.7.0 ");
    expect_end(&b);
    quit(&a);
    stop(f);
}

/* Idle sessions hear 421 at once, a transaction may finish. */
static void test_graceful_stop(void **state)
{
    struct fixture *f = prepare();
    struct client idle, busy;
    (void)state;
    start(f);
    greet(&idle, f);
    greet(&busy, f);
    envelope(&busy, "user@example.com");
    begin_stop(f);
    expect(&idle, "421 4.3.2 ");
    expect_end(&idle);
    message(&busy, "250 ");
    expect(&busy, "421 4.3.2 ");
    expect_end(&busy);
    finish(f);
}

static void write_users(char *path)
{
    static const char line[] = "user:{PLAIN}secret\n";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, line, sizeof line - 1), sizeof line - 1);
    close(fd);
}

static void test_submission(void **state)
{
    char path[] = "/tmp/barid-users-XXXXXX";
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    struct err err = {0};
    (void)state;
    write_users(path);
    assert_int_equal(users_load(&f->users, path, &err, NULL), 0);
    unlink(path);
    f->listen.protocol = BARID_SUBMISSION;
    f->listen.auth = LISTEN_AUTH_REQUIRED;
    f->listen.plain_auth_without_tls = true;
    start(f);
    greet(&c, f);
    exchange(&c, "MAIL FROM:<user@example.com>", "530 5.7.0");
    exchange(&c, "AUTH PLAIN AHVzZXIAd3Jvbmc=", "535 5.7.8");     /* user, wrong */
    exchange(&c, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=", "535 5.7.8"); /* nobody, secret */
    exchange(&c, "AUTH PLAIN AHVzZXIAc2VjcmV0", "235 ");
    exchange(&c, "MAIL FROM:<other@example.com>", "553 5.7.1");
    exchange(&c, "MAIL FROM:<user@elsewhere.example>", "553 5.7.1");
    exchange(&c, "MAIL FROM:<user+list@example.com>", "250 ");
    exchange(&c, "RCPT TO:<friend@elsewhere.example>", "250 "); /* who is known may relay */
    exchange(&c, "RCPT TO:<friend@example.com>", "250 ");
    message(&c, "250 ");
    load_only(f, &l);
    assert_true(memmem(l.header.p, l.header.n, "\r\nDate: ", 8) != NULL);
    assert_true(memmem(l.header.p, l.header.n, "\r\nMessage-ID: <", 15) != NULL);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_fates),
        cmocka_unit_test(test_no_relay), cmocka_unit_test(test_let_out),
        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_wrong_accept),
        cmocka_unit_test(test_mail_in_scope),
        cmocka_unit_test(test_no_xclient_behind_proxy),
        cmocka_unit_test(test_big_body),
        cmocka_unit_test(test_spool_full),
        cmocka_unit_test(test_connection_limits),
        cmocka_unit_test(test_graceful_stop),
        cmocka_unit_test(test_submission),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
