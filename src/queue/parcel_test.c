/* queue/parcel_test.c: mail on its way to next hops: which way, what waits, what each result becomes. */
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

static struct unit_state unit_of(struct relaying *r, uint64_t id, size_t unit)
{
    static char reply[512];

    return state_of(&r->f, id, unit, reply, sizeof(reply));
}

static void expect_reply(struct relaying *r, uint64_t id, size_t unit, enum unit_status status,
                         const char *reply)
{
    struct unit_state s = unit_of(r, id, unit);

    assert_int_equal(s.status, status);
    if (strncmp(s.reply.p, reply, strlen(reply)) != 0)
        fail_msg("reply \"%s\", not \"%s\"", s.reply.p, reply);
}

/* --- ways --- */

static void test_many_next_hops(void **state)
{
    struct relaying *r = *state;

    send_letter(r, &(struct letter){.sender = "s@here.test",
                                    .rcpts = {"a@one.test", "b@two.test", "c@one.test",
                                              "d@three.test", "e@one.test"}});
    start_relaying(r);
    run_dry(r);
    assert_int_equal(r->relay.n, 3);
    assert_int_equal(sent_to(r, "one.test"), 1);
    assert_int_equal(sent_to(r, "two.test"), 1);
    assert_int_equal(sent_to(r, "three.test"), 1);
    for (size_t i = 0; i < 3; i++)
        if (strcmp(r->relay.sent[i].hop, "one.test") == 0)
            assert_string_equal(r->relay.sent[i].rcpts, "a c e ");
    assert_int_equal(stats(&r->f).delivered, 5);
}

static void test_files_and_next_hops(void **state)
{
    struct relaying *r = *state;

    send_letter(r, &(struct letter){.is_file = true,
                                    .rcpts = {"a@here.test", "b@one.test", "c@here.test",
                                              "nobody@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 3 && stats(&r->f).failed == 1);
    assert_int_equal(r->f.fake.n, 2);
    assert_int_equal(r->relay.n, 1);
    assert_int_equal(r->relay.sent[0].n_rcpts, 2);
}

/* Some recipients at a time, each with its own result. */
static void test_max_rcpts(void **state)
{
    struct relaying *r = *state;

    r->f.options.routing.base.max_rcpts = 10;
    send_letter(r, &(struct letter){.rcpts = {"u@one.test", "later@one.test"}, .n_rcpts = 35});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 34);
    assert_int_equal(r->relay.n, 4);
    assert_int_equal(r->relay.now_max, 1);
    assert_int_equal(r->relay.sent[3].n_rcpts, 5);
    assert_int_equal(stats(&r->f).deferred, 1);
}

/* Nobody is reached for the first ten: the others were not delivered either. */
static void test_unreached_with_a_rest(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->f.options.routing.base.max_rcpts = 10;
    r->relay.hosts[0] =
        (struct host){.name = "one.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .n_rcpts = 25});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 25);
    assert_int_equal(stats(&r->f).delivered, 0);
    expect_reply(r, id, 24, UNIT_PENDING, "451 4.4.1 nobody");
    r->relay.hosts[0].name = NULL;
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 25);
}

/* The first ten have it; what becomes of the others does not give it to them once more. */
static void test_unreached_in_the_middle(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->f.options.routing.base.max_rcpts = 10;
    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "one.test", .times = 2};
    r->relay.hosts[1] =
        (struct host){.name = "one.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    r->relay.hosts[2] = (struct host){.name = "two.test", .is_silent = true};
    id = send_letter(r, &(struct letter){.rcpts = {"x@two.test"}});
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"},
                                         .n_rcpts = 25,
                                         .target = "one.test two.test"});
    start_relaying(r);
    UNTIL(&r->f, sent_to(r, "one.test") == 2);
    settle(&r->f);
    assert_int_equal(stats(&r->f).running, 2); /* the rest waits in two.test's lane */
    r->relay.hosts[2].is_silent = false;
    relay_answer_all(r);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, 26);
    assert_int_equal(stats(&r->f).deferred, 0);
    assert_int_equal(r->relay.n, 5); /* x; 10; 10 unreached; 10 and 5 */
    assert_true(id > 0);
}

static void test_list(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->relay.hosts[0] =
        (struct host){.name = "one.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    r->relay.hosts[1] = (struct host){.name = "two.test", .reply = "451 4.2.0 not now"};
    id = send_letter(
        r, &(struct letter){.rcpts = {"u@x.test"}, .target = "one.test two.test three.test"});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    expect_reply(r, id, 0, UNIT_PENDING,
                 "451 4.2.0 not now"); /* who says so is not passed over */
    assert_int_equal(sent_to(r, "three.test"), 0);
    assert_int_equal(unit_of(r, id, 0).attempts, 1);
    r->relay.hosts[1].no_connection = true;
    settle(&r->f);
    advance(&r->f, 70 * S);
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    assert_int_equal(sent_to(r, "three.test"), 1);
}

static void test_relayhosts(void **state)
{
    struct relaying *r = *state;
    struct arena arena;
    struct hop hosts[2];
    struct err err;

    arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        hop_init(&hosts[i]);
        assert_int_equal(
            hop_parse(&hosts[i], &arena,
                      i == 0 ? BARID_S("[smart.test]") : BARID_S("[other.test]:2525"), &err),
            0);
    }
    r->f.options.routing.relayhosts = hosts;
    r->f.options.routing.n_relayhosts = 2;
    r->relay.hosts[0] =
        (struct host){.name = "smart.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    send_letter(r, &(struct letter){.rcpts = {"u@x.test", "v@y.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 2);
    assert_int_equal(r->relay.n, 2);
    assert_string_equal(r->relay.sent[1].rcpts, "u v "); /* one way for all domains */
    relaying_tear_down(r);
    arena_deinit(&arena);
    relaying_set_up(r);
}

