/* queue/stop_test.c: a stop at every stage of a mail on its way: nobody who has it gets it again, and a new queue finds all else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "queue/queue_int.h"
#include "queue/letter_testing.h"
#include "queue/source.h"

/* Everything answers from now on; so many were given mail before. */
static void go_on_after(struct relaying *r, uint64_t delivered, size_t sent)
{
    memset(r->relay.hosts, 0, sizeof(r->relay.hosts));
    for (size_t i = 0; i < BARID_EVENTS; i++)
        r->hooks[i].waits = false;
    start_relaying(r);
    run_dry(r);
    assert_int_equal(stats(&r->f).delivered, delivered);
    assert_int_equal(r->relay.n, sent);
}

/* No answer of policy is waited for; nothing was tried. */
static void test_asked(void **state)
{
    static const enum barid_event_id events[] = {BARID_EVENT_ROUTE, BARID_EVENT_RELAY};
    struct relaying *r = *state;

    for (size_t i = 0; i < 2; i++) {
        struct hook *h = hear(r, events[i]);
        uint64_t id = send_letter(r, &(struct letter){.rcpts = {"a@one.test", "b@two.test"}});

        h->waits = true;
        start_relaying(r);
        UNTIL(&r->f, h->asked == 2);
        stop_relaying(r);
        assert_null(h->waiting[0]);
        assert_int_equal(unit_of(r, id, 0).attempts, 0);
        assert_int_equal(r->relay.n, 0);
        go_on_after(r, 2, 2);
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

/* In lanes: ids, and parcels. */
static void test_waiting(void **state)
{
    struct relaying *r = *state;

    r->f.options.routing.base.max_connections = 1;
    r->relay.hosts[0] = (struct host){.name = "full.test", .is_silent = true};
    for (unsigned i = 0; i < 5; i++)
        send_letter(r, &(struct letter){.rcpts = {"a@full.test"}});
    for (unsigned i = 0; i < 5; i++)
        send_letter(r, &(struct letter){.rcpts = {"a@full.test", "b@one.test"}});
    start_relaying(r);
    UNTIL(&r->f, stats(&r->f).delivered == 5 && r->relay.now == 1);
    settle(&r->f);
    stop_relaying(r);
    assert_int_equal(r->relay.n_cancelled, 1);
    go_on_after(r, 10, 16);
}

/* Before the final dot the connection is cut at once, after it the answer is waited for. */
static void test_before_the_end(void **state)
{
    struct relaying *r = *state;
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"a@one.test"}});
    uint64_t now;

    r->relay.hosts[0] = (struct host){.name = "", .is_silent = true};
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 1);
    settle(&r->f);
    now = loop_now_ms(r->f.loop);
    stop_relaying(r);
    assert_int_equal(loop_now_ms(r->f.loop), now);
    assert_int_equal(r->relay.n_cancelled, 1);
    assert_int_equal(unit_of(r, id, 0).attempts, 0);
    assert_false(unit_of(r, id, 0).suspect);
    go_on_after(r, 1, 2);
}

static void test_behind_the_end(void **state)
{
    struct relaying *r = *state;

    send_letter(r, &(struct letter){.rcpts = {"a@one.test"}});
    r->relay.hosts[0] = (struct host){.name = "", .holds = true};
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    assert_false(r->f.stopped);
    relay_answer_all(r);
    UNTIL(&r->f, r->f.stopped);
    assert_int_equal(stats(&r->f).delivered, 1);
    assert_int_equal(messages(&r->f), 0);
    queue_del(&r->f.queue);
}

static void test_by_force(void **state)
{
    struct relaying *r = *state;
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"a@one.test"}});
    struct unit_state s;

    r->relay.hosts[0] = (struct host){.name = "", .holds = true};
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    advance(&r->f, (QUEUE_STOP_MS - 1) * 1000);
    settle(&r->f);
    assert_false(r->f.stopped);
    advance(&r->f, 1000);
    UNTIL(&r->f, r->f.stopped);
    queue_del(&r->f.queue);
    settle(&r->f);
    s = unit_of(r, id, 0);
    assert_true(s.suspect);
    assert_int_equal(s.status, UNIT_PENDING);
    assert_int_equal(s.attempts, 1);
    assert_true(slice_starts_nocase(s.reply, BARID_S("451 4.4.2 ")));
    advance(&r->f, 600 * S);
    go_on_after(r, 1, 2);
}

