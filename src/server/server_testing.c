/*
 * server/server_testing.c: see server_testing.h.
 */
#include "server/server_testing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "base/slice.h"
#include "io/listener.h"

#define WAIT_MS 10000 /* a reply that takes longer is a failure, not slowness */

/* --- the policy --- */

static void run_resume(struct loop_task *task)
{
    struct fixture *f = LIST_ENTRY(task, struct fixture, resume_task);
    struct policy_call *call = f->waiting;
    f->waiting = NULL;
    call->verdict = f->script.verdict[call->event];
    policy_resume(f->policy, call);
}

static void add_rcpts(struct fixture *f, struct mail *m)
{
    for (; f->script.add_rcpts > 0; f->script.add_rcpts--) {
        struct mailbox box;
        struct rcpt *r;
        char *text = arena_fmt(m->arena, "added%zu@example.com", f->script.add_rcpts);
        assert_int_equal(mailbox_from_text(&box, m->arena, slice_str(text), 0), 0);
        assert_int_equal(mail_add_rcpt(m, &box, box.address, &r), 0);
    }
}

static void remove_rcpt(const struct fixture *f, struct mail *m)
{
    for (size_t i = 0; f->script.remove_rcpt && i < m->n_rcpts; i++)
        if (slice_eq(m->rcpts[i]->box.address, slice_str(f->script.remove_rcpt)))
            m->rcpts[i]->verdict = RCPT_DISCARDED;
}

static enum policy_outcome run_script(void *user, struct policy_call *call)
{
    struct fixture *f = user;
    const struct script *s = &f->script;
    if (barid_event_info_get(call->event)->scope == BARID_SCOPE_SESSION)
        f->mails_in_session += call->mail != NULL;
    else
        f->mails += call->mail != NULL;
    if (call->event == BARID_EVENT_MESSAGE)
        remove_rcpt(f, call->mail);
    if (call->event == BARID_EVENT_RECIPIENT) {
        add_rcpts(f, call->mail);
        call->failed = s->store && mail_add_row(call->mail, DISPOSITION_STORE, DISPOSITION_ONE,
                                                call->rcpt->index, slice_str(s->store)) < 0;
        if (s->store_for && slice_eq(call->rcpt->box.address, slice_str(s->store_for)))
            call->failed = mail_add_row(call->mail, DISPOSITION_STORE, DISPOSITION_ONE,
                                        call->rcpt->index, BARID_S("%{user}")) < 0;
        if (s->refuse_rcpt && slice_eq(call->rcpt->box.address, slice_str(s->refuse_rcpt))) {
            call->verdict = (barid_verdict){.kind = s->put_off ? BARID_TEMPFAIL : BARID_REJECT,
                                            .code = s->put_off ? 451 : 550,
                                            .enhanced = s->put_off ? BARID_S("4.2.1")
                                                                   : BARID_S("5.2.1"),
                                            .text = BARID_S("mailbox disabled")};
            return POLICY_ANSWERED;
        }
    }
    if (call->event == BARID_EVENT_RECIPIENT && s->lose_rcpt &&
        slice_eq(call->rcpt->box.address, slice_str(s->lose_rcpt))) {
        call->verdict = (barid_verdict){.kind = BARID_DISCARD};
        return POLICY_ANSWERED;
    }
    if (s->hold[call->event]) {
        f->held = call;
        sem_post(&f->holding);
        return POLICY_WAITING;
    }
    if (s->wait[call->event]) {
        f->waiting = call;
        f->resume_task.run = run_resume;
        loop_post(f->loop, &f->resume_task);
        return POLICY_WAITING;
    }
    call->verdict = s->verdict[call->event];
    return POLICY_ANSWERED;
}

static void cancel_script(void *user, struct policy_call *call)
{
    struct fixture *f = user;
    if (f->held == call)
        f->held = NULL;
    f->cancelled++;
}

