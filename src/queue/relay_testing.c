/* queue/relay_testing.c: see relay_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "queue/queue_int.h"
#include "queue/relay_testing.h"

/* --- next hops ------------------------------------------------------------------------------- */

static struct host *host_of(struct relay *r, const struct hop *hop)
{
    for (size_t i = 0; i < HOSTS_MAX; i++) {
        struct host *h = &r->hosts[i];

        if (h->name == NULL ||
            (h->name[0] != '\0' && !slice_eq(hop->name, slice_str(h->name))) || h->times == 1)
            continue;
        h->times -= h->times > 1;
        return h;
    }
    return NULL;
}

static void over(struct sending *s)
{
    struct relay *r = s->relay;

    for (size_t i = 0; i < SENDS_MAX; i++)
        if (r->way[i] == s)
            r->way[i] = NULL;
    r->now--;
    s->c->sending = NULL;
    free(s);
}

/* What all up to n hear. */
static void say(struct sending *s, size_t n)
{
    struct consignment *c = s->c;
    const struct host *h = s->host;

    for (; s->n_said < n; s->n_said++) {
        size_t i = s->n_said;
        barid_slice address = c->mail->rcpts[c->rcpts[i]]->box.address;
        const char *reply =
            h != NULL && h->reply != NULL                    ? h->reply
            : s->relay->body_rc < 0                          ? "451 4.3.0 body"
            : slice_starts_nocase(address, BARID_S("no"))    ? "550 5.1.1 no such user"
            : slice_starts_nocase(address, BARID_S("later")) ? "451 4.2.0 later"
                                                             : "250 2.0.0 taken";
        struct send_result result = {.reply = slice_str(reply),
                                     .status = reply[0] == '2'   ? DELIVERY_DONE
                                               : reply[0] == '4' ? DELIVERY_AGAIN
                                                                 : DELIVERY_FAILED,
                                     .stage = "final",
                                     .remote = c->hop->name,
                                     .remote_address = BARID_S("192.0.2.1:25"),
                                     .no_connection = h != NULL && h->no_connection,
                                     .is_suspect = h != NULL && h->is_suspect,
                                     .dsn_passed = h != NULL && h->dsn_passed};
        c->on_result(c, i, &result);
    }
}

static void answer(struct sending *s)
{
    struct consignment *c = s->c;

    say(s, c->n_rcpts);
    over(s);
    c->on_over(c);
}

/* 1: all of it; 0: waits. */
static int read_body(struct sending *s)
{
    struct relay *r = s->relay;
    size_t piece = r->piece > 0 ? r->piece : 65536;

    while (s->read < s->c->body_size) {
        uint64_t left = s->c->body_size - s->read;
        barid_slice p;

        r->body_rc = s->c->body(s->c, s->read, left < piece ? (size_t)left : piece, &p);
        if (r->body_rc <= 0)
            return r->body_rc;
        assert_true(p.n > 0 && p.n <= piece);
        for (size_t i = 0; i < p.n; i++)
            r->body_sum = r->body_sum * 31 + (unsigned char)p.p[i];
        s->read += p.n;
    }
    r->body_n = s->read;
    return 1;
}

static void go_on(struct loop_task *task)
{
    struct sending *s = (struct sending *)((char *)task - offsetof(struct sending, task));
    const struct host *h = s->host;

    s->is_posted = false;
    if (s->is_over) { /* cancelled meanwhile */
        free(s);
        return;
    }
    if (h != NULL && h->is_silent && !s->is_waiting) {
        s->is_waiting = true;
        return;
    }
    if ((h == NULL || !h->no_connection) && (s->read == 0 || s->read < s->c->body_size)) {
        if (s->read == 0)
            s->relay->body_sum = 0;
        if (read_body(s) == 0)
            return;
        if (s->relay->body_rc >= 0) {
            s->relay->n_final++;
            s->sent->is_final = true;
            s->c->on_final(s->c);
        }
        if (h != NULL && h->holds && !s->is_waiting) {
            s->is_waiting = true;
            say(s, h->says_first ? 1 : 0);
            return;
        }
    }
    answer(s);
}

static void post_sending(struct sending *s)
{
    s->is_posted = true;
    loop_post(s->relay->loop, &s->task);
}

