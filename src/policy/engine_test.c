/* policy/engine_test.c: what hooks answer and see, and how they fail: one row each, then again
 * with each of its allocations failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/malloc_testing.h"
#include "base/slice.h"
#include "policy/policy_testing.h"

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
};

/* Loops without end, and what has no end of memory. */
static const struct row budgets[] = {
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
    {BARID_EVENT_RCPT,
     "function on.rcpt() local t = {} for i = 1, 100001 do t[i] = 1 end table.sort(t) end",
     FAILED, "100001 elements are too many (limit 100000)"},
    {BARID_EVENT_RCPT, "function on.rcpt() shared.set(('x'):rep(1025), 1) end", FAILED, "1024"},
    {BARID_EVENT_RCPT, "function on.rcpt() shared.set('x', ('x'):rep(65537)) end", FAILED,
     "at most 65536 octets"},
    {BARID_EVENT_RCPT,
     "function on.rcpt() local t = {} for i = 1, 33 do t['k' .. i] = i end log.info('x', t) "
     "end",
     FAILED, "more than 32 fields"},
    {BARID_EVENT_AUTH, "function on.auth() return accept { secret = ('x'):rep(1025) } end",
     FAILED, "must have 1 to 1024 octets"},
};

static void world_for(struct world *w, const struct row *r, bool quiet)
{
    world_init(w);
    w->quiet = quiet;
    w->config->limits.hook_instructions = 1000000;
    w->config->limits.lua_memory = 300u << 20;
    if (world_load(w, r->text) < 0)
        fail_msg("%s: %s", r->text, w->err.text);
}

static int run_row(const struct row *r)
{
    struct world w;
    const char *answer;
    int wrong = 0;

    world_for(&w, r, false);
    answer = world_ask(&w, r->event);
    if (strcmp(answer, r->answer) != 0 ||
        !(r->log[0] != '\0' ? world_logged(&w, r->log) : w.log.text.len == 0)) {
        print_error("%s\n  gives %s\n  not   %s\n  log   %.*s  with  %s\n", r->text, answer,
                    r->answer, (int)w.log.text.len, w.log.text.p != NULL ? w.log.text.p : "",
                    r->log);
        wrong++;
    }
    /* Whatever happened, the state works on. */
    if (strcmp(world_ask(&w, r->event), r->answer) != 0) {
        print_error("%s: the second time: %s\n", r->text, w.answer);
        wrong++;
    }
    world_deinit(&w);
    return wrong;
}

static void test_rows(void **state)
{
    int wrong = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        wrong += run_row(&rows[i]);
    for (size_t i = 0; i < sizeof(budgets) / sizeof(budgets[0]); i++)
        wrong += run_row(&budgets[i]);
    assert_int_equal(wrong, 0);
}

/* A hook that lacks memory is one that could not run, and the next mail finds the state as it
 * was. */
static void test_rows_without_memory(void **state)
{
    struct fail_mem mem = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *r = &rows[i];

        while (fail_mem_next(&mem)) {
            const char *answer;
            struct world w;

            world_for(&w, r, true);
            malloc_fails(&mem);
            answer = world_ask(&w, r->event);
            malloc_fails(NULL);
            if (strcmp(answer, r->answer) != 0 &&
                (!mem.failed ||
                 (strcmp(answer, FAILED) != 0 && strcmp(answer, FAILED_CONNECT) != 0)))
                fail_msg("%s, without allocation %zu: %s", r->text, mem.fail_at, answer);
            assert_string_equal(world_ask(&w, r->event), r->answer);
            world_deinit(&w);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_rows_without_memory),
    };

    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
