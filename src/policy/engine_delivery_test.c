/* policy/engine_delivery_test.c: the events of delivery: what their hooks answer and see and how they fail: one row each, then again
 * with each of its allocations failing. The fields of hop are in engine_hop_test.c, the rest in engine_outcome_test.c. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "policy/policy_testing.h"

#define ROUTE   BARID_EVENT_ROUTE
#define RELAY   BARID_EVENT_RELAY
#define ATTEMPT BARID_EVENT_ATTEMPT
#define FAILURE BARID_EVENT_FAILURE
#define DELAY   BARID_EVENT_DELAY

#define DEFAULT "example.com:2525"
#define TO      "sender@Example.org "

/* The body of a hook (h, mail); its answer, what the call's part says then, and the log ("" = nothing). */
static const struct row {
    enum barid_event_id event;
    const char *body, *answer, *effect, *log;
} rows[] = {
    /* route */
    {ROUTE, "", "continue", DEFAULT, ""},
    {ROUTE, "return accept()", "accept", DEFAULT, ""},
    {ROUTE, "return send('[10.0.0.1]:25', 'Backup.example')", "accept",
     "[10.0.0.1] backup.example", ""},
    {ROUTE, "return send { '[a.test]:587', 'b.test' }", "accept", "[a.test]:587 b.test", ""},
    {ROUTE, "return send('lmtp:unix:/run/lmtp')", "accept", "lmtp:unix:/run/lmtp", ""},
    /* HOP_LIST_MAX */
    {ROUTE, "return send('a.a', 'b.b', 'c.c', 'd.d', 'e.e', 'f.f', 'g.g', 'h.h')", "accept",
     "a.a b.b c.c d.d e.e f.f g.g h.h", ""},
    {ROUTE, "return send('a.a', 'b.b', 'c.c', 'd.d', 'e.e', 'f.f', 'g.g', 'h.h', 'i.i')",
     FAILED, DEFAULT, "policy.lua:2: send: at most 8 next hops are tried, here are 9"},
    {ROUTE, "return send()", FAILED, DEFAULT, "send: at least one next hop is expected"},
    {ROUTE, "return send {}", FAILED, DEFAULT, "send: at least one next hop is expected"},
    {ROUTE, "return send('a.test:0')", FAILED, DEFAULT, "send: no next hop: \"a.test:0\": "},
    {ROUTE, "return send('a.test b.test')", FAILED, DEFAULT, "send: no next hop"},
    {ROUTE, "return send(5)", FAILED, DEFAULT, "send: a next hop is a text such as"},
    {ROUTE, "return send { 'a.test', pin = true }", FAILED, DEFAULT,
     "send: unknown key 'pin'"},
    {ROUTE, "return send { 'a.test', [5] = 'b.test' }", FAILED, DEFAULT, "unknown key '5'"},
    {ROUTE, "return send { 'a.test', pinned = true }", FAILED, DEFAULT, "send: unknown key 'pinned'"},
    {ROUTE, "return send({ 'a.test' }, 'b.test')", FAILED, DEFAULT, "one table, or texts"},
    {ROUTE, "return reject(550, '5.4.4', 'no way')", "reject 550 5.4.4 no way", DEFAULT, ""},
    {ROUTE, "return fail('5.4.4', 'no way')", "reject 5.4.4 no way", DEFAULT, ""},
    {ROUTE, "return tempfail('4.4.4', 'no way yet')", "tempfail 4.4.4 no way yet", DEFAULT, ""},
    {ROUTE, "return hold('why')", "hold why", DEFAULT, ""},
    {ROUTE, "return discard()", "discard", DEFAULT, ""},
    {ROUTE, "return quarantine()", FAILED, DEFAULT, "does not allow that verdict (quarantine)"},
    {ROUTE, "return again()", FAILED, DEFAULT,
     "on.route: again(...) is no answer to this event"},
    {ROUTE,
     "local r = mail assert(#mail == 1 and mail[1].address == 'User+tag@Example.com') for i, r "
     "in "
     "ipairs(mail) do assert(i == 1 and r.user == 'user' and r.index == 1) end "
     "assert(h.recipients[1] == mail[1])",
     "continue", DEFAULT, ""},
    {ROUTE, "mail[1].address = 'a@example.com'", FAILED, DEFAULT,
     "policy.lua:2: rcpt.address: the mail is queued and cannot be changed"},
    {ROUTE, "mail[1].vars.x = 1", FAILED, DEFAULT, "vars.x: the mail is queued"},
    /* relay */
    {RELAY, "h.host = 'b.test'", "continue", "[b.test]:2525", ""},
    {RELAY, "return reject()", "reject", DEFAULT, ""},
    {RELAY, "return fail(554, 'no')", "reject 554 no", DEFAULT, ""},
    {RELAY, "return tempfail(450, '4.4.1', 'later')", "tempfail 450 4.4.1 later", DEFAULT, ""},
    {RELAY, "return hold('why')", "hold why", DEFAULT, ""},
    {RELAY, "return accept()", FAILED, DEFAULT, "does not allow that verdict (accept)"},
    {RELAY, "return send('b.test')", FAILED, DEFAULT, "send(...) is no answer to this event"},
    {RELAY, "return done()", FAILED, DEFAULT, "done(...) is no answer to this event"},
    {RELAY, "h.host = 'b.test'; error('oops')", FAILED, "[b.test]:2525", "policy.lua:2: oops"},
    {RELAY, "mail:add_header('X', 'y')", FAILED, DEFAULT,
     "mail:add_header: the mail is queued"},
    {RELAY, "mail:store('x')", FAILED, DEFAULT, "mail:store: the mail is queued"},
    {RELAY, "mail.vars.x = 1", FAILED, DEFAULT, "policy.lua:2: vars.x: the mail is queued"},
    {RELAY, "return hold(mail.vars.kept .. mail.sender .. mail.size .. tostring(mail.user))",
     "hold yessender@Example.org87nil", DEFAULT, ""},
    /* attempt */
    {ATTEMPT, "", "continue", "0", ""},
    {ATTEMPT, "return done()", "accept", "0", ""},
    {ATTEMPT, "return done(1)", FAILED, "0", "done: no arguments are expected"},
    {ATTEMPT, "return again()", "tempfail", "0", ""},
    {ATTEMPT, "return again('+10m')", "tempfail", "600", ""},
    {ATTEMPT, "return again(1700000090.5)", "tempfail", "90", ""},
    {ATTEMPT, "return again('Tue, 14 Nov 2023 22:14:20 +0000')", "tempfail", "60", ""},
    {ATTEMPT, "return again { at = '+1h 30m', rate_limited = true }", "tempfail",
     "5400 limited", ""},
    {ATTEMPT, "return again { at = 1700000001 }", "tempfail", "1", ""},
    {ATTEMPT, "return again { rate_limited = true }", "tempfail", "0 limited", ""},
    {ATTEMPT, "return again('soon')", FAILED, "0", "again: 'soon' is no time, write \"+10m\""},
    {ATTEMPT, "return again('')", FAILED, "0", "again: '' is no time"},
    {ATTEMPT, "return again(-1)", FAILED, "0", "again: -1.0 is no time"},
    {ATTEMPT, "return again(1e300)", FAILED, "0", "is no time"},
    {ATTEMPT, "return again(true)", FAILED, "0", "again: 'true' is no time"},
    {ATTEMPT, "return again { after = 1 }", FAILED, "0",
     "again: unknown key 'after', there are at and rate_limited"},
    {ATTEMPT, "return again { rate_limited = 1 }", FAILED, "0",
     "again: rate_limited is true or false, not a number"},
    {ATTEMPT, "return again('+1m', 2)", FAILED, "0", "again: too many arguments"},
    {ATTEMPT, "return fail(550, '5.1.1', 'gone')", "reject 550 5.1.1 gone", "0", ""},
    {ATTEMPT, "return fail('gone')", "reject gone", "0", ""},
    {ATTEMPT, "return fail(450)", FAILED, "0",
     "fail: the code 450 is out of range, 500 to 599 is allowed"},
    {ATTEMPT, "return reject(550)", "reject 550", "0", ""},
    {ATTEMPT, "return tempfail()", "tempfail", "0", ""},
    {ATTEMPT, "return hold('look')", "hold look", "0", ""},
    {ATTEMPT, "return discard()", FAILED, "0", "does not allow that verdict (discard)"},
    {ATTEMPT, "h.status = 'delivered'", FAILED, "0",
     "policy.lua:2: result.status is read-only"},
    {ATTEMPT, "return hold(h.cod)", FAILED, "0",
     "result has no field 'cod', did you mean 'code'?"},
    {ATTEMPT,
     "assert(h.status == 'deferred' and h.reply == '451 4.3.2 try later' and h.code == 451 and "
     "h.enhanced == '4.3.2' and h.stage == 'rcpt' and h.remote == 'mx.example.com' and "
     "h.remote_address == '192.0.2.25:25' and h.hop == 'example.com:2525' and #h.recipients == "
     "1 "
     "and h.recipients[1] == mail.recipients[1] and h.attempts == 3 and h.next_attempt == "
     "1700000600.0 and h.suspect == false)",
     "continue", "0", ""},
    /* failure and delay */
    {FAILURE, "", "continue", TO, ""},
    {FAILURE, "h.subject = 'sorry'; return accept()", "accept", TO "sorry", ""},
    {FAILURE, "return discard('silent')", "discard silent", TO, ""},
    {FAILURE, "return hold('look')", "hold look", TO, ""},
    {FAILURE, "h.subject = 'x'; return reject()", "continue", TO,
     "does not allow that verdict (reject)"},
    {FAILURE, "h.subject = 'x'; error('oops')", "continue", TO, "policy.lua:2: oops"},
    {FAILURE, "h.to = 'a@b.test'", "continue", TO, "report.to is read-only in on.failure"},
    {FAILURE, "h.subject = 5", "continue", TO,
     "report.subject: a text is expected, not a number"},
    /* REPORT_SUBJECT_MAX, REPORT_TEXT_MAX */
    {FAILURE, "h.subject = ('x'):rep(999)", "continue", TO, "report.subject: longer than 998"},
    {FAILURE, "h.text = ('x'):rep(65536); h.subject = 'y'", "continue", TO "y", ""},
    {FAILURE, "h.text = ('x'):rep(65537)", "continue", TO,
     "report.text: longer than 65536 octets"},
    {FAILURE, "h.sender = 'x'", "continue", TO, "report.sender: 'x' is not an address"},
    {FAILURE, "h.sender = ''", "continue", TO, "report.sender: '' is not an address"},
    {FAILURE, "h.sender = 5", "continue", TO, "report.sender: an address is expected"},
    {FAILURE, "h.attach = 'all'", "continue", TO,
     "report.attach: there are default, nothing, header, source, not 'all'"},
    {FAILURE, "h.wanted = false", "continue", TO, "report.wanted is read-only"},
    {FAILURE, "h.action = 'x'", "continue", TO, "report.action is read-only"},
    {FAILURE, "h.recipients = {}", "continue", TO, "report.recipients is read-only"},
    {FAILURE, "h.body = ''", "continue", TO, "report has no field 'body'"},
    {FAILURE, "return send('a.test')", "continue", TO, "send(...) is no answer to this event"},
    {FAILURE, "return fail()", "continue", TO, "fail(...) is no answer to this event"},
    {FAILURE,
     "assert(h.action == 'failed' and h.wanted and h.attempts == 3 and h.retry_count == 3 and "
     "h.remaining_retries == 0 and h.next_attempt == nil and h.to == mail.sender and h.subject "
     "== "
     "nil and h.text == nil and h.footer == nil and h.recipient_text == nil and h.sender == "
     "nil and "
     "h.attach == 'default' and #h.recipients == 1) local r = h.recipients[1] assert(r.address "
     "== "
     "'User+tag@Example.com' and r.reply == '550 5.1.1 no such user' and r.remote == "
     "'mx.example.com')",
     "continue", TO, ""},
    {DELAY, "h.to = 'Desk@Example.net'; h.subject = 'late'; return accept()", "accept",
     "Desk@Example.net late", ""},
    {DELAY, "return discard()", "discard", TO, ""},
    {DELAY, "h.to = 'a@b.test'; return hold()", "continue", TO,
     "does not allow that verdict (hold)"},
    {DELAY, "h.to = ''", "continue", TO, "report.to: '' is not an address"},
    {DELAY,
     "assert(h.action == 'delayed' and h.remaining_retries == 4 and h.next_attempt == "
     "1700000600.0)",
     "continue", TO, ""},
    /* elsewhere */
    {BARID_EVENT_RCPT, "return send('a.test')", FAILED, NULL,
     "on.rcpt: send(...) is no answer to this event"},
    {BARID_EVENT_RCPT, "return again()", FAILED, NULL, "again(...) is no answer to this event"},
    {BARID_EVENT_RCPT, "return done()", FAILED, NULL, "done(...) is no answer to this event"},
    {BARID_EVENT_RCPT, "return fail()", FAILED, NULL, "fail(...) is no answer to this event"},
};