static void test_no_way(void **state)
{
    struct relaying *r = *state;
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"u@x.test"}, .target = "::"});

    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).held == 1);
    expect_reply(r, id, 0, UNIT_HELD, "550 5.1.2 no way to send there");
}

/* --- waiting --- */

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

/* --- down, and back --- */

static void test_hastened(void **state)
{
    struct relaying *r = *state;
    uint64_t first, other;

    r->relay.hosts[0] =
        (struct host){.name = "one.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    first = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    other = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    UNTIL(&r->f, stats(&r->f).deferred == 2);
    assert_int_equal(r->relay.n, 1); /* the second was put off with what the lane remembers */
    expect_reply(r, other, 0, UNIT_PENDING, "451 4.4.1 nobody");
    settle(&r->f);
    advance(&r->f, 130 * S); /* second failures: further away */
    UNTIL(&r->f, stats(&r->f).deferred == 4);
    r->relay.hosts[0].name = NULL;
    settle(&r->f);
    advance(&r->f, 125 * S); /* one of them may be due, or a third */
    send_letter(r, &(struct letter){.rcpts = {"u@one.test"}});
    UNTIL(&r->f, stats(&r->f).delivered == 3);
    assert_true(first > 0);
}

/* A name that is none, for good: each is told so at once. */
static void test_never(void **state)
{
    struct relaying *r = *state;

    r->relay.hosts[0] = (struct host){
        .name = "no.test", .reply = "550 5.1.2 no such domain", .no_connection = true};
    for (unsigned i = 0; i < 3; i++)
        send_letter(r, &(struct letter){.rcpts = {"u@no.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).failed == 3);
    assert_int_equal(r->relay.n, 3);
    assert_int_equal(messages(&r->f), 0);
}

/* Intervals that an operator put in front are no attempts. */
static void test_ahead(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->relay.hosts[0] = (struct host){.name = "", .reply = "451 4.2.0 later"};
    id =
        send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .state = {.ahead_s = {5, 7}}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 1);
    assert_int_equal(unit_of(r, id, 0).attempts, 0);
    assert_int_equal(unit_of(r, id, 0).due_us - r->f.clock.wall_us, 5 * S);
    settle(&r->f);
    advance(&r->f, 5 * S);
    UNTIL(&r->f, stats(&r->f).deferred == 2);
    assert_int_equal(unit_of(r, id, 0).due_us - r->f.clock.wall_us, 7 * S);
    settle(&r->f);
    advance(&r->f, 7 * S);
    UNTIL(&r->f, stats(&r->f).deferred == 3);
    assert_int_equal(unit_of(r, id, 0).attempts, 1);
}

/* A mail whose own intervals are longer than those of the configuration: no start takes it for put off by a clock that was ahead. */
static void test_own_intervals(void **state)
{
    struct relaying *r = *state;
    uint64_t own, other;
    int64_t due_us;

    r->relay.hosts[0] = (struct host){.name = "", .reply = "451 4.2.0 later"};
    own = send_letter(r, &(struct letter){.rcpts = {"u@one.test"},
                                          .retry = {.set = true, .first_s = 3000, .max_s = 4000}});
    other = send_letter(r, &(struct letter){.rcpts = {"u@one.test"},
                                            .retry = {.set = true, .first_s = 3000, .max_s = 4000},
                                            .state = {.due_us = START + 9000 * S, .attempts = 1}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).deferred == 2); /* the second was too far away for its own intervals, too */
    stop_relaying(r);
    due_us = unit_of(r, own, 0).due_us;
    assert_in_range(due_us - START, 3000 * S, 3300 * S);
    assert_in_range(unit_of(r, other, 0).due_us - START, 4000 * S, 4400 * S);
    start_relaying(r);
    settle(&r->f);
    stop_relaying(r);
    assert_true(unit_of(r, own, 0).due_us == due_us);
    assert_int_equal(r->relay.n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(test_many_next_hops),
        R(test_files_and_next_hops),
        R(test_max_rcpts),
        R(test_unreached_with_a_rest),
        R(test_unreached_in_the_middle),
        R(test_list),
        R(test_relayhosts),
        R(test_no_way),
        R(test_others_go_on),
        R(test_thousands_for_one),
        R(test_put_aside),
        R(test_parcels_wait),
        R(test_aside_for_one_of_two),
        R(test_held_while_it_waits),
        R(test_parcels_of_one_that_goes_down),
        R(test_limits_of_policy),
        R(test_rate_of_policy),
        R(test_hastened),
        R(test_never),
        R(test_ahead),
        R(test_own_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
