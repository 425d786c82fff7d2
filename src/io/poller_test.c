/* io/poller_test.c: what a batch of events may do to its own items, and what an unwanted one
 * must not do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "io/poller.h"

struct end {
    struct poller_item item; /* first */
    int peer;
    unsigned calls, last;
    struct end *removes; /* when it is ready */
};

struct fixture {
    uv_loop_t uv;
    struct poller poller;
    struct end a, b;
    unsigned abandoned;
};

static struct fixture f;

static void on_ready(struct poller_item *item, unsigned events)
{
    struct end *e = (struct end *)item;

    e->calls++;
    e->last = events;
    if (e->removes != NULL)
        poller_remove(&e->removes->item);
}

static void on_abandon(struct poller_item *item, bool all)
{
    if (!all)
        return;
    f.abandoned++;
    poller_remove(item);
}

static const struct poller_ops ops = {on_ready, on_abandon};

static void add(struct end *e)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *e = (struct end){.peer = fds[1]};
    poller_add(&f.poller, &e->item, fds[0], &ops);
}

static int set_up(void **state)
{
    struct err err;

    (void)state;
    f = (struct fixture){0};
    assert_int_equal(uv_loop_init(&f.uv), 0);
    assert_int_equal(poller_init(&f.poller, &f.uv, &err), 0);
    add(&f.a);
    add(&f.b);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    poller_abandon(&f.poller, false);
    assert_int_equal(f.abandoned, 0);
    poller_abandon(&f.poller, true);
    poller_deinit(&f.poller);
    uv_run(&f.uv, UV_RUN_NOWAIT);
    return uv_loop_close(&f.uv);
}

static void turn(void)
{
    uv_run(&f.uv, UV_RUN_NOWAIT);
}

static void only_what_is_wanted_is_said(void **state)
{
    (void)state;
    assert_int_equal(write(f.a.peer, "x", 1), 1);
    turn();
    assert_int_equal(f.a.calls, 0);
    assert_int_equal(poller_want(&f.poller, &f.a.item, POLLER_OUT), 0);
    turn();
    assert_int_equal(f.a.last, POLLER_OUT);
    assert_int_equal(poller_want(&f.poller, &f.a.item, POLLER_IN | POLLER_OUT), 0);
    turn();
    assert_int_equal(f.a.last, POLLER_IN | POLLER_OUT);
    assert_int_equal(poller_want(&f.poller, &f.a.item, 0), 0);
    turn();
    assert_int_equal(f.a.calls, 2);
}

/* A peer that is gone makes an epoll set ready for ever, also for who wants nothing of it. */
static void a_hang_up_reaches_only_who_waits(void **state)
{
    (void)state;
    assert_int_equal(poller_want(&f.poller, &f.a.item, POLLER_IN), 0);
    assert_int_equal(poller_want(&f.poller, &f.a.item, 0), 0);
    close(f.a.peer);
    turn();
    assert_int_equal(f.a.calls, 0);
    assert_int_equal(poller_want(&f.poller, &f.a.item, POLLER_IN), 0);
    turn();
    assert_int_equal(f.a.calls, 1);
    assert_int_equal(f.a.last, POLLER_IN);
}

static void one_closed_in_the_same_batch_is_not_called(void **state)
{
    (void)state;
    f.a.removes = &f.b;
    f.b.removes = &f.a;
    assert_int_equal(poller_want(&f.poller, &f.a.item, POLLER_OUT), 0);
    assert_int_equal(poller_want(&f.poller, &f.b.item, POLLER_OUT), 0);
    turn();
    assert_int_equal(f.a.calls + f.b.calls, 1);
    poller_remove(&f.a.item); /* twice is once */
    poller_remove(&f.b.item);
    assert_null(f.poller.first);
}

static void what_cannot_be_watched_is_an_error(void **state)
{
    (void)state;
    close(f.b.item.fd);
    assert_int_equal(poller_want(&f.poller, &f.b.item, POLLER_IN), BARID_EIO);
    assert_int_equal(f.b.item.wanted, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_what_is_wanted_is_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_hang_up_reaches_only_who_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_closed_in_the_same_batch_is_not_called, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_an_error, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