/* route is (mail, recipients): there h is the mail, and mail the recipients. */
static void load_text(struct world *w, bool quiet, const char *text)
{
    world_init(w);
    w->quiet = quiet;
    assert_int_equal(
        vars_set(&w->mail.vars,
                 &(struct var){.key = BARID_S("kept"), .type = VAR_STR, .str = BARID_S("yes")}),
        0);
    if (world_load(w, text) < 0)
        fail_msg("%s: %s", text, w->err.text);
}

static void load_row(struct world *w, bool quiet, const struct row *r)
{
    char text[900];

    snprintf(text, sizeof(text), "function on.%s(h, mail)\n %s\nend",
             barid_event_info_get(r->event)->name, r->body);
    load_text(w, quiet, text);
}

static bool as_expected(struct world *w, const struct row *r, const char *answer)
{
    return strcmp(answer, r->answer) == 0 &&
           (r->effect == NULL || strcmp(world_effect(w), r->effect) == 0);
}

static void test_rows(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct world w;

        load_row(&w, false, r);
        for (int twice = 0; twice < 2; twice++) { /* whatever happened, the state works on */
            const char *answer = world_ask(&w, r->event);
            bool logged = r->log[0] != '\0' ? world_logged(&w, r->log) : w.log.text.len == 0;

            if (!as_expected(&w, r, answer) || !logged) {
                print_error("%s\n  gives %s, %s\n  log %.*s\n", r->body, answer,
                            world_effect(&w), (int)w.log.text.len,
                            w.log.text.p != NULL ? w.log.text.p : "");
                wrong++;
            }
            w.route.hops = NULL;
        }
        world_deinit(&w);
    }
    assert_int_equal(wrong, 0);
}

