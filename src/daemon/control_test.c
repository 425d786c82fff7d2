/*
 * daemon/control_test.c: the routes of src/control over a real socket, with a spool in memory (which only this level may bring
 * together): the loop runs on a thread of its own, the
 * test is the client.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/slice.h"
#include "control/client.h"
#include "control/control.h"
#include "control/request.h"
#include "history/history.h"
#include "io/listener.h"
#include "message/record.h"
#include "spool/spool_open.h"

struct scene {
    char address[128];
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct history *history; /* without files */
    struct control *control;
    pthread_t thread;
    struct loop_task stop;
    int reloads, stops;
    bool reload_fails;
};

static json_t *status(void *user)
{
    (void)user;
    return json_pack("{s:s}", "state", "serving");
}

static int reload(void *user, struct err *err)
{
    struct scene *s = user;

    if (s->reload_fails)
        return err_set(err, BARID_ESYNTAX, "policy.lua:3: no such hook");
    s->reloads++;
    return 0;
}

static void stop(void *user)
{
    ((struct scene *)user)->stops++;
}

static const struct control_ops ops = {.status = status, .reload = reload, .stop = stop};

static void *loop_thread(void *user)
{
    struct scene *s = user;

    loop_run(s->loop);
    return NULL;
}

static void run_loop_stop(struct loop_task *task)
{
    struct scene *s = LIST_ENTRY(task, struct scene, stop);

    control_del(&s->control);
    loop_stop(s->loop);
}

static bool with_history;

static void scene_start(struct scene *s, const char *address)
{
    struct listen_address a;
    struct err err = {0};
    int fd;

    memset(s, 0, sizeof(*s));
    assert_int_equal(loop_new(&s->loop, NULL, NULL, &err), 0);
    assert_int_equal(pool_new(&s->pool, 2, 16, &err), 0);
    assert_int_equal(spool_memory_open(&s->spool, &(struct spool_memory_options){0}, &err), 0);
    if (with_history)
        assert_int_equal(history_open(&s->history, &(struct history_options){0}, &err), 0);
    assert_int_equal(listen_address_parse(slice_str(address), &a, &err), 0);
    fd = listener_bind(&a, 0600, &err);
    assert_true(fd >= 0);
    if (a.endpoint.family != BARID_FAMILY_UNIX) {
        struct sockaddr_in in;
        socklen_t n = sizeof(in);

        assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
        snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(in.sin_port));
    } else {
        snprintf(s->address, sizeof(s->address), "%s", address);
    }
    assert_int_equal(control_new(&s->control,
                                 &(struct control_options){.loop = s->loop, .pool = s->pool, .spool = s->spool, .history = s->history,
                                                           .ops = &ops, .user = s},
                                 fd, &err),
                     0);
    s->stop.run = run_loop_stop;
    assert_int_equal(pthread_create(&s->thread, NULL, loop_thread, s), 0);
}

static void scene_end(struct scene *s)
{
    loop_post(s->loop, &s->stop);
    pthread_join(s->thread, NULL);
    pool_del(&s->pool);
    history_close(&s->history);
    s->spool->ops->close(s->spool);
    loop_del(&s->loop);
    if (strncmp(s->address, "unix:", 5) == 0)
        unlink(s->address + 5);
}

static json_t *ask(struct scene *s, const char *method, const char *path, unsigned expected)
{
    struct err err = {0};
    unsigned status_code = 0;
    json_t *answer = NULL;

    if (control_ask(s->address, method, path, &status_code, &answer, &err) < 0)
        fail_msg("%s %s: %s", method, path, err.text);
    assert_int_equal(status_code, expected);
    return answer;
}

static const char *error_code(json_t *answer)
{
    return json_string_value(json_object_get(json_object_get(answer, "error"), "code"));
}

/* --- a spool with mail ------------------------------------------------------------------------------------ */

static void on_committed(void *user, int err)
{
    assert_int_equal(err, 0);
    sem_post(user);
}

