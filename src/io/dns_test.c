/* Queries against a name server on loopback. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/buf.h"
#include "base/slice.h"
#include "io/dns.h"
#include "io/dns_testing.h"

struct fixture {
    struct name_server ns;
    struct loop *loop;
    struct dns *dns;
    char address[32];
};

static struct dns *make(struct fixture *f, struct dns_options o)
{
    const char *servers[] = {f->address};
    struct dns *dns;

    o.servers = servers;
    o.n_servers = 1;
    assert_int_equal(dns_new(&dns, f->loop, &o, NULL), 0);
    return dns;
}

/* Of one server more than is allowed. */
static void test_many_servers(void **state)
{
    const char *servers[17];
    struct dns_options o = {.servers = servers, .n_servers = 17};
    struct fixture *f = *state;
    struct err err = {0};
    struct dns *dns;

    for (size_t i = 0; i < 17; i++)
        servers[i] = f->address;
    assert_int_equal(dns_new(&dns, f->loop, &o, &err), BARID_ELIMIT);
    assert_string_equal(err.text, "DNS: at most 16 servers");
    o.n_servers = 16;
    assert_int_equal(dns_new(&dns, f->loop, &o, &err), 0);
    dns_del(&dns);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    name_server_start(&f->ns);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", f->ns.port);
    assert_int_equal(loop_new(&f->loop, NULL, NULL, NULL), 0);
    f->dns = make(f, (struct dns_options){0});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    dns_del(&f->dns);
    loop_del(&f->loop);
    name_server_stop(&f->ns);
    free(f);
    return 0;
}

struct result {
    unsigned done;
    enum dns_status status;
    bool authenticated;
    uint32_t negative_ttl;
    char text[4096]; /* of all records, one per line */
    struct fixture *f;
    bool delete_dns;
    struct dns_query **cancel;
};

static void on_answer(void *user, const struct dns_answer *a)
{
    struct result *r = user;
    size_t at = 0;

    r->done++;
    r->status = a->status;
    r->authenticated = a->authenticated;
    r->negative_ttl = a->negative_ttl;
    for (size_t i = 0; i < a->n; i++) {
        const struct dns_record *rec = &a->records[i];
        char z[INET6_ADDRSTRLEN] = "";

        if (rec->type == DNS_A)
            inet_ntop(AF_INET, rec->addr, z, sizeof(z));
        at +=
            (size_t)snprintf(r->text + at, sizeof(r->text) - at, "%s%s%.*s/%u\n",
                             rec->type == DNS_MX ? (rec->preference == 10 ? "10 " : "20 ") : "",
                             z, (int)rec->text.n, rec->text.p, rec->ttl);
    }
    if (r->cancel != NULL)
        dns_cancel(r->cancel);
    if (r->delete_dns)
        dns_del(&r->f->dns);
}

static void turn_until(struct fixture *f, const struct result *r, unsigned done)
{
    while (r->done < done)
        loop_turn(f->loop, true);
}

static void check(struct fixture *f, struct dns *dns, const char *name, enum dns_type type,
                  enum dns_status status, const char *text)
{
    struct result r = {.f = f};

    assert_int_equal(dns_ask(dns, slice_str(name), type, on_answer, &r, NULL), 0);
    assert_int_equal(r.done, 0);
    turn_until(f, &r, 1);
    if (r.status != status || strcmp(r.text, text) != 0)
        fail_msg("%s: %s\n%s", name, dns_status_name(r.status), r.text);
}