/* A hook that lacks memory is one that failed. */
static void test_rows_without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        bool is_report = r->event == FAILURE || r->event == DELAY;
        struct row none = {r->event, r->body, is_report ? "continue" : FAILED,
                           is_report ? TO : NULL, ""};
        struct fail_mem mem = {0};

        while (fail_mem_next(&mem)) {
            const char *answer;
            struct world w;

            load_row(&w, true, r);
            malloc_fails(&mem);
            answer = world_ask(&w, r->event);
            malloc_fails(NULL);
            if (!as_expected(&w, r, answer) && (!mem.failed || !as_expected(&w, &none, answer)))
                fail_msg("%s, without allocation %zu: %s", r->body, mem.fail_at, answer);
            assert_string_equal(world_ask(&w, r->event), r->answer);
            world_deinit(&w);
        }
    }
}

/* The cap of the state, not the machine's memory: every value up to where it works. */
static void test_small_caps(void **state)
{
    size_t too_small = 0;

    (void)state;
    for (size_t max = 30000;; max += 311) {
        struct world w;
        bool works;

        world_init(&w);
        w.config->limits.lua_memory = max;
        works = world_load(
                    &w, "function on.route(mail, list) local t = {} for i = 1, 100 do t[i] = "
                        "'h' .. i end return send(t[1] .. '.test') end") == 0;
        if (works && strcmp(world_ask(&w, ROUTE), "accept") != 0) {
            assert_string_equal(w.answer, FAILED);
            works = false;
        }
        world_deinit(&w);
        if (works)
            break;
        too_small++;
        assert_true(max < 1000000);
    }
    assert_true(too_small > 10);
}

