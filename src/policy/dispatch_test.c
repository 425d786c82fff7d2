/* policy/dispatch_test.c: the merge table, handlers that wait, time limits, cancelling, what is
 * counted and logged. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/slice.h"
#include "policy/policy_testing.h"


/* A handler does what one letter says. */
struct script {
    char letter;
    unsigned ran, cancelled;
};

static void answer_by(char letter, struct policy_call *call)
{
    static const char letters[] = "-ArtdqhX"; /* in the order of barid_verdict_kind */

    switch (letter) {
    case 'c': /* a code that does not fit */
        call->verdict.kind = BARID_REJECT;
        call->verdict.code = 450;
        break;
    case 'n': /* an enhanced code that does not fit */
        call->verdict.kind = BARID_ACCEPT;
        call->verdict.enhanced = BARID_S("5.1.1");
        break;
    case 'N': /* no enhanced code at all */
        call->verdict.kind = BARID_REJECT;
        call->verdict.enhanced = BARID_S("5.7");
        break;
    case 'Q': /* a code where there is no reply */
        call->verdict.kind = BARID_QUARANTINE;
        call->verdict.code = 250;
        break;
    case 'e':
        call->failed = true;
        call->error = BARID_S("it broke");
        break;
    case 's':
        call->report->report->subject = BARID_S("edited");
        call->report->to = BARID_S("a@b.test");
        break;
    case 'a':
        call->attempt->again_us = 5;
        call->attempt->again_limited = true;
        call->verdict.kind = BARID_TEMPFAIL;
        break;
    case '1':
        call->verdict.hide_extensions = 1;
        break;
    case '2':
        call->verdict.hide_extensions = 2;
        break;
    default:
        call->verdict.kind = (enum barid_verdict_kind)(strchr(letters, letter) - letters);
    }
}

static enum policy_outcome run(void *user, struct policy_call *call)
{
    struct script *s = user;

    s->ran++;
    if (s->letter == 'w')
        return POLICY_WAITING;
    answer_by(s->letter, call);
    return POLICY_ANSWERED;
}

static void cancel(void *user, struct policy_call *call)
{
    (void)call;
    ((struct script *)user)->cancelled++;
}

static void add(struct world *w, struct script *s, enum barid_event_id event, char letter,
                int priority)
{
    *s = (struct script){.letter = letter};
    assert_int_equal(policy_add(w->policy, &(struct policy_handler){.name = "h",
                                                                    .where = "",
                                                                    .event = event,
                                                                    .priority = priority,
                                                                    .run = run,
                                                                    .cancel = cancel,
                                                                    .user = s}),
                     0);
}

static void make(struct world *w)
{
    world_init(w);
    assert_int_equal(policy_new(&w->policy, world_loop, &w->log.log, 1000, 9), 0);
    w->session = policy_session_new(w->policy, &w->facts);
    assert_non_null(w->session);
}

static const struct {
    enum barid_event_id event;
    const char *handlers, *answer;
    unsigned ran; /* how many were asked */
} merges[] = {
    {BARID_EVENT_MESSAGE, "", "continue", 0},
    {BARID_EVENT_MESSAGE, "---", "continue", 3},
    {BARID_EVENT_MESSAGE, "A", "accept", 1},
    {BARID_EVENT_MESSAGE, "Ar", "accept", 1},
    {BARID_EVENT_MESSAGE, "-rA", "reject", 2},
    {BARID_EVENT_MESSAGE, "t-", "tempfail", 1},
    {BARID_EVENT_MESSAGE, "-d", "discard", 2},
    {BARID_EVENT_MESSAGE, "qr", "quarantine", 1},
    {BARID_EVENT_MESSAGE, "hr", "hold", 1},
    {BARID_EVENT_MESSAGE, "-X", "disconnect", 2},
    {BARID_EVENT_MESSAGE, "eA", FAILED, 1},
    {BARID_EVENT_MESSAGE, "-cA", FAILED, 2},
    {BARID_EVENT_MESSAGE, "Q", FAILED, 1},
    {BARID_EVENT_RCPT, "nA", FAILED, 1},
    {BARID_EVENT_RCPT, "-NA", FAILED, 2},
    {BARID_EVENT_RCPT, "-d", FAILED, 2},
    {BARID_EVENT_RCPT, "h", FAILED, 1},
    {BARID_EVENT_NOOP, "t", FAILED, 1},
    {BARID_EVENT_QUIT, "r", FAILED, 1},
    {BARID_EVENT_CONNECT, "e", "tempfail 421 4.3.0 Local policy error, try again later", 1},
    {BARID_EVENT_QUEUED, "-", "continue", 1},
    {BARID_EVENT_QUEUED, "r", "continue", 1},
    {BARID_EVENT_DISCONNECT, "e-", "continue", 1},
    {BARID_EVENT_ROUTE, "-A", "accept", 2},
    {BARID_EVENT_ROUTE, "tA", "tempfail", 1},
    {BARID_EVENT_ROUTE, "q", FAILED, 1},
    {BARID_EVENT_RELAY, "-hA", "hold", 2},
    {BARID_EVENT_RELAY, "A", FAILED, 1},
    {BARID_EVENT_ATTEMPT, "r", "reject", 1},
    {BARID_EVENT_ATTEMPT, "d", FAILED, 1},
    {BARID_EVENT_FAILURE, "-hA", "hold", 2},
    {BARID_EVENT_FAILURE, "eA", "continue", 1},
    {BARID_EVENT_FAILURE, "r", "continue", 1},
    {BARID_EVENT_DELAY, "-dA", "discard", 2},
    {BARID_EVENT_DELAY, "hA", "continue", 1},
};

