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
    "NOOP\r\nVRFY x\r\nHELP\r\nEXPN x\r\nDANCE\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n"    \
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

/* --- a commit that takes its time --- */

/* A client whose message is durable, which the server does not know yet. */
static struct fixture *durable_unheard_in(struct fixture *f, struct client *c)
{
    f->gate.late = true;
    start(f);
    greet(c, f);
    envelope(c, "user@example.com");
    exchange(c, "DATA", "354 ");
    say(c, "\r\nx\r\n.\r\n", 8);
    sem_wait(&f->gate.committed);
    sem_post(&f->gate.committed);
    return f;
}

static struct fixture *durable_unheard(struct client *c)
{
    return durable_unheard_in(prepare(), c);
}

static uint64_t messages(const struct fixture *f)
{
    struct server_stats st;

    server_stats(f->server, &st);
    return st.messages;
}

static bool is_logged(const struct fixture *f, const char *text)
{
    return memmem(f->log.text.p, f->log.text.len, text, strlen(text)) != NULL;
}

static void test_late_commit(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard(&c);

    (void)state;
    gate_commit_done(f, 0);
    expect(&c, "250 2.0.0 Ok: queued as ");
    quit(&c);
    stop(f);
}

/* The sync failed after all: whatever the store holds, the client must not hear 250. */
static void test_late_failure(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard(&c);

    (void)state;
    gate_commit_done(f, BARID_EIO);
    expect(&c, "451 ");
    exchange(&c, "NOOP", "250 ");
    quit(&c);
    assert_int_equal(messages(f), 0);
    stop(f);
}

/* Stopped by force before the committer came back: no 250, but the message is in the spool, so
 * it is counted and an operator finds it in the log. */
static void test_force_before_commit_is_done(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard(&c);

    (void)state;
    stop_by_force(f);
    expect(&c, "421 ");
    expect_end(&c);
    gate_commit_done(f, 0);
    await_stop(f);
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 1);
    assert_int_equal(messages(f), 1);
    assert_true(is_logged(f, "message active id="));
    finish(f);
}

static void test_gone_before_commit_is_done(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard(&c);

    (void)state;
    close(c.fd);
    gate_commit_done(f, 0);
    f->drain_ms = 5000;
    begin_stop(f);
    await_stop(f);
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 1);
    assert_int_equal(messages(f), 1);
    finish(f);
}

/* A graceful stop waits for the answer and lets it out. */
static void test_stop_before_commit_is_done(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard(&c);

    (void)state;
    begin_stop(f);
    gate_commit_done(f, 0);
    expect(&c, "250 2.0.0 Ok: queued as ");
    expect(&c, "421 4.3.2 ");
    expect_end(&c);
    finish(f);
}

/* --- a disk that does not keep up --- */

#define BODY 200000

static char *make_body(void)
{
    char *body = malloc(BODY);

    memset(body, 'x', BODY);
    for (size_t i = 70; i + 1 < BODY; i += 72)
        memcpy(body + i, "\r\n", 2);
    return body;
}

static struct fixture *paused_in(struct fixture *f, struct client *c, bool whole)
{
    char *body = make_body();

    start(f);
    atomic_store(&f->gate.backlog, SPOOL_BACKLOG_PAUSE + 1);
    greet(c, f);
    envelope(c, "user@example.com");
    exchange(c, "DATA", "354 ");
    say(c, "\r\n", 2);
    say(c, body, whole ? BODY : BODY / 2);
    if (whole)
        say(c, "\r\n.\r\n", 5);
    free(body);
    sem_wait(&f->gate.paused);
    return f;
}

static struct fixture *paused(struct client *c, bool whole)
{
    return paused_in(prepare(), c, whole);
}

static void test_drained(void **state)
{
    struct client c;
    struct fixture *f = paused(&c, true);

    (void)state;
    gate_drained(f);
    expect(&c, "250 ");
    quit(&c);
    stop(f);
}

static void test_force_while_paused(void **state)
{
    struct client c;
    struct fixture *f = paused(&c, false);

    (void)state;
    stop_by_force(f);
    expect_honest_end(&c, f);
    gate_drained(f);
    await_stop(f);
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 0);
    finish(f);
}

