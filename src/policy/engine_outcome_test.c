/* policy/engine_outcome_test.c: what hooks of delivery read of replies and write into reports, how several agree, how long they wait,
 * and what is left of their objects. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/slice.h"
#include "policy/policy_testing.h"

#define ROUTE   BARID_EVENT_ROUTE
#define RELAY   BARID_EVENT_RELAY
#define ATTEMPT BARID_EVENT_ATTEMPT
#define FAILURE BARID_EVENT_FAILURE
#define DELAY   BARID_EVENT_DELAY

static void load_text(struct world *w, const char *text)
{
    world_init(w);
    if (world_load(w, text) < 0)
        fail_msg("%s: %s", text, w->err.text);
}

/* Whatever a server says, and what it leaves out. */
static void test_replies(void **state)
{
    static const struct {
        const char *reply, *seen;
    } cases[] = {
        {"550 5.1.1 no such user", "550 5.1.1"},
        {"550-5.1.1 no such user", "550 5.1.1"},
        {"550 5.1.1", "550 5.1.1"},
        {"550 5.1.1. no", "550 nil"},
        {"550 5.1.1x no", "550 nil"},
        {"550 5.1 no", "550 nil"},
        {"550 5.1234.1 no", "550 nil"},
        {"550 no such user", "550 nil"},
        {"550", "550 nil"},
        {"5501 5.1.1", "nil nil"},
        {"55", "nil nil"},
        {"550x5.1.1", "550 nil"},
        {"", "nil nil"},
        {"written", "nil nil"},
    };
    struct world w;

    (void)state;
    load_text(&w, "function on.attempt(r, mail) return hold(tostring(r.code) .. ' ' .. "
                  "tostring(r.enhanced)) end");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char answer[40];

        snprintf(answer, sizeof(answer), "hold %s", cases[i].seen);
        w.result.reply = slice_str(cases[i].reply);
        assert_string_equal(world_ask(&w, ATTEMPT), answer);
    }
    world_deinit(&w);
    load_text(&w,
              "function on.attempt(r, mail)\n"
              "  assert(r.status == 'failed' and r.stage == nil and r.remote == nil)\n"
              "  assert(r.remote_address == nil and r.hop == nil and r.next_attempt == nil)\n"
              "  assert(r.suspect == true and r.reply == '')\n"
              "end");
    w.result = (struct send_result){.status = DELIVERY_FAILED, .is_suspect = true};
    w.attempt.hop = NULL;
    assert_string_equal(world_ask(&w, ATTEMPT), "continue");
    w.result.status = DELIVERY_AGAIN;
    assert_string_equal(world_ask(&w, ATTEMPT), FAILED);
    world_deinit(&w);
    load_text(&w, "function on.attempt(r) assert(r.next_attempt == nil) end");
    w.attempt.next_us = INT64_MAX; /* no more */
    assert_string_equal(world_ask(&w, ATTEMPT), "continue");
    world_deinit(&w);
}

static void test_report_written(void **state)
{
    struct world w;

    (void)state;
    load_text(
        &w, "function on.delay(report, mail)\n"
            "  report.subject, report.sender, report.to = 'late', 'help@mx.test', 'a@b.test'\n"
            "  report.text, report.recipient_text = 'one\\ntwo', '%{address}: %{reason}\\n'\n"
            "  report.footer, report.attach = 'bye', 'header'\n"
            "end\n"
            "hook('delay', 'second', function(report)\n"
            "  assert(report.subject == 'late' and report.sender == 'help@mx.test')\n"
            "  assert(report.text == 'one\\ntwo' and report.footer == 'bye')\n"
            "  assert(report.recipient_text == '%{address}: %{reason}\\n')\n"
            "  assert(report.attach == 'header' and report.to == 'a@b.test')\n"
            "  report.footer, report.sender = nil, nil\n"
            "  for _, a in ipairs { 'default', 'nothing', 'source' } do report.attach = a end\n"
            "end)");
    assert_string_equal(world_ask(&w, DELAY), "continue");
    assert_true(slice_eq(w.notice.subject, BARID_S("late")) && w.notice.sender.n == 0);
    assert_true(slice_eq(w.report.to, BARID_S("a@b.test")));
    assert_true(slice_eq(w.notice.text, BARID_S("one\ntwo")) && w.notice.footer.n == 0);
    assert_true(slice_eq(w.notice.rcpt_text, BARID_S("%{address}: %{reason}\n")));
    assert_int_equal(w.notice.attach, REPORT_ATTACH_SOURCE);
    assert_int_equal(w.log.text.len, 0);
    world_deinit(&w);
}

