/* queue/queue_testing.c: see queue_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "message/record.h"
#include "queue/queue_testing.h"

/* --- a transport that remembers --------------------------------------------------------------
 */

static void copy(char *out, size_t n, barid_slice s)
{
    s = slice_head(s, n - 1);
    if (s.n > 0)
        memcpy(out, s.p, s.n);
    out[s.n] = '\0';
}

static void note(struct fake *f, const struct delivery *d)
{
    struct seen *s = &f->seen[f->n % SEEN_MAX];
    int64_t n;

    f->n++;
    *s = (struct seen){.id = d->mail->id,
                       .attempts = d->attempts,
                       .unit_index = d->unit_index,
                       .after_restart = d->after_restart,
                       .at_us = d->now_us};
    copy(s->target, sizeof(s->target), d->unit->target);
    n = d->body_read(d->body, 0, s->body, sizeof(s->body) - 1);
    s->body[n < 0 ? 0 : n] = '\0';
}

static void fake_deliver(struct transport *t, const struct delivery *d,
                         struct delivery_result *r)
{
    struct fake *f = (struct fake *)t;

    pthread_mutex_lock(&f->lock);
    f->inside++;
    f->inside_max = f->inside > f->inside_max ? f->inside : f->inside_max;
    note(f, d);
    pthread_cond_broadcast(&f->cond);
    while (f->gate)
        pthread_cond_wait(&f->cond, &f->lock);
    r->status = f->fail_first > 0 ? f->status : DELIVERY_DONE;
    f->fail_first -= f->fail_first > 0;
    copy(r->reply, sizeof(r->reply),
         r->status == DELIVERY_DONE ? BARID_S("250 2.0.0 stored") : BARID_S("452 4.2.2 quota"));
    copy(r->where, sizeof(r->where), d->unit->target);
    f->inside--;
    pthread_mutex_unlock(&f->lock);
}

void fake_open_gate(struct fake *f)
{
    pthread_mutex_lock(&f->lock);
    f->gate = false;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
}

