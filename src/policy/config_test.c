/* policy/config_test.c: what a configuration becomes, and each mistake with the exact lines
 * that report it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/slice.h"
#include "policy/config.h"

static char dir[] = "/tmp/barid-config-XXXXXX";

static void put(const char *name, const char *text)
{
    char file[100];
    FILE *f;

    snprintf(file, sizeof(file), "%s/%s", dir, name);
    f = fopen(file, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void keep_line(void *user, const char *text)
{
    struct buf *b = user;

    assert_int_equal(buf_str(b, text), 0);
    assert_int_equal(buf_byte(b, '\n'), 0);
}

/* The report, or "" and *c_r. */
static char *load(const char *text, struct config **c_r)
{
    static char out[16384];
    struct buf lines;
    struct config_report report = {.line = keep_line, .user = &lines};
    char file[100];

    put("p.lua", text);
    buf_init(&lines, NULL, sizeof(out) - 1);
    snprintf(file, sizeof(file), "%s/p.lua", dir);
    *c_r = config_load(file, &report);
    assert_true((*c_r == NULL) == (report.errors > 0));
    snprintf(out, sizeof(out), "%.*s", (int)lines.len, lines.p != NULL ? lines.p : "");
    buf_deinit(&lines);
    return out;
}

static const struct {
    const char *text, *report;
} mistakes[] = {
    {"smarthost { \"x\" }", "p.lua:1: unknown declaration 'smarthost'\n"},
    {"relayhost { \"a.example\", \"192.0.2.1\", user = \"u\" }",
     "p.lua:1: relayhost: no next hop: \"192.0.2.1\": neither a domain nor a host or an address in "
     "brackets\n"
     "p.lua:1: relayhost: user and password belong together\n"},
    {"relayhost { host = { \"a\", \"b\", \"c\", \"d\", \"e\", \"f\", \"g\", \"h\", \"i\" } }",
     "p.lua:1: relayhost: more than 8 next hops\n"},
    {"relayhost { host = \"a b\", tls = \"none\" }",
     "p.lua:1: relayhost.tls: no such choice \"none\", one of \"off\", \"opportunistic\", "
     "\"required\", \"verified\" is expected\n"
     "p.lua:1: relayhost: no next hop: \"a b\": neither a domain nor a host or an address in "
     "brackets\n"},
    {"relayhost { tls = \"required\" }", "p.lua:1: relayhost: host is missing\n"},
    {"relayhost { \"a\", implicit_tls = true, tls = \"off\" }",
     "p.lua:1: relayhost: implicit_tls cannot hold with tls = \"off\"\n"},
    {"relayhost(5)", "p.lua:1: relayhost: a string or a list of strings is expected, got number "
                     "'5'\n"},
    {"relay { helo = \"-\", source = { \"192.0.2.1\", \"192.0.2.2\", \"unix\", \"::/0\" } }",
     "p.lua:1: relay.helo: \"-\" is not a host name\n"
     "p.lua:1: relay.source: \"::/0\" is no IP address\n"
     "p.lua:1: relay.source: \"unix\" is no IP address\n"
     "p.lua:1: relay.source: more than one address of a family\n"},
    {"relay { ca = \"/none/ca\", max_mails = 0, max_messages = 4001, downgrade = \"no\", idle_timeout = \"1h\" }",
     "p.lua:1: relay.ca: cannot read /none/ca: No such file or directory\n"
     "p.lua:1: relay.downgrade: no such choice \"no\", one of \"convert\", \"refuse\" is "
     "expected\n"
     "p.lua:1: relay.idle_timeout: 3600 is out of range, 0 to 300 is allowed\n"
     "p.lua:1: relay.max_mails: 0 is out of range, 1 to 1000000 is allowed\n"
     /* MAX_MESSAGES */
     "p.lua:1: relay.max_messages: 4001 is out of range, 1 to 4000 is allowed\n"},
    {"history { dir = \"\", days = 0 }", "p.lua:1: history.days: 0 is out of range, 1 to 3650 is "
                                         "allowed\np.lua:1: history.dir: the path is empty\n"},
    {"domain { \"x\" }\n\nlimitz { line = 3 }",
     "p.lua:1: unknown declaration 'domain', did you mean 'domains'?\n"
     "p.lua:3: unknown declaration 'limitz', did you mean 'limits'?\n"},
    {"x = y.z", "p.lua:1: undefined global 'y'\n"},
    {"x = y + 1", "p.lua:1: undefined global 'y'\n"},
    {"if y then end\ndomains(3)", "p.lua:1: undefined global 'y'\np.lua:2: domains: a string "
                                  "or a list of strings is expected, got number '3'\n"},
    {"limits { lua_memory = \"1M\" }\nlocal s = (\"x\"):rep(2^21)",
     "p.lua: not enough memory (limits.lua_memory)\n"},
    {"hostname 5", "p.lua:1: syntax error near '5'\n"},
    {"hostname(5)", "p.lua:1: hostname: a string is expected, got number '5'\n"},
    {"hostname \"-bad-\"", "p.lua:1: hostname: \"-bad-\" is not a host name\n"},
    {"hostname \"a.example\"\nhostname \"b.example\"",
     "p.lua:2: hostname is declared twice, first in line 1\n"},
    {"hostname = \"a.example\"\nhostname = \"b.example\"",
     "p.lua:2: hostname is declared twice, first in line 1\n"},
    {"limits {\n  lime = 3 }", "p.lua:1: limits: unknown key 'lime', did you mean 'line'?\n"},
    {"limits { line = 3, errors = \"x\", zzz = 1, hook_ms = {} }",
     "p.lua:1: limits.errors: a whole number (or \"10K\", \"64M\", \"1G\") is expected, got "
     "string 'x'\n"
     "p.lua:1: limits.hook_ms: milliseconds (or \"30s\", \"5m\", \"8h\", \"1d\") is expected, "
     "got table\n"
     "p.lua:1: limits.line: 3 is out of range, 512 to 65536 is allowed\n"
     "p.lua:1: limits: unknown key 'zzz', there are line, auth_line, data_line, commands, "
     "errors, auth_failures, noops, recipients, transactions, pipelined, output, header, "
     "message, command_ms, data_idle_ms, data_min_rate, data_rate_window_ms, session_ms, "
     "proxy_ms, tls_ms, connections, connections_per_client, hops, hook_ms, "
     "hook_instructions, hook_cpu_ms, lua_memory, drain_ms\n"},
    {"limits { 3 }", "p.lua:1: limits: entries need a name here\n"},
    {"limits(7)", "p.lua:1: limits: a table is expected, got number '7'\n"},
    {"limits { message = 1.5 }", "p.lua:1: limits.message: a whole number (or \"10K\", "
                                 "\"64M\", \"1G\") is expected, got number '1.5'\n"},
    {"undecided \"hodl\"",
     "p.lua:1: undecided: no such choice \"hodl\", did you mean \"hold\"?\n"},
    {"mixed = \"whatever\"", "p.lua:1: mixed: no such choice \"whatever\", one of \"accept\", "
                             "\"strict\" is expected\n"},
    {"dns { trust_ad = 1 }",
     "p.lua:1: dns.trust_ad: true or false is expected, got number '1'\n"},
    {"domains { \"a..b\", 7 }", "p.lua:1: domains: \"a..b\" is not a domain name\np.lua:1: "
                                "domains: a string is expected, got number '7'\n"},
    {"tls { certificate = \"/none/c.pem\", key = \"/none/k.pem\" }",
     "p.lua:1: tls.certificate: cannot read /none/c.pem: No such file or directory\n"
     "p.lua:1: tls.key: cannot read /none/k.pem: No such file or directory\n"},
    {"auth { users = \"\" }", "p.lua:1: auth.users: the path is empty\n"},
    {"networks { trusted = { \"192.0.2.1/24\", \"x\" } }",
     "p.lua:1: networks.trusted: '192.0.2.1/24' has bits set beyond its prefix of 24\n"
     "p.lua:1: networks.trusted: 'x' is not an IP address, write 192.0.2.0/24, 2001:db8::/32 "
     "or unix\n"},
    {"listen { \"25\" }\nlisten { \"2001:db8::1:25\" }\nlisten { protocol = \"smtp\" "
     "}\nlisten(5)",
     "p.lua:1: listen: \"25\" is no address, write \"192.0.2.1:25\", \"[::]:25\" or "
     "\"unix:/path\"\n"
     "p.lua:2: listen: \"2001:db8::1:25\" is no address, write \"192.0.2.1:25\", \"[::]:25\" "
     "or \"unix:/path\"\n"
     "p.lua:3: listen: an address is missing\n"
     "p.lua:4: listen: a string or a list of strings is expected, got number '5'\n"},
    {"listen \"127.0.0.1:25\"\nlisten \"127.0.0.1:25\"",
     "p.lua:2: listen: \"127.0.0.1:25\" is declared twice, first at p.lua:1\n"},
    {"listen { \"127.0.0.1:587\", protocol = \"submission\" }",
     "p.lua:1: listen: \"127.0.0.1:587\" needs TLS, but there is no tls { certificate = FILE, "
     "key = FILE } (submission requires "
     "it; tls = \"none\" turns it off)\n"
     "p.lua:1: listen: \"127.0.0.1:587\" offers AUTH, but there is neither auth { users = FILE "
     "} nor on.auth\n"},
    {"local t = {} for i = 1, 1001 do t[i] = 'a@x.example' end aliases { ['b@x.example'] = t }",
     "p.lua:1: aliases: \"b@x.example\" has more than 1000 targets\n"},
    {"for i = 1, 257 do listen { '127.0.0.1:' .. i, tls = 'none' } end",
     "p.lua:1: listen: more than 256 addresses\n"},
    {"pool_threads(65)", "p.lua:1: pool_threads: 65 is out of range, 1 to 64 is allowed\n"},
    {"listen { \"127.0.0.1:25\", limits = { drain_ms = 5, recipients = 7 } }",
     "p.lua:1: listen.limits.drain_ms: counts for the whole server: declare it in limits\n"},
    {"listen { \"127.0.0.1:25\", tls = \"none\", tls_required = true, limits = { lin = 1 } }",
     "p.lua:1: listen.limits: unknown key 'lin', did you mean 'line'?\n"
     "p.lua:1: listen: tls_required cannot hold with tls = \"none\"\n"},
    {"listen { \"127.0.0.1:25\", mechanisms = { \"FOO\" }, mode = \"9\", hide = { \"BAR\" } }",
     "p.lua:1: listen.hide: no such extension \"BAR\"\n"
     "p.lua:1: listen.mechanisms: no such mechanism \"FOO\", there are PLAIN, LOGIN, CRAM-MD5, "
     "SCRAM-SHA-1, SCRAM-SHA-256\n"
     "p.lua:1: listen.mode: \"9\" is no file mode, write \"0660\"\n"},
    {"aliases { [\"a@x.example\"] = \"nobody\", [\"b\"] = \"c@x.example\", [\"d@x.example\"] = "
     "{} }",
     "p.lua:1: aliases: \"b\" is not an address, write \"user@domain\" or \"@domain\"\n"
     "p.lua:1: aliases: \"d@x.example\" has no target\n"
     "p.lua:1: aliases: \"nobody\" is not an address\n"},
    {"subaddress \"ab\"", "p.lua:1: subaddress: \"ab\" cannot separate, one of + - _ = . # is "
                          "expected (or false)\n"},
    {"user { \"a\", \"b\" }", "p.lua:1: user: one name is expected, write user \"barid\"\n"},
    {"retry { first = \"2h\", max = \"1h\" }", "p.lua:1: retry: first is longer than max\n"},
    {"replies { okk = \"x\" }\nreplies2 {}",
     "p.lua:1: replies: no reply is named 'okk', did you mean 'ok'?\n"
     "p.lua:2: unknown declaration 'replies2', did you mean 'replies'?\n"},
    {"replies { ok = { 550, \"\", \"x\" } }",
     "p.lua:1: replies.ok: the code must stay a 2xx\n"},
    {"function on.rcptt() end\nfunction on.zzzzzz() end\nfunction on.relai() end",
     "p.lua:1: on.rcptt: there is no such event, did you mean on.rcpt?\n"
     "p.lua:2: on.zzzzzz: there is no such event\n"
     "p.lua:3: on.relai: there is no such event, did you mean on.relay?\n"},
    {"function on.rcpt() end\n\nfunction on.rcpt() end",
     "p.lua:3: on.rcpt is set twice, first at p.lua:1; use hook(\"rcpt\", ...) for more than "
     "one\n"},
    {"on.rcpt = 5", "p.lua:1: on.rcpt: a function is expected, got number\n"},
    {"on.commit = function() end", "p.lua:1: on.commit: there is no such event\n"},
    {"hook(\"rcpt\", \"x\", 5)",
     "p.lua:1: bad argument #3 to 'hook' (function expected, got number)\n"},
    {"hook(\"rcpt\", \"x\", function() end, { prio = 1 })",
     "p.lua:1: hook: unknown option 'prio', there is priority\n"},
    {"spool { dir = \"/s\", segment = 4294967296 }",
     "p.lua:1: spool.segment: 4294967296 is out of range, 1048576 to 4294963200 is allowed\n"},
    {"x = = 3", "p.lua:1: unexpected symbol near '='\n"},
    {"domains { \"a.example\"\n",
     "p.lua:2: '}' expected (to close '{' at line 1) near <eof>\n"},
    {"domains { \"a..\" }\nerror(\"stop here\")",
     "p.lua:1: domains: \"a..\" is not a domain name\np.lua:2: stop here\n"},
    {"reject = 5", "p.lua:1: 'reject' is built in and cannot be replaced\n"},
    {"string = 5", "p.lua:1: 'string' is built in and cannot be replaced\n"},
    {"string.x = 5", "p.lua:1: string cannot be changed\n"},
    {"local a = config.hostname",
     "p.lua:1: config can be read in hooks only: the declarations are not complete yet\n"},
    {"local a = os.execute", "p.lua:1: os has no 'execute'\n"},
    {"local a = io", "p.lua:1: undefined global 'io'\n"},
    {"require \"nothere\"", "p.lua:1: require 'nothere': cannot read nothere.lua beneath "
                            "/tmp/D: No such file or directory\n"},
    {"require \"../x\"", "p.lua:1: require: '../x' is not a module name: letters, digits, '_', "
                         "'-', and '.' between folders\n"},
    {"require \"bad\"", "bad.lua:2: domains: \"..\" is not a domain name\n"},
    {"dns.a(\"x\")", "p.lua:1: dns.a can be used only in a hook\n"},
    {"\x1bLua", "p.lua:1: this is compiled Lua: only source text is read\n"},
    {"while true do end", "p.lua:1: stopped: more than limits.hook_instructions (100000000)\n"},
};

