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
        R(test_hastened),
        R(test_never),
        R(test_ahead),
        R(test_own_intervals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
