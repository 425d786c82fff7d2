/* policy/engine_memory_test.c: what versions and sessions cost, and policies whose memory ends:
 * the machine's at any allocation, or the state's own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "message/mime.h"
#include "policy/policy_testing.h"

static void test_two_versions(void **state)
{
    struct world w;
    struct policy *old;
    struct policy_session *old_session;

    (void)state;
    world_init(&w);
    assert_int_equal(world_load(&w, "function on.noop() return accept('old') end"), 0);
    old = w.policy;
    old_session = w.session;
    w.policy = NULL;
    assert_int_equal(world_load(&w, "function on.noop() return accept("), BARID_ESYNTAX);
    assert_null(w.policy);
    assert_int_equal(world_load(&w, "function on.noop() return accept('new') end"), 0);
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), "accept new");
    struct policy_call call = {.event = BARID_EVENT_NOOP, .session = old_session};
    assert_int_equal(policy_ask(old, &call), POLICY_ANSWERED);
    assert_true(slice_eq(call.verdict.text, BARID_S("old")));
    policy_unref(&old); /* the session keeps it */
    assert_int_equal(policy_ask(old_session->policy, &call), POLICY_ANSWERED);
    policy_session_del(&old_session);
    world_deinit(&w);
}

static void test_session_costs(void **state)
{
    struct fail_mem fm;
    struct policy_session *s;
    struct world w;
    size_t before;

    (void)state;
    world_init(&w);
    fail_mem_init(&fm, 0);
    w.mem = &fm.mem;
    assert_int_equal(world_load(&w, "function on.noop() end"), 0);
    before = fm.count;
    s = policy_session_new(w.policy, &w.facts);
    assert_int_equal(fm.count - before, 1);
    assert_true(sizeof(*s) <= 160);
    policy_session_del(&s);
    world_deinit(&w);
    assert_int_equal(fm.live, 0);
}

/* The n-th allocation fails, for all n: no crash, no leak, and a hook that could not run is a
 * 451. */
static void test_no_memory(void **state)
{
    static const char text[] = "users = { a = true }\n"
                               "function on.message(s, m)\n"
                               "  s.vars.x = 'y'\n"
                               "  for _, r in ipairs(m.recipients) do r:store('%{user}') end\n"
                               "  local a = dns.a('x')\n"
                               "  m:add_header('X-A', ('x'):rep(100) .. #a)\n"
                               "  return reject(550, '5.7.1', 'text')\n"
                               "end\n";
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm)) {
        struct world w;

        world_init(&w);
        w.mem = &fm.mem;
        int rc = world_load(&w, text);
        if (rc == 0) {
            const char *answer = world_settle(&w, world_ask(&w, BARID_EVENT_MESSAGE));

            if (strcmp(answer, "reject 550 5.7.1 text") != 0)
                assert_string_equal(answer, FAILED);
        } else {
            assert_true(rc == BARID_ENOMEM || strstr(w.err.text, "not enough memory") != NULL);
        }
        world_deinit(&w);
    }
}

/* Every library and class of a hook, some of which wait. */
static const struct scenario {
    enum barid_event_id event;
    const char *text, *answer;
} scenarios[] = {
    {BARID_EVENT_MESSAGE,
     "function on.message(session, mail)\n"
     "  mail:add_header('X-Last', 'z')\n"
     "  mail:add_header('X-First', 'a', 1)\n"
     "  mail:set_header('Subject', 'new')\n"
     "  mail:remove_header('to')\n"
     "  mail:replace_body(mail:body():gsub('World', 'Barid'))\n"
     "  mail.sender = 'other@example.org'\n"
     "  mail.recipients[1].address = 'other@example.com'\n"
     "  local more = mail:add_recipient('more@example.com')\n"
     "  mail:add_recipient('third@example.com')\n"
     "  mail:remove_recipient('third@example.com')\n"
     "  local hidden = mail.hidden_recipients\n"
     "  mail:store('%{domain}/%{user}')\n"
     "  more:store('extra')\n"
     "  mail:archive('%{yyyy}')\n"
     "  mail:exclude('store', 'never')\n"
     "  mail:delay_until('+1h 30m')\n"
     "  mail.vars.score, mail.vars.name, mail.vars.ratio = 3, 'n', 0.5\n"
     "  session.vars.seen = (session.vars.seen or 0) + 1\n"
     "  mail.recipients[1].vars.x = 'y'\n"
     "  local n = 0; for k, v in pairs(mail.vars) do n = n + 1 end\n"
     "  return hold(#hidden .. n .. mail:header('subject'))\n"
     "end",
     "hold 23new"},
    {BARID_EVENT_MESSAGE,
     "function on.message(session, mail)\n"
     "  mail:set_header('Content-Type', 'multipart/mixed; boundary=b')\n"
     "  mail:replace_body('--b\\r\\nContent-Type: text/plain; "
     "name=\"x.txt\"\\r\\n\\r\\none\\r\\n'\n"
     "    .. '--b\\r\\nContent-Transfer-Encoding: base64\\r\\n\\r\\ndHdv\\r\\n--b--\\r\\n')\n"
     "  local t = {}\n"
     "  for _, p in ipairs(mail:mime().parts) do\n"
     "    t[#t + 1] = p.type .. (p.file_name or '') .. p:get_data() .. #p:headers()\n"
     "  end\n"
     "  return accept(table.concat(t, ' '))\n"
     "end",
     "accept text/plainx.txtone1 text/plaintwo1"},
    {BARID_EVENT_NOOP,
     "log { level = 'debug' }\n"
     "function on.noop(s)\n"
     "  shared.set('k', 'v', 10); shared.set('n', 1.5); shared.set('b', true)\n"
     "  local sum = shared.add('c') + shared.add('c', 5)\n"
     "  shared.remove('k'); shared.set('n', nil)\n"
     "  log.warn('careful', { n = 3, why = 'x' }); print('a', 1)\n"
     "  return accept(string.format('%d%s', sum, tostring(shared.get('b'))))\n"
     "end",
     "accept 7true"},
    {BARID_EVENT_CONNECT,
     "hook('connect', 'first', function(session)\n"
     "  local found = dns.a('2.0.0.127.zen.example')\n"
     "  sleep(100)\n"
     "  local again = dns.a('example.org')\n"
     "  return reject(#found .. again[1])\n"
     "end)\n"
     "hook('connect', 'second', function() sleep(10) return accept() end)\n",
     "reject 1127.0.0.2"},
    {BARID_EVENT_AUTH,
     "function on.auth(s, c) return accept { secret = c.name .. c.password, user = 'Joe' } end",
     "accept"},
    {BARID_EVENT_RCPT,
     "local words = { joe = true }\n"
     "function on.rcpt(s, m, r)\n"
     "  local n = ('a=1, b=2'):gsub('(%w+)=(%w+)', '%2=%1')\n"
     "  local list = { 'z', 'y', 'x' }\n"
     "  table.sort(list); table.insert(list, n); r:store('%{user}')\n"
     "  m:archive('all/%{yyyy}/%{mm}')\n"
     "  return accept(table.concat(list, ';'):upper():sub(1, 12) .. tostring(words[r.user]))\n"
     "end",
     "accept X;Y;Z;1=A, 2nil"},
};