/* The scratch folder's name differs from run to run. */
static void generic(char *text)
{
    char *at;

    while ((at = strstr(text, dir)) != NULL) {
        memcpy(at, "/tmp/D", 6);
        memmove(at + 6, at + strlen(dir), strlen(at + strlen(dir)) + 1);
    }
}

static void test_mistakes(void **state)
{
    struct config *c;
    int wrong = 0;

    (void)state;
    put("bad.lua", "\ndomains \"..\"\n");
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        char *report = load(mistakes[i].text, &c);
        generic(report);
        if (strcmp(report, mistakes[i].report) != 0)
            print_error("%s\n--- gives\n%s--- not\n%s", mistakes[i].text, report,
                        mistakes[i].report),
                wrong++;
        assert_null(c);
    }
    assert_int_equal(wrong, 0);
}

/* A file that is wrong everywhere is shown in part. */
static void test_most_mistakes(void **state)
{
    static const char line[] = "nothing { 1 }\n";
    static char text[300 * sizeof(line)];
    struct config_report report = {.line = NULL};

    (void)state;
    for (int i = 0; i < 300; i++)
        strcat(text, line);
    assert_null(config_load_text("p.lua", slice_str(text), 0, &report));
    assert_int_equal(report.errors, 200);
}

static void test_most_modules(void **state)
{
    struct config *c;
    char path[100], name[32];
    FILE *f;

    (void)state;
    snprintf(path, sizeof(path), "%s/many", dir);
    mkdir(path, 0700);
    for (int i = 1; i <= 201; i++) {
        snprintf(name, sizeof(name), "many/m%d.lua", i);
        put(name, "return 1\n");
    }
    assert_non_null(strstr(load("for i = 1, 201 do require('many.m' .. i) end\n", &c),
                           "more than 200 modules"));
    assert_null(c);
    load("for i = 1, 200 do require('many.m' .. i) end\n", &c);
    assert_non_null(c);
    assert_int_equal(c->n_modules, 200);
    config_del(&c);
    /* one octet too long */
    put("long.lua", "");
    snprintf(path, sizeof(path), "%s/long.lua", dir);
    f = fopen(path, "w");
    for (int i = 0; i < (16 << 20) + 1; i++)
        putc('\n', f);
    assert_int_equal(fclose(f), 0);
    assert_non_null(strstr(load("require 'long'\n", &c), "long"));
    assert_null(c);
    assert_int_equal(truncate(path, 15 << 20), 0);
    load("require 'long'\n", &c);
    assert_non_null(c);
    config_del(&c);
}

