/*
 * A recipient that the policy put off while the client heard 250 for others is asked about
 * again when it is due. Memory store, a clock moved by hand, a C handler as policy.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/record.h"
#include "message/template.h"
#include "policy/dispatch.h"
#include "queue/queue.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START (INT64_C(1000000000) * 1000000)

struct fixture {
    struct clock_fake clock;
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct policy *policy;
    struct queue *queue;
    struct rng_seeded rng;
    struct transport transport, *transports[1];
    char targets[128]; /* what was delivered, each with a space */
    unsigned indexes[8], n_delivered;
    enum delivery_status deliver_as;
    barid_verdict verdict; /* of the hook */
    const char *store[2];  /* rows that it makes */
    bool wait, reads;
    struct policy_call *waiting;
    unsigned asked;
    bool stopped;
    struct fail_mem none, *mem;
    uint64_t id;
};

static void deliver(struct transport *t, const struct delivery *d, struct delivery_result *r)
{
    struct fixture *f = (struct fixture *)((char *)t - offsetof(struct fixture, transport));
    size_t n = strlen(f->targets);

    memcpy(f->targets + n, d->unit->target.p, d->unit->target.n);
    memcpy(f->targets + n + d->unit->target.n, " ", 2);
    f->indexes[f->n_delivered++ % 8] = (unsigned)d->unit_index;
    r->status = f->deliver_as;
}

/* What is stored can be read, piece by piece, and not replaced. */
static void read_body(const struct mail *m)
{
    char p[8] = "";

    assert_int_equal(m->body.size(m->body.user), 6);
    assert_int_equal(m->body.read(m->body.user, 2, p, 3), 3);
    assert_memory_equal(p, "dy\r", 3);
    assert_int_equal(m->body.read(m->body.user, 6, p, sizeof p), 0);
    assert_int_equal(m->body.replace(m->body.user, BARID_S("other\r\n")), BARID_EINVALID);
}

static enum policy_outcome hook(void *user, struct policy_call *call)
{
    struct fixture *f = user;

    f->asked++;
    assert_true(slice_eq(call->rcpt->box.address, BARID_S("late@example.com")));
    assert_true(slice_eq(call->mail->session->helo, BARID_S("client.example")));
    if (f->reads)
        read_body(call->mail);
    for (size_t i = 0; i < 2 && f->store[i] != NULL; i++) {
        if (mail_add_row(call->mail, DISPOSITION_STORE, DISPOSITION_ONE, call->rcpt->index,
                         slice_str(f->store[i])) == 0)
            continue;
        assert_true(f->mem->failed);
        call->verdict = (barid_verdict){.kind = BARID_TEMPFAIL, .code = 451};
        return POLICY_ANSWERED;
    }
    if (f->wait) {
        f->waiting = call;
        return POLICY_WAITING;
    }
    call->verdict = f->verdict;
    return POLICY_ANSWERED;
}

/* Two recipients, the first delivered long ago, the second put off. */
static void spool_message(struct fixture *f)
{
    struct arena arena;
    struct mail m;
    struct session_facts facts = {.id = "x", .helo = BARID_S("client.example")};
    struct mailbox box;
    struct rcpt *r;
    struct buf meta;
    struct spool_put *put;
    size_t index[] = {0, 1};
    struct unit units[] = {
        {.kind = DISPOSITION_STORE, .target = BARID_S("a"), .rcpts = &index[0], .n_rcpts = 1},
        {.rcpts = &index[1], .n_rcpts = 1}};
    struct unit_state states[] = {{.status = UNIT_DONE},
                                  {.status = UNIT_PENDING, .due_us = START}};

    arena_init(&arena, NULL, 0);
    buf_init(&meta, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, START), 0);
    assert_int_equal(mailbox_from_text(&box, &arena, BARID_S("a@example.com"), '+'), 0);
    assert_int_equal(mail_add_rcpt(&m, &box, box.address, &r), 0);
    r->verdict = RCPT_ACCEPTED;
    assert_int_equal(mailbox_from_text(&box, &arena, BARID_S("late@example.com"), '+'), 0);
    assert_int_equal(mail_add_rcpt(&m, &box, box.address, &r), 0);
    r->verdict = RCPT_TEMPFAILED;
    assert_int_equal(f->spool->ops->put_begin(f->spool, &put), 0);
    assert_int_equal(f->spool->ops->put_body(put, "body\r\n", 6), 0);
    m.body_size = 6;
    f->id = f->spool->ops->put_id(put);
    assert_int_equal(record_encode(&m, units, 2, &meta), 0);
    assert_int_equal(f->spool->ops->put_describe(put, SPOOL_ACTIVE, buf_slice(&meta),
                                                 BARID_S("X: y\r\n"), states, 2),
                     0);
    assert_int_equal(test_commit(f->spool, &put, 1), 0);
    buf_deinit(&meta);
    arena_deinit(&arena);
}

