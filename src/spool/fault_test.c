/*
 * spool/fault_test.c: disks that fail at the n-th call, write short, or are full from the n-th
 * call on, for all n, while a store does all it can do: start, take mail small and large, change
 * and remove it, copy it, recycle, stop, start again. What was acknowledged is there afterwards;
 * what could not be done was answered with an error; a full spool drains.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "spool/disk_testing.h"
#include "spool/player_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define SMALL (64u << 10) /* the cleaner and the keeper are always at work */
/* Room for a batch of its own for every deletion: the reserve of a real segment, 64 MiB, has
 * sixteen thousand, and a queue gathers them. */
#define LARGE (512u << 10)
#define STEPS 14 /* of a life */
#define QUIET 3  /* runs without the fault before all are said to be done: threads differ */

static const struct player_mix mix = {
    .commits = 4,
    .erases = 1,
    .delivers = 3,
    .states = 1,
    .big_one_in = 20,
    .stays_one_in = 4,
    .body_most = 9000,
    .at_once = 4,
};

struct scene {
    struct disk disk;
    struct ledger ledger;
    struct player player;
    struct clock_fake clock;
    struct rng_seeded rng;
    uint64_t segment;
};

static void scene_init(struct scene *sc, uint64_t seed, uint64_t segment)
{
    sc->segment = segment;
    disk_init(&sc->disk);
    ledger_init(&sc->ledger);
    player_init(&sc->player, &sc->ledger, &mix, seed);
    clock_fake_init(&sc->clock, PLAYER_START_US);
    rng_seeded_init(&sc->rng, ~seed);
}

static void scene_deinit(struct scene *sc)
{
    player_deinit(&sc->player);
    ledger_deinit(&sc->ledger);
    disk_deinit(&sc->disk);
}

static int open_scene(struct scene *sc, struct err *e)
{
    struct spool_log_options options = {
        .dir = "spool",
        .io = &sc->disk.io,
        .clock = &sc->clock.clock,
        .rng = &sc->rng.rng,
        .segment_size = sc->segment,
        .clean_above = sc->segment / 2,
        .spares_max = 3,
        .soft_free = 1,
        .hard_free = 1,
    };

    *e = (struct err){0};
    return spool_log_open(&sc->player.s, &options, e);
}

/* A store that has failed says so and takes nothing. */
static void check_closed(struct scene *sc, size_t n)
{
    struct spool *s = sc->player.s;
    struct spool_stats stats;
    struct spool_put *put;
    struct unit_state unit = test_unit(PLAYER_START_US);

    s->ops->stats(s, &stats);
    if (!stats.failed)
        return;
    if (stats.failure[0] == '\0' || s->ops->admit(s, 0) != BARID_EIO)
        fail_msg("n %zu: a failed store does not say so", n);
    if ((put = test_put(s, 1, 100, SPOOL_ACTIVE, &unit, 1)) != NULL &&
        test_commit(s, &put, 1) == 0)
        fail_msg("n %zu: a failed store takes mail", n);
}

/* Two lives; either may not come to be. */
static void live(struct scene *sc, size_t n)
{
    struct err e;

    for (int life = 0; life < 2; life++) {
        if (open_scene(sc, &e) != 0)
            continue;
        for (int i = 0; i < STEPS; i++)
            player_step(&sc->player);
        check_closed(sc, n);
        sc->player.s->ops->close(sc->player.s);
    }
}

static void mend(struct disk *d)
{
    d->fail_at = d->touch_fail_at = d->full_at = d->short_every = 0;
}

/* The next start on a disk that works, and one more after a power cut. */
static void check_scene(struct scene *sc, size_t n, const char *what)
{
    struct err e;

    for (int again = 0; again < 2; again++) {
        if (open_scene(sc, &e) != 0)
            fail_msg("n %zu, %s: open: %s", n, what, e.text);
        ledger_check(&sc->ledger, sc->player.s);
        if (sc->ledger.failure[0] != '\0')
            fail_msg("n %zu, %s: %s", n, what, sc->ledger.failure);
        sc->player.s->ops->close(sc->player.s);
        disk_cut_power(&sc->disk, DISK_LOSE, n);
    }
}

/* --- one call fails */

