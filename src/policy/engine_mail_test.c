/* policy/engine_mail_test.c: what hooks change in a mail, how long they may, and what they leave
 * behind: credentials, explanations, the shared table, the log. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/slice.h"
#include "policy/policy_testing.h"

static void header_text(struct world *w, char *out, size_t size)
{
    struct buf b;

    buf_init(&b, NULL, 0);
    assert_int_equal(header_write(&w->mail.header, &b), 0);
    snprintf(out, size, "%.*s", (int)b.len, b.p);
    buf_deinit(&b);
}

static void test_edits(void **state)
{
    struct world w;
    char header[400];

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(&w, "function on.message(session, mail)\n"
                       "  mail:add_header('X-Last', 'z')\n"
                       "  mail:add_header('X-First', 'a', 1)\n"
                       "  mail:set_header('Subject', 'new')\n"
                       "  assert(mail:remove_header('to') == 1)\n"
                       "  mail:replace_body(mail:body():gsub('World', 'Barid'))\n"
                       "  mail.sender = ''\n"
                       "  assert(mail.sender == '' and mail.sender_domain == nil)\n"
                       "  mail.recipients[1].address = 'other@example.com'\n"
                       "  local more = mail:add_recipient('more@example.com')\n"
                       "  assert(more.is_local and #mail.recipients == 2 and more.index == 2)\n"
                       "  assert(mail:add_recipient('more@EXAMPLE.com') == more)\n"
                       "  mail:add_recipient('third@example.com')\n"
                       "  assert(mail:remove_recipient('third@example.com') and not "
                       "mail:remove_recipient('third@example.com'))\n"
                       "  assert(#mail.recipients == 2)\n"
                       "  assert(#mail.hidden_recipients == 2)\n"
                       "  mail:store('%{domain}/%{user}')\n"
                       "  more:store('extra')\n"
                       "  mail:archive('%{yyyy}')\n"
                       "  mail:exclude('store', 'never')\n"
                       "  mail:delay_until('+1h 30m')\n"
                       "  mail.relay_allowed = true\n"
                       "  mail.vars.score, mail.vars.name, mail.vars.ok, mail.vars.ratio = 3, "
                       "'n', true, 0.5\n"
                       "  mail.vars.gone = 1; mail.vars.gone = nil\n"
                       "  local n = 0; for k, v in pairs(mail.vars) do n = n + 1 end\n"
                       "  assert(n == 4 and mail.vars.score == 3 and mail.vars.gone == nil and "
                       "math.type(mail.vars.ratio) == 'float')\n"
                       "  session.vars.seen = (session.vars.seen or 0) + 1\n"
                       "  mail.recipients[1].vars.x = 'y'\n"
                       "end"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MESSAGE), "continue");
    header_text(&w, header, sizeof(header));
    assert_string_equal(
        header, "X-First: a\r\nFrom: sender@example.org\r\nSubject: new\r\nX-Last: z\r\n");
    assert_true(slice_eq(buf_slice(&w.body), BARID_S("Hello\r\nBarid\r\n")));
    assert_true(w.mail.sender.null);
    assert_true(slice_eq(w.mail.rcpts[0]->box.address, BARID_S("other@example.com")));
    assert_int_equal(w.mail.n_rcpts, 3);
    assert_true(w.mail.rcpts[1]->alias_of_previous);
    assert_int_equal(w.mail.rcpts[2]->verdict, RCPT_DISCARDED);
    assert_int_equal(w.mail.n_rows, 3);
    assert_int_equal(w.mail.n_excluded, 1);
    assert_true(w.mail.delay_until_us == INT64_C(1700005400) * 1000000);
    assert_true(w.mail.relay_allowed);
    assert_true(world_logged(&w, "relay_allowed set"));
    assert_int_equal(vars_get(&w.mail.vars, BARID_S("score"))->num, 3);
    assert_int_equal(vars_get(&w.session->vars->vars, BARID_S("seen"))->num, 1);
    world_deinit(&w);
}

static void assert_row(const struct disposition *r, enum disposition_scope scope, const char *target,
                       bool pinned)
{
    assert_int_equal(r->kind, DISPOSITION_SEND);
    assert_int_equal(r->scope, scope);
    assert_true(slice_eq(r->target, slice_str(target)));
    assert_int_equal(r->pinned, pinned);
}

static void test_send(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(&w, "function on.message(session, mail)\n"
                       "  local rcpt = mail.recipients[1]\n"
                       "  rcpt:send()\n"
                       "  rcpt:send('A.example', '[b.example]:25')\n"
                       "  rcpt:send{ 'c.example:26', pinned = true }\n"
                       "  mail:send()\n"
                       "  mail:send('[192.0.2.1]')\n"
                       "  mail:exclude('send')\n"
                       "  mail:exclude('send', 'B.example', 'c.example')\n"
                       "  assert(mail.retry == nil)\n"
                       "  mail.retry = { first = '2m', max = 3600, notice = 0 }\n"
                       "  local r = mail.retry\n"
                       "  assert(r.first == 120 and r.max == 3600 and r.tries == nil and r.notice == 0)\n"
                       "end"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MESSAGE), "continue");
    assert_int_equal(w.mail.n_rows, 5);
    assert_row(&w.mail.rows[0], DISPOSITION_ONE, "", false);
    assert_row(&w.mail.rows[1], DISPOSITION_ONE, "a.example [b.example]", false);
    assert_row(&w.mail.rows[2], DISPOSITION_ONE, "c.example:26", true);
    assert_row(&w.mail.rows[3], DISPOSITION_REST, "", false);
    assert_row(&w.mail.rows[4], DISPOSITION_REST, "[192.0.2.1]", false);
    assert_int_equal(w.mail.n_excluded, 2);
    assert_int_equal(w.mail.excluded[0].target.n, 0);
    assert_true(slice_eq(w.mail.excluded[1].target, BARID_S("b.example c.example")));
    assert_true(w.mail.retry.set && w.mail.retry.first_s == 120 && w.mail.retry.max_s == 3600);
    assert_true(w.mail.retry.tries == 0 && w.mail.retry.notice_set && w.mail.retry.notice == 0);
    world_deinit(&w);
}

/* What is no next hop or no schedule is an error that says so, and nothing is changed. */
static void test_send_mistakes(void **state)
{
    static const struct {
        const char *what, *logged;
    } rows[] = {
        {"mail:send('192.0.2.1')", "mail:send: no next hop: \"192.0.2.1\": neither"},
        {"rcpt:send(5)", "rcpt:send: a next hop is a text such as"},
        {"rcpt:send{ 'a', pinned = 1 }", "rcpt:send: pinned is true or false, not a number"},
        {"rcpt:send('a','b','c','d','e','f','g','h','i')", "rcpt:send: at most 8 next hops are tried, here are 9"},
        {"mail:exclude('send', 'unix:/x')", "mail:exclude: no next hop"},
        {"mail.retry = 5", "mail.retry: a table or nil is expected, got number"},
        {"mail.retry = { tries = 0 }", "mail.retry: tries is from 1 to 1000"},
        {"mail.retry = { first = '5x' }", "mail.retry: first is from 1 to 86400 seconds"},
        {"mail.retry = { first = '2h', max = '1h' }", "mail.retry: first is longer than max"},
        {"mail.retry = { often = 1 }", "mail.retry: unknown key 'often'"},
        {"rcpt.address = 'a@elsewhere.example'", "is not local and mail.relay_allowed"},
        {"mail:add_recipient('a@elsewhere.example')", "is not local and mail.relay_allowed"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        char text[200];

        snprintf(text, sizeof(text),
                 "function on.message(session, mail) local rcpt = mail.recipients[1] %s end",
                 rows[i].what);
        world_init(&w);
        assert_int_equal(world_load(&w, text), 0);
        assert_string_equal(world_ask(&w, BARID_EVENT_MESSAGE), FAILED);
        if (!world_logged(&w, rows[i].logged))
            fail_msg("%s: %.*s", rows[i].what, (int)w.log.text.len, w.log.text.p);
        assert_int_equal(w.mail.n_rows + w.mail.n_excluded, 0);
        assert_false(w.mail.retry.set);
        world_deinit(&w);
    }
}

/* For a client that may relay a hook may send elsewhere, and that is kept with the recipient. */
static void test_relayed(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    w.facts.user = BARID_S("anna");
    assert_int_equal(
        world_load(&w, "function on.message(session, mail)\n"
                       "  mail.recipients[1].address = 'a@elsewhere.example'\n"
                       "  mail:add_recipient('b@elsewhere.example')\n"
                       "end"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MESSAGE), "continue");
    assert_int_equal(w.mail.n_rcpts, 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(!w.mail.rcpts[i]->is_local && w.mail.rcpts[i]->relayed);
    world_deinit(&w);
}

static void test_queued_is_final(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(
            &w,
            "function on.queued(mail) assert(#mail.id == 13) mail:add_header('X', 'y') end"),
        0);
    w.mail.id = 12345;
    w.mail.frozen = w.mail.decided = true;
    assert_string_equal(world_ask(&w, BARID_EVENT_QUEUED), "continue");
    assert_true(world_logged(&w, "the mail is queued and cannot be changed any more"));
    /* From the queue there is no session. */
    policy_mail_over(w.session, &w.mail);
    policy_session_del(&w.session);
    assert_string_equal(world_ask(&w, BARID_EVENT_QUEUED), "continue");
    world_deinit(&w);
}

static void test_stale(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(
            &w, "local kept = {}\n"
                "function on.message(s, m) kept.s, kept.m, kept.r, kept.v = s, m, "
                "m.recipients[1], m.vars end\n"
                "function on.noop(s) return accept(kept.m.sender) end\n"
                "function on.rset(s) return accept(kept.r.address) end\n"
                "function on.vrfy(s) return accept(tostring(kept.v.x)) end\n"
                "function on.help(s) kept.m:store('x') end\n"
                "function on.expn(s) return accept(kept.s.ip .. tostring(kept.s == s)) end\n"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MESSAGE), "continue");
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), "accept sender@Example.org");
    policy_mail_over(w.session, &w.mail);
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), FAILED);
    assert_true(world_logged(&w, "this mail is over"));
    assert_string_equal(world_ask(&w, BARID_EVENT_RSET), FAILED);
    assert_true(world_logged(&w, "this rcpt is over"));
    assert_string_equal(world_ask(&w, BARID_EVENT_VRFY), FAILED);
    assert_true(world_logged(&w, "these vars are over"));
    assert_string_equal(world_ask(&w, BARID_EVENT_HELP), FAILED);
    assert_string_equal(world_ask(&w, BARID_EVENT_EXPN), "accept 192.0.2.7true");
    policy_session_del(&w.session);
    w.session = policy_session_new(w.policy, &w.facts);
    assert_string_equal(world_ask(&w, BARID_EVENT_EXPN), FAILED);
    assert_true(world_logged(&w, "this session is over"));
    world_deinit(&w);
}

