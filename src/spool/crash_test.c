/*
 * spool/crash_test.c: power cuts. A store on a disk in memory works at random; at a random
 * change of the disk the power goes; what was not synced is lost, kept, mixed or garbled; the
 * next life opens what is left. After each life: what was acknowledged is there, whole; what
 * was removed stays away; what was neither is whole or absent, groups wholly so.
 *
 * The same runs with one safeguard left out must find something: a crash test that passes then
 * is worth nothing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/disk_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START_US  1800000000000000
#define LIVES     12
#define STEPS     60
#define KNOWN_MAX (LIVES * STEPS * 3)

enum mind { MAYBE, THERE, LEAVING, AWAY }; /* what must be true of a message */

struct known {
    uint64_t id, seed;
    size_t n;
    enum mind mind;
    enum spool_state state, other; /* other: asked for and not acknowledged */
    uint64_t group;                /* puts of one commit */
    bool was_there;                /* once: its id must never be given out again */
};

struct world {
    struct disk disk;
    struct rng_seeded rng;
    struct rng_seeded store_rng; /* apart: the keeper's thread draws from it */
    struct clock_fake clock;
    struct spool *s;
    struct known *known;
    size_t n;
    uint64_t seed;
    unsigned broken;
    char failure[160];
};

static uint64_t below(struct world *w, uint64_t n)
{
    return rng_u64(&w->rng.rng) % n;
}

static int open_world(struct world *w)
{
    struct spool_log_options options = {
        .dir = "spool",
        .io = &w->disk.io,
        .clock = &w->clock.clock,
        .rng = &w->store_rng.rng,
        .segment_size = 64 << 10,
        .clean_above = 128 << 10,
        .spares_max = 3,
        .soft_free = 1,
        .hard_free = 1,
        .broken = w->broken,
    };
    struct err e = {0};
    int rc = spool_log_open(&w->s, &options, &e);

    if (rc != 0 && !disk_stopped(&w->disk))
        snprintf(w->failure, sizeof(w->failure), "open: %.120s", e.text);
    return rc;
}

static void complain(struct world *w, const struct known *k, const char *what)
{
    if (w->failure[0] == '\0')
        snprintf(w->failure, sizeof(w->failure), "seed %llu: message %llx (%zu octets) %s",
                 (unsigned long long)w->seed, (unsigned long long)k->id, k->n, what);
}

/* --- what a life does */

/* The id of a put that was lost before anybody knew it may come again when the clock was set
 * back; no other may. */
static void check_new_id(struct world *w, uint64_t id)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->known[i].id != id)
            continue;
        if (w->known[i].was_there)
            complain(w, &w->known[i], "had an id that was given out again");
        w->known[i].id = 0;
    }
}

static void do_commit(struct world *w)
{
    size_t n = below(w, 4) == 0 ? 3 : 1,
           size = below(w, 30) == 0 ? SPOOL_BODY_MEMORY + 999 : below(w, 5000);
    bool share = below(w, 2) == 0;
    struct unit_state unit = test_unit(START_US);
    enum spool_state state = below(w, 3) == 0 ? SPOOL_HELD : SPOOL_ACTIVE;
    struct spool_put *puts[3];
    uint64_t seed = rng_u64(&w->rng.rng) % 100000;
    char text[2][64];

    snprintf(text[0], 64, "meta-%llu", (unsigned long long)seed);
    snprintf(text[1], 64, "header-%llu", (unsigned long long)seed);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !share)
            puts[i] = test_put(w->s, seed, i == 0 ? size : 500, state, &unit, 1);
        else if (w->s->ops->put_share(puts[0], &puts[i]) == 0)
            w->s->ops->put_describe(puts[i], state, slice_str(text[0]), slice_str(text[1]),
                                    &unit, 1);
        if (puts[i] == NULL) { /* the power went */
            while (i-- > 0)
                w->s->ops->put_abort(puts[i]);
            return;
        }
        check_new_id(w, w->s->ops->put_id(puts[i]));
        w->known[w->n + i] = (struct known){w->s->ops->put_id(puts[i]),
                                            seed,
                                            i == 0 || share ? size : 500,
                                            MAYBE,
                                            state,
                                            state,
                                            w->n,
                                            false};
    }
    if (test_commit(w->s, puts, n) == 0) {
        for (size_t i = 0; i < n; i++)
            w->known[w->n + i].mind = THERE, w->known[w->n + i].was_there = true;
    }
    w->n += n;
}