static struct policy *new_policy(struct loop *loop, struct fixture *f, uint64_t version)
{
    struct policy_handler h = {
        .name = "hook", .where = "", .event = BARID_EVENT_RECIPIENT, .run = hook, .user = f};
    struct policy *p;

    assert_int_equal(policy_new(&p, loop, NULL, 30000, version), 0);
    assert_int_equal(policy_add(p, &h), 0);
    return p;
}

static void set_up(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    clock_fake_init(&f->clock, START);
    rng_seeded_init(&f->rng, 1);
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, NULL, NULL), 0);
    assert_int_equal(pool_new(&f->pool, 1, 10, NULL), 0);
    assert_int_equal(spool_memory_open(&f->spool,
                                       &(struct spool_memory_options){.clock = &f->clock.clock},
                                       NULL),
                     0);
    f->policy = new_policy(f->loop, f, 1);
    fail_mem_init(&f->none, 0);
    f->mem = &f->none;
    f->transport =
        (struct transport){.name = "fake", .kind = DISPOSITION_STORE, .deliver = deliver};
    f->transports[0] = &f->transport;
    f->deliver_as = DELIVERY_DONE;
    spool_message(f);
}

static void start(struct fixture *f, bool with_policy)
{
    struct queue_options o = {.loop = f->loop,
                              .pool = f->pool,
                              .spool = f->spool,
                              .transports = f->transports,
                              .n_transports = 1,
                              .retry = {60, 600, 4, 0},
                              .rng = &f->rng.rng,
                              .policy = with_policy ? f->policy : NULL,
                              .mem = &f->mem->mem};
    struct err err = {0};
    int rc;

    while ((rc = queue_new(&f->queue, &o, &err)) != 0) {
        assert_true(f->mem->failed);
        assert_int_equal(rc, BARID_ENOMEM);
        assert_string_equal(err.text, "queue: out of memory");
    }
}

static void on_stopped(void *user)
{
    ((struct fixture *)user)->stopped = true;
}

static void tear_down(struct fixture *f)
{
    queue_stop(f->queue, on_stopped, f);
    while (!f->stopped)
        loop_turn(f->loop, true);
    queue_del(&f->queue);
    queue_del(&f->queue); /* none: nothing happens */
    policy_unref(&f->policy);
    pool_del(&f->pool);
    f->spool->ops->close(f->spool);
    loop_del(&f->loop);
    assert_int_equal(f->mem->live, 0);
}

/* Turns until one attempt was recorded. */
static struct queue_stats attempt(struct fixture *f)
{
    struct queue_stats before, now;

    queue_stats(f->queue, &before);
    do {
        loop_turn(f->loop, true);
        queue_stats(f->queue, &now);
    } while (now.delivered + now.deferred + now.held ==
             before.delivered + before.deferred + before.held);
    while (now.running > 0) {
        loop_turn(f->loop, true);
        queue_stats(f->queue, &now);
    }
    return now;
}

static uint64_t active(const struct fixture *f)
{
    struct spool_stats s;

    f->spool->ops->stats(f->spool, &s);
    return s.messages[SPOOL_ACTIVE];
}

