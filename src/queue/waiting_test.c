/* queue/waiting_test.c: mail that waits for its next hop: in whose way it stands, what becomes of it where it is held, put off or limited. */
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

/* One next hop that says nothing stands in nobody's way. */
static void test_others_go_on(void **state)
{
    struct relaying *r = *state;

    r->f.options.routing.base.max_connections = 2;
    r->f.options.max_works = 10;
    r->relay.hosts[0] = (struct host){.name = "slow.test", .holds = true};
    for (unsigned i = 0; i < 50; i++) {
        send_letter(r, &(struct letter){.rcpts = {"u@slow.test"}});
        send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
        send_letter(r, &(struct letter){.rcpts = {"u@two.test"}});
    }
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 100);
    assert_int_equal(sent_to(r, "slow.test"), 2);
    r->relay.hosts[0].holds = false;
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 150);
    assert_int_equal(r->relay.n, 150);
}

/* More than one call of the store puts aside (CLAIM_MAX): all of them are known, and the one behind them is found at once. */
static void test_thousands_for_one(void **state)
{
    struct relaying *r = *state;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "slow.test", .holds = true};
    for (unsigned i = 0; i < 2500; i++)
        send_letter(r, &(struct letter){.rcpts = {"u@slow.test"}});
    send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 1 && r->relay.n == 2);
    assert_int_equal(sent_to(r, "slow.test"), 1);
    assert_int_equal(sent_to(r, "one.test"), 1);
    UNTIL(&r->f, r->relay.n_final == 2);
    r->relay.hosts[0].holds = false;
    relay_answer_all(r);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 2501);
    assert_int_equal(r->relay.n, 2501);
    assert_int_equal(stats(&r->f).deferred, 0);
}

/* Where policy sends it elsewhere it waits there, by its id. */
static void elsewhere(struct policy_call *call, void *user)
{
    struct policy_route *route = call->route;
    struct hop *hop = arena_alloc(route->arena, sizeof(*hop));
    struct err err;

    *hop = *route->base;
    assert_int_equal(hop_parse(hop, route->arena, slice_str(user), &err), 0);
    route->hops = hop;
    route->n_hops = 1;
    call->verdict.kind = BARID_ACCEPT;
}

static void test_put_aside(void **state)
{
    struct relaying *r = *state;
    struct hook *route = hear(r, BARID_EVENT_ROUTE);

    route->act = elsewhere;
    route->user = (void *)(uintptr_t) "full.test";
    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test", .holds = true};
    for (unsigned i = 0; i < 20; i++) {
        char rcpt[32];

        snprintf(rcpt, sizeof(rcpt), "u@d%u.test", i);
        send_letter(r, &(struct letter){.rcpts = {rcpt}});
    }
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).running == 1 && r->relay.n == 1 && route->asked == 20);
    settle(&r->f);
    assert_int_equal(r->relay.n, 1);
    for (unsigned i = 1; i < 20; i++) {
        UNTIL(&r->f, r->relay.n_final == i);
        relay_answer_all(r);
        UNTIL(&r->f, r->relay.n == i + 1);
    }
    run_dry(r);
    assert_int_equal(r->relay.now_max, 1);
    assert_int_equal(r->relay.n, 20);
}

/* Those of messages for several next hops wait in memory, LANE_PARCELS_MAX of them. */
#define PARCELS_MET (LANE_PARCELS_MAX + 4)
static void test_parcels_wait(void **state)
{
    struct relaying *r = *state;
    uint64_t id[PARCELS_MET];
    unsigned busy = 0;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test", .holds = true};
    for (unsigned i = 0; i < PARCELS_MET; i++) {
        char other[32];

        snprintf(other, sizeof(other), "b@d%u.test", i);
        id[i] = send_letter(r, &(struct letter){.rcpts = {"a@full.test", other}});
    }
    start_relaying(r);
    UNTIL(&r->f,
          stats(&r->f).deferred == PARCELS_MET - 1 - LANE_PARCELS_MAX && stats(&r->f).delivered == PARCELS_MET);
    for (unsigned i = 0; i < PARCELS_MET; i++) {
        struct unit_state s = unit_of(r, id[i], 0);

        if (s.reply.n == 0)
            continue;
        expect_reply(r, id[i], 0, UNIT_PENDING, "451 4.3.2 other mail");
        assert_int_equal(s.attempts, 0);
        busy++;
    }
    assert_int_equal(busy, PARCELS_MET - 1 - LANE_PARCELS_MAX);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 2 * PARCELS_MET);
    assert_int_equal(sent_to(r, "full.test"), PARCELS_MET);
}

/* A message was put aside for one of its next hops, and when its turn comes the other one is due as well: the slot that it came with is the
 * way of one of its own parcels. */