static void test_merge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(merges) / sizeof(merges[0]); i++) {
        struct script s[4] = {{0}};
        struct world w;
        unsigned ran = 0;

        make(&w);
        for (size_t k = 0; merges[i].handlers[k] != '\0'; k++)
            add(&w, &s[k], merges[i].event, merges[i].handlers[k], 0);
        if (strcmp(world_ask(&w, merges[i].event), merges[i].answer) != 0)
            fail_msg("%s at %s gives %s", merges[i].handlers,
                     barid_event_info_get(merges[i].event)->name, w.answer);
        for (size_t k = 0; k < 4; k++)
            ran += s[k].ran;
        assert_int_equal(ran, merges[i].ran);
        world_deinit(&w);
    }
}

static void test_order_and_edits(void **state)
{
    struct script s[4];
    struct world w;

    (void)state;
    make(&w);
    add(&w, &s[0], BARID_EVENT_HELO, 'r', 5);
    add(&w, &s[1], BARID_EVENT_HELO, '1', -1);
    add(&w, &s[2], BARID_EVENT_HELO, '2', 0);
    add(&w, &s[3], BARID_EVENT_HELO, 'A', 0);
    assert_string_equal(world_ask(&w, BARID_EVENT_HELO), "accept");
    assert_int_equal(w.call.verdict.hide_extensions, 3);
    assert_int_equal(s[0].ran, 0);
    assert_true(policy_events(w.policy) == BARID_EVENT_BIT(BARID_EVENT_HELO));
    assert_int_equal(policy_version(w.policy), 9);
    world_deinit(&w);
}

/* What a handler that fails leaves: a report as it was, an attempt by the schedule, and what is delivered delivered. */
static void test_fails_clean(void **state)
{
    struct script s[4];
    struct world w;

    (void)state;
    make(&w);
    add(&w, &s[0], BARID_EVENT_DELAY, 's', 0);
    add(&w, &s[1], BARID_EVENT_FAILURE, 's', 0);
    add(&w, &s[2], BARID_EVENT_FAILURE, 'e', 0);
    add(&w, &s[3], BARID_EVENT_ATTEMPT, 'a', 0);
    assert_string_equal(world_ask(&w, BARID_EVENT_DELAY), "continue");
    assert_string_equal(world_effect(&w), "a@b.test edited");
    assert_string_equal(world_ask(&w, BARID_EVENT_FAILURE), "continue");
    assert_string_equal(world_effect(&w), "sender@Example.org ");
    assert_string_equal(world_ask(&w, BARID_EVENT_ATTEMPT), "tempfail");
    assert_true(w.attempt.again_us == 5 && w.attempt.again_limited);
    w.result.status = DELIVERY_DONE;
    assert_string_equal(world_ask(&w, BARID_EVENT_ATTEMPT), "continue");
    assert_true(w.attempt.again_us == 0 && !w.attempt.again_limited);
    world_deinit(&w);
}

static void test_add_refused(void **state)
{
    struct policy_handler h = {.name = "h", .where = "", .run = run};
    struct world w;

    (void)state;
    make(&w);
    assert_int_equal(policy_add(w.policy, &h), BARID_EINVALID);
    h.event = BARID_EVENT_COMMIT;
    assert_int_equal(policy_add(w.policy, &h), BARID_EINVALID);
    h.event = BARID_EVENTS;
    assert_int_equal(policy_add(w.policy, &h), BARID_EINVALID);
    h.event = BARID_EVENT_RCPT;
    for (int i = 0; i < POLICY_HANDLERS_MAX; i++)
        assert_int_equal(policy_add(w.policy, &h), 0);
    assert_int_equal(policy_add(w.policy, &h), BARID_ELIMIT);
    world_deinit(&w);
}