static void test_explain(void **state)
{
    struct explain_entry e;
    struct world w;
    size_t at = 0;
    int64_t clock = 0;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(
            &w,
            "function on.rcpt()\n  local x = 1\n  return reject(550, '5.1.1', 'gone')\nend\n"
            "function on.message()\n  error('x')\nend\nfunction on.data() end"),
        0);
    world_ask(&w, BARID_EVENT_RCPT);
    world_ask(&w, BARID_EVENT_DATA);
    world_ask(&w, BARID_EVENT_MESSAGE);
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 1);
    assert_int_equal(e.event, BARID_EVENT_RCPT);
    assert_int_equal(e.verdict, BARID_REJECT);
    assert_int_equal(e.code, 550);
    assert_int_equal(e.rcpt_index, 0);
    assert_true(slice_eq(e.where, BARID_S("policy.lua:3")));
    assert_true(slice_eq(e.handler, BARID_S("on.rcpt")));
    assert_true(slice_eq(e.text, BARID_S("gone")));
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 1);
    assert_int_equal(e.event, BARID_EVENT_MESSAGE);
    assert_int_equal(e.verdict, BARID_TEMPFAIL);
    assert_true(slice_eq(e.where, BARID_S("policy.lua:5")));
    assert_int_equal(explain_next(explain_data(&w.mail.explain), &at, &clock, &e), 0);
    world_deinit(&w);
}