static void test_missing(void **state)
{
    struct buf lines;
    struct config_report report = {.line = keep_line, .user = &lines};

    (void)state;
    buf_init(&lines, NULL, 0);
    assert_null(config_load("/nonexistent/p.lua", &report));
    assert_int_equal(report.errors, 1);
    assert_true(lines.len > 0 &&
                memmem(lines.p, lines.len, "/nonexistent/p.lua: cannot read", 31) != NULL);
    buf_deinit(&lines);
}

static const char everything[] =
    "hostname \"mx.example.com\"\n"
    "domains { \"Example.com\", \"example.org\", \"example.com\" }\n"
    "domains \"example.net\"\n"
    "listen { \"127.0.0.1:2525\", \"[::1]:2525\", limits = { recipients = 7 }, auth = \"on\", "
    "proxy = true }\n"
    "listen { \"127.0.0.1:2465\", protocol = \"submission\", tls = \"implicit\", mechanisms = "
    "{ \"PLAIN\" } }\n"
    "listen { \"unix:lmtp.sock\", protocol = \"lmtp\", mode = \"0600\", hide = { \"CHUNKING\", \"DSN\" } }\n"
    "listen { \"127.0.0.1:25\", protocol = \"lmtp\", tls = \"none\" }\n"
    "tls { certificate = \"cert.pem\", key = \"key.pem\", min_version = \"1.3\", sni = { "
    "[\"a.example\"] = { certificate = "
    "\"cert.pem\", key = \"key.pem\" } } }\n"
    "auth { users = \"users\" }\n"
    "spool { dir = \"spool\", segment = \"8M\" }\n"
    "maildir { root = \"/srv/mail\" }\n"
    "archive { root = \"archive\" }\n"
    "dns { servers = { \"127.0.0.1:5353\" }, trust_ad = true }\n"
    "control { listen = \"unix:control\" }\n"
    "limits { recipients = 50, message = \"10M\", command_ms = \"30s\", hook_ms = 5 }\n"
    "log { format = \"json\", level = \"debug\" }\n"
    "networks { trusted = { \"127.0.0.0/8\", \"unix\" }, proxy = \"192.0.2.1\" }\n"
    "aliases { [\"postmaster@Example.com\"] = { \"a@example.com\", \"b@example.com\" } }\n"
    "aliases { [\"@example.org\"] = \"c@example.com\" }\n"
    "subaddress(false)\n"
    "retry { first = \"1m\", max = 7200, tries = 3, notice = 0 }\n"
    "relayhost { host = \"[smtp.example.net]:587\", user = \"u\", password = \"p\" }\n"
    "relay { tls = \"off\", source = \"192.0.2.1\", ca = \"cert.pem\" }\n"
    "history { dir = \"done\", days = 30 }\n"
    "undecided = \"hold\"\n"
    "mixed = \"strict\"\n"
    "bare_newline \"normalise\"\n"
    "workers(3)\n"
    "user { \"barid\", group = \"mail\" }\n"
    "replies { greeting = \"%h here\", relay_denied = { 554, \"5.7.9\", \"no\" } }\n"
    "local m = require \"mod.list\"\n"
    "users = m\n"
    "function on.rcpt(session, mail, rcpt) end\n";

