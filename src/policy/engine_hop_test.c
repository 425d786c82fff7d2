/* policy/engine_hop_test.c: every field of hop, read and written in on.relay, and what is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "policy/policy_testing.h"

/* A line of on.relay; then the next hop's text, or what the error says. */
static const struct row {
    const char *hop, *line, *text, *error;
} rows[] = {
    /* where */
    {"example.com:2525", "", "example.com:2525", ""},
    {"example.com:2525",
     "assert(hop.name == 'example.com' and hop.host == hop.name and hop.ip == nil)",
     "example.com:2525", ""},
    {"example.com:2525", "assert(hop.port == 2525 and hop.mx and not hop.is_host)",
     "example.com:2525", ""},
    {"example.com:2525", "hop.host = 'MX.Example.org'", "[mx.example.org]:2525", ""},
    {"example.com:2525", "hop.name = 'Example.org'", "example.org:2525", ""},
    {"[example.com]:2525", "hop.name = 'example.org'; assert(hop.mx)", "example.org:2525", ""},
    {"example.com:2525",
     "hop.host = '192.0.2.9'; assert(hop.is_host and hop.ip == '192.0.2.9')",
     "[192.0.2.9]:2525", ""},
    {"example.com:2525", "hop.ip = '192.0.2.9'", "[192.0.2.9]:2525", ""},
    {"example.com", "hop.ip = '2001:DB8:0::1'; assert(hop.ip == '2001:db8::1')",
     "[IPv6:2001:db8::1]", ""},
    {"example.com", "hop.mx = false", "[example.com]", ""},
    {"[example.com]", "hop.mx = true", "example.com", ""},
    {"[example.com]", "hop.is_host = false", "example.com", ""},
    {"example.com", "hop.port = 25; hop.port = 65535", "example.com:65535", ""},
    {"lmtp:[example.com]",
     "assert(hop.protocol == 'lmtp' and hop.port == 24) hop.host = 'b.test'", "lmtp:[b.test]",
     ""},
    {"lmtp:unix:/run/lmtp",
     "assert(hop.name == nil and hop.port == nil and hop.text == 'lmtp:unix:/run/lmtp')",
     "lmtp:unix:/run/lmtp", ""},
    {"lmtp:unix:/run/lmtp", "hop.host = 'b.test'; hop.port = 2400", "lmtp:[b.test]:2400", ""},
    {"lmtp:unix:/run/lmtp", "hop.port = 25", "lmtp:unix:/run/lmtp",
     "policy.lua:2: hop.port: a unix socket has no port"},
    {"lmtp:unix:/run/lmtp", "hop.mx = true", "lmtp:unix:/run/lmtp",
     "hop.mx: an address has no mail exchangers"},
    {"[192.0.2.1]", "hop.is_host = false", "[192.0.2.1]",
     "hop.is_host: an address has no mail exchangers"},
    {"a.test", "hop.host = 'b.test:25'", "a.test", "hop.host: 'b.test:25' is no host name"},
    {"a.test", "hop.host = '[b.test]'", "a.test", "hop.host: '[b.test]' is no host name"},
    {"a.test", "hop.host = 'b test'", "a.test", "hop.host: 'b test' is no host name"},
    {"a.test", "hop.host = ''", "a.test", "hop.host: '' is no host name"},
    {"a.test", "hop.host = 'b\\0c.test'", "a.test", "hop.host: 'b' is no host name"},
    {"a.test", "hop.host = nil", "a.test", "hop.host: a text is expected, not a nil"},
    {"a.test", "hop.name = 'unix:/x'", "a.test", "hop.name: 'unix:/x' is no domain"},
    {"a.test", "hop.name = '192.0.2.1'", "a.test", "hop.name: '192.0.2.1' is no domain"},
    {"a.test", "hop.ip = 'b.test'", "a.test", "hop.ip: 'b.test' is no IP address"},
    {"a.test", "hop.ip = 5", "a.test", "hop.ip: a text is expected, not a number"},
    {"a.test", "hop.port = 0", "a.test",
     "policy.lua:2: hop.port: a whole number from 1 to 65535 is expected, not 0"},
    {"a.test", "hop.port = 65536", "a.test", "not 65536"},
    {"a.test", "hop.port = 2.5", "a.test", "not 2.5"},
    {"a.test", "hop.port = '25'", "a.test", "hop.port: a whole number"},
    {"a.test", "hop.mx = 1", "a.test", "hop.mx: true or false is expected, not a number"},
    {"a.test", "hop.protocol = 'lmtp'", "a.test", "hop.protocol is read-only"},
    {"a.test", "hop.text = 'b.test'", "a.test", "hop.text is read-only"},
    {"a.test", "hop.attempts = 1", "a.test", "hop.attempts is read-only"},
    {"a.test", "hop.recipients = 1", "a.test", "hop.recipients is read-only"},
    {"a.test", "hop.prot = 1", "a.test", "hop has no field 'prot', did you mean 'port'?"},
    {"a.test", "return reject(hop.pasword)", "a.test",
     "hop has no field 'pasword', did you mean 'password'?"},
    /* our side */
    {"a.test", "assert(hop.helo == 'mx.example.com') hop.helo = 'me.test'", "a.test", ""},
    {"a.test", "hop.helo = 'two words'", "a.test", "hop.helo: a name of visible ASCII"},
    {"a.test", "hop.helo = 'a\\r\\nQUIT'", "a.test", "hop.helo: a name of visible ASCII"},
    {"a.test", "hop.helo = ''", "a.test", "hop.helo: a name of visible ASCII"},
    {"a.test", "hop.helo = ('x'):rep(256)", "a.test", "hop.helo: longer than 255 octets"},
    {"a.test",
     "assert(hop.source == nil) hop.source = '10.0.0.1'; assert(hop.source == '10.0.0.1')",
     "a.test", ""},
    {"a.test",
     "hop.source = { '::1', '10.0.0.1' }; local s = hop.source; assert(s[1] == '10.0.0.1' and "
     "s[2] == '::1' and #s == 2)",
     "a.test", ""},
    {"a.test", "hop.source = '::1'; hop.source = nil; assert(hop.source == nil)", "a.test", ""},
    {"a.test", "hop.source = '::1'; hop.source = ''; assert(hop.source == nil)", "a.test", ""},
    {"a.test", "hop.source = 'lo'", "a.test", "hop.source: 'lo' is no IP address"},
    {"a.test", "hop.source = { true }", "a.test", "hop.source: 'true' is no IP address"},
    {"a.test", "hop.source = 5", "a.test", "hop.source: a text is expected"},
    {"a.test", "hop.source = { '1.1.1.1', '::1', '::2' }", "a.test",
     "at most one IPv4 and one"},
    {"a.test", "hop.user = 'joe'; hop.password = 'x'; assert(hop.user == 'joe')", "a.test", ""},
    {"a.test", "hop.user = 'joe'; hop.user = nil; assert(hop.user == nil)", "a.test", ""},
    /* CREDENTIAL_MAX */
    {"a.test", "hop.password = ('x'):rep(255)", "a.test", ""},
    {"a.test", "hop.password = ('x'):rep(256)", "a.test",
     "hop.password: longer than 255 octets"},
    {"a.test", "hop.user = 'a\\0b'", "a.test", "hop.user: a NUL octet is in it"},
    {"a.test", "hop.user = {}", "a.test", "hop.user: a text is expected, not a table"},
    {"a.test", "return reject(hop.password)", "a.test",
     "hop.password can be written, not read"},
    /* choices */
    {"a.test", "assert(hop.tls == 'opportunistic') hop.tls = 'off'; hop.tls = 'verified'",
     "a.test", ""},
    {"a.test", "hop.tls = 'always'", "a.test",
     "hop.tls: there are off, opportunistic, required, verified, not 'always'"},
    {"a.test", "hop.tls = true", "a.test", "not 'true'"},
    {"a.test", "hop.strict_7bit = true; assert(hop.downgrade == 'refuse')", "a.test", ""},
    {"a.test",
     "hop.downgrade = 'refuse'; hop.strict_7bit = false; assert(hop.downgrade == 'convert')",
     "a.test", ""},
    {"a.test", "hop.downgrade = 'no'", "a.test",
     "hop.downgrade: there are convert, refuse, not 'no'"},
    {"a.test", "hop.strict_7bit = 'yes'", "a.test", "hop.strict_7bit: true or false"},
    {"a.test",
     "assert(table.concat(hop.mechanisms_plain, ' ') == 'CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256')",
     "a.test", ""},
    {"a.test",
     "hop.mechanisms_plain = 'plain, Login'; assert(table.concat(hop.mechanisms_plain, ' ') == "
     "'PLAIN LOGIN')",
     "a.test", ""},
    {"a.test", "hop.mechanisms_secure = {}; assert(#hop.mechanisms_secure == 0)", "a.test", ""},
    {"a.test", "hop.mechanisms_secure = 'MD4'", "a.test",
     "hop.mechanisms_secure: no such mechanism 'MD4'"},
    {"a.test", "hop.mechanisms_plain = { 5 }", "a.test",
     "hop.mechanisms_plain: a mechanism is a text, not a number"},
    {"a.test", "hop.mechanisms_plain = 5", "a.test",
     "hop.mechanisms_plain: a text is expected"},
    {"a.test",
     "for _, f in ipairs { 'starttls', 'pipelining', 'chunking', 'eightbit', 'binary', "
     "'smtputf8', "
     "'dsn' } do assert(hop[f]) hop[f] = false; assert(not hop[f]) end",
     "a.test", ""},
    {"a.test",
     "for _, f in ipairs { 'implicit_tls', 'require_auth' } do assert(not hop[f]) hop[f] = "
     "true; "
     "assert(hop[f]) end",
     "a.test", ""},
    {"a.test", "hop.dsn = 'no'", "a.test", "hop.dsn: true or false is expected, not a string"},
    {"a.test", "hop.starttls = nil", "a.test",
     "hop.starttls: true or false is expected, not a nil"},
    /* how much */
    {"a.test", "assert(hop.chunk == 102400) hop.chunk = 1; hop.chunk = 1 << 30", "a.test", ""},
    /* BDAT_SIZE_MAX */
    {"a.test", "hop.chunk = (1 << 30) + 1", "a.test",
     "hop.chunk: a whole number from 1 to 1073741824"},
    {"a.test", "assert(hop.connect_timeout == 30.0) hop.connect_timeout = 0.5", "a.test", ""},
    /* CONNECT_S_MAX */
    {"a.test", "hop.connect_timeout = 3600", "a.test", ""},
    {"a.test", "hop.connect_timeout = 3601", "a.test",
     "hop.connect_timeout: seconds from 0.001 to 3600"},
    {"a.test", "hop.connect_timeout = 0 / 0", "a.test", "hop.connect_timeout: seconds"},
    {"a.test", "hop.connect_timeout = '1'", "a.test", "hop.connect_timeout: seconds"},
    {"a.test", "hop.max_connections = 4294967295", "a.test", ""},
    {"a.test", "hop.max_connections = 0", "a.test",
     "hop.max_connections: a whole number from 1 to"},
    {"a.test", "hop.max_connections = 4294967296", "a.test", "from 1 to 4294967295"},
    {"a.test", "assert(hop.max_recipients == 100) hop.max_recipients = 0", "a.test", ""},
    {"a.test", "hop.max_recipients = -1", "a.test",
     "hop.max_recipients: a whole number from 0"},
    {"a.test", "hop.max_mails = 0", "a.test", "hop.max_mails: a whole number from 1"},
    {"a.test", "assert(hop.rate == nil) hop.rate = '100/1m'; assert(hop.rate == '100/1m')",
     "a.test", ""},
    {"a.test", "hop.rate = '5/90s'; assert(hop.rate == '5/90s')", "a.test", ""},
    {"a.test", "hop.rate = '5 / 60m'; assert(hop.rate == '5/1h')", "a.test", ""},
    {"a.test", "hop.rate = '5/1m'; hop.rate = nil; assert(hop.rate == nil)", "a.test", ""},
    {"a.test", "hop.rate = '5'", "a.test", "hop.rate: '5' is no rate, write \"100/1m\""},
    {"a.test", "hop.rate = '0/1m'", "a.test", "hop.rate: '0/1m' is no rate"},
    {"a.test", "hop.rate = '5/0s'", "a.test", "is no rate"},
    /* RATE_PERIOD_S_MAX */
    {"a.test", "hop.rate = '5/24h'", "a.test", ""},
    {"a.test", "hop.rate = '5/25h'", "a.test", "is no rate"},
    {"a.test", "hop.rate = 5", "a.test", "hop.rate: a text is expected, not a number"},
    {"a.test", "assert(hop.attempts == 2 and hop.recipients == 1)", "a.test", ""},
    {"a.test", "assert(tostring(hop) == 'hop' and mail.sender == 'sender@Example.org')",
     "a.test", ""},
};

