/*
 * spool/trace_test.c: power cuts at every point. Everything that a store does to its disk over
 * some lives is recorded, in order, with what was asked and acknowledged between; then the disk
 * is made again change by change, and before each change the worst is taken to happen: what is
 * unsynced is absent, present, mixed or noise, names apart from sectors. Each such image is
 * recovered and compared with what had been acknowledged by then, goes on to work, loses its
 * power again and is recovered again; some lose it for the first time during recovery.
 *
 * The same with one safeguard left out must find something.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "spool/disk_testing.h"
#include "spool/log_format.h"
#include "spool/player_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define SEGMENT (64u << 10)
#define LIVES   4

/* --- what is recorded */

enum entry_kind { ENTRY_CHANGE, ENTRY_MARK, ENTRY_CUT, ENTRY_KNOWN };

struct entry {
    enum entry_kind kind;
    struct disk_event change; /* its octets are the entry's own */
    struct ledger_mark mark;
    enum disk_fate fate; /* of a cut between two lives */
    uint64_t seed;
    struct ledger *known; /* after a start: what was not known is known now */
};

struct trace {
    pthread_mutex_t lock;
    struct entry *entries;
    size_t n, cap, changes;
};

static struct entry *add(struct trace *t, enum entry_kind kind)
{
    if (t->n == t->cap) {
        t->cap = t->cap == 0 ? 1024 : 2 * t->cap;
        t->entries = realloc(t->entries, t->cap * sizeof(*t->entries));
        if (t->entries == NULL)
            abort();
    }
    t->entries[t->n] = (struct entry){.kind = kind};
    return &t->entries[t->n++];
}

static void on_change(void *user, const struct disk_event *e)
{
    struct trace *t = user;
    void *p = malloc(e->n > 0 ? e->n : 1);
    struct entry *entry;

    if (p == NULL)
        abort();
    if (e->op == DISK_WRITE)
        memcpy(p, e->p, e->n);
    pthread_mutex_lock(&t->lock);
    entry = add(t, ENTRY_CHANGE);
    entry->change = *e;
    entry->change.p = p;
    t->changes++;
    pthread_mutex_unlock(&t->lock);
}

static void on_mark(void *user, const struct ledger_mark *m)
{
    struct trace *t = user;

    pthread_mutex_lock(&t->lock);
    add(t, ENTRY_MARK)->mark = *m;
    pthread_mutex_unlock(&t->lock);
}

static void trace_deinit(struct trace *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free((void *)(uintptr_t)t->entries[i].change.p);
        if (t->entries[i].known != NULL)
            ledger_deinit(t->entries[i].known);
        free(t->entries[i].known);
    }
    free(t->entries);
    pthread_mutex_destroy(&t->lock);
}

/* --- a history and its images */

struct history {
    const struct player_mix *mix;
    size_t steps; /* of a life */
    uint64_t seed;
    unsigned broken;
    struct trace trace;
    struct disk disk; /* first of the recording, then made again from it */
    struct ledger ledger;
    struct rng_seeded rng;
    size_t at; /* the next change */
    uint64_t images, recoveries;
    char failure[800];
};

static int open_on(struct history *h, struct disk *d, struct rng_seeded *rng,
                   const struct clock_fake *clock, struct spool **s_r)
{
    struct spool_log_options options = {
        .dir = "spool",
        .io = &d->io,
        .clock = &clock->clock,
        .rng = &rng->rng,
        .segment_size = SEGMENT,
        .clean_above = SEGMENT / 2,
        .spares = 1,
        .spares_max = 3,
        .soft_free = 1,
        .hard_free = 1,
        .broken = h->broken,
    };
    struct err e = {0};
    int rc = spool_log_open(s_r, &options, &e);

    if (rc != 0 && !disk_stopped(d) && h->failure[0] == '\0')
        snprintf(h->failure, sizeof(h->failure), "open: %.200s", e.text);
    return rc;
}

static void remember_known(struct history *h)
{
    struct entry *e = add(&h->trace, ENTRY_KNOWN);

    if ((e->known = malloc(sizeof(*e->known))) == NULL)
        abort();
    ledger_init(e->known);
    ledger_copy(e->known, &h->ledger);
}

static void record_life(struct history *h, struct player *p, const struct clock_fake *clock,
                        struct rng_seeded *rng, bool last)
{
    uint64_t seed = rng_u64(&h->rng.rng);
    struct entry *e;