static void check_listen(const struct config *c)
{
    assert_int_equal(c->n_listen, 5);
    assert_string_equal(c->listen[0].address, "127.0.0.1:2525");
    assert_string_equal(c->listen[1].address, "[::1]:2525");
    assert_int_equal(c->listen[0].tls, LISTEN_TLS_STARTTLS); /* a certificate is there */
    assert_int_equal(c->listen[0].auth, LISTEN_AUTH_ON);
    assert_int_equal(c->listen[1].limits.session.recipients, 7);
    assert_true(c->listen[1].limits.session.message ==
                10 << 20); /* declared later, holds all the same */
    assert_true(c->listen[0].proxy);
    assert_string_equal(c->listen[0].where, "p.lua:4");
    assert_int_equal(c->listen[2].protocol, BARID_SUBMISSION);
    assert_int_equal(c->listen[2].tls, LISTEN_TLS_IMPLICIT);
    assert_int_equal(c->listen[2].auth, LISTEN_AUTH_REQUIRED);
    assert_true(c->listen[2].tls_required);
    assert_int_equal(c->listen[2].mechanisms, 1u << BARID_AUTH_PLAIN);
    assert_int_equal(c->listen[3].mode, 0600);
    assert_int_equal(c->listen[3].tls, LISTEN_TLS_NONE);
    assert_int_equal(c->listen[3].extensions &
                         (BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME | BARID_EXT_DSN),
                     0);
    assert_int_equal(c->listen[0].extensions, BARID_EXT_DEFAULT | BARID_EXT_DSN);
    assert_int_equal(c->listen[3].limits.session.recipients, 50);
}

