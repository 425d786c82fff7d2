/* queue/verdict_test.c: what policy says at route, relay and attempt, at once or later. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/record.h"
#include "queue/queue_int.h"
#include "queue/letter_testing.h"
#include "queue/source.h"

/* --- verdicts --- */

struct verdict_case {
    enum barid_event_id event;
    barid_verdict verdict;
    enum unit_status status; /* UNIT_DONE: it is gone */
    const char *reply;
    size_t sent;
};

static void try_verdict(struct relaying *r, const struct verdict_case *c, bool waits)
{
    struct hook *h = hear(r, c->event);
    uint64_t id;

    h->verdict = c->verdict;
    h->waits = waits;
    if (c->event == BARID_EVENT_ATTEMPT)
        r->relay.hosts[0] = (struct host){.name = "", .reply = "451 4.2.0 later"};
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    if (waits) {
        UNTIL(&r->f, h->waiting[0] != NULL);
        hook_answer(r, c->event);
    }
    UNTIL(&r->f, stats(&r->f).delivered + stats(&r->f).held + stats(&r->f).deferred +
                         stats(&r->f).failed ==
                     1);
    assert_int_equal(r->relay.n, c->sent);
    assert_int_equal(h->asked, 1);
    if (c->status == UNIT_DONE || c->status == UNIT_FAILED)
        assert_int_equal(messages(&r->f), 0);
    else
        expect_reply(r, id, 0, c->status, c->reply);
    relaying_tear_down(r);
    relaying_set_up(r);
}

static void test_verdicts(void **state)
{
#define V(k, c, t)                                                                             \
    {                                                                                          \
        .kind = BARID_##k, .code = c, .text = { t, sizeof(t) - 1 }                             \
    }
    static const struct verdict_case cases[] = {
        {BARID_EVENT_ROUTE, {.kind = BARID_CONTINUE}, UNIT_DONE, "", 1},
        {BARID_EVENT_ROUTE, {.kind = BARID_ACCEPT}, UNIT_DONE, "", 1},
        {BARID_EVENT_ROUTE, {.kind = BARID_DISCARD}, UNIT_DONE, "", 0},
        {BARID_EVENT_ROUTE, {.kind = BARID_HOLD}, UNIT_HELD, "250 2.0.0 held by policy", 0},
        {BARID_EVENT_ROUTE, V(REJECT, 550, "not there"), UNIT_HELD, "550 ",
         0}, /* null sender: our own doing */
        {BARID_EVENT_ROUTE, V(TEMPFAIL, 451, "not yet"), UNIT_PENDING, "451 ", 0},
        {BARID_EVENT_RELAY, {.kind = BARID_CONTINUE}, UNIT_DONE, "", 1},
        {BARID_EVENT_RELAY, {.kind = BARID_HOLD}, UNIT_HELD, "250 2.0.0 held by policy", 0},
        {BARID_EVENT_RELAY, V(REJECT, 550, "not so"), UNIT_HELD, "550 ", 0},
        {BARID_EVENT_RELAY, V(TEMPFAIL, 451, "not yet"), UNIT_PENDING, "451 ", 0},
        {BARID_EVENT_ATTEMPT, {.kind = BARID_CONTINUE}, UNIT_PENDING, "451 4.2.0 later", 1},
        {BARID_EVENT_ATTEMPT, {.kind = BARID_ACCEPT}, UNIT_DONE, "", 1},
        {BARID_EVENT_ATTEMPT, {.kind = BARID_HOLD}, UNIT_HELD, "451 4.2.0 later", 1},
        {BARID_EVENT_ATTEMPT, V(REJECT, 554, "enough"), UNIT_FAILED, "554 ", 1},
        {BARID_EVENT_ATTEMPT, V(TEMPFAIL, 451, "x"), UNIT_PENDING, "451 4.2.0 later", 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        try_verdict(*state, &cases[i], false);
        try_verdict(*state, &cases[i], true);
    }
}

/* Policy's own time, and no attempt: not even the last one. */
static void put_off(struct policy_call *call, void *user)
{
    call->attempt->again_us = *(int64_t *)user;
    call->attempt->again_limited = true;
    call->verdict.kind = BARID_TEMPFAIL;
}

static void test_put_off_by_policy(void **state)
{
    struct relaying *r = *state;
    struct hook *attempt = hear(r, BARID_EVENT_ATTEMPT);
    int64_t again_us = START + 1000 * S;
    uint64_t id;

    r->relay.hosts[0] = (struct host){.name = "", .reply = "451 4.2.0 later"};
    attempt->act = put_off;
    attempt->user = &again_us;
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .state = {.attempts = 3}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    assert_int_equal(unit_of(r, id, 0).attempts, 3);
    assert_int_equal(unit_of(r, id, 0).due_us, again_us);
    again_us = 0;
    settle(&r->f);
    advance(&r->f, 1000 * S);
    UNTIL(&r->f, stats(&r->f).deferred == 2); /* by the schedule, and not the end of it */
    assert_int_equal(unit_of(r, id, 0).attempts, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {R(test_verdicts), R(test_put_off_by_policy)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