static uint64_t add_message(struct scene *s, const char *sender, const char *rcpt, enum spool_state state)
{
    struct unit_state unit_state = {.status = UNIT_PENDING, .due_us = INT64_MAX - 1};
    size_t rcpt_index = 0;
    struct unit unit = {.kind = DISPOSITION_STORE, .target = BARID_S("example.com/u"), .rcpts = &rcpt_index, .n_rcpts = 1};
    struct session_facts facts = {.id = "0123456789abcdef", .helo = BARID_S("h.example"), .esmtp = true};
    struct spool_put *put;
    struct mailbox box;
    struct arena arena;
    struct rcpt *r;
    struct mail m;
    struct buf meta;
    uint64_t id;
    sem_t done;

    arena_init(&arena, NULL, 0);
    buf_init(&meta, NULL, 0);
    sem_init(&done, 0, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, 1700000000000000), 0);
    assert_int_equal(mailbox_from_text(&m.sender, &arena, slice_str(sender), '+'), 0);
    assert_int_equal(mailbox_from_text(&box, &arena, slice_str(rcpt), '+'), 0);
    assert_int_equal(mail_add_rcpt(&m, &box, slice_str(rcpt), &r), 0);
    assert_int_equal(record_encode(&m, &unit, 1, &meta), 0);
    assert_int_equal(s->spool->ops->put_begin(s->spool, &put), 0);
    id = s->spool->ops->put_id(put);
    assert_int_equal(s->spool->ops->put_body(put, "body\r\n", 6), 0);
    assert_int_equal(s->spool->ops->put_describe(put, state, buf_slice(&meta), BARID_S("Subject: caf\xe9\r\n"), &unit_state, 1), 0);
    assert_int_equal(s->spool->ops->commit(s->spool, &put, 1, on_committed, &done), 0);
    sem_wait(&done);
    sem_destroy(&done);
    buf_deinit(&meta);
    arena_deinit(&arena);
    return id;
}

static void fill(struct scene *s, uint64_t ids[3])
{
    ids[0] = add_message(s, "a@example.org", "u@example.com", SPOOL_ACTIVE);
    ids[1] = add_message(s, "b@example.org", "v@example.com", SPOOL_HELD);
    ids[2] = add_message(s, "a@example.net", "u@example.com", SPOOL_ACTIVE);
}

static size_t listed(struct scene *s, const char *path)
{
    json_t *answer = ask(s, "GET", path, 200);
    size_t n = json_array_size(json_object_get(answer, "messages"));

    json_decref(answer);
    return n;
}

/* --- tests ------------------------------------------------------------------------------------------------- */

static char *unix_address(void)
{
    static char text[128];

    snprintf(text, sizeof(text), "unix:/tmp/barid-control-%d", (int)getpid());
    return text;
}

static void status_and_routes(void **state)
{
    struct scene s;
    json_t *answer;

    (void)state;
    scene_start(&s, unix_address());
    answer = ask(&s, "GET", "/v1/status", 200);
    assert_string_equal(json_string_value(json_object_get(answer, "state")), "serving");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(answer, "spool"), "messages")), 0);
    json_decref(answer);
    answer = ask(&s, "GET", "/v1/routes", 200);
    size_t n = 0;
    for (const struct route *t = routes_all(); t->method != NULL; t++)
        n++;
    assert_int_equal(json_array_size(json_object_get(answer, "routes")), n);
    json_decref(answer);
    scene_end(&s);
}

#define X64  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 X64 "x"