static void test_aside_for_one_of_two(void **state)
{
    struct relaying *r = *state;
    struct unit_change later = {.unit = 0};
    uint64_t id;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test", .holds = true, .times = 2};
    r->relay.hosts[1] = (struct host){.name = "two.test", .holds = true, .reply = "451 4.2.0 later", .times = 2};
    send_letter(r, &(struct letter){.rcpts = {"x@full.test"}});
    id = send_letter(r, &(struct letter){.rcpts = {"a@full.test", "b@two.test"}});
    later.state = unit_of(r, id, 0);
    later.state.due_us = START + 10 * S;
    assert_int_equal(r->f.spool->ops->change(r->f.spool, id, &later, 1, NULL, NULL), 0);
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 2);
    settle(&r->f);
    advance(&r->f, 10 * S);
    UNTIL(&r->f, lane_of(r->f.queue, group_of_domain(r, "full.test"))->n == 1 && stats(&r->f).running == 2);
    assert_true(relay_answer(r, "two.test"));
    UNTIL(&r->f, stats(&r->f).deferred == 1 && stats(&r->f).running == 1);
    settle(&r->f);
    advance(&r->f, 70 * S);
    assert_true(relay_answer(r, "full.test"));
    UNTIL(&r->f, stats(&r->f).delivered == 3);
    UNTIL(&r->f, stats(&r->f).running == 0);
    assert_int_equal(messages(&r->f), 0);
}

static void set_state(struct relaying *r, uint64_t id, enum spool_state state)
{
    assert_int_equal(r->f.spool->ops->set_state(r->f.spool, id, state, NULL, NULL), 0);
}

/* One that an operator holds while it waits is not sent; released, it is. */
static void test_held_while_it_waits(void **state)
{
    struct relaying *r = *state;
    uint64_t id = 0;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test", .holds = true};
    send_letter(r, &(struct letter){.rcpts = {"a@full.test"}});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    for (unsigned i = 0; i < 3; i++)
        id = send_letter(r, &(struct letter){.rcpts = {"a@full.test", "b@one.test"}});
    UNTIL(&r->f, stats(&r->f).delivered == 3);
    settle(&r->f);
    set_state(r, id, SPOOL_HELD);
    r->relay.hosts[0].holds = false;
    relay_answer_all(r);
    UNTIL(&r->f, stats(&r->f).running == 0);
    assert_int_equal(sent_to(r, "full.test"), 3);
    assert_int_equal(unit_of(r, id, 0).status, UNIT_PENDING);
    assert_int_equal(unit_of(r, id, 0).attempts, 0);
    set_state(r, id, SPOOL_ACTIVE);
    run_dry(r);
    assert_int_equal(sent_to(r, "full.test"), 4);
}

/* What waits in a lane that goes down is put off, all of it. */
static void test_parcels_of_one_that_goes_down(void **state)
{
    struct relaying *r = *state;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test",
                                      .is_silent = true,
                                      .no_connection = true,
                                      .reply = "451 4.4.1 nobody"};
    for (unsigned i = 0; i < 6; i++)
        send_letter(r, &(struct letter){.rcpts = {"a@full.test", "b@one.test"}});
    for (unsigned i = 0; i < 6; i++)
        send_letter(r, &(struct letter){.rcpts = {"a@full.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 6 && r->relay.now == 1);
    settle(&r->f);
    assert_int_equal(stats(&r->f).deferred, 0);
    relay_answer_all(r);
    UNTIL(&r->f, stats(&r->f).deferred == 12);
    UNTIL(&r->f, stats(&r->f).running == 0);
    assert_int_equal(sent_to(r, "full.test"), 1);
    r->relay.hosts[0].name = NULL;
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 18);
}

/* Limits that are known only when policy has been asked hold for those that were let in before. */
static void allow(struct policy_call *call, void *user)
{
    (void)user;
    call->relay->hop->max_connections = 2;
    call->relay->hop->rate = 5;
    call->relay->hop->rate_s = 60;
}

static void test_limits_of_policy(void **state)
{
    struct relaying *r = *state;
    struct hook *relay = hear(r, BARID_EVENT_RELAY);

    relay->act = allow;
    relay->waits = true;
    for (unsigned i = 0; i < 12; i++)
        send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, relay->asked == 12);
    relay->waits = false;
    while (relay->waiting[0] != NULL)
        hook_answer(r, BARID_EVENT_RELAY);
    UNTIL(&r->f, stats(&r->f).delivered == 5);
    settle(&r->f);
    assert_int_equal(r->relay.n, 5);
    assert_int_equal(r->relay.now_max, 2);
    run_dry(r);
    assert_int_equal(r->relay.n, 12);
}

static void test_rate_of_policy(void **state)
{
    struct relaying *r = *state;

    hear(r, BARID_EVENT_RELAY)->act = allow;
    for (unsigned i = 0; i < 12; i++)
        send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 5);
    UNTIL(&r->f, stats(&r->f).running == 0);
    settle(&r->f);
    assert_int_equal(r->relay.n, 5);
    assert_in_range(r->relay.now_max, 1, 2);
    advance(&r->f, 60 * S);
    UNTIL(&r->f, stats(&r->f).delivered == 10);
    settle(&r->f);
    assert_int_equal(r->relay.n, 10);
    advance(&r->f, 60 * S);
    UNTIL(&r->f, stats(&r->f).delivered == 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(test_others_go_on),
        R(test_thousands_for_one),
        R(test_put_aside),
        R(test_parcels_wait),
        R(test_aside_for_one_of_two),
        R(test_held_while_it_waits),
        R(test_parcels_of_one_that_goes_down),
        R(test_limits_of_policy),
        R(test_rate_of_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
