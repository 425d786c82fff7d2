/* spool/twins_testing.c: see twins_testing.h. */
#include "spool/twins_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/spool_testing.h"

#define SEGMENT (128u << 10)

struct twin_flight {
    struct twin_flight *next;
    struct twins *t;
    const char *what;
    bool taken;
    struct twin_side {
        struct twin_flight *flight;
        int err;
        unsigned calls;
    } sides[2];
};

uint64_t twins_below(struct twins *t, uint64_t n)
{
    return rng_u64(&t->rng.rng) % n;
}

void twins_differ(struct twins *t, const char *what)
{
    if (t->failure[0] == '\0')
        snprintf(t->failure, sizeof(t->failure), "%s", what);
}

bool twins_same(struct twins *t, const char *what, int64_t memory, int64_t log)
{
    char text[200];

    if (memory == log)
        return true;
    snprintf(text, sizeof(text), "%s: memory %lld, log %lld", what, (long long)memory,
             (long long)log);
    twins_differ(t, text);
    return false;
}

/* --- calls that are answered later */

struct twin_flight *twins_call(struct twins *t, const char *what)
{
    struct twin_flight *f = calloc(1, sizeof(*f));

    if (f == NULL)
        abort();
    f->t = t;
    f->what = what;
    f->sides[0].flight = f->sides[1].flight = f;
    f->next = t->flights;
    t->flights = f;
    pthread_mutex_lock(&t->lock);
    t->under_way += 2;
    pthread_mutex_unlock(&t->lock);
    return f;
}

void *twins_user(struct twin_flight *f, int side)
{
    return &f->sides[side];
}