static struct known *pick(struct world *w)
{
    for (int tries = 0; tries < 20 && w->n > 0; tries++) {
        struct known *k = &w->known[below(w, w->n)];

        if (k->mind == THERE)
            return k;
    }
    return NULL;
}

static void do_erase(struct world *w)
{
    struct known *k = pick(w);
    struct waiter done;

    if (k == NULL)
        return;
    waiter_init(&done);
    k->mind = LEAVING;
    if (w->s->ops->erase(w->s, k->id, waiter_done, &done) == 0 && waiter_wait(&done) == 0)
        k->mind = AWAY;
    waiter_deinit(&done);
}

static void do_state(struct world *w)
{
    struct known *k = pick(w);
    struct waiter done;

    if (k == NULL)
        return;
    waiter_init(&done);
    k->other = (enum spool_state)below(w, 4);
    if (w->s->ops->set_state(w->s, k->id, k->other, waiter_done, &done) == 0 &&
        waiter_wait(&done) == 0)
        k->state = k->other;
    waiter_deinit(&done);
}

static void do_deliver(struct world *w)
{
    struct unit_change change = {0, {.status = UNIT_DONE}};
    struct spool_claim claim;
    size_t n = 0;

    if (w->s->ops->claim(w->s, START_US, 1, &claim, &n) != 0 || n == 0)
        return;
    for (size_t i = 0; i < w->n; i++) {
        struct known *k = &w->known[i];
        struct waiter done;

        if (k->id != claim.id)
            continue;
        waiter_init(&done);
        k->mind = LEAVING;
        if (w->s->ops->update(w->s, claim.id, claim.lease, &change, 1, waiter_done, &done) ==
                0 &&
            waiter_wait(&done) == 0)
            k->mind = AWAY;
        waiter_deinit(&done);
    }
    free(claim.units);
}

static void step(struct world *w)
{
    static void (*const steps[])(struct world *) = {do_commit, do_commit,  do_commit, do_erase,
                                                    do_erase,  do_deliver, do_state};

    steps[below(w, sizeof(steps) / sizeof(*steps))](w);
}

/* --- what must hold */

static void check_group(struct world *w, size_t i, bool there)
{
    for (size_t k = i; k-- > 0 && w->known[k].group == w->known[i].group;) {
        if (w->known[k].mind == MAYBE || w->known[i].mind == MAYBE)
            complain(w, &w->known[i],
                     there ? "is there without its group" : "is absent without its group");
    }
}

static void check_one(struct world *w, size_t i)
{
    struct known *k = &w->known[i];
    struct spool_loaded loaded;
    int rc = test_verify(w->s, k->id, k->seed, k->n);

    if (rc != 0 && rc != BARID_ENOTFOUND)
        complain(w, k, "is there but not whole");
    if (rc == BARID_ENOTFOUND && k->mind == THERE)
        complain(w, k, "was acknowledged and is lost");
    if (rc == 0 && k->mind == AWAY)
        complain(w, k, "was removed and is back");
    k->was_there |= rc == 0;
    if (rc == 0 && k->mind == MAYBE)
        k->mind = THERE; /* and from now on it must stay */
    else if (rc == BARID_ENOTFOUND)
        k->mind = k->mind == MAYBE ? MAYBE : AWAY;
    if (rc != 0 || w->s->ops->load(w->s, k->id, &loaded) != 0)
        return;
    if (loaded.info.state != k->state && loaded.info.state != k->other)
        complain(w, k, "is in a state that nobody asked for");
    k->state = k->other = loaded.info.state;
    w->s->ops->loaded_free(&loaded);
    if (k->mind == LEAVING)
        k->mind = THERE;
}

