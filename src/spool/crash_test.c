/*
 * spool/crash_test.c: power cuts at random. A store on a disk in memory works at random; at a
 * random change of the disk the power goes; what was not synced is lost, kept, mixed or garbled;
 * the next life opens what is left. After each life: what was acknowledged is there, whole; what
 * was removed stays away; what was neither is whole or absent, groups wholly so. Many lives on
 * one disk, where trace_test.c has every cut of a few.
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

#include "base/clock.h"
#include "spool/disk_testing.h"
#include "spool/player_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define LIVES 12
#define STEPS 60

struct world {
    struct disk disk;
    struct rng_seeded rng;
    struct rng_seeded store_rng; /* apart: the keeper's thread draws from it */
    struct clock_fake clock;
    struct player player;
    struct ledger ledger;
    unsigned broken;
    uint64_t cuts;
    char failure[300];
};

static const struct player_mix mix = {
    .commits = 3,
    .erases = 2,
    .delivers = 2,
    .states = 1,
    .big_one_in = 60,
    .stays_one_in = 10,
    .body_most = 5000,
    .at_once = 3,
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
    int rc = spool_log_open(&w->player.s, &options, &e);

    if (rc != 0 && !disk_stopped(&w->disk))
        snprintf(w->failure, sizeof(w->failure), "open: %.120s", e.text);
    return rc;
}

static void live(struct world *w, int life)
{
    w->disk.stop_at = 1 + below(w, life % 3 == 0 ? 40 : 400);
    if (open_world(w) != 0)
        return;
    for (int i = 0; i < STEPS && !disk_stopped(&w->disk); i++)
        player_step(&w->player);
    w->player.s->ops->close(w->player.s);
}

static void check(struct world *w)
{
    if (open_world(w) == 0) {
        ledger_check(&w->ledger, w->player.s);
        w->player.s->ops->close(w->player.s);
    }
    if (w->failure[0] == '\0')
        memcpy(w->failure, w->ledger.failure, sizeof(w->ledger.failure));
}

/* One history: empty failure = nothing found. */
static void run_history(struct world *w, uint64_t seed, unsigned broken)
{
    memset(w, 0, sizeof(*w));
    w->broken = broken;
    disk_init(&w->disk);
    ledger_init(&w->ledger);
    player_init(&w->player, &w->ledger, &mix, ~seed);
    rng_seeded_init(&w->rng, seed);
    rng_seeded_init(&w->store_rng, ~seed);
    clock_fake_init(&w->clock, PLAYER_START_US);
    for (int life = 0; life < LIVES && w->failure[0] == '\0'; life++) {
        live(w, life);
        if (w->failure[0] != '\0')
            break;
        clock_fake_advance(&w->clock, below(w, 5000));
        if (below(w, 4) == 0)
            w->clock.wall_us -= 10000000;
        disk_cut_power(&w->disk, (enum disk_fate)below(w, 4), rng_u64(&w->rng.rng));
        w->cuts++;
        check(w);
        disk_cut_power(&w->disk, DISK_KEEP, 1);
    }
    player_deinit(&w->player);
    ledger_deinit(&w->ledger);
    disk_deinit(&w->disk);
}

static size_t histories(size_t fallback)
{
    const char *text = getenv("SPOOL_CRASH_HISTORIES");

    return text != NULL ? strtoul(text, NULL, 10) : fallback;
}

static void keeps_what_it_acknowledged(void **state)
{
    size_t n = histories(40);
    uint64_t cuts = 0;
    struct world w;

    (void)state;
    for (uint64_t seed = 1; seed <= n; seed++) {
        run_history(&w, seed, 0);
        cuts += w.cuts;
        if (w.failure[0] != '\0')
            fail_msg("seed %llu: %s", (unsigned long long)seed, w.failure);
    }
    printf("# proof: power cut at random: %zu histories, %llu cuts, 0 lost\n", n,
           (unsigned long long)cuts);
}

/* A left-out safeguard, and how many histories may go by before it shows. */
static void finds(const char *what, unsigned broken, uint64_t most)
{
    struct world w;

    for (uint64_t seed = 1; seed <= most; seed++) {
        run_history(&w, seed, broken);
        if (w.failure[0] == '\0')
            continue;
        printf("# proof: spool without a safeguard, %s: caught by history %llu (%s)\n", what,
               (unsigned long long)seed, w.failure);
        return;
    }
    fail_msg("%llu histories without a safeguard, and nothing was found",
             (unsigned long long)most);
}

static void finds_early_acknowledgement(void **state)
{
    (void)state;
    finds("acknowledged before the sync", SPOOL_BROKEN_EARLY_ACK, 100);
}

static void finds_missing_checksum(void **state)
{
    (void)state;
    finds("checksums not looked at", SPOOL_BROKEN_NO_CRC, 300);
}

static void finds_missing_nonce(void **state)
{
    (void)state;
    finds("nonces not looked at", SPOOL_BROKEN_NO_NONCE, 300);
}

static void finds_dropped_del(void **state)
{
    (void)state;
    finds("DEL dropped before its PUT", SPOOL_BROKEN_DROP_DEL, 300);
}

static void finds_appending_to_what_was_found(void **state)
{
    (void)state;
    finds("a found segment appended to", SPOOL_BROKEN_APPEND, 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_acknowledged),
        cmocka_unit_test(finds_early_acknowledgement),
        cmocka_unit_test(finds_missing_checksum),
        cmocka_unit_test(finds_missing_nonce),
        cmocka_unit_test(finds_dropped_del),
        cmocka_unit_test(finds_appending_to_what_was_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