static void test_accepted_now(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.store[0] = "inbox";
    f.store[1] = "%{user}";
    start(&f, true);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_string_equal(f.targets, "inbox late ");
    assert_int_not_equal(f.indexes[0], f.indexes[1]);
    assert_true(f.indexes[0] >= 2); /* no file of the record's own units has that index */
    assert_int_equal(active(&f), 0);
    tear_down(&f);
}

static void test_answered_later(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.store[0] = "inbox";
    f.wait = true;
    start(&f, true);
    while (f.waiting == NULL)
        loop_turn(f.loop, true);
    f.waiting->verdict = (barid_verdict){.kind = BARID_ACCEPT};
    policy_resume(f.policy, f.waiting);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_string_equal(f.targets, "inbox ");
    tear_down(&f);
}

/* Put off again, then accepted but not delivered, then delivered: asked each time. */
static void test_put_off_again(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.verdict = (barid_verdict){.kind = BARID_TEMPFAIL,
                                .code = 451,
                                .enhanced = BARID_S("4.7.1"),
                                .text = BARID_S("not yet")};
    start(&f, true);
    assert_int_equal(attempt(&f).deferred, 1);
    f.verdict = (barid_verdict){.kind = BARID_CONTINUE};
    f.store[0] = "inbox";
    f.deliver_as = DELIVERY_AGAIN;
    clock_fake_advance(&f.clock, 70000);
    assert_int_equal(attempt(&f).deferred, 2);
    f.deliver_as = DELIVERY_DONE;
    clock_fake_advance(&f.clock, 140000);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_int_equal(f.asked, 3);
    assert_int_equal(active(&f), 0);
    tear_down(&f);
}

struct fate {
    barid_verdict verdict;
    bool with_policy;
    uint64_t delivered, held;
};

static void test_fates(void **state)
{
    static const struct fate fates[] = {
        {{.kind = BARID_REJECT, .code = 550, .text = {"no", 2}}, true, 0, 1},
        {{.kind = BARID_HOLD}, true, 0, 1},
        {{.kind = BARID_QUARANTINE}, true, 0, 1},
        {{.kind = BARID_DISCARD}, true, 1, 0},
        {{.kind = BARID_CONTINUE}, true, 0, 1}, /* no row: nothing is accepted and forgotten */
        {{.kind = BARID_ACCEPT}, false, 0, 1},  /* nobody to ask */
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < sizeof fates / sizeof *fates; i++) {
        set_up(&f);
        f.verdict = fates[i].verdict;
        start(&f, fates[i].with_policy);
        struct queue_stats s = attempt(&f);
        assert_int_equal(s.delivered, fates[i].delivered);
        assert_int_equal(s.held, fates[i].held);
        assert_int_equal(active(&f), fates[i].held);
        assert_int_equal(f.n_delivered, 0);
        tear_down(&f);
    }
}

/* A stop does not wait for a hook: the unit goes back and is due. */
static void test_stop_while_waiting(void **state)
{
    struct fixture f;
    struct spool_claim claim;
    size_t n = 0;

    (void)state;
    set_up(&f);
    f.wait = true;
    start(&f, true);
    while (f.waiting == NULL)
        loop_turn(f.loop, true);
    queue_stop(f.queue, on_stopped, &f);
    while (!f.stopped)
        loop_turn(f.loop, true);
    assert_int_equal(f.spool->ops->claim(f.spool, START, 1, &claim, &n), 0);
    assert_int_equal(n, 1);
    f.spool->ops->release(f.spool, claim.id, claim.lease);
    free(claim.units);
    queue_del(&f.queue);
    policy_unref(&f.policy);
    pool_del(&f.pool);
    f.spool->ops->close(f.spool);
    loop_del(&f.loop);
}

static void test_hook_reads_the_body(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    f.store[0] = "inbox";
    f.reads = true;
    start(&f, true);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_int_equal(f.asked, 1);
    tear_down(&f);
}