static void add_handlers(struct fixture *f)
{
    for (int id = 1; id < BARID_EVENTS; id++) {
        struct policy_handler h = {.name = "script",
                                   .where = "",
                                   .event = (enum barid_event_id)id,
                                   .run = run_script,
                                   .cancel = cancel_script,
                                   .user = f};
        if (barid_event_info_get((enum barid_event_id)id)->kind != BARID_KIND_HOST)
            assert_int_equal(policy_add(f->policy, &h), 0);
    }
}

/* --- starting and stopping --- */

static void fill_config(struct fixture *f)
{
    f->config = config_default();
    assert_non_null(f->config);
    f->domains[0] = "example.com";
    f->listen = (struct config_listen){.address = "127.0.0.1:0",
                                       .extensions = BARID_EXT_DEFAULT,
                                       .limits = f->config->limits,
                                       .where = "test"};
    f->config->hostname = "mx.example.com";
    f->config->domains = f->domains;
    f->config->n_domains = 1;
    f->config->listen = &f->listen;
    f->config->n_listen = 1;
}

static void *thread_main(void *arg)
{
    struct fixture *f = arg;
    loop_run(f->loop);
    return NULL;
}

/* --- the spool in between --- */

static int gate_admit(struct spool *s, uint64_t size)
{
    struct gate *g = (struct gate *)s;
    return g->inner->ops->admit(g->inner, size);
}

static int gate_put_begin(struct spool *s, struct spool_put **put_r)
{
    struct gate *g = (struct gate *)s;
    return g->inner->ops->put_begin(g->inner, put_r);
}

static void on_inner_done(void *user, int err) /* the store's thread */
{
    struct gate *g = user;
    g->err = err;
    sem_post(&g->committed);
}

static int gate_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                       void *user)
{
    struct gate *g = (struct gate *)s;
    if (!g->late)
        return g->inner->ops->commit(g->inner, puts, n, done, user);
    g->done = done;
    g->done_user = user;
    return g->inner->ops->commit(g->inner, puts, n, on_inner_done, g);
}

/* A put does not know the gate: its functions find it here. One fixture at a time has a late
 * gate. */
static struct gate *late_gate;

static size_t gate_backlog(struct spool_put *put)
{
    (void)put;
    return atomic_load(&late_gate->backlog);
}

static void gate_on_drain(struct spool_put *put, void (*drained)(void *user), void *user)
{
    (void)put;
    late_gate->drained = drained;
    late_gate->drained_user = user;
    sem_post(&late_gate->paused);
}

static void gate_init(struct gate *g, struct spool *inner)
{
    g->inner = inner;
    g->ops = *inner->ops;
    g->ops.admit = gate_admit;
    g->ops.put_begin = gate_put_begin;
    g->ops.commit = gate_commit;
    g->ops.put_backlog = gate_backlog;
    g->ops.put_on_drain = gate_on_drain;
    g->spool.ops = &g->ops;
    late_gate = g;
}

/* From the test's thread, as from a committer's. */
void gate_commit_done(struct fixture *f, int err)
{
    sem_wait(&f->gate.committed);
    f->gate.done(f->gate.done_user, err ? err : f->gate.err);
}

void gate_drained(struct fixture *f)
{
    atomic_store(&f->gate.backlog, 0);
    f->gate.drained(f->gate.drained_user);
}

static struct fixture *prepare_with(struct fixture *f, const struct clock *clock)
{
    struct err err = {0};
    uint64_t seed[2] = {1, 2};
    sem_init(&f->holding, 0, 0);
    sem_init(&f->gate.committed, 0, 0);
    sem_init(&f->gate.paused, 0, 0);
    log_memory_init(&f->log);
    assert_int_equal(loop_new(&f->loop, clock, NULL, &err), 0);
    assert_int_equal(pool_new(&f->pool, 1, 100, &err), 0);
    assert_int_equal(admission_new(&f->admission, seed), 0);
    assert_int_equal(spool_memory_open(&f->spool, &(struct spool_memory_options){0}, &err), 0);
    assert_int_equal(policy_new(&f->policy, f->loop, NULL, 30000, 7), 0);
    fill_config(f);
    f->script.store = "%{user}";
    f->drain_ms = 2000;
    return f;
}