static void test_auth(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(world_load(&w, "function on.auth(s, c) return accept { verifier = "
                                    "'SCRAM-SHA-256$1', user = 'Joe' } end"),
                     0);
    assert_string_equal(world_ask(&w, BARID_EVENT_AUTH), "accept");
    assert_int_equal(w.call.verdict.secret_kind, BARID_SECRET_VERIFIER);
    assert_true(slice_eq(w.call.verdict.secret, BARID_S("SCRAM-SHA-256$1")));
    assert_true(slice_eq(w.call.verdict.user, BARID_S("Joe")));
    world_deinit(&w);
    world_init(&w);
    assert_int_equal(world_load(&w,
                                "function on.auth(s, c) return accept { secret = 'x' } end\n"
                                "hook('helo', 'a', function(s) s:hide('CHUNKING') end)\n"
                                "hook('helo', 'b', function(s) s:hide('PRDR') end)"),
                     0);
    world_ask(&w, BARID_EVENT_AUTH);
    assert_int_equal(w.call.verdict.secret_kind, BARID_SECRET_PLAIN);
    world_ask(&w, BARID_EVENT_HELO);
    assert_int_equal(w.call.verdict.hide_extensions,
                     BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME | BARID_EXT_PRDR);
    world_deinit(&w);
}

static void test_shared_and_log(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(
        world_load(&w,
                   "log { level = 'debug' }\n"
                   "function on.noop(s)\n"
                   "  shared.set('k', 'v', 10); shared.set('n', 1.5); shared.set('b', true)\n"
                   "  assert(shared.get('k') == 'v' and shared.get('n') == 1.5 and "
                   "shared.get('b') == true and shared.get('x') == nil)\n"
                   "  assert(shared.add('c') == 1 and shared.add('c', 5) == 6)\n"
                   "  shared.remove('k'); assert(shared.get('k') == nil)\n"
                   "  shared.set('n', nil); assert(shared.get('n') == nil)\n"
                   "  log.warn('careful', { n = 3, why = 'x' }); print('a', 1)\n"
                   "  return accept(pcall(shared.add, 'b') and 'yes' or 'no')\n"
                   "end"),
        0);
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), "accept no");
    assert_true(world_logged(&w, "careful"));
    assert_true(world_logged(&w, "where=policy.lua:8"));
    assert_true(world_logged(&w, "text=a 1"));
    world_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_send), cmocka_unit_test(test_send_mistakes),
        cmocka_unit_test(test_relayed),
        cmocka_unit_test(test_queued_is_final),
        cmocka_unit_test(test_stale), cmocka_unit_test(test_explain),
        cmocka_unit_test(test_auth),  cmocka_unit_test(test_shared_and_log),
    };

    return cmocka_run_group_tests_name("engine_mail", tests, NULL, NULL);
}