static void note(struct relay *r, const struct consignment *c)
{
    struct sent *s = &r->sent[r->n % SENDS_MAX];
    size_t at = 0;

    *s = (struct sent){.id = c->mail->id, .n_rcpts = c->n_rcpts};
    memcpy(s->hop, c->hop->name.p, c->hop->name.n < 63 ? c->hop->name.n : 63);
    for (size_t i = 0; i < c->n_rcpts; i++) {
        barid_slice box = c->mail->rcpts[c->rcpts[i]]->box.local;

        if (at + box.n + 2 > sizeof(s->rcpts))
            break;
        memcpy(s->rcpts + at, box.p, box.n);
        at += box.n;
        s->rcpts[at++] = ' ';
    }
}

static int relay_send(struct transport *t, struct consignment *c)
{
    struct relay *r = (struct relay *)t;
    struct host *h = host_of(r, c->hop);
    struct sending *s;

    assert_true(c->n_rcpts > 0 && (c->hop->max_rcpts == 0 || c->n_rcpts <= c->hop->max_rcpts));
    assert_null(c->sending);
    if (h != NULL && h->refuses != 0)
        return h->refuses;
    note(r, c);
    s = calloc(1, sizeof(*s));
    *s = (struct sending){
        .task.run = go_on, .relay = r, .c = c, .host = h, .sent = &r->sent[r->n % SENDS_MAX]};
    assert_null(r->way[r->n % SENDS_MAX]);
    r->way[r->n++ % SENDS_MAX] = s;
    r->now++;
    r->now_max = r->now > r->now_max ? r->now : r->now_max;
    c->sending = s;
    post_sending(s);
    return 0;
}

static void relay_ready(struct transport *t, struct consignment *c)
{
    ((struct relay *)t)->n_ready++;
    post_sending(c->sending);
}

static void relay_cancel(struct transport *t, struct consignment *c)
{
    struct relay *r = (struct relay *)t;
    struct sending *s = c->sending;

    r->n_cancelled++;
    c->sending = NULL;
    for (size_t i = 0; i < SENDS_MAX; i++)
        if (r->way[i] == s)
            r->way[i] = NULL;
    r->now--;
    s->is_over = true;
    if (!s->is_posted)
        free(s);
}

bool relay_answer(struct relaying *r, const char *hop)
{
    for (size_t i = 0; i < SENDS_MAX; i++) {
        struct sending *s = r->relay.way[i];

        if (s == NULL || !s->is_waiting || s->is_posted ||
            (hop != NULL && !slice_eq(s->c->hop->name, slice_str(hop))))
            continue;
        post_sending(s);
        return true;
    }
    return false;
}

void relay_answer_all(struct relaying *r)
{
    while (relay_answer(r, NULL))
        continue;
    settle(&r->f);
}

size_t sent_to(const struct relaying *r, const char *hop)
{
    size_t n = 0;

    for (size_t i = 0; i < r->relay.n && i < SENDS_MAX; i++)
        n += strcmp(r->relay.sent[i].hop, hop) == 0;
    return n;
}

/* --- policy ---------------------------------------------------------------------------------- */

static enum policy_outcome run_hook(void *user, struct policy_call *call)
{
    struct hook *h = user;

    h->asked++;
    call->verdict = h->verdict;
    if (h->act != NULL)
        h->act(call, h->user);
    if (!h->waits)
        return POLICY_ANSWERED;
    for (size_t i = 0; i < HOOK_WAITING_MAX; i++) {
        if (h->waiting[i] != NULL)
            continue;
        h->waiting[i] = call;
        return POLICY_WAITING;
    }
    fail_msg("too many questions wait");
    return POLICY_ANSWERED;
}

static void cancel_hook(void *user, struct policy_call *call)
{
    struct hook *h = user;
    size_t n = 0;

    for (size_t i = 0; i < HOOK_WAITING_MAX; i++)
        if (h->waiting[i] != call)
            h->waiting[n++] = h->waiting[i];
    while (n < HOOK_WAITING_MAX)
        h->waiting[n++] = NULL;
}

struct hook *hear(struct relaying *r, enum barid_event_id event)
{
    struct policy_handler handler = {.name = "hook",
                                     .where = "",
                                     .event = event,
                                     .run = run_hook,
                                     .cancel = cancel_hook,
                                     .user = &r->hooks[event]};

