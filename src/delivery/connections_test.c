/* delivery/connections_test.c: kept connections, seen through the relay: for whom one is used again and for whom not, how long it lives, and
 * what happens to a mail that finds it gone; addresses that were just unreachable. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "delivery/connections.h"
#include "delivery/relay_testing.h"
#include "delivery/unreachable.h"
#include "io/tls_testing.h"

static struct certs certs;

static void begin(struct post *p, const struct rule *rules)
{
    assert_true(post_begin(p, NULL));
    post_server(p, 0, rules, true);
}

static void test_used_again(void **state)
{
    struct post p;

    (void)state;
    begin(&p, R({"RCPT TO:<b", "550 5.1.1 no", 1}));
    for (int i = 0; i < 5; i++)
        assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_int_equal(p.servers[0].connections, 1);
    assert_string_equal(p.parcels[0].log[1], "done mx1.test final 250 ok");
    assert_int_equal(p.servers[0].open, 1);
    /* with RSET after half a mail */
    p.servers[0].rules = R({"RCPT", "550 5.1.1 no"});
    memset(p.servers[0].counts, 0, sizeof(p.servers[0].counts));
    assert_string_equal(post_one(&p), "failed mx1.test rcpt 550 5.1.1 no");
    p.servers[0].rules = NULL;
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_int_equal(p.servers[0].connections, 1);
    assert_true(server_saw(&p.servers[0], "|RSET|MAIL"));
    post_end(&p);
}

static void test_closed_when_idle(void **state)
{
    struct post p;

    (void)state;
    begin(&p, NULL);
    post_one(&p);
    post_turn(&p);
    post_advance(&p, RELAY_IDLE_MS - 1);
    assert_int_equal(p.servers[0].open, 1);
    post_advance(&p, 1);
    assert_int_equal(p.servers[0].open, 0);
    assert_true(server_saw(&p.servers[0], "|.|QUIT|"));
    post_one(&p);
    assert_int_equal(p.servers[0].connections, 2);
    post_end(&p);
    /* who does not answer QUIT is not waited for */
    begin(&p, R({"QUIT", HOLDS}));
    post_one(&p);
    post_turn(&p);
    post_advance(&p, RELAY_IDLE_MS);
    post_advance(&p, 6000);
    assert_int_equal(p.servers[0].open, 0);
    post_end(&p);
}

static void test_closed_when_relay_is(void **state)
{
    struct post p;

    (void)state;
    begin(&p, NULL);
    post_one(&p);
    post_turn(&p);
    p.t->close(p.t);
    p.t = NULL;
    post_turn(&p);
    assert_true(server_saw(&p.servers[0], "|.|QUIT|"));
    assert_int_equal(p.servers[0].open, 0);
    post_end(&p);
}

static void test_max_mails(void **state)
{
    struct post p;

    (void)state;
    begin(&p, NULL);
    for (int i = 0; i < 7; i++) {
        struct parcel *parcel = post_parcel(&p, 0, "x.test", 1);

        parcel->hop.max_mails = 3;
        post_send(parcel);
        post_run(parcel);
        post_turn(&p);
    }
    assert_int_equal(p.servers[0].connections, 3);
    assert_int_equal(p.servers[0].open, 1);
    post_end(&p);
}

/* --- for whom --- */

static void change_nothing(struct hop *hop)
{
    hop->connect_ms = 5000; /* is over by then */
}
static void change_source(struct hop *hop)
{
    hop->source4 = (barid_endpoint){.family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 9}};
}
static void change_helo(struct hop *hop)
{
    hop->helo = BARID_S("them.test");
}
static void change_user(struct hop *hop)
{
    hop->user = BARID_S("tom");
}
static void change_password(struct hop *hop)
{
    hop->password = BARID_S("other");
}
static void change_mechanisms(struct hop *hop)
{
    hop->mechanisms_plain = 1u << BARID_AUTH_LOGIN | 1u << BARID_AUTH_PLAIN;
}
static void change_tls(struct hop *hop)
{
    hop->tls = HOP_TLS_OFF;
}
static void change_to_required(struct hop *hop)
{
    hop->tls = HOP_TLS_REQUIRED;
}
static void change_to_verified(struct hop *hop)
{
    hop->tls = HOP_TLS_VERIFIED;
}
static void change_dsn(struct hop *hop)
{
    hop->dsn = false;
}
static void change_name(struct hop *hop)
{
    hop->name = BARID_S("[127.0.0.1]");
}
static void change_protocol(struct hop *hop)
{
    hop->protocol = HOP_LMTP;
}