static void load_row(struct world *w, const struct row *r, bool quiet)
{
    char text[400];

    world_init(w);
    w->hop_text = r->hop;
    w->quiet = quiet;
    snprintf(text, sizeof(text), "function on.relay(hop, mail)\n %s\nend", r->line);
    if (world_load(w, text) < 0)
        fail_msg("%s: %s", text, w->err.text);
}

static void test_fields(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        char text[HOP_TEXT_SIZE];
        const char *answer;
        struct world w;

        load_row(&w, r, false);
        answer = world_ask(&w, BARID_EVENT_RELAY);
        hop_text(&w.hop, text);
        if (strcmp(answer, r->error[0] != '\0' ? FAILED : "continue") != 0 ||
            strcmp(text, r->text) != 0 ||
            !world_logged(&w, r->error) != (r->error[0] == '\0')) {
            print_error("%s: %s, %s, %.*s\n", r->line, answer, text, (int)w.log.text.len,
                        w.log.text.p != NULL ? w.log.text.p : "");
            wrong++;
        }
        world_deinit(&w);
    }
    assert_int_equal(wrong, 0);
}

/* Each line with each of its allocations failing: what was not written is as it was. */
static void test_fields_without_memory(void **state)
{
    size_t injected = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fail_mem mem = {0};

        while (fail_mem_next(&mem)) {
            const char *answer;
            struct world w;

            load_row(&w, &rows[i], true);
            malloc_fails(&mem);
            answer = world_ask(&w, BARID_EVENT_RELAY);
            malloc_fails(NULL);
            if (strcmp(answer, FAILED) != 0)
                assert_string_equal(answer, "continue");
            assert_true(w.hop.port != 0 && (w.hop.name.n > 0 || w.hop.unix_path.n > 0));
            world_deinit(&w);
        }
        injected += mem.injected;
    }
    assert_true(injected > 100);
}

