/* policy/engine_wait_test.c: hooks that wait for DNS and time, and how the wait ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/slice.h"
#include "policy/engine.h"
#include "policy/policy_testing.h"

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

#if !defined(__SANITIZE_THREAD__) /* minutes for its longjmps, and there is but one thread */
/* So many at once, and no more: the next hook could not run. */
static void test_most_wait(void **state)
{
    struct policy_session **s = calloc(ENGINE_THREADS_MAX, sizeof(struct policy_session *));
    struct policy_call *call = calloc(ENGINE_THREADS_MAX, sizeof(*call));
    struct world w;

    (void)state;
    assert_true(s != NULL && call != NULL);
    world_init(&w);
    w.config->limits.lua_memory = 300u << 20;
    assert_int_equal(world_load(&w, "function on.connect(s) dns.a('x') return accept() end"),
                     0);
    for (size_t i = 0; i < ENGINE_THREADS_MAX; i++) {
        s[i] = policy_session_new(w.policy, &w.facts);
        assert_non_null(s[i]);
        call[i] = (struct policy_call){
            .event = BARID_EVENT_CONNECT, .session = s[i], .done = w.call.done, .user = &w};
        assert_int_equal(policy_ask(w.policy, &call[i]), POLICY_WAITING);
    }
    assert_string_equal(world_ask(&w, BARID_EVENT_CONNECT), FAILED_CONNECT);
    policy_cancel(w.policy, &call[0]);
    assert_string_equal(world_ask(&w, BARID_EVENT_CONNECT), "waiting");
    policy_cancel(w.policy, &w.call);
    for (size_t i = 0; i < ENGINE_THREADS_MAX; i++) {
        if (i > 0)
            policy_cancel(w.policy, &call[i]);
        policy_session_del(&s[i]);
    }
    world_deinit(&w);
    free(call);
    free(s);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_waiting_ends),
        cmocka_unit_test(test_many_wait),
#if !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_most_wait),
#endif
    };

    return cmocka_run_group_tests_name("engine_wait", tests, NULL, NULL);
}
