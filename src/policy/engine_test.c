/* policy/engine_test.c: hooks: what they answer, what they see and change, how they fail, how
 * they wait. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/slice.h"
#include "policy/policy_testing.h"

#define FAILED         "tempfail 451 4.3.0 Local policy error, try again later"
#define FAILED_CONNECT "tempfail 421 4.3.0 Local policy error, try again later"

/* Hook body of an event -> answer, and what the log must hold ("" = nothing may be logged). */
static const struct row {
    enum barid_event_id event;
    const char *text, *answer, *log;
} rows[] = {
    /* verdicts */
    {BARID_EVENT_RCPT, "function on.rcpt() end", "continue", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return nil end", "continue", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return accept() end", "accept", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return accept('fine') end", "accept fine", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return accept(250, '2.1.5', 'fine') end",
     "accept 250 2.1.5 fine", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject() end", "reject", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject('no') end", "reject no", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject('5.1.1', 'no') end", "reject 5.1.1 no",
     ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject(550, 'no') end", "reject 550 no", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject(550, '5.1.1', 'no such user') end",
     "reject 550 5.1.1 no such user", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return tempfail(450, '4.2.0', 'later') end",
     "tempfail 450 4.2.0 later", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return disconnect(421, '4.7.0', 'bye') end",
     "disconnect 421 4.7.0 bye", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return disconnect('5.7.1', 'go away') end",
     "disconnect 554 5.7.1 go away", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return disconnect('4.7.1', 'go away') end",
     "disconnect 4.7.1 go away", ""},
    {BARID_EVENT_RCPT, "function on.rcpt() return disconnect(421, '5.7.1', 'go away') end",
     FAILED, "does not fit the verdict (disconnect)"},
    {BARID_EVENT_RCPT, "function on.rcpt() return disconnect { silent = true } end",
     "disconnect silent", ""},
    {BARID_EVENT_MESSAGE, "function on.message() return discard('spam') end", "discard spam",
     ""},
    {BARID_EVENT_MESSAGE, "function on.message() return quarantine('virus') end",
     "quarantine virus", ""},
    {BARID_EVENT_MESSAGE, "function on.message() return hold() end", "hold", ""},
    {BARID_EVENT_MESSAGE, "local no = reject('always')\nfunction on.message() return no end",
     "reject always", ""},
    {BARID_EVENT_AUTH,
     "function on.auth(s, c) if c.name == 'joe' and c.password == 'secret' then return "
     "accept() end return reject() end",
     "accept", ""},
    {BARID_EVENT_AUTH,
     "function on.auth(s, c) return reject(c.mechanism .. '/' .. c.authorize_as) end",
     "reject PLAIN/", ""},
    /* verdicts that are none */
    {BARID_EVENT_RCPT, "function on.rcpt() return 5 end", FAILED,
     "on.rcpt returned a number, a hook returns nothing or a verdict"},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject end", FAILED,
     "on.rcpt returned a function"},
    {BARID_EVENT_RCPT, "function on.rcpt() return hold() end", FAILED,
     "this event does not allow that verdict (hold)"},
    {BARID_EVENT_HELO, "function on.helo() return tempfail() end", FAILED,
     "this event does not allow that verdict (tempfail)"},
    {BARID_EVENT_CONNECT, "function on.connect() return hold() end", FAILED_CONNECT,
     "does not allow"},
    {BARID_EVENT_RCPT, "function on.rcpt()\n return reject(450, 'x') end", FAILED,
     "policy.lua:2: reject: the code 450 is out of range, 500 to 599 is allowed"},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject(550, '4.1.1', 'x') end", FAILED,
     "'4.1.1' is no enhanced code"},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject(550, '5.1.1', 'x', 'y') end", FAILED,
     "too many arguments"},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject({}) end", FAILED,
     "string expected, got table"},
    {BARID_EVENT_RCPT, "function on.rcpt() return accept { sekret = 'x' } end", FAILED,
     "unknown key 'sekret'"},
    {BARID_EVENT_RCPT, "function on.rcpt() return reject(string.rep('x', 9000)) end", FAILED,
     "longer than 8192"},
    /* errors in hooks */
    {BARID_EVENT_RCPT, "function on.rcpt()\n\n error('oops') end", FAILED,
     "policy.lua:3: oops"},
    {BARID_EVENT_RCPT, "local function f() error('deep') end\nfunction on.rcpt() f() end",
     FAILED, "policy.lua:1: deep stack traceback"},
    {BARID_EVENT_RCPT, "function on.rcpt() error({}) end", FAILED, "an error that is no text"},
    {BARID_EVENT_RCPT, "function on.rcpt() nothere() end", FAILED,
     "policy.lua:1: undefined global 'nothere'"},
    {BARID_EVENT_RCPT, "function on.rcpt() x = 1 end", FAILED,
     "global 'x' cannot be written in a hook"},
    {BARID_EVENT_RCPT, "x = 0 function on.rcpt() x = x + 1 end", FAILED,
     "or shared for what all mails see"},
    {BARID_EVENT_RCPT, "function on.rcpt() hostname 'x' end", FAILED,
     "hostname is a declaration"},
    {BARID_EVENT_RCPT, "function on.rcpt() on.mail = print end", FAILED,
     "hooks are set while the file is loaded"},
    {BARID_EVENT_RCPT, "function on.rcpt() hook('mail', 'x', print) end", FAILED,
     "hooks are set while the file is loaded"},
    {BARID_EVENT_RCPT, "function on.rcpt() string.x = 1 end", FAILED,
     "string cannot be changed"},
    {BARID_EVENT_RCPT, "function on.rcpt() rawset(string, 'x', 1) end", FAILED,
     "protected table"},
    {BARID_EVENT_RCPT, "function on.rcpt() getmetatable('').__index = 1 end", FAILED,
     "attempt to index a boolean"},
    {BARID_EVENT_RCPT, "function on.rcpt() setmetatable({}, { __gc = print }) end", FAILED,
     "__gc is not available"},
    {BARID_EVENT_RCPT, "function on.rcpt() setmetatable(_ENV, nil) end", FAILED,
     "protected metatable"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() if load or dofile or io or debug or _G then reject() end end", FAILED,
     "undefined global 'load'"},
    {BARID_EVENT_RCPT, "function on.rcpt() return os.execute('true') end", FAILED,
     "os has no 'execute'"},
    {BARID_EVENT_RCPT, "function on.rcpt() require 'x' end", FAILED,
     "require belongs at the top"},
    {BARID_EVENT_QUEUED, "function on.queued(mail) return reject() end", "continue",
     "does not allow"},
    {BARID_EVENT_DISCONNECT, "function on.disconnect(s, why) error(why) end", "continue",
     "quit"},
    /* what they see */
    {BARID_EVENT_CONNECT,
     "function on.connect(s) return reject(s.ip .. ' ' .. s.port .. ' ' .. s.helo .. ' ' .. "
     "s.id .. ' ' .. s.protocol) end",
     "reject 192.0.2.7 40000 client.example 0123456789abcdef smtp", ""},
    {BARID_EVENT_CONNECT,
     "function on.connect(s) return reject(tostring(s.user) .. tostring(s.tls) .. "
     "tostring(s.trusted)) end",
     "reject nilfalsefalse", ""},
    {BARID_EVENT_HELO, "function on.helo(s, name) return reject(name) end", "reject argument",
     ""},
    {BARID_EVENT_VRFY, "function on.vrfy(s, arg) return accept(252, arg) end",
     "accept 252 argument", ""},
    {BARID_EVENT_BODY, "function on.body(s, m, chunk) return reject(chunk) end", "reject chunk",
     ""},
    {BARID_EVENT_RCPT,
     "function on.rcpt(s, m, r) return reject(r.address..' '..r.local_part..' '..r.user..' "
     "'..r.tag..' '..r.domain..' '..tostring(r.is_local)) end",
     "reject User+tag@Example.com User+tag user tag example.com true", ""},
    {BARID_EVENT_MAIL,
     "function on.mail(s, m) return reject(m.sender .. ' ' .. m.sender_domain) end",
     "reject sender@Example.org example.org", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) return reject(m:header('subject') .. ' ' .. m.size .. ' ' .. "
     "#m.recipients) end",
     "reject a test 87 1", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) return reject(m:body(7, 5) .. #m:body() .. #m:body(100)) end",
     "reject World140", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) local t = {} for _, h in ipairs(m:headers()) do t[#t+1] = "
     "h.name end return reject(table.concat(t, ',')) end",
     "reject From,To,Subject", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) return reject(config.hostname .. config.domains[1] .. "
     "tostring(config.is_local('Example.COM'))) end",
     "reject mx.example.comexample.comtrue", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) return reject(os.time() .. os.date('!%Y')) end",
     "reject 17000000002023", ""},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) local v = reject(550, 'x') return accept(v.kind .. v.code .. "
     "v.text) end",
     "accept reject550x", ""},
    {BARID_EVENT_RCPT,
     "hook('rcpt', 'b', function() return accept('b') end, { priority = 5 })\nhook('rcpt', "
     "'a', function() end)\nhook('rcpt', 'c', function() return accept('c') end, { priority = "
     "4 })",
     "accept c", ""},
    /* what they must not do */
    {BARID_EVENT_CONNECT, "function on.connect(s) s.ip = 'x' end", FAILED_CONNECT,
     "session.ip is read-only"},
    {BARID_EVENT_CONNECT, "function on.connect(s) s.foo = 'x' end", FAILED_CONNECT,
     "session has no field 'foo'"},
    {BARID_EVENT_CONNECT, "function on.connect(s) return s.hello end", FAILED_CONNECT,
     "session has no field 'hello', did you mean 'helo'?"},
    {BARID_EVENT_CONNECT, "function on.connect(s) return s[1] end", FAILED_CONNECT,
     "session has no field of type number"},
    {BARID_EVENT_MAIL, "function on.mail(s, m) m.sender = 'nonsense' end", FAILED,
     "'nonsense' is not an address"},
    {BARID_EVENT_MAIL, "function on.mail(s, m) m.relay_allowed = 1 end", FAILED,
     "true or false is expected, got number"},
    {BARID_EVENT_MAIL, "function on.mail(s, m) m.add_header(s, 'a', 'b') end", FAILED,
     "mail expected, got session"},
    {BARID_EVENT_MAIL, "function on.mail(s, m) m.add_header(5, 'a', 'b') end", FAILED,
     "mail expected, got number"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:add_header('bad name', 'x') end", FAILED,
     "'bad name' is no field name"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:add_header('X', 'a\\r\\nb') end", FAILED,
     "CR, LF or NUL"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:replace_body('a\\nb') end", FAILED,
     "bare CR or LF at octet 2"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:store('%{nope}') end", FAILED, "nope"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:archive('%{user}') end", FAILED, "user"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m:delay_until('whenever') end", FAILED,
     "'whenever' is no time"},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) m:add_recipient('x@elsewhere.example') end", FAILED,
     "is not local"},
    {BARID_EVENT_MESSAGE,
     "function on.message(s, m) m.recipients[1].address = 'x@elsewhere.example' end", FAILED,
     "is not local"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m.vars.x = {} end", FAILED,
     "can be kept, not a table"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) m.vars.x = string.rep('x', 70000) end",
     FAILED, "limit"},
    {BARID_EVENT_MESSAGE, "function on.message(s, m) s:hide('CHUNKING') end", FAILED,
     "only in on.helo"},
    /* budgets */
    {BARID_EVENT_RCPT, "function on.rcpt()\n while true do end end", FAILED,
     "policy.lua:2: stopped: more than limits.hook_instructions"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() while true do pcall(function() while true do end end) end end", FAILED,
     "stopped"},
    {BARID_EVENT_RCPT, "function on.rcpt() return pcall(function() while true do end end) end",
     FAILED, "stopped"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() xpcall(function() while true do end end, function() while true do end "
     "end) end",
     FAILED, "stopped"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() local t <close> = setmetatable({}, { __close = function() while true "
     "do end end }) while true do end end",
     FAILED, "stopped"},
    {BARID_EVENT_RCPT, "function on.rcpt() local function f() return f() end f() end", FAILED,
     "stopped"},
    {BARID_EVENT_RCPT, "function on.rcpt() local function f() return 1 + f() end f() end",
     FAILED, "stopped"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() local function f() return ('x'):gsub('x', f) end f() end", FAILED,
     "stack overflow"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() return string.find(string.rep('a', 500), string.rep('a?', 30) .. "
     "string.rep('a', 600)) end",
     FAILED, "step limit"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() return (string.rep('a', 5000)):match('.-.-.-.-b') end", FAILED,
     "step limit"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() while true do (string.rep('a', 1000)):find('.-b') end end", FAILED,
     "stopped"},
    {BARID_EVENT_RCPT, "function on.rcpt() return string.rep('x', 1 << 40) end", FAILED,
     "string.rep: the result is longer"},
    {BARID_EVENT_RCPT, "function on.rcpt() return string.rep('', 1 << 60, 'x') end", FAILED,
     "string.rep: the result is longer"},
    {BARID_EVENT_RCPT, "function on.rcpt() return table.move({}, 1, 1 << 60, 2) end", FAILED,
     "table.move: the range is too long"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() local s, t = string.rep('x', 1000000), {} for i = 1, 200 do t[i] = s "
     "end return table.concat(t) end",
     FAILED, "table.concat: the result"},
    {BARID_EVENT_RCPT, "function on.rcpt() local s = 'x' while true do s = s .. s end end",
     FAILED, "not enough memory"},
    {BARID_EVENT_RCPT, "function on.rcpt() local t = {} while true do t[#t + 1] = {} end end",
     FAILED, "stopped"},
    {BARID_EVENT_RCPT, "function on.rcpt() return string.format('%99999d', 1) end", FAILED,
     "invalid conversion"},
};

static void test_rows(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];
        struct world w;
        const char *answer;

        world_init(&w);
        w.config->limits.hook_instructions = 1000000;
        w.config->limits.lua_memory = 300u << 20;
        if (world_load(&w, r->text) < 0)
            fail_msg("%s: %s", r->text, w.err.text);
        answer = world_ask(&w, r->event);
        if (strcmp(answer, r->answer) != 0 ||
            !(r->log[0] != '\0' ? world_logged(&w, r->log) : w.log.text.len == 0)) {
            print_error("%s\n  gives %s\n  not   %s\n  log   %.*s  with  %s\n", r->text, answer,
                        r->answer, (int)w.log.text.len,
                        w.log.text.p != NULL ? w.log.text.p : "", r->log);
            wrong++;
        }
        /* Whatever happened, the state works on. */
        if (strcmp(world_ask(&w, r->event), r->answer) != 0) {
            print_error("%s: the second time: %s\n", r->text, w.answer);
            wrong++;
        }
        world_deinit(&w);
    }
    assert_int_equal(wrong, 0);
}

/* --- edits ----------------------------------------------------------------------------------
 */

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

/* --- waiting --------------------------------------------------------------------------------
 */

static const struct dns_record two[] = {{.type = DNS_A, .addr = {127, 0, 0, 2}},
                                        {.type = DNS_A, .addr = {127, 0, 0, 4}}};
static const struct dns_record mx[] = {
    {.type = DNS_MX, .preference = 10, .text = {"mx.example.org", 14}}};

static void test_waiting(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(world_load(&w,
                                "hook('connect', 'first', function(session)\n"
                                "  local found, why = dns.a('2.0.0.127.zen.example')\n"
                                "  sleep(100)\n"
                                "  local ok, m = pcall(dns.mx, 'example.org')\n"
                                "  local names, reason = dns.ptr(session.ip)\n"
                                "  return reject(#found .. found[2] .. m[1].host .. "
                                "m[1].preference .. tostring(names) .. reason)\n"
                                "end)\n"
                                "hook('connect', 'second', function() return accept() end)\n"),
                     0);
    assert_string_equal(world_ask(&w, BARID_EVENT_CONNECT), "waiting");
    assert_string_equal(world_dns_question(), "2.0.0.127.zen.example/1");
    assert_true(world_dns_answer(DNS_OK, two, 2));
    assert_string_equal(world_dns_question(), "");
    world_advance(99);
    assert_string_equal(world_dns_question(), "");
    world_advance(1);
    assert_string_equal(world_dns_question(), "example.org/15");
    assert_true(world_dns_answer(DNS_OK, mx, 1));
    assert_string_equal(world_dns_question(), "7.2.0.192.in-addr.arpa/12");
    assert_int_equal(w.done, 0);
    assert_true(world_dns_answer(DNS_TIMEOUT, NULL, 0));
    assert_int_equal(w.done, 1);
    assert_string_equal(w.answer, "reject 2127.0.0.4mx.example.org10niltimeout");
    assert_int_equal(w.log.text.len, 0);
    world_deinit(&w);
}

static void test_waiting_ends(void **state)
{
    struct world w;

    (void)state;
    world_init(&w);
    w.config->limits.hook_ms = 1000;
    assert_int_equal(
        world_load(
            &w, "function on.connect() dns.a('x') error('after') end\n"
                "function on.helo() sleep(5000) end\n"
                "function on.noop() while true do dns.a('x') for i = 1, 100000 do end end end\n"
                "function on.rset() return (('x'):gsub('x', function() return dns.a('x')[1] "
                "end)) end\n"
                "function on.vrfy() return table.sort({1, 2}, function() sleep(1) end) end"),
        0);
    /* an error after it waited */
    assert_string_equal(world_ask(&w, BARID_EVENT_CONNECT), "waiting");
    assert_true(world_dns_answer(DNS_NXDOMAIN, NULL, 0));
    assert_string_equal(w.answer, FAILED_CONNECT);
    assert_true(world_logged(&w, "policy.lua:1: after"));
    /* too late */
    assert_string_equal(world_ask(&w, BARID_EVENT_HELO), "waiting");
    world_advance(999);
    assert_int_equal(w.done, 1);
    world_advance(1);
    assert_int_equal(w.done, 2);
    assert_string_equal(w.answer, FAILED);
    assert_true(world_logged(&w, "no answer within limits.hook_ms"));
    /* cancelled */
    assert_string_equal(world_ask(&w, BARID_EVENT_CONNECT), "waiting");
    policy_cancel(w.policy, &w.call);
    assert_string_equal(world_dns_question(), "");
    world_advance(100000);
    assert_int_equal(w.done, 2);
    /* waiting does not renew the budget */
    w.config->limits.hook_instructions = 1000000;
    assert_string_equal(world_ask(&w, BARID_EVENT_NOOP), "waiting");
    for (int i = 0; w.done == 2 && i < 200; i++)
        assert_true(world_dns_answer(DNS_NODATA, NULL, 0));
    assert_int_equal(w.done, 3);
    assert_true(world_logged(&w, "stopped: more than"));
    /* where nothing can wait */
    assert_string_equal(world_ask(&w, BARID_EVENT_RSET), FAILED);
    assert_true(world_logged(&w, "dns.a cannot wait inside a callback"));
    assert_string_equal(world_ask(&w, BARID_EVENT_VRFY), FAILED);
    world_deinit(&w);
}

/* Many sessions wait at once, and end in another order than they began. */
static void test_many_wait(void **state)
{
    enum { N = 50 };
    struct policy_session *s[N];
    static struct policy_call call[N];
    struct world w;

    (void)state;
    world_init(&w);
    assert_int_equal(world_load(&w, "function on.connect(s) local v = s.vars; v.n = (v.n or 0) "
                                    "+ 1; sleep(v.n * 10); return accept() end"),
                     0);
    for (int i = 0; i < N; i++) {
        s[i] = policy_session_new(w.policy, &w.facts);
        assert_non_null(s[i]);
        call[i] = (struct policy_call){
            .event = BARID_EVENT_CONNECT, .session = s[i], .done = w.call.done, .user = &w};
        assert_int_equal(policy_ask(w.policy, &call[i]), POLICY_WAITING);
    }
    for (int i = N - 1; i >= 0; i--) {
        policy_cancel(w.policy, &call[i]);
        policy_session_del(&s[i]);
    }
    world_deinit(&w);
}

/* --- explain --------------------------------------------------------------------------------
 */

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

/* --- auth, helo, shared, log ----------------------------------------------------------------
 */

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

/* --- versions, memory -----------------------------------------------------------------------
 */

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
            const char *answer = world_ask(&w, BARID_EVENT_MESSAGE);
            if (strcmp(answer, "waiting") == 0) {
                assert_true(world_dns_answer(DNS_OK, two, 2));
                answer = w.answer;
            }
            if (strcmp(answer, "reject 550 5.7.1 text") != 0)
                assert_string_equal(answer, FAILED);
        } else {
            assert_true(rc == BARID_ENOMEM || strstr(w.err.text, "not enough memory") != NULL);
        }
        world_deinit(&w);
    }
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
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_queued_is_final),
        cmocka_unit_test(test_stale),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_many_wait),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_auth),
        cmocka_unit_test(test_shared_and_log),
        cmocka_unit_test(test_two_versions),
        cmocka_unit_test(test_session_costs),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_small_caps),
    };

    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