static void test_everything(void **state)
{
    struct config *c;
    char path[100];
    char *report;

    (void)state;
    put("cert.pem", "x");
    put("key.pem", "x");
    put("users", "a:SCRAM-SHA-256$x\nb:{PLAIN}x\n");
    snprintf(path, sizeof(path), "%s/mod", dir);
    mkdir(path, 0700);
    put("mod/list.lua", "return { [\"a@example.com\"] = true }\n");
    report = load(everything, &c);
    assert_string_equal(
        report,
        "p.lua:7: warning: listen: LMTP on TCP port 25 is what RFC 2033 section 5 forbids\n");
    assert_non_null(c);
    check_listen(c);
    assert_string_equal(c->hostname, "mx.example.com");
    assert_int_equal(c->n_domains, 3);
    assert_string_equal(c->domains[0], "example.com");
    assert_string_equal(c->tls.min_version, "1.3");
    assert_int_equal(c->tls.n_sni, 1);
    snprintf(path, sizeof(path), "%s/spool", dir);
    assert_string_equal(c->spool_dir, path);
    assert_true(c->spool_segment == 8 << 20);
    assert_string_equal(c->dns_servers[0], "127.0.0.1:5353");
    assert_true(c->dns_trust_ad);
    assert_int_equal(c->limits.session.command_ms, 30000);
    assert_int_equal(c->limits.hook_ms, 5);
    assert_int_equal(c->log_format, LOG_FORMAT_JSON);
    assert_int_equal(c->log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->trusted.n, 2);
    assert_int_equal(c->proxies.n, 1);
    assert_int_equal(c->n_aliases, 2);
    assert_string_equal(c->aliases[0].address, "postmaster@example.com");
    assert_int_equal(c->aliases[0].n, 2);
    assert_int_equal(c->subaddress, 0);
    assert_int_equal(c->retry.first_s, 60);
    assert_int_equal(c->retry.max_s, 7200);
    assert_int_equal(c->retry.notice, 0);
    assert_int_equal(c->relayhost.n_hosts, 1);
    assert_string_equal(c->relayhost.hosts[0], "[smtp.example.net]:587");
    assert_string_equal(c->relayhost.password, "p");
    assert_int_equal(c->relayhost.tls, RELAYHOST_TLS_UNSAID);
    assert_int_equal(c->relay.tls, HOP_TLS_OFF);
    assert_int_equal(c->relay.source4.family, BARID_FAMILY_IPV4);
    snprintf(path, sizeof(path), "%s/done", dir);
    assert_string_equal(c->history_dir, path);
    assert_int_equal(c->history_days, 30);
    assert_int_equal(c->undecided, UNDECIDED_HOLD);
    assert_true(c->mixed_strict);
    assert_int_equal(c->bare_newline, BARID_BARE_NORMALISE);
    assert_int_equal(c->workers, 3);
    assert_string_equal(c->group, "mail");
    assert_true(slice_eq(c->replies->row[BARID_REPLY_GREETING].text, BARID_S("%h here")));
    assert_int_equal(c->replies->row[BARID_REPLY_RELAY_DENIED].code, 554);
    assert_int_equal(c->replies->row[BARID_REPLY_OK].code, 0);
    assert_int_equal(c->n_modules, 1);
    assert_true(slice_eq(c->text, slice_str(everything)));
    config_del(&c);
    assert_null(c);
}

static void count_line(void *user, const char *text)
{
    assert_non_null(strstr(text, " = "));
    ++*(size_t *)user;
}

static void test_defaults(void **state)
{
    size_t n = 0;

    (void)state;
    config_print_defaults(count_line, &n);
    assert_true(n > 50);
}

static int setup(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mistakes),     cmocka_unit_test(test_most_mistakes),
        cmocka_unit_test(test_most_modules), cmocka_unit_test(test_missing),
        cmocka_unit_test(test_everything),   cmocka_unit_test(test_defaults),
    };

    return cmocka_run_group_tests_name("config", tests, setup, teardown);
}