/* Edits accumulate in order, the first answer decides, and one that fails takes the edits of a report with it. */
static void test_several(void **state)
{
    struct world w;

    (void)state;
    load_text(
        &w,
        "hook('relay', 'b', function(hop) hop.port = hop.port + 1 end)\n"
        "hook('relay', 'a', function(hop) hop.port = 100 end, { priority = -1 })\n"
        "hook('relay', 'c', function(hop) hop.tls = 'required'; return hold('x') end)\n"
        "hook('relay', 'd', function(hop) hop.port = 1 end)\n"
        "hook('route', 'a', function() end)\n"
        "hook('route', 'b', function() return send('b.test') end)\n"
        "hook('route', 'c', function() return send('c.test') end)\n"
        "hook('attempt', 'a', function() end)\n"
        "hook('attempt', 'b', function() return again('+5s') end)\n"
        "hook('attempt', 'c', function() return done() end)\n"
        "hook('failure', 'a', function(r) r.subject = 'a' end)\n"
        "hook('failure', 'b', function(r) r.text = 'b'; if r.attempts > 5 then error('x') end "
        "end)\n"
        "hook('failure', 'c', function(r) r.footer = 'c' end)\n");
    assert_string_equal(world_ask(&w, RELAY), "hold x");
    assert_true(w.hop.port == 101 && w.hop.tls == HOP_TLS_REQUIRED);
    assert_string_equal(world_ask(&w, ROUTE), "accept");
    assert_string_equal(world_effect(&w), "b.test");
    assert_string_equal(world_ask(&w, ATTEMPT), "tempfail");
    assert_string_equal(world_effect(&w), "5");
    assert_string_equal(world_ask(&w, FAILURE), "continue");
    assert_true(w.notice.subject.n == 1 && w.notice.text.n == 1 && w.notice.footer.n == 1);
    w.report.attempts = 6;
    assert_string_equal(world_ask(&w, FAILURE), "continue");
    assert_true(w.notice.subject.n == 0 && w.notice.text.n == 0 && w.notice.footer.n == 0);
    assert_true(world_logged(&w, "hook=b"));
    world_deinit(&w);
}

/* What a route has of its own: what all begin with, and nothing of the default's connection. */
static void test_route_is_new(void **state)
{
    struct world w;

    (void)state;
    load_text(&w, "local there = send { '[a.test]' }\n"
                  "function on.route(mail, list) return there end");
    w.hop_before.user = w.hop_before.password = BARID_S("secret");
    assert_string_equal(world_ask(&w, ROUTE), "accept");
    assert_true(w.route.n_hops == 1 && w.route.hops != &w.hop);
    assert_true(w.route.hops[0].user.n == 0 && w.route.hops[0].password.n == 0);
    assert_int_equal(w.route.hops[0].tls, HOP_TLS_OPPORTUNISTIC);
    assert_true(w.route.hops[0].helo.n == w.base.helo.n && w.route.hops[0].helo.p != w.base.helo.p);
    assert_true(w.hop.user.n == 6);
    world_deinit(&w);
}