static void test_answers(void **state)
{
    struct fixture *f = *state;

    check(f, f->dns, "a.test", DNS_A, DNS_OK, "192.0.2.1/300\n192.0.2.2/300\n");
    check(f, f->dns, "a.test.", DNS_A, DNS_OK, "192.0.2.1/300\n192.0.2.2/300\n");
    check(f, f->dns, "mx.test", DNS_MX, DNS_OK, "10 mx1.test/300\n20 b/300\n");
    check(f, f->dns, "txt.test", DNS_TXT, DNS_OK, "v=spf1 -all/300\n");
    check(f, f->dns, "nodata.test", DNS_A, DNS_NODATA, "");
    check(f, f->dns, "a.test", DNS_AAAA, DNS_NODATA, "");
    check(f, f->dns, "nx.test", DNS_A, DNS_NXDOMAIN, "");
    check(f, f->dns, "fail.test", DNS_A, DNS_SERVFAIL, "");
    check(f, f->dns, "refused.test", DNS_A, DNS_REFUSED, "");
    check(f, f->dns, "garbage.test", DNS_A, DNS_BAD_ANSWER, "");
    check(f, f->dns, "other.test", DNS_A, DNS_NODATA,
          ""); /* an answer about another name is none */
    check(f, f->dns, "formerr.test", DNS_A, DNS_OK, "192.0.2.1/300\n");
}

/* RFC 2308 5: the TTL of the SOA or its MINIMUM, whichever is less. */
static void test_negative_ttl(void **state)
{
    static const struct {
        const char *name;
        enum dns_status status;
        uint32_t ttl;
    } rows[] = {{"nx.test", DNS_NXDOMAIN, 0},
                {"nxsoa.test", DNS_NXDOMAIN, 60},
                {"nodata.test", DNS_NODATA, 0},
                {"soa.test", DNS_NODATA, 300},
                {"soashort.test", DNS_NODATA, 0},
                {"a.test", DNS_OK, 0}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct result r = {.f = f};

        assert_int_equal(dns_ask(f->dns, slice_str(rows[i].name), DNS_A, on_answer, &r, NULL), 0);
        turn_until(f, &r, 1);
        assert_int_equal(r.status, rows[i].status);
        assert_int_equal(r.negative_ttl, rows[i].ttl);
    }
}

static void test_cname(void **state)
{
    struct fixture *f = *state;

    check(f, f->dns, "chain.test", DNS_A, DNS_OK, "192.0.2.3/300\n");
    check(f, f->dns, "chain.test", DNS_CNAME, DNS_OK, "c1.test/300\n");
    check(f, f->dns, "far.test", DNS_A, DNS_OK,
          "192.0.2.1/300\n192.0.2.2/300\n"); /* asked again */
    check(f, f->dns, "loop1.test", DNS_A, DNS_BAD_ANSWER, "");
    check(f, f->dns, "self.test", DNS_A, DNS_BAD_ANSWER, "");
    assert_in_range(f->ns.questions, 5, 20);
}

static void test_truncated_goes_to_tcp(void **state)
{
    struct fixture *f = *state;
    struct result r = {.f = f};

    assert_int_equal(dns_ask(f->dns, BARID_S("big.test"), DNS_TXT, on_answer, &r, NULL), 0);
    turn_until(f, &r, 1);
    assert_int_equal(r.status, DNS_OK);
    assert_int_equal(strlen(r.text), 15 * 200 + strlen("/300\n"));
}

static void test_timeout(void **state)
{
    struct fixture *f = *state;
    struct dns *dns = make(f, (struct dns_options){.timeout_ms = 40, .tries = 2});
    unsigned before = f->ns.questions;

    check(f, dns, "silent.test", DNS_A, DNS_TIMEOUT, "");
    assert_int_equal(f->ns.questions - before, 2);
    dns_del(&dns);
}

/* How many ports so many questions come from. */
static unsigned ports(struct fixture *f, struct dns *dns, const char *name, enum dns_status status, unsigned n)
{
    unsigned seen[32], count = 0;

    for (unsigned i = 0; i < n; i++) {
        unsigned k = 0;

        check(f, dns, name, DNS_CNAME, status, "");
        while (k < count && seen[k] != f->ns.from)
            k++;
        if (k == count)
            seen[count++] = f->ns.from;
    }
    return count;
}