static void test_stop_while_paused(void **state)
{
    struct client c;
    struct fixture *f = paused(&c, true);

    (void)state;
    begin_stop(f);
    gate_drained(f);
    expect(&c, "250 ");
    expect(&c, "421 4.3.2 ");
    expect_end(&c);
    finish(f);
}

static void test_gone_while_paused(void **state)
{
    struct client c;
    struct fixture *f = paused(&c, false);

    (void)state;
    close(c.fd);
    gate_drained(f);
    f->drain_ms = 5000;
    begin_stop(f);
    await_stop(f);
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 0);
    finish(f);
}

/* --- time that passes meanwhile is not the client's --- */

#define NOON (INT64_C(1795176000) * 1000000)

static void test_slow_commit_is_no_timeout(void **state)
{
    struct client c;
    struct fixture *f = durable_unheard_in(prepare_at(NOON), &c);

    (void)state;
    advance(f, 400000);
    gate_commit_done(f, 0);
    expect(&c, "250 2.0.0 Ok: queued as ");
    advance(f, 1000);
    exchange(&c, "NOOP", "250 ");
    quit(&c);
    stop(f);
}

static void test_slow_disk_is_no_slow_client(void **state)
{
    struct client c;
    struct fixture *f = paused_in(prepare_at(NOON), &c, false);
    char *rest = make_body();

    (void)state;
    advance(f, 400000);
    gate_drained(f);
    advance(f, 1000);
    say(&c, rest, BODY);
    say(&c, "\r\n.\r\n", 5);
    free(rest);
    expect(&c, "250 2.0.0 Ok: queued as ");
    quit(&c);
    stop(f);
}

/* --- a password that is being checked --- */

static void load_user(struct fixture *f, const char *line)
{
    char path[] = "/tmp/barid-users-XXXXXX";
    struct err err = {0};
    int fd = mkstemp(path);

    assert_int_equal(write(fd, line, strlen(line)), strlen(line));
    close(fd);
    assert_int_equal(users_load(&f->users, path, &err, NULL), 0);
    unlink(path);
    f->listen.auth = LISTEN_AUTH_ON;
    f->listen.plain_auth_without_tls = true;
}

static struct pool_job blocker; /* keeps the pool's one thread busy until told */
static sem_t blocked;

static void run_blocker(struct pool_job *job)
{
    (void)job;
    sem_wait(&blocked);
}

static void blocker_done(struct pool_job *job)
{
    (void)job;
}

static void test_force_while_a_password_is_checked(void **state)
{
    struct fixture *f = prepare();
    struct client c;

    (void)state;
    sem_init(&blocked, 0, 0);
    blocker = (struct pool_job){.run = run_blocker, .done = blocker_done};
    load_user(f, "user:{PLAIN}secret\n");
    start(f);
    assert_int_equal(pool_start(f->pool, f->loop, &blocker), 0);
    greet(&c, f);
    say(&c, "AUTH PLAIN AG5vYm9keQBzZWNyZXQ=\r\nNOOP\r\n", 39); /* nobody, secret */
    stop_by_force(f);
    expect_honest_end(&c, f);
    sem_post(&blocked);
    finish(f);
    sem_destroy(&blocked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_force_while_a_hook_thinks),
        cmocka_unit_test(test_gone_while_a_hook_thinks),
        cmocka_unit_test(test_slow_observer_of_the_end),
        cmocka_unit_test(test_late_commit),
        cmocka_unit_test(test_late_failure),
        cmocka_unit_test(test_force_before_commit_is_done),
        cmocka_unit_test(test_gone_before_commit_is_done),
        cmocka_unit_test(test_stop_before_commit_is_done),
        cmocka_unit_test(test_drained),
        cmocka_unit_test(test_force_while_paused),
        cmocka_unit_test(test_stop_while_paused),
        cmocka_unit_test(test_gone_while_paused),
        cmocka_unit_test(test_slow_commit_is_no_timeout),
        cmocka_unit_test(test_slow_disk_is_no_slow_client),
        cmocka_unit_test(test_force_while_a_password_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