/* What the hook decided cannot be evaluated: put off with the reason, not lost. */
static void test_place_does_not_expand(void **state)
{
    struct fixture f;
    struct spool_loaded l;
    char name[TEMPLATE_COMPONENT_MAX + 16];

    (void)state;
    set_up(&f);
    memset(name, 'x', sizeof name - 1);
    memcpy(name + TEMPLATE_COMPONENT_MAX - 1, "%{user}", sizeof "%{user}");
    f.store[0] = name; /* longer than a file name, but only when expanded */
    start(&f, true);
    assert_int_equal(attempt(&f).deferred, 1);
    assert_int_equal(f.spool->ops->load(f.spool, f.id, &l), 0);
    assert_int_equal(l.units[1].status, UNIT_PENDING);
    assert_true(slice_starts_nocase(l.units[1].reply, BARID_S("451 4.3.0 dispositions: ")));
    f.spool->ops->loaded_free(&l);
    f.store[0] = "inbox";
    clock_fake_advance(&f.clock, 70000);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_string_equal(f.targets, "inbox ");
    tear_down(&f);
}

static void on_released(void *user)
{
    ++*(unsigned *)user;
}

/* After a reload the new version is asked, and the old one is let go. */
static void test_new_version_is_asked(void **state)
{
    struct fixture f, later = {.asked = 0}; /* what the new version's hook has seen */
    struct policy *old, *asked;
    struct queue_stats s;
    unsigned released = 0;

    (void)state;
    set_up(&f);
    policy_on_release(f.policy, on_released, &released);
    f.wait = true;
    start(&f, true);
    while (f.waiting == NULL)
        loop_turn(f.loop, true);
    old = f.policy;
    f.policy = new_policy(f.loop, &later, 2);
    queue_set_policy(f.queue, f.policy);
    asked = old;
    policy_unref(&old);
    assert_int_equal(released, 0); /* its question is not answered yet */
    f.waiting->verdict = (barid_verdict){.kind = BARID_TEMPFAIL, .code = 451};
    policy_resume(asked, f.waiting); /* recorded within: nothing has to be delivered */
    queue_stats(f.queue, &s);
    assert_int_equal(s.deferred, 1);
    assert_int_equal(released, 1);
    later.store[0] = "inbox";
    clock_fake_advance(&f.clock, 70000);
    assert_int_equal(attempt(&f).delivered, 1);
    assert_int_equal(f.asked, 1);
    assert_int_equal(later.asked, 1);
    tear_down(&f);
}

/* A queue that asks nobody does not begin to: what waits for an answer is held already. */
static void test_policy_for_a_queue_without(void **state)
{
    struct fixture f;
    unsigned released = 0;

    (void)state;
    set_up(&f);
    policy_on_release(f.policy, on_released, &released);
    start(&f, false);
    queue_set_policy(f.queue, f.policy);
    policy_unref(&f.policy);
    assert_int_equal(released, 1);
    assert_int_equal(attempt(&f).held, 1);
    assert_int_equal(f.asked, 0);
    tear_down(&f);
}

/* Whatever allocation fails, the recipient is asked about in the end, and gets it once. */
static void test_each_allocation_failing(void **state)
{
    struct fail_mem mem = {0};
    struct fixture f;

    (void)state;
    while (fail_mem_next(&mem)) {
        set_up(&f);
        f.mem = &mem;
        f.store[0] = "inbox";
        start(&f, true);
        for (unsigned idle = 0; active(&f) > 0;) {
            struct queue_stats s;

            queue_stats(f.queue, &s);
            loop_turn(f.loop,
                      s.running > 0); /* the pool needs real time, a pause only the clock */
            if (s.running > 0)
                continue;
            assert_true(idle++ < 1000);
            clock_fake_advance(&f.clock, 1000);
        }
        assert_string_equal(f.targets, "inbox ");
        tear_down(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted_now),
        cmocka_unit_test(test_answered_later),
        cmocka_unit_test(test_put_off_again),
        cmocka_unit_test(test_fates),
        cmocka_unit_test(test_stop_while_waiting),
        cmocka_unit_test(test_hook_reads_the_body),
        cmocka_unit_test(test_place_does_not_expand),
        cmocka_unit_test(test_new_version_is_asked),
        cmocka_unit_test(test_policy_for_a_queue_without),
        cmocka_unit_test(test_each_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