static size_t with_failing_call(int errno_value, bool any)
{
    size_t n = 1;

    for (size_t quiet = 0; quiet < QUIET; n++) {
        struct scene sc;

        scene_init(&sc, 1 + n % 7, SMALL);
        *(any ? &sc.disk.touch_fail_at : &sc.disk.fail_at) = n;
        sc.disk.fail_with = errno_value;
        live(&sc, n);
        quiet = sc.disk.failed ? 0 : quiet + 1;
        mend(&sc.disk);
        check_scene(&sc, n, strerror(errno_value));
        scene_deinit(&sc);
    }
    assert_true(n > 100);
    return n;
}

static void stands_a_failing_call(void **state)
{
    size_t eio = with_failing_call(EIO, false), enospc = with_failing_call(ENOSPC, false),
           any = with_failing_call(EIO, true), emfile = with_failing_call(EMFILE, true);

    (void)state;
    printf("# proof: a failing disk: EIO at each of %zu changes, ENOSPC at each of %zu, EIO at "
           "each of %zu calls of any kind, EMFILE at each of %zu: 0 lost\n",
           eio, enospc, any, emfile);
}

/* --- short writes */

static void stands_short_writes(void **state)
{
    const size_t to[] = {1, 0, 511};
    size_t runs = 0, writes = 0;

    (void)state;
    for (uint64_t every = 1; every <= 9; every++) {
        for (size_t i = 0; i < sizeof(to) / sizeof(*to); i++) {
            struct scene sc;

            if (every == 1 && to[i] == 1)
                continue; /* an octet at a time, that is another word for never */
            scene_init(&sc, every, SMALL);
            sc.disk.short_every = every;
            sc.disk.short_to = to[i];
            live(&sc, every);
            if (sc.player.refused > 0)
                fail_msg("every %zu: short writes are no error", (size_t)every);
            writes += sc.disk.n_writes / every;
            mend(&sc.disk);
            check_scene(&sc, every, "short writes");
            scene_deinit(&sc);
            runs++;
        }
    }
    printf("# proof: short writes: %zu runs, %zu writes cut to 1 octet, 511, or half, 0 lost\n",
           runs, writes);
}

/* --- full from some call on */

/* All can go while the disk stays full, over a restart, too. */
static void drain(struct scene *sc, size_t n, const char *what)
{
    struct err e;

    if (open_scene(sc, &e) != 0)
        fail_msg("n %zu, %s: a start on a full disk: %s", n, what, e.text);
    ledger_check(&sc->ledger, sc->player.s);
    if (player_erase_all(&sc->player) != 0)
        fail_msg("n %zu, %s: a full spool does not drain", n, what);
    sc->player.s->ops->close(sc->player.s);
    if (sc->ledger.failure[0] != '\0')
        fail_msg("n %zu, %s: %s", n, what, sc->ledger.failure);
}

static bool has_reserve(struct scene *sc)
{
    struct disk *d = &sc->disk;
    size_t size;
    const char *name = disk_name_at(d, "seg/spare.", "", 0);

    return name != NULL && disk_content(d, name, &size) != NULL && size == sc->segment;
}

static size_t with_full_disk(bool hidden)
{
    size_t n = 1;

    for (size_t quiet = 0; quiet < QUIET; n++) {
        const char *what = hidden ? "full over quota" : "full";
        struct scene sc;

        scene_init(&sc, 1 + n % 7, LARGE);
        sc.disk.full_at = n;
        sc.disk.hides_full = hidden;
        live(&sc, n);
        quiet = sc.disk.n_calls < n ? quiet + 1 : 0;
        if (has_reserve(&sc))
            drain(&sc, n, what);
        mend(&sc.disk);
        check_scene(&sc, n, what);
        scene_deinit(&sc);
    }
    assert_true(n > 100);
    return n;
}

static void a_disk_that_is_full_from_some_call_on_drains(void **state)
{
    size_t said = with_full_disk(false), hidden = with_full_disk(true);

    (void)state;
    printf("# proof: a full disk: full from each of %zu changes on, over quota from each of "
           "%zu: all mail removed while it stays full, 0 lost\n",
           said, hidden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_a_failing_call),
        cmocka_unit_test(stands_short_writes),
        cmocka_unit_test(a_disk_that_is_full_from_some_call_on_drains),
    };

    /* Thousands of stores come and go: their memory is kept instead of mapped anew. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