static void check_groups(struct world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        struct known *k = &w->known[i];
        bool maybe = k->mind == MAYBE; /* still: was not acknowledged, and is not there */

        for (size_t other = i + 1; other < w->n && w->known[other].group == k->group; other++) {
            if (maybe != (w->known[other].mind == MAYBE))
                check_group(w, other, maybe);
        }
        if (maybe)
            k->mind = AWAY;
    }
}

static bool is_known(const struct world *w, uint64_t id)
{
    for (size_t i = 0; i < w->n; i++) {
        if (w->known[i].id == id)
            return true;
    }
    return false;
}

static void check(struct world *w)
{
    struct spool_message m = {0};
    struct spool_stats stats;

    for (size_t i = 0; i < w->n; i++)
        check_one(w, i);
    check_groups(w);
    while (w->s->ops->after(w->s, m.id, &m) == 0) {
        if (!is_known(w, m.id))
            complain(w, &(struct known){.id = m.id}, "was never put");
    }
    w->s->ops->stats(w->s, &stats);
    if (stats.damaged > 0)
        complain(w, &(struct known){0}, "none, but damage was reported after a mere power cut");
}

/* One history: empty failure = nothing found. */
static void run_history(struct world *w, uint64_t seed, unsigned broken)
{
    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->broken = broken;
    w->known = calloc(KNOWN_MAX, sizeof(*w->known));
    assert_non_null(w->known);
    disk_init(&w->disk);
    rng_seeded_init(&w->rng, seed);
    rng_seeded_init(&w->store_rng, ~seed);
    clock_fake_init(&w->clock, START_US);
    for (int life = 0; life < LIVES && w->failure[0] == '\0'; life++) {
        w->disk.stop_at = 1 + below(w, life % 3 == 0 ? 40 : 400);
        if (open_world(w) == 0) {
            for (int i = 0; i < STEPS && !disk_stopped(&w->disk); i++)
                step(w);
            w->s->ops->close(w->s);
        }
        if (w->failure[0] != '\0')
            break;
        clock_fake_advance(&w->clock, below(w, 5000));
        if (below(w, 4) == 0)
            w->clock.wall_us -= 10000000;
        disk_cut_power(&w->disk, (enum disk_fate)below(w, 4), rng_u64(&w->rng.rng));
        if (open_world(w) == 0) {
            check(w);
            w->s->ops->close(w->s);
        }
        disk_cut_power(&w->disk, DISK_KEEP, 1);
    }
    disk_deinit(&w->disk);
    free(w->known);
}

static size_t histories(size_t fallback)
{
    const char *text = getenv("SPOOL_CRASH_HISTORIES");

    return text != NULL ? strtoul(text, NULL, 10) : fallback;
}

static void keeps_what_it_acknowledged(void **state)
{
    struct world w;

    (void)state;
    for (uint64_t seed = 1; seed <= histories(40); seed++) {
        run_history(&w, seed, 0);
        if (w.failure[0] != '\0')
            fail_msg("%s", w.failure);
    }
}

/* Left-out safeguards, and how many histories may go by before it shows. */
static void finds(unsigned broken, uint64_t most)
{
    struct world w;

    for (uint64_t seed = 1; seed <= most; seed++) {
        run_history(&w, seed, broken);
        if (w.failure[0] != '\0')
            return;
    }
    fail_msg("%llu histories without a safeguard, and nothing was found",
             (unsigned long long)most);
}

static void finds_early_acknowledgement(void **state)
{
    (void)state;
    finds(SPOOL_BROKEN_EARLY_ACK, 100);
}

static void finds_missing_checksum(void **state)
{
    (void)state;
    finds(SPOOL_BROKEN_NO_CRC, 300);
}

static void finds_missing_nonce(void **state)
{
    (void)state;
    finds(SPOOL_BROKEN_NO_NONCE, 300);
}

static void finds_dropped_del(void **state)
{
    (void)state;
    finds(SPOOL_BROKEN_DROP_DEL, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_acknowledged),
        cmocka_unit_test(finds_early_acknowledgement),
        cmocka_unit_test(finds_missing_checksum),
        cmocka_unit_test(finds_missing_nonce),
        cmocka_unit_test(finds_dropped_del),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