static void without_memory(const struct scenario *s)
{
    struct fail_mem mem = {0};

    while (fail_mem_next(&mem)) {
        const char *answer;
        struct world w;

        world_init(&w);
        w.quiet = true;
        assert_int_equal(world_load(&w, s->text), 0);
        malloc_fails(&mem);
        answer = world_settle(&w, world_ask(&w, s->event));
        malloc_fails(NULL);
        if (strcmp(answer, s->answer) != 0 &&
            (!mem.failed ||
             (strcmp(answer, FAILED) != 0 && strcmp(answer, FAILED_CONNECT) != 0)))
            fail_msg("%s, without allocation %zu: %s", s->text, mem.fail_at, answer);
        /* The state works on. */
        assert_string_not_equal(world_settle(&w, world_ask(&w, s->event)), "waiting");
        world_deinit(&w);
    }
    assert_true(mem.injected > 2);
}

static void test_libraries_without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        without_memory(&scenarios[i]);
}

static void note_line(void *user, const char *text)
{
    if (strstr(text, "memory") != NULL)
        *(bool *)user = true;
}

/* Whole, or refused with the reason. */
static void test_configuration_without_memory(void **state)
{
    static const char text[] =
        "hostname \"mx.example.com\"\n"
        "domains { \"Example.com\", \"example.org\" }\n"
        "listen { \"127.0.0.1:2525\", \"[::1]:2525\", limits = { recipients = 7 }, proxy = "
        "true }\n"
        "listen { \"unix:lmtp.sock\", protocol = \"lmtp\", mode = \"0600\", hide = "
        "\"CHUNKING\" }\n"
        "maildir { root = \"/srv/mail\" }\n"
        "dns { servers = { \"127.0.0.1:5353\" }, trust_ad = true }\n"
        "limits { recipients = 50, message = \"10M\", command_ms = \"30s\", hook_ms = 5 }\n"
        "log { format = \"json\", level = \"debug\" }\n"
        "networks { trusted = { \"127.0.0.0/8\", \"unix\" }, proxy = \"192.0.2.1\" }\n"
        "aliases { [\"postmaster@Example.com\"] = { \"a@example.com\", \"b@example.com\" } }\n"
        "retry { first = \"1m\", max = 7200, tries = 3 }\n"
        "replies { greeting = \"%h here\", relay_denied = { 554, \"5.7.9\", \"no\" } }\n"
        "function on.rcpt(session, mail, rcpt) end\n";
    struct fail_mem mem = {0};

    (void)state;
    while (fail_mem_next(&mem)) {
        bool said = false;
        struct config_report report = {.line = note_line, .user = &said};
        struct config *c;

        malloc_fails(&mem);
        c = config_load_text("/etc/p.lua", slice_str(text), 60000, &report);
        malloc_fails(NULL);
        assert_true((c != NULL) == (report.errors == 0));
        if (c == NULL)
            assert_true(mem.failed && said);
        else
            assert_true(c->n_listen == 3 && c->n_domains == 2 && c->trusted.n == 2 &&
                        c->n_aliases == 1 && c->replies != NULL);
        config_del(&c);
    }
    assert_true(mem.injected > 100);
}

/* The cap of the state, not the machine's memory: every value up to where it works. */
static void test_small_caps(void **state)
{
    (void)state;
    for (size_t max = 20000;; max += 311) {
        struct world w;
        bool loaded;

        world_init(&w);
        w.config->limits.lua_memory = max;
        loaded = world_load(&w, "function on.noop() local t = {} for i = 1, 100 do t[i] = 'x' "
                                ".. i end return accept() end") == 0;
        if (loaded && strcmp(world_ask(&w, BARID_EVENT_NOOP), "accept") != 0) {
            assert_string_equal(w.answer, FAILED);
            loaded = false;
        }
        world_deinit(&w);
        if (loaded)
            break;
        assert_true(max < 1000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_versions),
        cmocka_unit_test(test_session_costs),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_libraries_without_memory),
        cmocka_unit_test(test_configuration_without_memory),
        cmocka_unit_test(test_small_caps),
    };

    mime_library_init();
    return cmocka_run_group_tests_name("engine_memory", tests, NULL, NULL);
}