/* A socket is used again, but not one that led nowhere: it may be of an address that this host no longer has. */
static void test_ports(void **state)
{
    struct fixture *f = *state;
    struct dns *dns = make(f, (struct dns_options){.timeout_ms = 10, .tries = 1});

    assert_in_range(ports(f, f->dns, "nx.test", DNS_NXDOMAIN, 32), 1, 8);
    assert_in_range(ports(f, dns, "silent.test", DNS_TIMEOUT, 32), 24, 32);
    dns_del(&dns);
}

static void test_bad_names(void **state)
{
    static const char *const bad[] = {
        "",       ".",
        "a..b",   ".a",
        "a\\",    "a\\9",
        "a\\999", "a123456789012345678901234567890123456789012345678901234567890123.test"};
    struct fixture *f = *state;
    char longest[300];

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check(f, f->dns, bad[i], DNS_A, DNS_BAD_NAME, "");
    for (size_t i = 0; i < sizeof(longest); i++)
        longest[i] = i % 2 == 0 ? 'a' : '.';
    longest[255] = '\0';
    check(f, f->dns, longest, DNS_A, DNS_BAD_NAME, "");
    longest[253] = '\0';
    check(f, f->dns, longest, DNS_A, DNS_OK, "192.0.2.1/300\n192.0.2.2/300\n");
}

static void test_authenticated(void **state)
{
    struct fixture *f = *state;

    for (int trust = 0; trust < 2; trust++) {
        struct dns *dns = make(f, (struct dns_options){.trust_ad = trust});
        struct result ad = {.f = f}, plain = {.f = f};

        assert_int_equal(dns_ask(dns, BARID_S("ad.test"), DNS_A, on_answer, &ad, NULL), 0);
        assert_int_equal(dns_ask(dns, BARID_S("a.test"), DNS_A, on_answer, &plain, NULL), 0);
        turn_until(f, &ad, 1);
        turn_until(f, &plain, 1);
        assert_int_equal(ad.authenticated, trust);
        assert_false(plain.authenticated);
        assert_int_equal(f->ns.ad_asked, trust);
        dns_del(&dns);
    }
}

static void test_limit(void **state)
{
    struct fixture *f = *state;
    struct dns *dns = make(f, (struct dns_options){.max_queries = 2});
    struct result r[3] = {{.f = f}, {.f = f}, {.f = f}};

    for (int i = 0; i < 3; i++)
        assert_int_equal(dns_ask(dns, BARID_S("a.test"), DNS_A, on_answer, &r[i], NULL), 0);
    for (int i = 0; i < 3; i++)
        turn_until(f, &r[i], 1);
    assert_int_equal(r[0].status, DNS_OK);
    assert_int_equal(r[1].status, DNS_OK);
    assert_int_equal(r[2].status, DNS_SERVFAIL);
    check(f, dns, "a.test", DNS_A, DNS_OK,
          "192.0.2.1/300\n192.0.2.2/300\n"); /* there is room again */
    dns_del(&dns);
}

static void test_cancel(void **state)
{
    struct fixture *f = *state;
    struct result r[3] = {{.f = f}, {.f = f}, {.f = f}};
    struct dns_query *q[3] = {NULL};

    for (int i = 0; i < 3; i++)
        assert_int_equal(dns_ask(f->dns, BARID_S("a.test"), DNS_A, on_answer, &r[i], &q[i]), 0);
    dns_cancel(&q[0]);
    assert_null(q[0]);
    dns_cancel(&q[0]);
    turn_until(f, &r[1], 1);
    turn_until(f, &r[2], 1);
    check(f, f->dns, "nx.test", DNS_A, DNS_NXDOMAIN, "");
    assert_int_equal(r[0].done, 0);
    /* finished, but not told yet, and cancelled by another's done in the same turn */
    memset(r, 0, sizeof(r));
    assert_int_equal(dns_ask(f->dns, BARID_S(""), DNS_A, on_answer, &r[0], NULL), 0);
    assert_int_equal(dns_ask(f->dns, BARID_S(""), DNS_A, on_answer, &r[1], &q[1]), 0);
    r[0].cancel = &q[1];
    turn_until(f, &r[0], 1);
    loop_turn(f->loop, false);
    assert_int_equal(r[1].done, 0);
}