static void wrong_requests(void **state)
{
    static const struct {
        const char *method, *path, *code;
        unsigned status;
    } table[] = {
        {"GET", "/", "no_such_path", 404},
        {"GET", "/v1/queue/a/b", "no_such_path", 404},
        {"GET", "/v1/queue/", "no_such_path", 404},
        {"POST", "/v1/status", "bad_method", 405},
        {"GET", "/v1/reload", "bad_method", 405},
        {"GET", "/v1/stop", "bad_method", 405},
        {"GET", "/v1/queue?stat=held", "bad_argument", 400},
        {"GET", "/v1/queue?state=frozen", "bad_argument", 400},
        {"GET", "/v1/queue?limit=ten", "bad_argument", 400},
        {"GET", "/v1/queue?limit=100000", "bad_argument", 400},
        {"GET", "/v1/queue?older=-1", "bad_argument", 400},
        {"GET", "/v1/queue?after=x", "bad_argument", 400},
        {"GET", "/v1/status?x=1", "bad_argument", 400},
        {"POST", "/v1/queue/hold", "bad_argument", 400},
        {"POST", "/v1/queue/hold?id=x", "bad_id", 400},
        {"POST", "/v1/queue/hold?id=0000000000001&all=1", "bad_argument", 400},
        {"POST", "/v1/queue/hold?all=1&limit=257", "bad_argument", 400},
        {"POST", "/v1/queue/retry?all=1&interval=0", "bad_argument", 400},
        {"POST", "/v1/queue/retry?all=1&interval=2678401", "bad_argument", 400},
        {"POST", "/v1/queue/retry?all=1&interval=1,2,3,4,5", "bad_argument", 400},
        {"POST", "/v1/queue/release?state=frozen", "bad_argument", 400},
        {"GET", "/v1/queue?younger=x", "bad_argument", 400},
        {"GET", "/v1/queue/events", "no_history", 503},
        {"GET", "/v1/trace/zzz", "bad_id", 400},
        {"GET", "/v1/trace/0000000000001", "no_such_message", 404},
        {"GET", "/v1/queue?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q", "bad_argument", 400},
        {"GET", "/v1/queue?sender=" LONG, "bad_argument", 400},
        {"GET", "/v1/queue/zzz", "bad_id", 400},
        {"GET", "/v1/queue/0000000000001", "no_such_message", 404},
    };
    struct scene s;

    (void)state;
    scene_start(&s, unix_address());
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        json_t *answer = ask(&s, table[i].method, table[i].path, table[i].status);

        assert_string_equal(error_code(answer), table[i].code);
        json_decref(answer);
    }
    assert_int_equal(s.reloads + s.stops, 0);
    scene_end(&s);
}

static void queue_is_listed_filtered_and_paged(void **state)
{
    struct scene s;
    uint64_t ids[3];
    json_t *answer;
    char path[64], id[MAIL_ID_TEXT_SIZE];

    (void)state;
    scene_start(&s, unix_address());
    fill(&s, ids);
    assert_int_equal(listed(&s, "/v1/queue"), 3);
    assert_int_equal(listed(&s, "/v1/queue?state=held"), 1);
    assert_int_equal(listed(&s, "/v1/queue?sender=A%40EXAMPLE.org"), 1);
    assert_int_equal(listed(&s, "/v1/queue?sender=%40example.org"), 2);
    assert_int_equal(listed(&s, "/v1/queue?recipient=u@example.com&state=active"), 2);
    assert_int_equal(listed(&s, "/v1/queue?sender=%3C%3E"), 0);
    assert_int_equal(listed(&s, "/v1/queue?older=60"), 3);
    assert_int_equal(listed(&s, "/v1/queue?older=4294967295"), 0);
    answer = ask(&s, "GET", "/v1/queue?limit=2", 200);
    assert_int_equal(json_array_size(json_object_get(answer, "messages")), 2);
    mail_id_text(ids[1], id);
    assert_string_equal(json_string_value(json_object_get(answer, "next")), id);
    json_decref(answer);
    snprintf(path, sizeof(path), "/v1/queue?limit=2&after=%s", id);
    answer = ask(&s, "GET", path, 200);
    assert_int_equal(json_array_size(json_object_get(answer, "messages")), 1);
    assert_true(json_is_null(json_object_get(answer, "next")));
    json_decref(answer);
    scene_end(&s);
}

static void one_message_is_shown(void **state)
{
    struct scene s;
    uint64_t ids[3];
    char path[64], id[MAIL_ID_TEXT_SIZE];
    json_t *answer, *unit;

    (void)state;
    scene_start(&s, unix_address());
    fill(&s, ids);
    mail_id_text(ids[1], id);
    snprintf(path, sizeof(path), "/v1/queue/%s", id);
    answer = ask(&s, "GET", path, 200);
    assert_string_equal(json_string_value(json_object_get(answer, "id")), id);
    assert_string_equal(json_string_value(json_object_get(answer, "state")), "held");
    assert_string_equal(json_string_value(json_object_get(answer, "sender")), "b@example.org");
    /* An octet that is not UTF-8 must not make the answer unreadable. */
    assert_string_equal(json_string_value(json_object_get(answer, "header")), "Subject: caf\xef\xbf\xbd\r\n");
    unit = json_array_get(json_object_get(answer, "units"), 0);
    assert_string_equal(json_string_value(json_object_get(unit, "target")), "example.com/u");
    assert_string_equal(json_string_value(json_object_get(unit, "status")), "pending");
    json_decref(answer);
    scene_end(&s);
}