/* What is delivered stays so, whatever the hook says or how it fails. */
static void test_delivered(void **state)
{
    static const struct {
        const char *body, *answer, *log;
    } cases[] = {
        {"assert(h.status == 'delivered' and h.next_attempt == nil and h.suspect == false)",
         "continue", ""},
        {"return done()", "accept", ""},
        {"return again('+1m')", "continue", "the mail is delivered, which nothing takes back"},
        {"return fail('no')", "continue", "the mail is delivered, which nothing takes back"},
        {"return hold()", "continue", "the mail is delivered"},
        {"error('oops')", "continue", "policy.lua:2: oops"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct row r = {ATTEMPT, cases[i].body, cases[i].answer, "0", cases[i].log};
        struct world w;

        load_row(&w, false, &r);
        w.result.status = DELIVERY_DONE;
        if (!as_expected(&w, &r, world_ask(&w, ATTEMPT)) ||
            !(r.log[0] != '\0' ? world_logged(&w, r.log) : w.log.text.len == 0))
            fail_msg("%s: %s", r.body, w.answer);
        world_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rows_without_memory),
        cmocka_unit_test(test_small_caps),
        cmocka_unit_test(test_delivered),
    };

    return cmocka_run_group_tests_name("engine_delivery", tests, NULL, NULL);
}