struct fixture *prepare(void)
{
    return prepare_with(calloc(1, sizeof(struct fixture)), NULL);
}

struct fixture *prepare_at(int64_t wall_us)
{
    struct fixture *f = calloc(1, sizeof *f);
    clock_fake_init(&f->time, wall_us);
    return prepare_with(f, &f->time.clock);
}

void start(struct fixture *f)
{
    struct err err = {0};
    struct listen_address a;
    struct sockaddr_in sa;
    socklen_t n = sizeof sa;
    add_handlers(f);
    gate_init(&f->gate, f->spool);
    struct server_options o = {.loop = f->loop,
                               .pool = f->pool,
                               .spool = &f->gate.spool,
                               .history = f->history,
                               .admission = f->admission,
                               .clock = loop_clock(f->loop),
                               .rng = &rng_system,
                               .log = f->quiet ? NULL : &f->log.log,
                               .auth_seed = f->seed};
    struct server_version v = {.config = f->config, .policy = f->policy, .users = f->users, .routing = f->routing};
    assert_int_equal(server_new(&f->server, &o, &v, &err), 0);
    assert_int_equal(listen_address_parse(BARID_S("127.0.0.1:0"), &a, &err), 0);
    f->listener = listener_bind(&a, 0, &err);
    assert_true(f->listener >= 0);
    assert_int_equal(getsockname(f->listener, (struct sockaddr *)&sa, &n), 0);
    f->port = ntohs(sa.sin_port);
    assert_int_equal(server_listen(f->server, 0, f->listener, &err), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, thread_main, f), 0);
}

static void on_stopped(void *user)
{
    struct fixture *f = user;
    f->stopped = true;
    loop_stop(f->loop);
}

static void run_stop(struct loop_task *task)
{
    struct fixture *f = LIST_ENTRY(task, struct fixture, stop_task);
    server_stop(f->server, f->drain_ms, on_stopped, f);
}

void begin_stop(struct fixture *f)
{
    f->stop_task.run = run_stop;
    loop_post(f->loop, &f->stop_task);
}

void await_stop(struct fixture *f)
{
    pthread_join(f->thread, NULL);
    f->joined = true;
    assert_true(f->stopped);
}

void finish(struct fixture *f)
{
    struct server_stats st;
    if (!f->joined)
        await_stop(f);
    assert_int_equal(admission_total(f->admission), 0);
    server_stats(f->server, &st);
    assert_int_equal(st.connections, 0);
    server_del(&f->server);
    free_fixture(f);
}

void free_fixture(struct fixture *f)
{
    policy_unref(&f->policy);
    users_unref(&f->users);
    f->spool->ops->close(f->spool);
    pool_del(&f->pool);
    loop_del(&f->loop);
    admission_del(&f->admission);
    config_del(&f->config);
    log_memory_deinit(&f->log);
    free(f);
}

void stop(struct fixture *f)
{
    begin_stop(f);
    finish(f);
}

/* --- reaching into the loop --- */

struct errand {
    struct loop_task task;
    struct fixture *f;
    void (*fn)(struct fixture *f);
    sem_t done;
};

static void run_errand(struct loop_task *task)
{
    struct errand *e = LIST_ENTRY(task, struct errand, task);
    e->fn(e->f);
    sem_post(&e->done);
}

void on_loop(struct fixture *f, void (*fn)(struct fixture *f))
{
    struct errand e = {.task = {.run = run_errand}, .f = f, .fn = fn};
    sem_init(&e.done, 0, 0);
    loop_post(f->loop, &e.task);
    sem_wait(&e.done);
    sem_destroy(&e.done);
}

static void release_held(struct fixture *f)
{
    struct policy_call *call = f->held;
    assert_non_null(call);
    f->held = NULL;
    f->script.hold[call->event] = false;
    call->verdict = f->script.verdict[call->event];
    policy_resume(f->policy, call);
}

void release(struct fixture *f)
{
    on_loop(f, release_held);
}