static const struct {
    void (*change)(struct hop *hop);
    unsigned connections;
} changes[] = {{change_nothing, 1}, {change_source, 2},      {change_helo, 2},
               {change_user, 2},    {change_password, 2},    {change_mechanisms, 2},
               {change_tls, 2},     {change_to_required, 2}, {change_to_verified, 2},
               {change_dsn, 2},     {change_name, 2},        {change_protocol, 2}};

static void send_changed(struct post *p, void (*change)(struct hop *hop))
{
    struct parcel *parcel = post_parcel(p, 0, "mx1.test", 1);

    parcel->hop.is_host = true;
    parcel->hop.user = BARID_S("tim");
    parcel->hop.password = BARID_S("pw");
    parcel->hop.mechanisms_plain = 1u << BARID_AUTH_PLAIN;
    change(&parcel->hop);
    post_send(parcel);
    post_run(parcel);
    post_turn(p);
}

static void test_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        struct err err = {0};
        struct post p;

        begin(&p, R({"EHLO", "250-mx\r\n250-AUTH PLAIN\r\n250 STARTTLS"},
                    {"STARTTLS", STARTS_TLS}, {"AUTH", "235 ok"}));
        post_tls(&p, certs.cert);
        assert_int_equal(tls_server_new(&p.servers[0].tls,
                                        &(struct tls_server_options){.cert_file = certs.cert,
                                                                     .key_file = certs.key},
                                        &err),
                         0);
        send_changed(&p, change_nothing);
        assert_string_equal(p.parcels[0].log[0], "done mx1.test final 250 ok");
        send_changed(&p, changes[i].change);
        if (p.servers[0].connections != changes[i].connections)
            fail_msg("change %zu: %u connections", i, p.servers[0].connections);
        send_changed(&p, change_nothing); /* the first is still there */
        assert_int_equal(p.servers[0].connections, changes[i].connections);
        /* new certificates to believe in: what was made with the old ones is not used */
        tls_unref(&p.tls);
        tls_unref(&p.tls_verified);
        post_tls(&p, certs.cert2);
        send_changed(&p, change_nothing);
        assert_int_equal(p.servers[0].connections, changes[i].connections + 1);
        post_end(&p);
    }
    printf("# proof: kept connections: %zu differences keep two next hops apart\n",
           sizeof(changes) / sizeof(changes[0]) - 1);
}

/* Among exchangers of one preference the one with a connection is as good as any. A better one is not passed by. */
static void test_equals(void **state)
{
    struct post p;

    (void)state;
    begin(&p, NULL);
    post_server(&p, 1, NULL, true);
    for (int i = 0; i < 20; i++) {
        struct parcel *parcel = post_parcel(&p, 0, "equal.test", 1);

        post_send(parcel);
        post_run(parcel);
        post_turn(&p);
    }
    assert_int_equal(p.servers[0].connections + p.servers[1].connections, 1);
    post_end(&p);
    begin(&p, R({"MAIL", "451 4.3.0 later", 1}));
    post_server(&p, 1, NULL, true);
    assert_string_equal(post_one(&p), "done mx2.test final 250 ok");
    post_turn(&p);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_int_equal(p.servers[0].connections, 1);
    post_end(&p);
}

static void test_two_at_once(void **state)
{
    struct parcel *a, *b;
    struct post p;

    (void)state;
    begin(&p, NULL);
    for (int i = 0; i < 3; i++) {
        a = post_parcel(&p, 0, "x.test", 3);
        b = post_parcel(&p, 1, "x.test", 2);
        assert_int_equal(post_send(a), 0);
        assert_int_equal(post_send(b), 0);
        post_run(a);
        while (b->over == 0)
            post_turn(&p);
        post_turn(&p);
        assert_string_equal(a->log[2], "done mx1.test final 250 ok");
        assert_string_equal(b->log[1], "done mx1.test final 250 ok");
    }
    assert_int_equal(p.servers[0].connections, 2);
    post_end(&p);
}

/* --- gone --- */

/* What the server does with the second mail of a connection; how often it is seen to begin, and what becomes of it. */
static void second(const struct rule *rules, const char *want, unsigned connections)
{
    struct post p;

    begin(&p, rules);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    post_turn(&p);
    assert_int_equal(strncmp(post_one(&p), want, strlen(want)), 0);
    assert_int_equal(p.servers[0].connections, connections);
    post_end(&p);
}