    if (open_on(h, &h->disk, rng, clock, &p->s) != 0)
        return;
    ledger_check(&h->ledger, p->s);
    remember_known(h);
    for (size_t i = 0; i < h->steps; i++)
        player_step(p);
    p->s->ops->close(p->s);
    if (last || seed % 3 == 0)
        return; /* a stop that was asked for */
    e = add(&h->trace, ENTRY_CUT);
    e->fate = (enum disk_fate)(seed / 3 % 4);
    e->seed = seed;
    disk_cut_power(&h->disk, e->fate, e->seed);
}

static void record(struct history *h)
{
    struct clock_fake clock;
    struct rng_seeded rng; /* apart: the keeper's thread draws from it */
    struct player p;

    clock_fake_init(&clock, PLAYER_START_US);
    rng_seeded_init(&rng, ~h->seed);
    disk_init(&h->disk);
    h->disk.record = on_change;
    h->disk.record_user = &h->trace;
    ledger_init(&h->ledger);
    player_init(&p, &h->ledger, h->mix, h->seed);
    p.told = on_mark;
    p.told_user = &h->trace;
    for (int life = 0; life < LIVES && h->failure[0] == '\0'; life++) {
        record_life(h, &p, &clock, &rng, life + 1 == LIVES);
        clock_fake_advance(&clock, 1000);
    }
    player_deinit(&p);
    disk_deinit(&h->disk);
    memcpy(h->failure, h->ledger.failure, sizeof(h->ledger.failure));
    ledger_deinit(&h->ledger);
}

/* What a recovered store must be able to do: take a message, let one go. */
static void work_a_little(struct ledger *l, struct spool *s)
{
    struct unit_state unit = test_unit(PLAYER_START_US);
    struct spool_put *put;
    struct ledger_mark m = {.kind = LEDGER_PUT, .message = l->n, .group = l->n};
    struct waiter w;

    test_unit_hop(&unit, 77, 0, 0);
    put = test_put(s, 77, 5000, SPOOL_ACTIVE, &unit, 1);
    if (put == NULL) {
        ledger_complain(l, NULL, "nothing can be put after recovery");
        return;
    }
    m.id = s->ops->put_id(put);
    m.seed = 77;
    m.n = 5000;
    ledger_note(l, &m);
    m.kind = LEDGER_PUT_DONE;
    if (test_commit(s, &put, 1) != 0)
        ledger_complain(l, NULL, "nothing is accepted after recovery");
    ledger_note(l, &m);
    for (m.message = 0; l->known[m.message].mind != THERE;)
        m.message++;
    if (m.message + 1 == l->n)
        return; /* the new one stays */
    waiter_init(&w);
    if (s->ops->erase(s, l->known[m.message].id, waiter_done, &w) != 0 || waiter_wait(&w) != 0)
        ledger_complain(l, &l->known[m.message], "cannot be removed after recovery");
    waiter_deinit(&w);
    m.kind = LEDGER_GO_DONE;
    ledger_note(l, &m);
}

static void recover_image(struct history *h, struct disk *image, struct ledger *l,
                          uint64_t seed)
{
    struct clock_fake clock;
    struct rng_seeded rng;
    struct spool *s;

    rng_seeded_init(&rng, seed);
    clock_fake_init(&clock, PLAYER_START_US - (seed % 2 == 0 ? 3600000000 : 0));
    if (seed % 5 == 0) {
        image->stop_at = 1 + seed / 5 % 20;
        if (open_on(h, image, &rng, &clock, &s) == 0)
            s->ops->close(s);
        disk_cut_power(image, (enum disk_fate)(seed / 100 % 4), seed);
        h->recoveries++;
    }
    for (int again = 0; again < 2 && l->failure[0] == '\0' && h->failure[0] == '\0'; again++) {
        if (open_on(h, image, &rng, &clock, &s) != 0)
            return;
        ledger_check(l, s);
        if (again == 0 && l->failure[0] == '\0')
            work_a_little(l, s);
        s->ops->close(s);
        disk_cut_power(image, DISK_LOSE, 1);
        h->recoveries++;
    }
}

static const char *const fates[] = {"lost", "kept", "mixed", "garbled"};
static const char *const ops[] = {"make", "mkdir",    "empty",  "write", "size",
                                  "sync", "sync dir", "rename", "unlink"};