static void test_waiting(void **state)
{
    static const struct dns_record record = {.type = DNS_A, .addr = {10, 0, 0, 2}};
    struct world w;

    (void)state;
    load_text(
        &w,
        "local kept = {}\n"
        "function on.route(mail, list)\n"
        "  local a = dns.a('next.test'); sleep(100)\n"
        "  return send('[' .. a[1] .. ']:' .. 2500 + #list)\n"
        "end\n"
        "function on.relay(hop) kept.hop = hop; sleep(10); hop.port = 7; sleep(10) end\n"
        "function on.attempt(r) kept.r = r; sleep(10); return again('+1m') end\n"
        "function on.failure(r) kept.f = r; r.subject = 'x'; sleep(5000) end\n"
        "function on.delay(r) kept.f = r; r.to = 'a@b.test'; sleep(10); return accept() end\n"
        "function on.noop() return accept(kept.hop.text) end\n"
        "function on.rset() return accept(kept.r.reply) end\n"
        "function on.vrfy() kept.f.subject = 'x' end\n");
    assert_string_equal(world_ask(&w, ROUTE), "waiting");
    assert_string_equal(world_dns_question(), "next.test/1");
    assert_true(world_dns_answer(DNS_OK, &record, 1));
    assert_string_equal(world_settle(&w, "waiting"), "accept");
    assert_string_equal(world_effect(&w), "[10.0.0.2]:2501");
    assert_string_equal(world_settle(&w, world_ask(&w, RELAY)), "continue");
    assert_int_equal(w.hop.port, 7);
    assert_string_equal(world_settle(&w, world_ask(&w, ATTEMPT)), "tempfail");
    assert_true(w.attempt.again_us > INT64_C(1700000060) * 1000000);
    assert_string_equal(world_settle(&w, world_ask(&w, DELAY)), "accept");
    assert_true(slice_eq(w.report.to, BARID_S("a@b.test")));
    assert_int_equal(w.log.text.len, 0);
    /* the objects are over with their hooks */
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), FAILED);
    assert_true(world_logged(&w, "this hop is over: it can be used only while its hook runs"));
    assert_string_equal(world_ask(&w, BARID_EVENT_RSET), FAILED);
    assert_true(world_logged(&w, "this result is over"));
    assert_string_equal(world_ask(&w, BARID_EVENT_VRFY), FAILED);
    assert_true(world_logged(&w, "this report is over"));
    world_deinit(&w);
}

/* Too late, or not wanted any more. */
static void test_waiting_ends(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    w.config->limits.hook_ms = 1000;
    assert_int_equal(
        world_load(&w, "local kept = {}\n"
                       "function on.failure(r) kept.r = r; r.subject = 'x'; sleep(5000) end\n"
                       "function on.relay(hop) kept.r = hop; hop.port = 7; sleep(5000) end\n"
                       "function on.noop() return accept(kept.r.text) end\n"),
        0);
    assert_string_equal(world_ask(&w, FAILURE), "waiting");
    world_advance(1000);
    assert_int_equal(w.done, 1);
    assert_string_equal(w.answer, "continue");
    assert_string_equal(world_effect(&w), "sender@Example.org ");
    assert_true(world_logged(&w, "no answer within limits.hook_ms"));
    assert_string_equal(world_ask(&w, RELAY), "waiting");
    world_advance(1000);
    assert_int_equal(w.done, 2);
    assert_string_equal(w.answer, FAILED);
    assert_string_equal(world_ask(&w, RELAY), "waiting");
    policy_cancel(w.policy, &w.call);
    world_advance(100000);
    assert_int_equal(w.done, 2);
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), FAILED);
    assert_true(world_logged(&w, "this hop is over"));
    world_deinit(&w);
}

