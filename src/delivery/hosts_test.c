/* delivery/hosts_test.c: exchangers and their addresses against a DNS made of rows, answered in every order; cancelling at
 * every point; each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "delivery/hosts_int.h"

#define PENDING_MAX 64
#define RECORDS_MAX 40

struct row {
    const char *name;
    enum dns_type type;
    enum dns_status status;
    uint16_t preference;
    const char *value; /* MX: host; A: "1" = 192.0.2.1; AAAA: "1" = 2001:db8::1 */
};

static const struct row zone[] = {
    {"plain.test", DNS_MX, DNS_OK, 20, "mx2.test"},
    {"plain.test", DNS_MX, DNS_OK, 10, "mx1.test"},
    {"mx1.test", DNS_A, DNS_OK, 0, "1"},
    {"mx1.test", DNS_A, DNS_OK, 0, "2"},
    {"mx1.test", DNS_AAAA, DNS_OK, 0, "1"},
    {"mx2.test", DNS_A, DNS_OK, 0, "3"},
    {"implicit.test", DNS_A, DNS_OK, 0, "4"},
    {"nothing.test", DNS_AAAA, DNS_NODATA, 0, NULL},
    {"null.test", DNS_MX, DNS_OK, 0, ""},
    {"mixednull.test", DNS_MX, DNS_OK, 0, ""},
    {"mixednull.test", DNS_MX, DNS_OK, 10, "mx2.test"},
    {"gone.test", DNS_MX, DNS_NXDOMAIN, 0, NULL},
    {"servfail.test", DNS_MX, DNS_SERVFAIL, 0, NULL},
    {"timeout.test", DNS_MX, DNS_TIMEOUT, 0, NULL},
    {"loop.test", DNS_MX, DNS_BAD_ANSWER, 0, NULL}, /* what a loop of CNAMEs becomes */
    {"badname.test", DNS_MX, DNS_BAD_NAME, 0, NULL},
    {"halfdown.test", DNS_MX, DNS_OK, 10, "down.test"},
    {"halfdown.test", DNS_MX, DNS_OK, 20, "mx2.test"},
    {"down.test", DNS_A, DNS_SERVFAIL, 0, NULL},
    {"alldown.test", DNS_MX, DNS_OK, 10, "down.test"},
    {"alldown.test", DNS_MX, DNS_OK, 20, "nowhere.test"},
    {"nowhere.test", DNS_A, DNS_NXDOMAIN, 0, NULL},
    {"noaddress.test", DNS_MX, DNS_OK, 10, "nowhere.test"},
    {"backup.test", DNS_MX, DNS_OK, 10, "mx1.test"},
    {"backup.test", DNS_MX, DNS_OK, 20, "us.test"},
    {"backup.test", DNS_MX, DNS_OK, 20, "mx2.test"},
    {"backup.test", DNS_MX, DNS_OK, 30, "mx2.test"},
    {"ours.test", DNS_MX, DNS_OK, 10, "alias.test"},
    {"ours.test", DNS_MX, DNS_OK, 20, "mx1.test"},
    {"alias.test", DNS_A, DNS_OK, 0, "99"},
    {"xn--bcher-kva.test", DNS_MX, DNS_OK, 10, "mx2.test"},
};

struct dns_query {
    barid_slice name;
    enum dns_type type;
    void (*done)(void *user, const struct dns_answer *answer);
    void *user;
    bool live;
};

static struct dns_query pending[PENDING_MAX];
static size_t n_pending, refused_at; /* refused_at: the n-th question finds no memory */
static struct rng_seeded seeded;

static int fake_ask(void *user, barid_slice name, enum dns_type type,
                    void (*done)(void *user, const struct dns_answer *answer), void *done_user,
                    struct dns_query **query_r)
{
    struct dns_query *q = &pending[n_pending];

    (void)user;
    assert_true(n_pending < PENDING_MAX);
    if (refused_at != 0 && --refused_at == 0)
        return BARID_ENOMEM;
    *q = (struct dns_query){name, type, done, done_user, true};
    n_pending++;
    *query_r = q;
    return 0;
}

static void fake_cancel(void *user, struct dns_query **query)
{
    (void)user;
    assert_true((*query)->live);
    (*query)->live = false;
    *query = NULL;
}