static void check_image(struct history *h, struct ledger *l, enum disk_fate sectors,
                        enum disk_fate names)
{
    uint64_t seed = rng_u64(&h->rng.rng);
    const struct disk_event *e = h->at < h->trace.n ? &h->trace.entries[h->at].change : NULL;
    struct disk image;
    char why[256];

    if (h->failure[0] != '\0')
        return;
    disk_image(&image, &h->disk, sectors, names, seed);
    ledger_copy(l, &h->ledger);
    recover_image(h, &image, l, seed);
    disk_deinit(&image);
    h->images++;
    if (l->failure[0] == '\0' && h->failure[0] == '\0')
        return;
    snprintf(why, sizeof(why), "%.230s", l->failure[0] != '\0' ? l->failure : h->failure);
    snprintf(h->failure, sizeof(h->failure),
             "seed %llu, before change %zu (%s %s%s), sectors %s, names %s: %s",
             (unsigned long long)h->seed, h->at, e != NULL ? ops[e->op] : "none",
             e != NULL ? e->from : "", e != NULL ? e->to : "", fates[sectors], fates[names],
             why);
}

static void check_here(struct history *h, struct ledger *l)
{
    bool sectors;
    size_t names;

    disk_unsynced(&h->disk, &sectors, &names);
    check_image(h, l, DISK_LOSE, DISK_LOSE);
    if (sectors) {
        check_image(h, l, DISK_KEEP, names > 0 ? DISK_MIX : DISK_LOSE);
        check_image(h, l, DISK_MIX, DISK_MIX);
        check_image(h, l, DISK_GARBLE, DISK_GARBLE);
    }
    if (names > 0) {
        check_image(h, l, sectors ? DISK_KEEP : DISK_LOSE, DISK_KEEP);
        if (sectors)
            check_image(h, l, DISK_LOSE, DISK_KEEP);
        else if (names > 1)
            check_image(h, l, DISK_LOSE, DISK_GARBLE);
    }
}

/* The power goes before each change; under a sanitizer before some of them. */
static size_t changes_between(void)
{
    const char *text = getenv("SPOOL_TRACE_EVERY");
    size_t every = text != NULL ? strtoul(text, NULL, 10) : 1;

    return every > 0 ? every : 1;
}

/* With a safeguard left out always before each. */
static bool is_looked_at(const struct history *h)
{
    return h->broken != 0 || h->at % changes_between() == 0;
}

/* The disk and the ledger made again, entry by entry, and all images before each change. */
static void walk(struct history *h)
{
    struct ledger l;

    disk_init(&h->disk);
    ledger_init(&h->ledger);
    ledger_init(&l);
    for (h->at = 0; h->at < h->trace.n && h->failure[0] == '\0'; h->at++) {
        const struct entry *e = &h->trace.entries[h->at];

        if (e->kind == ENTRY_CHANGE) {
            if (is_looked_at(h))
                check_here(h, &l);
            disk_play(&h->disk, &e->change);
        } else if (e->kind == ENTRY_MARK) {
            ledger_note(&h->ledger, &e->mark);
        } else if (e->kind == ENTRY_CUT) {
            check_here(h, &l);
            disk_cut_power(&h->disk, e->fate, e->seed);
        } else {
            ledger_copy(&h->ledger, e->known);
        }
    }
    check_here(h, &l);
    ledger_deinit(&l);
    ledger_deinit(&h->ledger);
    disk_deinit(&h->disk);
}

static void run(struct history *h, const struct player_mix *mix, size_t steps, uint64_t seed,
                unsigned broken)
{
    *h = (struct history){.mix = mix, .steps = steps, .seed = seed, .broken = broken};
    pthread_mutex_init(&h->trace.lock, NULL);
    rng_seeded_init(&h->rng, seed);
    record(h);
    if (h->failure[0] == '\0')
        walk(h);
}

/* What a trace is made of: a proof of cleaning that has seen none is no proof. */
struct made_of {
    uint64_t changes, recycled, copied, big;
};

static uint64_t count_copies(const struct disk_event *e)
{
    struct log_record r;
    uint64_t n = 0;

    for (size_t at = 0; e->offset > 0 && at + LOG_RECORD_SIZE <= e->n; at += 8) {
        n += log_record_decode(&r, (const uint8_t *)e->p + at) == 0 &&
             (r.flags & LOG_COPIED) != 0;
    }
    return n;
}