static void mail_is_held_and_released(void **state)
{
    char path[1100] = "/v1/queue/release?id=", id[MAIL_ID_TEXT_SIZE];
    struct scene s;
    uint64_t ids[3];
    json_t *answer;

    (void)state;
    scene_start(&s, unix_address());
    fill(&s, ids);
    answer = ask(&s, "POST", "/v1/queue/hold?sender=a%40*", 200);
    assert_int_equal(json_array_size(json_object_get(answer, "changed")), 2);
    assert_true(json_is_null(json_object_get(answer, "next")));
    json_decref(answer);
    assert_int_equal(listed(&s, "/v1/queue?state=held"), 3);
    for (size_t i = 0; i < 73; i++) { /* as many as fit into an argument: the first ones, again and again */
        mail_id_text(ids[i % 2], id);
        sprintf(path + strlen(path), "%s%s", i > 0 ? "," : "", id);
    }
    answer = ask(&s, "POST", path, 200);
    assert_int_equal(json_array_size(json_object_get(answer, "changed")), 2);
    assert_int_equal(json_array_size(json_object_get(answer, "refused")), 71);
    json_decref(answer);
    assert_int_equal(listed(&s, "/v1/queue?state=held"), 1);
    scene_end(&s);
}

/* --- events ------------------------------------------------------------------------------------------------ */

struct listening {
    struct scene *s;
    uint64_t id;
    char text[1024]; /* "ping held " */
    size_t stop_after;
};

/* The first line says that we listen: then something is to happen. */
static bool on_line(void *user, const char *p, size_t n)
{
    struct listening *l = user;
    json_t *o = json_loadb(p, n, 0, NULL);
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *verb;
    char path[64], id[MAIL_ID_TEXT_SIZE];
    size_t used = strlen(l->text);

    assert_non_null(event);
    verb = strcmp(event, "ping") == 0 ? "hold" : strcmp(event, "held") == 0 ? "remove" : NULL;
    snprintf(l->text + used, sizeof(l->text) - used, "%s ", event);
    json_decref(o);
    mail_id_text(l->id, id);
    snprintf(path, sizeof(path), "/v1/queue/%s?id=%s", verb != NULL ? verb : "", id);
    if (verb != NULL)
        json_decref(ask(l->s, "POST", path, 200));
    return --l->stop_after > 0;
}

static void events_are_heard(void **state)
{
    struct listening l = {.stop_after = 3};
    struct err err = {0};
    json_t *answer = NULL;
    struct scene s;
    unsigned status_code;

    (void)state;
    with_history = true;
    scene_start(&s, unix_address());
    with_history = false;
    l.s = &s;
    l.id = add_message(&s, "a@example.org", "u@example.com", SPOOL_ACTIVE);
    if (control_listen(s.address, "/v1/queue/events", &status_code, &answer, on_line, &l, &err) < 0)
        fail_msg("%s", err.text);
    assert_string_equal(l.text, "ping held removed ");
    scene_end(&s);
}

/* Only so many listen; those that do not read keep nobody from stopping. */
static void listeners_are_counted(void **state)
{
    static const char question[] = "GET /v1/queue/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fds[HISTORY_FEEDS_MAX];
    struct scene s;
    char text[512];

    (void)state;
    with_history = true;
    scene_start(&s, "127.0.0.1:0");
    with_history = false;
    to.sin_port = htons((uint16_t)atoi(strchr(s.address, ':') + 1));
    for (size_t i = 0; i < HISTORY_FEEDS_MAX; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&to, sizeof(to)), 0);
        assert_int_equal(send(fds[i], question, sizeof(question) - 1, MSG_NOSIGNAL), sizeof(question) - 1);
        assert_true(recv(fds[i], text, sizeof(text), 0) > 0);
    }
    json_t *answer = ask(&s, "GET", "/v1/queue/events", 503);
    assert_string_equal(error_code(answer), "busy");
    json_decref(answer);
    for (int i = 0; i < 20000; i++)
        history_note(s.history, &(struct history_entry){.kind = HISTORY_HELD, .id = 7, .text = BARID_S("something to read")});
    scene_end(&s);
    for (size_t i = 0; i < HISTORY_FEEDS_MAX; i++)
        close(fds[i]);
}

