/*
 * server/stop_test.c: the end of a connection at every moment: the server stops by force or the
 * client goes away while a hook, a commit, the disk or a password job has not answered yet.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "server/server_testing.h"

#define LINES                                                                                  \
    "EHLO c.example\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<user@example.com>\r\n"         \
    "NOOP\r\nVRFY x\r\nHELP\r\nEXPN x\r\nDANCE\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n"     \
    "RSET\r\nQUIT\r\n"

static bool is_session_event(enum barid_event_id id)
{
    const barid_event_info *info = barid_event_info_get(id);

    return info->kind != BARID_KIND_HOST && info->scope != BARID_SCOPE_DELIVERY &&
           id != BARID_EVENT_NONE && id != BARID_EVENT_TLS && id != BARID_EVENT_AUTH &&
           id != BARID_EVENT_DISCONNECT;
}

/* A client that sent everything, with the handler of one event silent. */
static struct fixture *silent_at(enum barid_event_id id, struct client *c)
{
    struct fixture *f = prepare();

    f->script.hold[id] = true;
    start(f);
    dial(c, f);
    say(c, LINES, sizeof(LINES) - 1);
    await_hold(f);
    return f;
}

static void stop_by_force(struct fixture *f)
{
    f->drain_ms = 0;
    begin_stop(f);
}

/* Everything until the end, which must come. An acknowledged message is in the spool. */
static void expect_honest_end(struct client *c, const struct fixture *f)
{
    while (fill(c))
        ;
    close(c->fd);
    if (strstr(c->in, "queued as") != NULL)
        assert_int_equal(spooled(f, SPOOL_ACTIVE), 1);
}

/* The question is withdrawn: its answer would find a connection that is gone. */
static void test_force_while_a_hook_thinks(void **state)
{
    (void)state;
    for (int id = 1; id < BARID_EVENTS; id++) {
        struct client c;
        struct fixture *f;

        if (!is_session_event((enum barid_event_id)id))
            continue;
        f = silent_at((enum barid_event_id)id, &c);
        stop_by_force(f);
        expect_honest_end(&c, f);
        await_stop(f);
        assert_int_equal(f->cancelled, 1);
        finish(f);
    }
}

/* The client is gone, the question stays: it is answered, and then the connection ends. */
static void test_gone_while_a_hook_thinks(void **state)
{
    (void)state;
    for (int id = 1; id < BARID_EVENTS; id++) {
        struct client c;
        struct fixture *f;

        if (!is_session_event((enum barid_event_id)id))
            continue;
        f = silent_at((enum barid_event_id)id, &c);
        close(c.fd);
        release(f);
        stop(f);
    }
}

/* An observer of the end may take its time after the stream is closed, and is waited for. */
static void test_slow_observer_of_the_end(void **state)
{
    struct fixture *f = prepare();
    struct client c;

    (void)state;
    f->script.hold[BARID_EVENT_DISCONNECT] = true;
    start(f);
    greet(&c, f);
    quit(&c);
    await_hold(f);
    stop_by_force(f);
    release(f);
    await_stop(f);
    assert_int_equal(f->cancelled, 0);
    finish(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_force_while_a_hook_thinks),
        cmocka_unit_test(test_gone_while_a_hook_thinks),
        cmocka_unit_test(test_slow_observer_of_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