static void count_changes(const struct trace *t, struct made_of *made)
{
    made->changes += t->changes;
    for (size_t i = 0; i < t->n; i++) {
        const struct disk_event *e = &t->entries[i].change;

        if (t->entries[i].kind != ENTRY_CHANGE)
            continue;
        made->recycled += e->op == DISK_RENAME && strstr(e->from, ".log") != NULL &&
                          strstr(e->to, "spare.") != NULL;
        made->big += e->op == DISK_MAKE && strncmp(e->to, "big/", 4) == 0;
        if (e->op == DISK_WRITE)
            made->copied += count_copies(e);
    }
}

static size_t histories(void)
{
    const char *text = getenv("SPOOL_TRACE_HISTORIES");

    return text != NULL ? strtoul(text, NULL, 10) : 1;
}

static const struct player_mix everything = {
    .commits = 4,
    .erases = 2,
    .delivers = 2,
    .states = 1,
    .big_one_in = 25,
    .stays_one_in = 5,
    .body_most = 5000,
    .at_once = 4,
};

/* Most of it goes at once, a little stays: the cleaner copies and segments come round. */
static const struct player_mix cleaning = {
    .commits = 5,
    .delivers = 5,
    .stays_one_in = 6,
    .body_most = 9000,
    .at_once = 5,
};

static struct made_of power_may_go_at_any_change(const struct player_mix *mix, const char *name,
                                                 size_t steps)
{
    uint64_t images = 0, recoveries = 0;
    struct made_of made = {0};

    for (uint64_t seed = 1; seed <= histories(); seed++) {
        struct history h;

        run(&h, mix, steps, seed, 0);
        images += h.images;
        recoveries += h.recoveries;
        count_changes(&h.trace, &made);
        trace_deinit(&h.trace);
        if (h.failure[0] != '\0')
            fail_msg("%s", h.failure);
    }
    printf("# proof: power cut before %s of the disk, %s: %llu lives, %llu changes "
           "(%llu large bodies, %llu records copied by the cleaner, %llu segments recycled), "
           "%llu disk images, %llu recoveries, 0 lost\n",
           changes_between() == 1 ? "every change" : "some changes", name, (unsigned long long)histories() * LIVES, (unsigned long long)made.changes,
           (unsigned long long)made.big, (unsigned long long)made.copied,
           (unsigned long long)made.recycled, (unsigned long long)images,
           (unsigned long long)recoveries);
    return made;
}

static void power_may_go_while_everything_happens(void **state)
{
    struct made_of made = power_may_go_at_any_change(&everything, "all operations", 14);

    (void)state;
    assert_true(made.recycled > 0);
    assert_true(made.big > 0);
}

static void power_may_go_while_the_cleaner_works(void **state)
{
    struct made_of made = power_may_go_at_any_change(&cleaning, "cleaning", 25);

    (void)state;
    assert_true(made.recycled > 0);
    assert_true(made.copied > 0);
}

/* A left-out safeguard, and how many images may go by before it shows. */
static void finds(const char *what, unsigned broken)
{
    uint64_t images = 0;

    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct history h;

        run(&h, &everything, 14, seed, broken);
        images += h.images;
        trace_deinit(&h.trace);
        if (h.failure[0] == '\0')
            continue;
        printf("# proof: recorded history without a safeguard, %s: caught by image %llu (%s)\n",
               what, (unsigned long long)images, h.failure);
        return;
    }
    fail_msg("%llu images without a safeguard, and nothing was found",
             (unsigned long long)images);
}

static void finds_early_acknowledgement(void **state)
{
    (void)state;
    finds("acknowledged before the sync", SPOOL_BROKEN_EARLY_ACK);
}

static void finds_missing_checksum(void **state)
{
    (void)state;
    finds("checksums not looked at", SPOOL_BROKEN_NO_CRC);
}

static void finds_missing_nonce(void **state)
{
    (void)state;
    finds("nonces not looked at", SPOOL_BROKEN_NO_NONCE);
}

static void finds_appending_to_what_was_found(void **state)
{
    (void)state;
    finds("a found segment appended to", SPOOL_BROKEN_APPEND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_may_go_while_everything_happens),
        cmocka_unit_test(power_may_go_while_the_cleaner_works),
        cmocka_unit_test(finds_early_acknowledgement),
        cmocka_unit_test(finds_missing_checksum),
        cmocka_unit_test(finds_missing_nonce),
        cmocka_unit_test(finds_appending_to_what_was_found),
    };

    /* Thousands of stores come and go: their memory is kept instead of mapped anew. */
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);

    return cmocka_run_group_tests(tests, NULL, NULL);
}