static void fill_record(struct dns_record *r, const struct row *row)
{
    *r = (struct dns_record){.type = row->type, .preference = row->preference};
    if (row->type == DNS_MX) {
        r->text = slice_str(row->value);
    } else if (row->type == DNS_A) {
        memcpy(r->addr, (uint8_t[]){192, 0, 2, (uint8_t)atoi(row->value)}, 4);
    } else {
        memcpy(r->addr, (uint8_t[]){0x20, 1, 0xd, 0xb8}, 4);
        r->addr[15] = (uint8_t)atoi(row->value);
    }
}

static void reply(struct dns_query *q)
{
    struct dns_record records[RECORDS_MAX];
    struct dns_answer answer = {.status = DNS_NODATA, .records = records};

    for (size_t i = 0; i < sizeof(zone) / sizeof(zone[0]); i++) {
        if (zone[i].type != q->type || !slice_eq_nocase(q->name, slice_str(zone[i].name)))
            continue;
        answer.status = zone[i].status;
        if (zone[i].status == DNS_OK)
            fill_record(&records[answer.n++], &zone[i]);
    }
    if (slice_eq(q->name, BARID_S("many.test")) && q->type == DNS_MX) {
        static const char *const names[] = {"mx1.test", "mx2.test"};

        answer.status = DNS_OK;
        for (; answer.n < RECORDS_MAX; answer.n++)
            records[answer.n] =
                (struct dns_record){.type = DNS_MX,
                                    .preference = (uint16_t)(RECORDS_MAX - answer.n),
                                    .text = slice_str(names[answer.n % 2])};
    }
    q->live = false;
    q->done(q->user, &answer);
}

/* What lives is answered, in an order by chance. */
static bool reply_to_one(void)
{
    size_t live[PENDING_MAX], n = 0;

    for (size_t i = 0; i < n_pending; i++)
        if (pending[i].live)
            live[n++] = i;
    if (n > 0)
        reply(&pending[live[rng_u64(&seeded.rng) % n]]);
    return n > 0;
}

static bool is_us(void *user, barid_slice name, const barid_endpoint *address)
{
    (void)user;
    return address == NULL ? slice_eq_nocase(name, BARID_S("us.test"))
                           : address->addr[3] == 99 && address->port == 25;
}

struct fixture {
    struct loop *loop;
    struct hosts_options o;
    struct hosts_query *q;
    char got[2048]; /* "name address:port preference\n" ..., or the reply */
    unsigned done;
    enum hosts_status status;
};

static void begin(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    assert_int_equal(loop_new(&f->loop, NULL, NULL, NULL), 0);
    rng_seeded_init(&seeded, 11);
    n_pending = refused_at = 0;
    f->o = (struct hosts_options){.loop = f->loop,
                                  .source = {fake_ask, fake_cancel, NULL},
                                  .rng = &seeded.rng,
                                  .is_self = is_us};
}

static void on_done(void *user, const struct hosts_answer *answer)
{
    struct fixture *f = user;
    size_t n = 0;

    f->done++;
    f->status = answer->status;
    f->q = NULL;
    if (answer->status != HOSTS_OK) {
        assert_int_equal(answer->n, 0);
        snprintf(f->got, sizeof(f->got), "%s", answer->reply);
        return;
    }
    assert_true(answer->n > 0 && answer->n <= HOSTS_ADDRESSES_MAX);
    for (size_t i = 0; i < answer->n && n < sizeof(f->got) - 1; i++) {
        char text[ENDPOINT_SIZE];

        endpoint_format(&answer->addresses[i].endpoint, text);
        n += (size_t)snprintf(f->got + n, sizeof(f->got) - n, "%.*s %s %u\n",
                              (int)answer->addresses[i].name.n, answer->addresses[i].name.p,
                              text, answer->addresses[i].preference);
    }
}

static void ask(struct fixture *f, struct next_hop hop)
{
    f->done = 0;
    n_pending = 0;
    assert_int_equal(hosts_ask(&f->o, &hop, on_done, f, &f->q), 0);
    assert_int_equal(f->done, 0);
    while (reply_to_one())
        assert_int_equal(f->done, 0);
    loop_turn(f->loop, false);
    assert_int_equal(f->done, 1);
}

static void asked(struct fixture *f, const char *name, enum hosts_status status,
                  const char *want)
{
    ask(f, (struct next_hop){.name = slice_str(name)});
    assert_int_equal(f->status, status);
    assert_string_equal(f->got, want);
}