void fake_wait_inside(struct fake *f, unsigned n)
{
    pthread_mutex_lock(&f->lock);
    while (f->inside < n)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

/* --- fixture ---------------------------------------------------------------------------------
 */

void start(struct fixture *f)
{
    assert_int_equal(queue_new(&f->queue, &f->options, NULL), 0);
}

void set_up(struct fixture *f, unsigned threads, size_t max_queued)
{
    struct spool_memory_options so = {.clock = &f->clock.clock};

    memset(f, 0, sizeof(*f));
    clock_fake_init(&f->clock, START);
    assert_int_equal(loop_new(&f->loop, &f->clock.clock, NULL, NULL), 0);
    assert_int_equal(pool_new(&f->pool, threads, max_queued, NULL), 0);
    assert_int_equal(spool_memory_open(&f->spool, &so, NULL), 0);
    rng_seeded_init(&f->rng, 1);
    log_memory_init(&f->log);
    fail_mem_init(&f->mem, 0);
    pthread_mutex_init(&f->fake.lock, NULL);
    pthread_cond_init(&f->fake.cond, NULL);
    f->fake.t =
        (struct transport){.name = "fake", .kind = DISPOSITION_STORE, .deliver = fake_deliver};
    f->transports[1] = &f->fake.t; /* [0] stays NULL: allowed */
    f->options = (struct queue_options){
        .loop = f->loop,
        .pool = f->pool,
        .spool = f->spool,
        .transports = f->transports,
        .n_transports = 2,
        .retry = {60, 600, 4, 0},
        .rng = &f->rng.rng,
        .log = &f->log.log,
        .mem = &f->mem.mem,
        .hostname = "mx.test",
    };
    hop_init(&f->options.routing.base);
}

void on_stopped(void *user)
{
    ((struct fixture *)user)->stopped = true;
}

void stop(struct fixture *f)
{
    f->stopped = false;
    queue_stop(f->queue, on_stopped, f);
    assert_false(f->stopped);
    while (!f->stopped)
        loop_turn(f->loop, true);
    queue_del(&f->queue);
    assert_null(f->queue);
}

void tear_down(struct fixture *f)
{
    if (f->queue != NULL)
        stop(f);
    pool_del(&f->pool);
    f->spool->ops->close(f->spool);
    loop_del(&f->loop);
    log_memory_deinit(&f->log);
    pthread_mutex_destroy(&f->fake.lock);
    pthread_cond_destroy(&f->fake.cond);
    assert_int_equal(f->mem.live, 0);
}

struct queue_stats stats(const struct fixture *f)
{
    struct queue_stats s;

    queue_stats(f->queue, &s);
    return s;
}

void settle(struct fixture *f)
{
    for (int i = 0; i < 8; i++)
        loop_turn(f->loop, false);
}

void advance(struct fixture *f, int64_t us)
{
    clock_fake_advance(&f->clock, (uint64_t)us / 1000);
    loop_turn(f->loop, false);
}

uint64_t messages(const struct fixture *f)
{
    struct spool_stats s;

    f->spool->ops->stats(f->spool, &s);
    return s.messages[SPOOL_ACTIVE];
}

bool logged(const struct fixture *f, const char *text)
{
    return f->log.text.len > 0 &&
           memmem(f->log.text.p, f->log.text.len, text, strlen(text)) != NULL;
}

struct unit_state state_of(const struct fixture *f, uint64_t id, size_t unit, char *reply,
                           size_t n)
{
    struct spool_loaded l;
    struct unit_state s;

    assert_int_equal(f->spool->ops->load(f->spool, id, &l), 0);
    s = l.units[unit];
    copy(reply, n, s.reply);
    s.reply = slice_str(reply);
    f->spool->ops->loaded_free(&l);
    return s;
}

/* --- messages --------------------------------------------------------------------------------
 */

/* A mail to n recipients, u0@x ..., each stored below its own name. kind 0: nothing decided. */
void encode(struct buf *meta, size_t n, enum disposition_kind kind, int64_t received_us)
{
    struct session_facts facts = {.id = "0123456789abcdef"};
    struct arena arena;
    struct mail m;
    struct unit *units;

    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, &facts, received_us), 0);
    units = arena_alloc(&arena, n * sizeof(*units));
    for (size_t i = 0; i < n; i++) {
        struct mailbox box;
        struct rcpt *rcpt;
        char *text = arena_fmt(&arena, "u%zu@example.org", i);

        assert_int_equal(mailbox_from_text(&box, &arena, slice_str(text), 0), 0);
        assert_int_equal(mail_add_rcpt(&m, &box, slice_str(text), &rcpt), 0);
        units[i].kind = kind;
        units[i].target = slice_str(arena_fmt(&arena, "u%zu", i));
        units[i].rcpts = arena_alloc(&arena, sizeof(size_t));
        units[i].rcpts[0] = i;
        units[i].n_rcpts = 1;
    }
    assert_int_equal(record_encode(&m, units, n, meta), 0);
    arena_deinit(&arena);
}

uint64_t commit(struct fixture *f, barid_slice meta, size_t n, int64_t due_us)
{
    struct unit_state *units = calloc(n, sizeof(*units));
    struct spool_put *put;
    uint64_t id;

    for (size_t i = 0; i < n; i++)
        units[i].due_us = due_us;
    assert_int_equal(f->spool->ops->put_begin(f->spool, &put), 0);
    assert_int_equal(f->spool->ops->put_body(put, "body\r\n", 6), 0);
    assert_int_equal(f->spool->ops->put_describe(put, SPOOL_ACTIVE, meta,
                                                 BARID_S("Subject: s\r\n"), units, n),
                     0);
    id = f->spool->ops->put_id(put);
    assert_int_equal(test_commit(f->spool, &put, 1), 0);
    free(units);
    return id;
}

uint64_t post_kind(struct fixture *f, size_t n, int64_t due_us, enum disposition_kind kind)
{
    struct buf meta;
    uint64_t id;

    buf_init(&meta, NULL, 0);
    encode(&meta, n, kind, f->clock.wall_us - 2 * S);
    id = commit(f, buf_slice(&meta), n, due_us);
    buf_deinit(&meta);
    return id;
}

uint64_t post(struct fixture *f, size_t n, int64_t due_us)
{
    return post_kind(f, n, due_us, DISPOSITION_STORE);
}

int group_setup(void **state)
{
    *state = malloc(sizeof(struct fixture));
    set_up(*state, 2, 1000);
    alarm(60);
    return 0;
}

int group_teardown(void **state)
{
    tear_down(*state);
    free(*state);
    return 0;
}