/* Some have an answer, by LMTP or as only the others are tried at another server: they do not get it again. */
static void test_by_force_half_answered(void **state)
{
    struct relaying *r = *state;
    uint64_t id = send_letter(r, &(struct letter){.rcpts = {"a@one.test", "b@one.test"}});

    r->relay.hosts[0] = (struct host){.name = "", .holds = true, .says_first = true};
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    stop_relaying(r);
    assert_int_equal(r->relay.n_cancelled, 1);
    assert_int_equal(unit_of(r, id, 0).status, UNIT_DONE);
    assert_false(unit_of(r, id, 0).suspect);
    assert_int_equal(unit_of(r, id, 1).status, UNIT_PENDING);
    assert_true(unit_of(r, id, 1).suspect);
    advance(&r->f, 600 * S);
    go_on_after(r, 1, 2);
    assert_string_equal(r->relay.sent[1].rcpts, "b ");
}

static const struct spool_ops *real_ops;

static int update_once_without_memory(struct spool *s, uint64_t id, uint64_t lease, const struct unit_change *changes, size_t n,
                                      spool_done done, void *user)
{
    (void)id, (void)lease, (void)changes, (void)n, (void)done, (void)user;
    s->ops = real_ops;
    return BARID_ENOMEM;
}

/* The time that servers have is no longer where a result is recorded late meanwhile. */
static void test_by_force_after_a_pause(void **state)
{
    struct relaying *r = *state;
    struct spool_ops ops = *r->f.spool->ops;

    real_ops = r->f.spool->ops;
    ops.update = update_once_without_memory;
    r->relay.hosts[0] = (struct host){.name = "", .holds = true};
    send_letter(r, &(struct letter){.rcpts = {"a@one.test"}});
    send_letter(r, &(struct letter){.rcpts = {"a@two.test"}});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 2);
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    r->f.spool->ops = &ops;
    assert_true(relay_answer(r, "two.test"));
    UNTIL(&r->f, r->f.spool->ops == real_ops);
    settle(&r->f);
    advance(&r->f, QUEUE_PAUSE_MS * 1000);
    UNTIL(&r->f, stats(&r->f).delivered == 1);
    settle(&r->f);
    assert_false(r->f.stopped);
    advance(&r->f, (QUEUE_STOP_MS - QUEUE_PAUSE_MS) * 1000);
    settle(&r->f);
    assert_true(r->f.stopped);
    queue_del(&r->f.queue);
    settle(&r->f);
}

/* The first ten have it; of the others nothing is known. */
static void test_between_transactions(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->f.options.routing.base.max_rcpts = 10;
    r->relay.hosts[0] = (struct host){.name = "", .times = 2};
    r->relay.hosts[1] = (struct host){.name = "", .is_silent = true};
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .n_rcpts = 25});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 2);
    settle(&r->f);
    stop_relaying(r);
    assert_int_equal(unit_of(r, id, 0).status, UNIT_DONE);
    assert_int_equal(unit_of(r, id, 10).status, UNIT_PENDING);
    assert_int_equal(unit_of(r, id, 10).attempts, 0);
    assert_int_equal(unit_of(r, id, 24).status, UNIT_PENDING);
    go_on_after(r, 15, 4);
    assert_int_equal(r->relay.sent[2].n_rcpts + r->relay.sent[3].n_rcpts, 15);
}

/* Likewise where the answer comes while it stops: no other transaction begins. */
static void test_answer_while_stopping(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->f.options.routing.base.max_rcpts = 10;
    r->relay.hosts[0] = (struct host){.name = "", .holds = true};
    id = send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .n_rcpts = 25});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    relay_answer_all(r);
    UNTIL(&r->f, r->f.stopped);
    assert_int_equal(stats(&r->f).delivered, 10);
    queue_del(&r->f.queue);
    assert_int_equal(unit_of(r, id, 24).status, UNIT_PENDING);
    go_on_after(r, 15, 3);
}

/* What a sender asked to hear of a delivery is said now: afterwards nothing remembers it. */
static void test_success_while_stopping(void **state)
{
    struct relaying *r = *state;

    r->relay.hosts[0] = (struct host){.name = "one.test", .holds = true};
    send_letter(r, &(struct letter){.sender = "s@far.test", .rcpts = {"u@one.test"}, .notify = BARID_NOTIFY_SUCCESS});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n_final == 1);
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    relay_answer_all(r);
    UNTIL(&r->f, r->f.stopped);
    assert_int_equal(stats(&r->f).delivered, 1);
    assert_int_equal(stats(&r->f).reported, 1);
    queue_del(&r->f.queue);
    assert_int_equal(messages(&r->f), 1);
    go_on_after(r, 1, 2);
    assert_int_equal(sent_to(r, "far.test"), 1);
}

/* Nobody is reached while it stops: the next hop of the list is not begun with. */
static void test_unreached_while_stopping(void **state)
{
    struct relaying *r = *state;
    uint64_t id;

    r->relay.hosts[0] =
        (struct host){.name = "one.test", .reply = "451 4.4.1 nobody", .no_connection = true};
    id = send_letter(r, &(struct letter){.rcpts = {"u@x.test"}, .target = "one.test two.test"});
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 1);
    stop_relaying(r);
    assert_int_equal(unit_of(r, id, 0).status, UNIT_PENDING);
    assert_int_equal(r->relay.n, 1);
    advance(&r->f, 70 * S);
    go_on_after(r, 1, 2);
}