static void test_delete(void **state)
{
    struct fixture *f = *state;
    struct result r[4] = {{.f = f}, {.f = f}, {.f = f}, {.f = f}};

    assert_int_equal(dns_ask(f->dns, BARID_S("silent.test"), DNS_A, on_answer, &r[0], NULL), 0);
    assert_int_equal(dns_ask(f->dns, BARID_S(""), DNS_A, on_answer, &r[1], NULL), 0);
    assert_int_equal(dns_ask(f->dns, BARID_S(""), DNS_A, on_answer, &r[2], NULL), 0);
    r[1].delete_dns = true;
    turn_until(f, &r[1], 1);
    assert_null(f->dns);
    /* within dns_del the others were told, and nothing follows */
    assert_int_equal(r[0].done, 1);
    assert_int_equal(r[0].status, DNS_CANCELLED);
    assert_int_equal(r[2].done, 1);
    assert_int_equal(r[2].status, DNS_CANCELLED);
    for (int i = 0; i < 4; i++)
        loop_turn(f->loop, false);
    assert_int_equal(r[0].done + r[1].done + r[2].done, 3);
}

/* Thousands of questions: channels are replaced on the way, none is lost. */
static void test_many(void **state)
{
    enum { N = 4000, AT_ONCE = 50 };
    struct fixture *f = *state;
    struct result r = {.f = f};

    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(dns_ask(f->dns, BARID_S("a.test"), DNS_A, on_answer, &r, NULL), 0);
        if (i >= AT_ONCE)
            turn_until(f, &r, i - AT_ONCE);
    }
    turn_until(f, &r, N);
    assert_int_equal(r.status, DNS_OK);
}

static void test_servers(void **state)
{
    struct fixture *f = *state;
    const char *servers[20] = {"localhost:53"};
    struct dns_options o = {.servers = servers, .n_servers = 1};
    struct dns *dns = NULL;
    struct err err;

    assert_int_equal(dns_new(&dns, f->loop, &o, &err), BARID_ESYNTAX);
    assert_null(dns);
    assert_non_null(strstr(err.text, "localhost:53"));
    for (int i = 0; i < 20; i++)
        servers[i] = "127.0.0.1";
    o.n_servers = 20;
    assert_int_equal(dns_new(&dns, f->loop, &o, &err), BARID_ELIMIT);
    o.n_servers = 0;
    assert_int_equal(dns_new(&dns, f->loop, &o, &err), 0);
    dns_del(&dns);
    dns_del(&dns);
    /* the first server fails: the second answers */
    servers[0] = "[::1]:1";
    servers[1] = f->address;
    o.n_servers = 2;
    assert_int_equal(dns_new(&dns, f->loop, &o, &err), 0);
    check(f, dns, "a.test", DNS_A, DNS_OK, "192.0.2.1/300\n192.0.2.2/300\n");
    dns_del(&dns);
}

static void test_reverse_names(void **state)
{
    char out[DNS_REVERSE_SIZE];
    const uint8_t v4[] = {192, 0, 2, 7}, v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 0x1f};

    (void)state;
    dns_reverse_name(v4, false, NULL, out);
    assert_string_equal(out, "7.2.0.192.in-addr.arpa");
    dns_reverse_name(v4, false, "zen.example.org", out);
    assert_string_equal(out, "7.2.0.192.zen.example.org");
    dns_reverse_name(v6, true, NULL, out);
    assert_string_equal(
        out, "f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_negative_ttl),      T(test_cname),     T(test_truncated_goes_to_tcp),
        T(test_answers),      T(test_cname),     T(test_truncated_goes_to_tcp),
        T(test_timeout),      T(test_bad_names), T(test_authenticated),
        T(test_limit),        T(test_cancel),    T(test_delete),
        T(test_many),         T(test_servers),   T(test_reverse_names),
        T(test_many_servers), T(test_ports),
    };

    alarm(60);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