static void resume(struct world *w, char letter)
{
    w->call.verdict = (barid_verdict){0};
    answer_by(letter, &w->call);
    policy_resume(w->policy, &w->call);
}

static void test_waiting(void **state)
{
    struct script s[3];
    struct policy_stats stats;
    struct world w;

    (void)state;
    make(&w);
    add(&w, &s[0], BARID_EVENT_MAIL, 'w', 0);
    add(&w, &s[1], BARID_EVENT_MAIL, 'w', 0);
    add(&w, &s[2], BARID_EVENT_MAIL, 'r', 0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MAIL), "waiting");
    resume(&w, '-');
    assert_int_equal(w.done, 0);
    assert_int_equal(s[1].ran, 1);
    resume(&w, '-');
    assert_int_equal(w.done, 1);
    assert_string_equal(w.answer, "reject");
    assert_string_equal(world_ask(&w, BARID_EVENT_MAIL), "waiting");
    resume(&w, 'A');
    assert_int_equal(w.done, 2);
    assert_string_equal(w.answer, "accept");
    assert_string_equal(world_ask(&w, BARID_EVENT_MAIL), "waiting");
    resume(&w, 'e');
    assert_string_equal(w.answer, FAILED);
    assert_true(world_logged(&w, "it broke"));
    policy_stats(w.policy, &stats);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].asked, 3);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].waited, 4);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].errors, 1);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].verdicts[BARID_REJECT], 1);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].verdicts[BARID_TEMPFAIL], 1);
    assert_int_equal(world_timers(), 0);
    world_deinit(&w);
}

static void test_deadline(void **state)
{
    struct script s;
    struct policy_stats stats;
    struct policy_call other;
    struct world w;

    (void)state;
    make(&w);
    add(&w, &s, BARID_EVENT_MAIL, 'w', 0);
    assert_string_equal(world_ask(&w, BARID_EVENT_MAIL), "waiting");
    world_advance(600);
    other = (struct policy_call){
        .event = BARID_EVENT_MAIL, .session = w.session, .done = w.call.done, .user = &w};
    assert_int_equal(policy_ask(w.policy, &other), POLICY_WAITING);
    world_advance(399);
    assert_int_equal(w.done, 0);
    world_advance(1);
    assert_int_equal(w.done, 1);
    assert_string_equal(w.answer, FAILED);
    assert_int_equal(s.cancelled, 1);
    assert_int_equal(world_timers(), 1); /* the other's */
    world_advance(600);
    assert_int_equal(w.done, 2);
    assert_int_equal(s.cancelled, 2);
    policy_stats(w.policy, &stats);
    assert_int_equal(stats.event[BARID_EVENT_MAIL].timeouts, 2);
    assert_true(world_logged(&w, "no answer within limits.hook_ms"));
    world_deinit(&w);
}

static void test_cancel(void **state)
{
    struct script s;
    struct policy_call other;
    struct world w;

    (void)state;
    make(&w);
    add(&w, &s, BARID_EVENT_MAIL, 'w', 0);
    world_ask(&w, BARID_EVENT_MAIL);
    other = (struct policy_call){
        .event = BARID_EVENT_MAIL, .session = w.session, .done = w.call.done, .user = &w};
    assert_int_equal(policy_ask(w.policy, &other), POLICY_WAITING);
    policy_cancel(w.policy, &w.call);
    assert_int_equal(s.cancelled, 1);
    world_advance(999);
    assert_int_equal(w.done, 0);
    policy_cancel(w.policy, &other);
    world_advance(5000);
    assert_int_equal(w.done, 0);
    assert_int_equal(world_timers(), 0);
    world_deinit(&w);
}

static void test_no_memory(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm)) {
        struct policy *p = NULL;
        struct script s = {.letter = '-'};

        if (policy_new_mem(&p, NULL, NULL, 0, 1, &fm.mem) == 0) {
            int rc = policy_add(p, &(struct policy_handler){.name = "n",
                                                            .where = "w",
                                                            .event = BARID_EVENT_RCPT,
                                                            .run = run,
                                                            .user = &s});
            assert_true(rc == 0 || rc == BARID_ENOMEM);
            assert_true((rc == 0) == (policy_events(p) != 0));
            struct policy_session *session = policy_session_new(p, NULL);
            policy_session_del(&session);
        }
        policy_unref(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),       cmocka_unit_test(test_order_and_edits),
        cmocka_unit_test(test_add_refused), cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_deadline),    cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_fails_clean),
    };

    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