/* What is being settled keeps its result; a report that policy has not agreed to comes later. */
static void test_settling(void **state)
{
    static const enum barid_event_id events[] = {BARID_EVENT_ATTEMPT, BARID_EVENT_FAILURE};
    struct relaying *r = *state;

    for (size_t i = 0; i < 2; i++) {
        struct hook *h = hear(r, events[i]);
        uint64_t id = send_letter(
            r, &(struct letter){.sender = "s@far.test", .rcpts = {"nobody@one.test"}});
        struct unit_state s;

        h->waits = true;
        start_relaying(r);
        UNTIL(&r->f, h->waiting[0] != NULL);
        stop_relaying(r);
        s = unit_of(r, id, 0);
        assert_int_equal(s.status, UNIT_GIVEN_UP);
        assert_int_equal(s.attempts, 1);
        assert_true(slice_eq(s.reply, BARID_S("550 5.1.1 no such user")));
        go_on_after(r, 1, 2); /* the report alone */
        assert_int_equal(stats(&r->f).reported, 1);
        relaying_tear_down(r);
        relaying_set_up(r);
    }
}

/* --- a store whose answers come late --- */

static struct {
    const struct spool_ops *real;
    struct spool_ops ops;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool gate;
    unsigned inside;
} slow = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void pass(void)
{
    pthread_mutex_lock(&slow.lock);
    slow.inside++;
    pthread_cond_broadcast(&slow.cond);
    while (slow.gate)
        pthread_cond_wait(&slow.cond, &slow.lock);
    slow.inside--;
    pthread_mutex_unlock(&slow.lock);
}

static int slow_begin(struct spool *s, struct spool_put **put_r)
{
    pass();
    return slow.real->put_begin(s, put_r);
}

static int64_t slow_read(void *body, uint64_t offset, void *p, size_t n)
{
    pass();
    return slow.real->body_read(body, offset, p, n);
}

static void be_slow(struct relaying *r)
{
    slow.real = r->f.spool->ops;
    slow.ops = *slow.real;
    slow.ops.put_begin = slow_begin;
    slow.ops.body_read = slow_read;
    slow.gate = true;
    r->f.spool->ops = &slow.ops;
}

static void until_inside(void)
{
    pthread_mutex_lock(&slow.lock);
    while (slow.inside == 0)
        pthread_cond_wait(&slow.cond, &slow.lock);
    pthread_mutex_unlock(&slow.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&slow.lock);
    slow.gate = false;
    pthread_cond_broadcast(&slow.cond);
    pthread_mutex_unlock(&slow.lock);
}

/* A report that is being stored is waited for, and then it was made. */
static void test_storing(void **state)
{
    struct relaying *r = *state;

    send_letter(r, &(struct letter){.sender = "s@far.test", .rcpts = {"nobody@one.test"}});
    be_slow(r);
    open_gate();
    slow.ops.body_read = slow.real->body_read;
    slow.gate = true;
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 1);
    settle(&r->f);
    until_inside();
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    assert_false(r->f.stopped);
    open_gate();
    UNTIL(&r->f, r->f.stopped);
    assert_int_equal(stats(&r->f).reported, 1);
    assert_int_equal(stats(&r->f).failed, 1);
    queue_del(&r->f.queue);
    go_on_after(r, 1, 2);
    assert_int_equal(stats(&r->f).reported, 0);
}

/* A read of the body that nobody wants any more is waited for, too. */
static void test_reading(void **state)
{
    struct relaying *r = *state;

    send_letter(r, &(struct letter){.rcpts = {"u@one.test"}, .body_n = SOURCE_PIECE_MAX * 2});
    be_slow(r);
    start_relaying(r);
    UNTIL(&r->f, r->relay.n == 1);
    settle(&r->f);
    until_inside();
    queue_stop(r->f.queue, on_stopped, &r->f);
    settle(&r->f);
    assert_int_equal(r->relay.n_cancelled, 1);
    assert_false(r->f.stopped);
    open_gate();
    UNTIL(&r->f, r->f.stopped);
    queue_del(&r->f.queue);
    go_on_after(r, 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        R(test_asked),
        R(test_waiting),
        R(test_before_the_end),
        R(test_behind_the_end),
        R(test_by_force),
        R(test_by_force_half_answered),
        R(test_by_force_after_a_pause),
        R(test_between_transactions),
        R(test_answer_while_stopping),
        R(test_success_while_stopping),
        R(test_unreached_while_stopping),
        R(test_settling),
        R(test_storing),
        R(test_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