static void reload_and_stop(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, unix_address());
    json_decref(ask(&s, "POST", "/v1/reload", 200));
    s.reload_fails = true;
    json_t *answer = ask(&s, "POST", "/v1/reload", 409);
    assert_string_equal(error_code(answer), "reload_failed");
    assert_string_equal(json_string_value(json_object_get(json_object_get(answer, "error"), "text")), "policy.lua:3: no such hook");
    json_decref(answer);
    json_decref(ask(&s, "POST", "/v1/stop", 200));
    assert_int_equal(s.reloads, 1);
    assert_int_equal(s.stops, 1);
    scene_end(&s);
}

/* The HTTP status of a request with these header lines. */
static unsigned raw(struct scene *s, const char *lines)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[1024];
    ssize_t n;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_port = htons((uint16_t)atoi(strchr(s->address, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    n = snprintf(text, sizeof(text), "POST /v1/stop HTTP/1.1\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n", lines);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    n = recv(fd, text, sizeof(text) - 1, MSG_WAITALL);
    assert_true(n > 12);
    text[n] = '\0';
    close(fd);
    return (unsigned)atoi(text + 9);
}

static void foreign_requests_are_refused(void **state)
{
    struct scene s;

    (void)state;
    scene_start(&s, "127.0.0.1:0");
    assert_int_equal(raw(&s, "Host: evil.example\r\n"), 403);
    assert_int_equal(raw(&s, "Host: 127.0.0.1.evil.example\r\n"), 403);
    assert_int_equal(raw(&s, "Host: localhost\r\nOrigin: http://evil.example\r\n"), 403);
    assert_int_equal(raw(&s, "Host: localhost\r\nOrigin: null\r\n"), 403);
    assert_int_equal(s.stops, 0);
    assert_int_equal(raw(&s, "Host: localhost\r\n"), 200);
    assert_int_equal(raw(&s, "Host: 127.0.0.1:8025\r\n"), 200);
    assert_int_equal(raw(&s, "Host: [::1]:8025\r\n"), 200);
    assert_int_equal(s.stops, 3);
    scene_end(&s);
}

static void only_loopback_is_accepted(void **state)
{
    struct control *control;
    struct listen_address a;
    struct err err = {0};
    struct loop *loop;

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, &err), 0);
    assert_int_equal(listen_address_parse(BARID_S("0.0.0.0:0"), &a, &err), 0);
    assert_int_equal(control_new(&control, &(struct control_options){.loop = loop, .ops = &ops}, listener_bind(&a, 0, &err), &err),
                     BARID_EINVALID);
    assert_null(control);
    loop_del(&loop);
}

static void nobody_answers(void **state)
{
    struct err err = {0};
    unsigned status_code;
    json_t *answer;

    (void)state;
    assert_int_equal(control_ask("unix:/tmp/barid-no-such-socket", "GET", "/v1/status", &status_code, &answer, &err),
                     BARID_ECLOSED);
    assert_non_null(strstr(err.text, "is it running"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_and_routes),
        cmocka_unit_test(wrong_requests),
        cmocka_unit_test(queue_is_listed_filtered_and_paged),
        cmocka_unit_test(one_message_is_shown),
        cmocka_unit_test(mail_is_held_and_released),
        cmocka_unit_test(events_are_heard),
        cmocka_unit_test(listeners_are_counted),
        cmocka_unit_test(reload_and_stop),
        cmocka_unit_test(foreign_requests_are_refused),
        cmocka_unit_test(only_loopback_is_accepted),
        cmocka_unit_test(nobody_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