void twins_done(void *user, int err)
{
    struct twin_side *side = user;
    struct twins *t = side->flight->t;

    pthread_mutex_lock(&t->lock);
    side->err = err;
    side->calls++;
    t->under_way--;
    pthread_cond_signal(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

bool twins_called(struct twins *t, struct twin_flight *f, const int rc[2])
{
    f->taken = twins_same(t, f->what, rc[0], rc[1]) && rc[0] == 0;
    pthread_mutex_lock(&t->lock);
    for (int side = 0; side < 2; side++)
        t->under_way -= rc[side] != 0;
    pthread_mutex_unlock(&t->lock);
    return f->taken;
}

static void end_flight(struct twins *t, const struct twin_flight *f)
{
    char what[80];

    snprintf(what, sizeof(what), "%s, answered later", f->what);
    twins_same(t, what, f->sides[0].err, f->sides[1].err);
    for (int side = 0; side < 2 && f->taken; side++) {
        if (f->sides[side].calls != 1)
            twins_differ(t, "done was not called once");
    }
}

void twins_settle(struct twins *t)
{
    struct twin_flight *next;

    pthread_mutex_lock(&t->lock);
    while (t->under_way > 0)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
    for (; t->flights != NULL; t->flights = next) {
        next = t->flights->next;
        end_flight(t, t->flights);
        free(t->flights);
    }
    t->n_mails += t->n_new;
    t->n_new = 0;
}

void twins_add_mail(struct twins *t, const uint64_t id[2])
{
    size_t at = t->n_mails + t->n_new++;

    if (at == t->cap_mails) {
        t->cap_mails = t->cap_mails == 0 ? 256 : 2 * t->cap_mails;
        t->mails = realloc(t->mails, t->cap_mails * sizeof(*t->mails));
        if (t->mails == NULL)
            abort();
    }
    t->mails[at] = (struct twin_mail){.id = {id[0], id[1]}};
}

/* --- opening and closing */

static int64_t wall_us(void *user)
{
    return ((struct twins *)user)->wall_us;
}

static uint64_t mono_ms(void *user)
{
    (void)user;
    return 0;
}

static void on_changed(void *user)
{
    atomic_store((atomic_bool *)user, true);
}

static void on_change(void *user, const struct disk_event *e)
{
    struct twins *t = user;

    t->recycled += e->op == DISK_RENAME && strstr(e->from, ".log") != NULL &&
                   strstr(e->to, "spare.") != NULL;
}

static void open_log(struct twins *t, bool read_only)
{
    struct spool_log_options options = {
        .dir = "spool",
        .io = &t->disk.io,
        .clock = &t->clock,
        .rng = &t->store_rng.rng,
        .segment_size = SEGMENT,
        .clean_above = SEGMENT / 2,
        .spares_max = 4,
        .soft_free = 1,
        .hard_free = 1,
        .read_only = read_only,
        .broken = t->broken,
    };
    struct err e = {0};

    t->s[TWIN_LOG] = NULL;
    if (spool_log_open(&t->s[TWIN_LOG], &options, &e) != 0) {
        fprintf(stderr, "twins: open: %s\n", e.text);
        abort();
    }
    t->told[0] = t->told[1] = false; /* an opening tells nobody */
    twins_compare_due(t);
    t->s[TWIN_LOG]->ops->watch(t->s[TWIN_LOG], on_changed, &t->told[TWIN_LOG]);
}

void twins_init(struct twins *t, uint64_t seed, unsigned broken)
{
    struct spool_memory_options options = {.clock = &t->clock};
    struct err e = {0};

    *t = (struct twins){.broken = broken};
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->cond, NULL);
    rng_seeded_init(&t->rng, seed);
    rng_seeded_init(&t->store_rng, ~seed);
    t->clock = (struct clock){wall_us, mono_ms, t};
    t->wall_us = TWINS_START_US;
    disk_init(&t->disk);
    t->disk.record = on_change;
    t->disk.record_user = t;
    if (spool_memory_open(&t->s[TWIN_MEMORY], &options, &e) != 0)
        abort();
    t->s[TWIN_MEMORY]->ops->watch(t->s[TWIN_MEMORY], on_changed, &t->told[TWIN_MEMORY]);
    open_log(t, false);
}

/* What the log does not record, the memory forgets, too: a state that is set says all again. */
static void forget_unrecorded(struct twins *t)
{
    struct spool *s = t->s[TWIN_MEMORY];
    struct spool_message m = {0};

    while (s->ops->after(s, m.id, &m) == 0)
        s->ops->set_state(s, m.id, m.state, NULL, NULL);
}

static void put_all_down(struct twins *t)
{
    const struct spool_ops *ops = t->s[TWIN_MEMORY]->ops;

    twins_settle(t);
    twins_abort_drafts(t);
    twins_close_bodies(t);
    for (; t->n_claims > 0; t->n_claims--) {
        struct twin_claim *c = &t->claims[t->n_claims - 1];

        ops->release(t->s[TWIN_MEMORY], c->id[TWIN_MEMORY], c->lease[TWIN_MEMORY]);
        free(c->units);
    }
}

void twins_deinit(struct twins *t)
{
    put_all_down(t);
    for (int side = 0; side < 2; side++)
        t->s[side]->ops->close(t->s[side]);
    disk_deinit(&t->disk);
    free(t->mails);
    pthread_cond_destroy(&t->cond);
    pthread_mutex_destroy(&t->lock);
}

/* The power goes while nothing is under way. What nobody waits for is behind a commit. */
static void cut_power(struct twins *t)
{
    twins_play_mail(t);
    twins_settle(t);
    pthread_mutex_lock(&t->disk.lock);
    t->disk.stop_at = t->disk.n_calls + 1;
    pthread_mutex_unlock(&t->disk.lock);
}

void twins_reopen(struct twins *t)
{
    enum { AS_IT_IS, BY_POWER_CUT, WITHOUT_SIDECARS, READ_ONLY_FIRST, KINDS };
    uint64_t kind;

    put_all_down(t);
    forget_unrecorded(t);
    kind = twins_below(t, KINDS);
    if (kind == BY_POWER_CUT)
        cut_power(t);
    t->s[TWIN_LOG]->ops->close(t->s[TWIN_LOG]);
    if (kind == BY_POWER_CUT)
        disk_cut_power(&t->disk, DISK_LOSE, 1);
    if (kind == WITHOUT_SIDECARS)
        disk_unlink_matching(&t->disk, ".idx");
    if (kind == READ_ONLY_FIRST) {
        open_log(t, true);
        twins_compare(t);
        t->s[TWIN_LOG]->ops->close(t->s[TWIN_LOG]);
    }
    open_log(t, false);
    twins_compare(t);
    t->reopenings++;
}