static void test_explained(void **state)
{
    struct explain_entry e;
    struct world w;
    size_t at = 0;
    int64_t clock = 0;

    (void)state;
    load_text(&w, "function on.route()\n  local x = 1\n  return send('a.test')\nend\n"
                  "function on.attempt()\n  return again('+1m')\nend\n"
                  "function on.failure()\n  error('x')\nend\n"
                  "function on.relay() end");
    world_ask(&w, ROUTE);
    world_ask(&w, RELAY);
    world_ask(&w, ATTEMPT);
    world_ask(&w, FAILURE);
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 1);
    assert_true(e.event == ROUTE && e.verdict == BARID_ACCEPT);
    assert_true(slice_eq(e.where, BARID_S("policy.lua:3")));
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 1);
    assert_true(e.event == ATTEMPT && e.verdict == BARID_TEMPFAIL);
    assert_true(slice_eq(e.where, BARID_S("policy.lua:6")));
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 1);
    assert_true(e.event == FAILURE && e.verdict == BARID_CONTINUE);
    assert_true(slice_eq(e.handler, BARID_S("on.failure")));
    assert_true(slice_starts_nocase(e.text, BARID_S("policy.lua:9: x")));
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 0);
    world_deinit(&w);
}

/* Without a session of the policy, as for on.queued; and what counts. */
static void test_no_session(void **state)
{
    struct policy_stats stats;
    struct world w;

    (void)state;
    load_text(&w,
              "function on.relay(hop, mail) return hold(mail.sender .. #mail.recipients) end\n"
              "function on.attempt(r, mail) assert(r.recipients[1] == mail.recipients[1]) end\n"
              "function on.delay() error('x') end");
    policy_mail_over(w.session, &w.mail);
    policy_session_del(&w.session);
    assert_string_equal(world_ask(&w, RELAY), "hold sender@Example.org1");
    assert_string_equal(world_ask(&w, ATTEMPT), "continue");
    assert_string_equal(world_ask(&w, DELAY), "continue");
    policy_stats(w.policy, &stats);
    assert_true(stats.event[RELAY].asked == 1 && stats.event[RELAY].verdicts[BARID_HOLD] == 1);
    assert_true(stats.event[DELAY].errors == 1 && stats.event[ATTEMPT].errors == 0);
    world_deinit(&w);
}

/* A mail that this server made: its session has no client. */
static void test_no_client(void **state)
{
    static const enum barid_event_id events[] = {BARID_EVENT_MESSAGE, BARID_EVENT_RECIPIENT};
    struct world w;

    (void)state;
    load_text(
        &w,
        "local function same(s, mail)\n"
        "  for _, name in ipairs { 'ip', 'port', 'local_ip', 'local_port', 'listener', 'name', "
        "'helo', 'protocol', 'tls_version', 'tls_cipher', 'tls_sni', 'tls_peer', 'user', "
        "'mechanism', 'started_at' } do\n"
        "    if s[name] ~= nil then error(name) end\n"
        "  end\n"
        "  assert(s.id == '' and not s.esmtp and not s.tls and not s.trusted)\n"
        "  assert(s.tls_bits == 0 and mail.is_generated and mail.user == nil)\n"
        "  s.vars.x = 1; return accept('fine')\n"
        "end\n"
        "function on.message(s, mail) return same(s, mail) end\n"
        "function on.recipient(s, mail, rcpt) return same(s, mail) end\n"
        "function on.relay(hop, mail) return hold(mail.user .. tostring(mail.is_generated)) "
        "end");
    w.facts = (struct session_facts){0};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        if (strcmp(world_ask(&w, events[i]), "accept fine") != 0)
            fail_msg("%s: %.*s", w.answer, (int)w.log.text.len, w.log.text.p);
    }
    w.facts.client.family = BARID_FAMILY_IPV4;
    w.facts.user = BARID_S("joe");
    assert_string_equal(world_ask(&w, RELAY), "hold joefalse");
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),   cmocka_unit_test(test_report_written),
        cmocka_unit_test(test_several),   cmocka_unit_test(test_route_is_new),
        cmocka_unit_test(test_waiting),   cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_explained), cmocka_unit_test(test_no_session),
        cmocka_unit_test(test_no_client),
    };

    return cmocka_run_group_tests_name("engine_outcome", tests, NULL, NULL);
}