    if (r->policy == NULL)
        assert_int_equal(policy_new(&r->policy, r->f.loop, NULL, 3600000, 1), 0);
    assert_int_equal(policy_add(r->policy, &handler), 0);
    r->f.options.policy = r->policy;
    return &r->hooks[event];
}

void hook_answer(struct relaying *r, enum barid_event_id event)
{
    struct hook *h = &r->hooks[event];
    struct policy_call *call = h->waiting[0];

    assert_non_null(call);
    cancel_hook(h, call);
    call->verdict = h->verdict;
    policy_resume(r->policy, call);
}

/* --- fixture --------------------------------------------------------------------------------- */

void relaying_set_up(struct relaying *r)
{
    memset(r, 0, sizeof(*r));
    set_up(&r->f, 2, 1000);
    r->relay.t = (struct transport){.name = "send",
                                    .kind = DISPOSITION_SEND,
                                    .send = relay_send,
                                    .body_ready = relay_ready,
                                    .cancel = relay_cancel};
    r->relay.loop = r->f.loop;
    r->f.transports[0] = &r->relay.t;
    r->f.options.subaddress = '+';
}

void start_relaying(struct relaying *r)
{
    start(&r->f);
}

void stop_relaying(struct relaying *r)
{
    queue_stop(r->f.queue, on_stopped, &r->f);
    r->f.stopped = false;
    settle(&r->f);
    if (!r->f.stopped)
        advance(&r->f, QUEUE_STOP_MS * INT64_C(1000));
    while (!r->f.stopped)
        loop_turn(r->f.loop, true);
    queue_del(&r->f.queue);
    settle(&r->f);
    assert_int_equal(r->relay.now, 0);
}

void relaying_tear_down(struct relaying *r)
{
    if (r->f.queue != NULL) {
        relay_answer_all(r);
        stop_relaying(r);
    }
    settle(&r->f);
    policy_unref(&r->policy);
    tear_down(&r->f);
    if (r->inflight[0] != '\0')
        unlink(r->inflight);
}

int relay_setup(void **state)
{
    *state = malloc(sizeof(struct relaying));
    relaying_set_up(*state);
    alarm(120);
    return 0;
}

int relay_teardown(void **state)
{
    relaying_tear_down(*state);
    free(*state);
    return 0;
}

void run_dry(struct relaying *r)
{
    uint64_t most = 2000 + 2 * messages(&r->f); /* on a slow machine each message takes a round */

    for (uint64_t i = 0; messages(&r->f) > 0; i++) {
        assert_true(i < most);
        UNTIL(&r->f, (relay_answer(r, NULL), stats(&r->f).running == 0 && r->f.queue->recording == 0));
        settle(&r->f);
        advance(&r->f, 60 * S);
    }
    UNTIL(&r->f, stats(&r->f).running == 0);
}

struct unit_state unit_of(struct relaying *r, uint64_t id, size_t unit)
{
    static char reply[512];

    return state_of(&r->f, id, unit, reply, sizeof(reply));
}

void expect_reply(struct relaying *r, uint64_t id, size_t unit, enum unit_status status,
                  const char *reply)
{
    struct unit_state s = unit_of(r, id, unit);

    assert_int_equal(s.status, status);
    if (strncmp(s.reply.p, reply, strlen(reply)) != 0)
        fail_msg("reply \"%s\", not \"%s\"", s.reply.p, reply);
}

uint64_t read_stored(struct relaying *r, uint64_t after, char **text_r)
{
    const struct spool_ops *ops = r->f.spool->ops;
    struct spool_message m;
    struct spool_loaded l;
    uint64_t size;
    void *body;

    *text_r = NULL;
    if (ops->after(r->f.spool, after, &m) != 0)
        return 0;
    assert_int_equal(ops->load(r->f.spool, m.id, &l), 0);
    assert_int_equal(ops->body_open(r->f.spool, m.id, &body, &size), 0);
    *text_r = calloc(1, l.header.n + size + 1);
    memcpy(*text_r, l.header.p, l.header.n);
    assert_int_equal(ops->body_read(body, 0, *text_r + l.header.n, size), size);
    ops->body_close(body);
    ops->loaded_free(&l);
    return m.id;
}