void await_hold(struct fixture *f)
{
    sem_wait(&f->holding);
}

static uint64_t advance_ms; /* of the test's thread, read while it waits */

static void move_time(struct fixture *f)
{
    clock_fake_advance(&f->time, advance_ms);
}

void advance(struct fixture *f, uint64_t ms)
{
    advance_ms = ms;
    on_loop(f, move_time);
}

/* --- the client --- */

void dial(struct client *c, const struct fixture *f)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(c->fd, (struct sockaddr *)&sa, sizeof sa), 0);
}

void say(struct client *c, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);
        assert_true(k > 0);
        p += k;
        n -= (size_t)k;
    }
}

bool fill(struct client *c)
{
    struct pollfd pfd = {.fd = c->fd, .events = POLLIN};
    assert_int_equal(poll(&pfd, 1, WAIT_MS), 1);
    ssize_t k = recv(c->fd, c->in + c->n, sizeof c->in - 1 - c->n, 0);
    if (k <= 0)
        return false;
    c->n += (size_t)k;
    c->in[c->n] = 0;
    return true;
}

/* One reply, all its lines, must begin with want. */
void expect(struct client *c, const char *want)
{
    for (;;) {
        char *line = c->in, *end;
        c->in[c->n] = 0;
        while ((end = strstr(line, "\r\n")) != NULL && line[3] == '-')
            line = end + 2;
        if (end) {
            if (strncmp(line, want, strlen(want)) != 0)
                fail_msg("wanted \"%s\", got \"%.*s\"", want, (int)(end - line), line);
            size_t used = (size_t)(end + 2 - c->in);
            memmove(c->in, c->in + used, c->n - used);
            c->n -= used;
            return;
        }
        if (!fill(c))
            fail_msg("wanted \"%s\", got the end", want);
    }
}

void expect_end(struct client *c)
{
    while (fill(c))
        c->n = 0;
    close(c->fd);
}

void exchange(struct client *c, const char *command, const char *want)
{
    char line[512]; /* one write: two would wait for each other's acknowledgement */
    int n = snprintf(line, sizeof line, "%s\r\n", command);
    say(c, line, (size_t)n);
    expect(c, want);
}

void greet(struct client *c, const struct fixture *f)
{
    dial(c, f);
    expect(c, "220 mx.example.com");
    exchange(c, "EHLO client.example", "250 ");
}

void envelope(struct client *c, const char *rcpt)
{
    char line[256];
    exchange(c, "MAIL FROM:<a@sender.example>", "250 ");
    snprintf(line, sizeof line, "RCPT TO:<%s>", rcpt);
    exchange(c, line, "250 ");
}

void message(struct client *c, const char *want)
{
    exchange(c, "DATA", "354 ");
    exchange(c, "Subject: x\r\n\r\nhello\r\n..dot\r\n.", want);
}

void quit(struct client *c)
{
    exchange(c, "QUIT", "221 ");
    expect_end(c);
}

/* --- what is in the spool --- */

size_t spooled(const struct fixture *f, enum spool_state state)
{
    struct spool_stats st;
    f->spool->ops->stats(f->spool, &st);
    return st.messages[state];
}

void load_only(const struct fixture *f, struct spool_loaded *l)
{
    struct spool_message m;
    assert_int_equal(f->spool->ops->after(f->spool, 0, &m), 0);
    assert_int_equal(f->spool->ops->load(f->spool, m.id, l), 0);
}

void assert_body(const struct fixture *f, uint64_t id, const char *want, size_t n)
{
    void *body;
    uint64_t size;
    char *have = malloc(n + 1);
    assert_int_equal(f->spool->ops->body_open(f->spool, id, &body, &size), 0);
    assert_int_equal(size, n);
    for (size_t at = 0; at < n;) {
        int64_t k = f->spool->ops->body_read(body, at, have + at, n - at);
        assert_true(k > 0);
        at += (size_t)k;
    }
    assert_memory_equal(have, want, n);
    f->spool->ops->body_close(body);
    free(have);
}