/* What is written arrives where delivery reads it. */
static void test_written(void **state)
{
    struct world w;
    struct hop *h = &w.hop;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(&w,
                   "function on.relay(hop, mail)\n"
                   "  hop.host, hop.port, hop.helo = 'relay.test', 465, 'me.test'\n"
                   "  hop.source = { '10.0.0.1', 'fd00::1' }\n"
                   "  hop.tls, hop.implicit_tls, hop.starttls = 'verified', true, false\n"
                   "  hop.user, hop.password, hop.require_auth = 'joe', 'secret', true\n"
                   "  hop.mechanisms_plain, hop.mechanisms_secure = {}, 'SCRAM-SHA-256,PLAIN'\n"
                   "  hop.pipelining, hop.chunking, hop.eightbit = false, false, false\n"
                   "  hop.binary, hop.smtputf8, hop.dsn = false, false, false\n"
                   "  hop.downgrade, hop.chunk, hop.connect_timeout = 'refuse', 4096, 300\n"
                   "  hop.max_connections, hop.max_recipients, hop.max_mails = 5, 1000, 7\n"
                   "  hop.rate = '100/1m'\n"
                   "end"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_RELAY), "continue");
    assert_true(slice_eq(h->name, BARID_S("relay.test")) && h->is_host && h->port == 465);
    assert_true(slice_eq(h->helo, BARID_S("me.test")));
    assert_true(h->source4.family == BARID_FAMILY_IPV4 && h->source4.addr[3] == 1);
    assert_true(h->source6.family == BARID_FAMILY_IPV6 && h->source6.addr[0] == 0xfd);
    assert_true(h->tls == HOP_TLS_VERIFIED && h->implicit_tls && !h->starttls);
    assert_true(slice_eq(h->user, BARID_S("joe")) && slice_eq(h->password, BARID_S("secret")));
    assert_true(h->require_auth && h->mechanisms_plain == 0);
    assert_int_equal(h->mechanisms_secure,
                     (1u << BARID_AUTH_SCRAM_SHA_256) | (1u << BARID_AUTH_PLAIN));
    assert_false(h->pipelining || h->chunking || h->eightbit || h->binary || h->smtputf8 ||
                 h->dsn);
    assert_true(h->downgrade == HOP_REFUSE && h->chunk == 4096 && h->connect_ms == 300000);
    assert_true(h->max_connections == 5 && h->max_rcpts == 1000 && h->max_mails == 7);
    assert_true(h->rate == 100 && h->rate_s == 60);
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_fields_without_memory),
        cmocka_unit_test(test_written),
    };

    return cmocka_run_group_tests_name("engine_hop", tests, NULL, NULL);
}