#define MX1 "mx1.test [2001:db8::1]:25 10\nmx1.test 192.0.2.1:25 10\nmx1.test 192.0.2.2:25 10\n"
#define MX2 "mx2.test 192.0.2.3:25 20\n"

static void test_outcomes(void **state)
{
    static const struct {
        const char *name;
        enum hosts_status status;
        const char *want;
    } cases[] = {
        {"plain.test", HOSTS_OK, MX1 MX2},
        {"implicit.test", HOSTS_OK, "implicit.test 192.0.2.4:25 0\n"},
        {"nothing.test", HOSTS_FAILED,
         "550 5.4.4 nothing.test: no mail server with an address"},
        {"null.test", HOSTS_FAILED, "556 5.1.10 null.test: takes no mail (null MX)"},
        {"mixednull.test", HOSTS_OK, "mx2.test 192.0.2.3:25 10\n"},
        {"gone.test", HOSTS_FAILED, "550 5.1.2 gone.test: no such domain"},
        {"servfail.test", HOSTS_AGAIN,
         "451 4.4.3 servfail.test: no answer about its mail servers (DNS: servfail)"},
        {"timeout.test", HOSTS_AGAIN,
         "451 4.4.3 timeout.test: no answer about its mail servers (DNS: timeout)"},
        {"loop.test", HOSTS_AGAIN,
         "451 4.4.3 loop.test: no answer about its mail servers (DNS: bad answer)"},
        {"badname.test", HOSTS_FAILED, "550 5.1.2 badname.test: not a domain name"},
        {"halfdown.test", HOSTS_OK, MX2},
        {"alldown.test", HOSTS_AGAIN,
         "451 4.4.3 down.test: no answer about its address (DNS: servfail)"},
        {"noaddress.test", HOSTS_FAILED,
         "550 5.4.4 noaddress.test: no mail server with an address"},
        {"backup.test", HOSTS_OK, MX1},
        {"us.test", HOSTS_FAILED, "554 5.4.6 us.test: its mail servers lead back to this one"},
        {"ours.test", HOSTS_FAILED,
         "554 5.4.6 ours.test: its mail servers lead back to this one"},
        {"[192.0.2.7]", HOSTS_OK, "[192.0.2.7] 192.0.2.7:25 0\n"},
        {"[192.0.2.99]", HOSTS_FAILED,
         "554 5.4.6 [192.0.2.99]: its mail servers lead back to this one"},
        {"[IPv6:2001:db8::7]", HOSTS_OK, "[IPv6:2001:db8::7] [2001:db8::7]:25 0\n"},
        {"[192.0.2]", HOSTS_FAILED, "550 5.1.2 [192.0.2]: not an address"},
        {"[", HOSTS_FAILED, "550 5.1.2 [: not an address"},
        {"", HOSTS_FAILED, "550 5.1.2 not a domain name"},
        {"b\xc3\xbc\x63her.test", HOSTS_OK, "mx2.test 192.0.2.3:25 10\n"},
        {"\xf0\x9f\x98\x80.test", HOSTS_FAILED, "550 5.1.2 not a domain name"},
    };
    struct fixture f;

    (void)state;
    begin(&f);
    for (int order = 0; order < 20; order++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            asked(&f, cases[i].name, cases[i].status, cases[i].want);
    loop_del(&f.loop);
}

static void test_smart_host(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    ask(&f, (struct next_hop){.name = BARID_S("mx1.test"), .port = 587, .is_host = true});
    assert_string_equal(
        f.got,
        "mx1.test [2001:db8::1]:587 0\nmx1.test 192.0.2.1:587 0\nmx1.test 192.0.2.2:587 0\n");
    /* this server's own address, but another port: not this server */
    ask(&f, (struct next_hop){.name = BARID_S("[192.0.2.99]"), .port = 587});
    assert_int_equal(f.status, HOSTS_OK);
    loop_del(&f.loop);
}

static void test_families(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.o.no_ipv4 = true;
    asked(&f, "plain.test", HOSTS_OK, "mx1.test [2001:db8::1]:25 10\n");
    f.o.no_ipv4 = false;
    f.o.no_ipv6 = true;
    asked(&f, "plain.test", HOSTS_OK,
          "mx1.test 192.0.2.1:25 10\nmx1.test 192.0.2.2:25 10\n" MX2);
    f.o.no_ipv4 = true;
    asked(&f, "plain.test", HOSTS_FAILED,
          "550 5.4.4 plain.test: no mail server with an address");
    loop_del(&f.loop);
}

/* Over HOSTS_EXCHANGERS_MAX the best are taken, over HOSTS_ADDRESSES_MAX the first. */
static void test_limits(void **state)
{
    struct host hosts[HOSTS_EXCHANGERS_MAX] = {0};
    struct host_address out[HOSTS_ADDRESSES_MAX];
    struct fixture f;
    bool looped;

    (void)state;
    begin(&f);
    ask(&f, (struct next_hop){.name = BARID_S("many.test")});
    assert_int_equal(n_pending, 1 + HOST_FAMILIES * HOSTS_EXCHANGERS_MAX);
    assert_non_null(strstr(f.got, "mx2.test 192.0.2.3:25 1\n"));
    assert_non_null(strstr(f.got, " 16\n"));
    assert_null(strstr(f.got, " 17\n"));
    for (size_t i = 0; i < HOSTS_EXCHANGERS_MAX; i++)
        hosts[i].family[0].n = hosts[i].family[1].n = HOST_FAMILY_ADDRESSES_MAX;
    assert_int_equal(
        hosts_order(hosts, HOSTS_EXCHANGERS_MAX, out, HOSTS_ADDRESSES_MAX, &looped),
        HOSTS_ADDRESSES_MAX);
    assert_false(looped);
    loop_del(&f.loop);
}

/* Equals come in every order, each about as often. */
static void test_order_by_chance(void **state)
{
    unsigned first[3] = {0};
    struct rng_seeded r;

    (void)state;
    rng_seeded_init(&r, 5);
    for (int i = 0; i < 3000; i++) {
        struct host hosts[3] = {0};
        struct host_address out[3];
        bool looped;

        for (size_t h = 0; h < 3; h++) {
            hosts[h].order = rng_u64(&r.rng);
            hosts[h].family[1].n = 1;
            hosts[h].family[1].v[0].port = (uint16_t)h;
        }
        assert_int_equal(hosts_order(hosts, 3, out, 3, &looped), 3);
        first[out[0].endpoint.port]++;
    }
    for (size_t h = 0; h < 3; h++)
        assert_true(first[h] > 800 && first[h] < 1200);
}

/* After every number of answers: nothing is called any more, and nothing is left. */
static void test_cancel(void **state)
{
    (void)state;
    for (unsigned answers = 0; answers < 12; answers++) {
        struct fixture f;

        begin(&f);
        assert_int_equal(hosts_ask(&f.o, &(struct next_hop){.name = BARID_S("plain.test")},
                                   on_done, &f, &f.q),
                         0);
        for (unsigned i = 0; i < answers; i++)
            reply_to_one();
        hosts_cancel(&f.q);
        assert_null(f.q);
        assert_false(reply_to_one());
        loop_turn(f.loop, false);
        assert_int_equal(f.done, 0);
        loop_del(&f.loop);
    }
}

static void test_no_memory(void **state)
{
    struct fail_mem fail = {0};

    (void)state;
    while (fail_mem_next(&fail)) {
        struct fixture f;

        begin(&f);
        f.o.mem = &fail.mem;
        if (hosts_ask(&f.o, &(struct next_hop){.name = BARID_S("b\xc3\xbc\x63her.test")},
                      on_done, &f, &f.q) == 0) {
            while (reply_to_one())
                continue;
            loop_turn(f.loop, false);
            assert_int_equal(f.done, 1);
            assert_int_equal(f.status, fail.failed ? HOSTS_AGAIN : HOSTS_OK);
        } else {
            assert_true(fail.failed);
        }
        loop_del(&f.loop);
    }
    for (
        size_t n = 1; n <= 5;
        n++) { /* the questions of plain.test: an address is found without any one but the first */
        struct fixture f;

        begin(&f);
        refused_at = n;
        ask(&f, (struct next_hop){.name = BARID_S("plain.test")});
        assert_int_equal(f.status, n == 1 ? HOSTS_AGAIN : HOSTS_OK);
        loop_del(&f.loop);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),        cmocka_unit_test(test_smart_host),
        cmocka_unit_test(test_families),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_order_by_chance), cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