static void test_gone(void **state)
{
    struct post p;

    (void)state;
    second(R({"MAIL", CLOSES, 2}), "done mx1.test final 250 ok", 2);
    second(R({"MAIL", "421 4.4.2 too long", 2}), "done mx1.test final 250 ok", 2);
    /* something was answered: the usual rules hold */
    second(R({"MAIL", "451 4.3.0 later", 2}), "again mx3.test connect", 1);
    second(R({"RCPT TO:<a", CLOSES, 2}), "again mx3.test connect", 1);
    second(R({".", CLOSES, 2}), "again suspect mx1.test final", 1);
    /* on a fresh connection, too: only once */
    second(R({"MAIL", "250 ok", 1}, {"MAIL", CLOSES}), "again mx3.test connect", 2);
    /* said while nobody asked: it disappears */
    begin(&p, NULL);
    post_one(&p);
    post_turn(&p);
    server_closes(&p.servers[0], "421 4.4.2 timeout");
    post_turn(&p);
    assert_int_equal(p.servers[0].open, 0);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    assert_int_equal(p.servers[0].connections, 2);
    post_end(&p);
}

/* --- limits --- */

struct holder {
    struct connection *k;
    barid_client_mail mail;
};

static void hold_event(void *user, const barid_client_event *event)
{
    struct holder *h = user;

    if (event->id == BARID_CLIENT_READY)
        connection_send(h->k, &h->mail);
    else if (event->id == BARID_CLIENT_DONE)
        connection_give(&h->k);
}

static void hold_over(void *user)
{
    connection_del(&((struct holder *)user)->k);
}

static void hold_unreachable(void *user, const struct err *err)
{
    (void)user;
    (void)err;
}

static const struct dialogue_ops hold_ops = {
    .on_event = hold_event, .on_unreachable = hold_unreachable, .on_over = hold_over};

/* More than may be kept come back at once: the oldest go, with a QUIT that is not waited for when there are too many of those. */
static void test_limits(void **state)
{
    const size_t all = CONNECTIONS_IDLE_MAX + CONNECTIONS_LEAVING_MAX + 8;
    static struct holder holders[CONNECTIONS_IDLE_MAX + CONNECTIONS_LEAVING_MAX + 8];
    const barid_client_rcpt rcpt = {.address = BARID_S("a@x.test")};
    const barid_client_config config = {.size = sizeof(config), .helo = BARID_S("us.test")};
    struct connections *cs;
    struct connection_request r = {.config = &config};
    struct post p;

    (void)state;
    begin(&p, R({"RCPT", "550 no"}, {"QUIT", HOLDS}));
    assert_int_equal(
        connections_new(&cs, &(struct connections_options){
                                  .loop = p.loop, .idle_ms = 600000, .rng = &rng_system}),
        0);
    r.place = (struct dialogue_place){
        .to = {.family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}, .port = p.port},
        .connect_ms = 1000};
    for (size_t i = 0; i < all; i++) {
        struct err err = {0};

        holders[i] = (struct holder){
            .mail = {.sender = BARID_S("s@x.test"), .rcpts = &rcpt, .n_rcpts = 1}};
        assert_int_equal(connections_open(cs, &r, &hold_ops, &holders[i], &holders[i].k, &err),
                         0);
        while (holders[i].k != NULL)
            post_turn(&p);
    }
    post_turn(&p);
    assert_int_equal(p.servers[0].connections, all);
    assert_int_equal(connections_idle(cs), CONNECTIONS_IDLE_MAX);
    assert_int_equal(p.servers[0].open, CONNECTIONS_IDLE_MAX + CONNECTIONS_LEAVING_MAX);
    connections_del(&cs);
    while (p.servers[0].open > 0)
        post_turn(&p);
    post_end(&p);
}

/* --- unreachable --- */

static void test_unreachable_last(void **state)
{
    struct post p;

    (void)state;
    assert_true(post_begin(&p, NULL));
    post_server(&p, 1, NULL, true);
    assert_string_equal(post_one(&p), "done mx2.test final 250 ok");
    post_turn(&p);
    post_server(&p, 0, NULL, true); /* it is back, which nobody knows */
    assert_string_equal(post_one(&p), "done mx2.test final 250 ok");
    post_advance(&p, UNREACHABLE_MS);
    assert_string_equal(post_one(&p), "done mx1.test final 250 ok");
    post_end(&p);
    /* last, but tried */
    assert_true(post_begin(&p, NULL));
    post_one(&p);
    post_server(&p, 1, NULL, true);
    assert_string_equal(post_one(&p), "done mx2.test final 250 ok");
    post_end(&p);
    /* who takes the connection and says nothing is no better */
    assert_true(post_begin(&p, NULL));
    post_server(&p, 0, R({"", CLOSES}), true);
    post_server(&p, 1, NULL, true);
    post_one(&p);
    post_turn(&p);
    post_one(&p);
    assert_int_equal(p.servers[0].connections, 1);
    post_end(&p);
}

static int set_up(void **state)
{
    (void)state;
    certs_make(&certs);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_used_again),
        cmocka_unit_test(test_closed_when_idle),
        cmocka_unit_test(test_closed_when_relay_is),
        cmocka_unit_test(test_max_mails),
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_equals),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_unreachable_last),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
