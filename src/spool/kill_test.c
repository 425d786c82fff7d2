/*
 * spool/kill_test.c: kill -9 of a process that works a spool on the real disk: mail comes, is
 * delivered and goes, one message in a hundred is put off and stays, segments are small, so that
 * the cleaner moves what stayed and segments come round. The process tells through a pipe what
 * it asks, what was acknowledged and what it does to the disk; after some number of these it is
 * killed, while it goes on. What it left is looked at without changing it; the next one goes on
 * with it, so that damage adds up. Some die during their start, some end as they should.
 *
 * What was written survives its process though it was never synced. So in every other round the
 * process keeps what it writes to itself until the sync: it dies with it, as in a power cut.
 *
 * The same with one safeguard left out must find something.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spool/io_table.h"
#include "spool/log_format.h"
#include "spool/player_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define SEGMENT  (64u << 10)
#define STEPS    300    /* of a process that nobody kills */
#define REPORTS  2000   /* before the kill, at most */
#define STARTING 30     /* reports: a process is still at its start */
#define SPIN     100000 /* turns, at most: some tens of microseconds */
#define FDS      1024   /* followed; a spool of a few segments has some ten */

static const struct player_mix one_in_hundred = {
    .commits = 4,
    .erases = 1,
    .delivers = 8,
    .big_one_in = 300,
    .stays_one_in = 100,
    .body_most = 5000,
    .at_once = 5,
};

/* So much stays that the cleaner has something to do for each segment: mutants need not live
 * long. */
static const struct player_mix one_in_eight = {
    .commits = 4,
    .erases = 2,
    .delivers = 8,
    .stays_one_in = 8,
    .body_most = 5000,
    .at_once = 5,
};

enum report_kind {
    REPORT_MARK,
    REPORT_DISK,     /* a call is about to be made */
    REPORT_CLEANING, /* the cleaner reads a segment */
    REPORT_CLEANED,  /* that segment is free */
    REPORT_RECYCLED, /* any segment becomes a spare */
    REPORT_OPENED,   /* recovered, and all is as it should be */
    REPORT_WRONG,
};

struct report {
    enum report_kind kind;
    union {
        struct ledger_mark mark;
        char wrong[200];
    } u;
};

struct world {
    char dir[TEST_DIR_SIZE];
    const struct player_mix *mix;
    unsigned broken;
    struct ledger ledger;
    struct rng_seeded rng;
    uint64_t rounds, acknowledged, deletions, cleanings, recycled;
    uint64_t kills, at_start, while_cleaning;
    uint64_t cleaning; /* now, by this process */
    bool opened;
    char failure[300];
};

/* --- the process that is killed */

struct victim {
    struct io_table io;
    int out;
    bool holds;       /* writes, until the sync */
    pthread_t opener; /* recovery reads whole segments, too */
    atomic_bool cleaned[FDS];
    struct held {
        char *p;
        size_t n;
        uint64_t offset;
    } held[FDS];
};

static void report(struct victim *v, const struct report *r)
{
    if (write(v->out, r, sizeof(*r)) != (ssize_t)sizeof(*r)) /* below PIPE_BUF: whole */
        abort();
}

static void report_kind(struct victim *v, enum report_kind kind)
{
    struct report r;

    memset(&r, 0, sizeof(r));
    r.kind = kind;
    report(v, &r);
}

static void wrong(struct victim *v, const char *what)
{
    struct report r;

    memset(&r, 0, sizeof(r));
    r.kind = REPORT_WRONG;
    snprintf(r.u.wrong, sizeof(r.u.wrong), "%s", what);
    report(v, &r);
    _exit(1);
}

static void on_mark(void *user, const struct ledger_mark *m)
{
    struct report r;

    memset(&r, 0, sizeof(r));
    r.u.mark = *m;
    report(user, &r);
}

static int64_t victim_read(void *user, int fd, void *p, size_t n, uint64_t offset)
{
    struct victim *v = user;

    if (offset == 0 && n > 2 * LOG_BLOCK && fd < FDS &&
        !pthread_equal(pthread_self(), v->opener) && !atomic_exchange(&v->cleaned[fd], true))
        report_kind(v, REPORT_CLEANING);
    return io_table_system.read(io_table_system.user, fd, p, n, offset);
}

/* The store does not read what it has not synced. */
static int let_out(struct victim *v, int fd)
{
    struct held *h = fd < FDS ? &v->held[fd] : NULL;
    int rc = 0;

    if (h == NULL || h->p == NULL)
        return 0;
    rc = io_write_block(&io_table_system, fd, h->p, h->n, h->offset);
    free(h->p);
    h->p = NULL;
    return rc;
}

static int64_t hold(struct held *h, const struct iovec *iov, int n, uint64_t offset)
{
    *h = (struct held){.offset = offset};
    for (int i = 0; i < n; i++)
        h->n += iov[i].iov_len;
    if ((h->p = malloc(h->n > 0 ? h->n : 1)) == NULL)
        abort();
    for (size_t at = 0; n-- > 0; at += iov++->iov_len)
        memcpy(h->p + at, iov->iov_base, iov->iov_len);
    return (int64_t)h->n;
}

static void victim_close(void *user, int fd)
{
    struct victim *v = user;

    let_out(v, fd);
    if (fd < FDS && atomic_exchange(&v->cleaned[fd], false))
        report_kind(v, REPORT_CLEANED);
    io_table_system.close(io_table_system.user, fd);
}

static int64_t victim_write(void *user, int fd, const struct iovec *iov, int n, uint64_t offset)
{
    struct victim *v = user;
    int rc = let_out(v, fd);

    report_kind(v, REPORT_DISK);
    if (rc < 0)
        return rc;
    if (v->holds && fd < FDS)
        return hold(&v->held[fd], iov, n, offset);
    return io_table_system.write(io_table_system.user, fd, iov, n, offset);
}

static int victim_datasync(void *user, int fd)
{
    int rc;

    report_kind(user, REPORT_DISK);
    rc = let_out(user, fd);
    return rc < 0 ? rc : io_table_system.datasync(io_table_system.user, fd);
}

static int victim_sync(void *user, int fd)
{
    int rc;

    report_kind(user, REPORT_DISK);
    rc = let_out(user, fd);
    return rc < 0 ? rc : io_table_system.sync(io_table_system.user, fd);
}

static int victim_rename(void *user, int dir, const char *from, const char *to)
{
    bool recycles = strstr(from, ".log") != NULL && strncmp(to, "spare.", 6) == 0;

    report_kind(user, recycles ? REPORT_RECYCLED : REPORT_DISK);
    return io_table_system.rename(io_table_system.user, dir, from, to);
}

static int victim_unlink(void *user, int dir, const char *name)
{
    report_kind(user, REPORT_DISK);
    return io_table_system.unlink(io_table_system.user, dir, name);
}

static int open_store(const struct world *w, const struct io_table *io, struct spool **s_r,
                      struct err *e)
{
    struct spool_log_options options = {
        .dir = w->dir,
        .io = io,
        .segment_size = SEGMENT,
        .clean_above = SEGMENT / 2,
        .spares_max = 4,
        .soft_free = 1,
        .hard_free = 1,
        .read_only = io == NULL,
        .broken = w->broken,
    };

    *e = (struct err){0};
    return spool_log_open(s_r, &options, e);
}

static void live(struct world *w, struct victim *v, uint64_t seed)
{
    struct player p;
    struct err e;

    player_init(&p, &w->ledger, w->mix, seed);
    p.told = on_mark;
    p.told_user = v;
    if (open_store(w, &v->io, &p.s, &e) != 0)
        wrong(v, e.text);
    ledger_check(&w->ledger, p.s);
    if (w->ledger.failure[0] != '\0')
        wrong(v, w->ledger.failure);
    report_kind(v, REPORT_OPENED);
    for (int i = 0; i < STEPS; i++)
        player_step(&p);
    p.s->ops->close(p.s);
    if (p.refused > 0)
        wrong(v, "a call was refused");
}

static void be_victim(struct world *w, int out, uint64_t seed)
{
    static struct victim v; /* zeroed: a process has one */

    v.io = io_table_system;
    v.io.user = &v;
    v.io.read = victim_read;
    v.io.close = victim_close;
    v.io.write = victim_write;
    v.io.datasync = victim_datasync;
    v.io.sync = victim_sync;
    v.io.rename = victim_rename;
    v.io.unlink = victim_unlink;
    v.out = out;
    v.holds = w->broken != 0 || w->rounds % 2 == 1;
    v.opener = pthread_self();
    live(w, &v, seed);
    _exit(0);
}

/* --- the one that kills */

static uint64_t below(struct world *w, uint64_t n)
{
    return rng_u64(&w->rng.rng) % n;
}

static void hear(struct world *w, const struct report *r)
{
    w->opened |= r->kind == REPORT_OPENED;
    w->recycled += r->kind == REPORT_RECYCLED;
    w->cleanings += r->kind == REPORT_CLEANING;
    w->cleaning += r->kind == REPORT_CLEANING;
    w->cleaning -= r->kind == REPORT_CLEANED;
    if (r->kind == REPORT_WRONG)
        snprintf(w->failure, sizeof(w->failure), "next start: %.200s", r->u.wrong);
    if (r->kind != REPORT_MARK)
        return;
    ledger_note(&w->ledger, &r->u.mark);
    w->acknowledged += r->u.mark.kind == LEDGER_PUT_DONE;
    w->deletions += r->u.mark.kind == LEDGER_GO_DONE;
}

/* The next report; false: there are no more. */
static bool next_report(int in, struct report *r)
{
    ssize_t n = read(in, r, sizeof(*r));

    if (n != 0 && n != (ssize_t)sizeof(*r))
        fail_msg("a report is %zd octets: %s", n, strerror(errno));
    return n != 0;
}

/* A report comes just before a call of the disk: the kill need not come just then. */
static void spin(struct world *w)
{
    for (volatile uint64_t left = below(w, SPIN); left > 0;)
        left = left - 1;
}

/* Hears all; kills after so many. */
static void attend(struct world *w, pid_t pid, int in, uint64_t kill_after)
{
    struct report r;
    int status;

    for (uint64_t n = 1; next_report(in, &r); n++) {
        hear(w, &r);
        if (n != kill_after)
            continue;
        spin(w);
        kill(pid, SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        w->kills++;
        w->at_start += !w->opened;
        w->while_cleaning += w->cleaning > 0;
    } else if (w->failure[0] == '\0' && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        snprintf(w->failure, sizeof(w->failure), "the process ended by itself: status %x",
                 (unsigned)status);
    }
}

/* As it was left, and left as it is. */
static void look(struct world *w)
{
    struct spool *s;
    struct err e;

    if (open_store(w, NULL, &s, &e) != 0) {
        snprintf(w->failure, sizeof(w->failure), "open: %.200s", e.text);
        return;
    }
    ledger_check(&w->ledger, s);
    memcpy(w->failure, w->ledger.failure, sizeof(w->ledger.failure));
    s->ops->close(s);
}

static void run_round(struct world *w)
{
    uint64_t seed = rng_u64(&w->rng.rng);
    uint64_t kill_after = 1 + below(w, below(w, 5) == 0 ? STARTING : REPORTS);
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    w->opened = false;
    w->cleaning = 0;
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        be_victim(w, ends[1], seed);
    }
    close(ends[1]);
    attend(w, pid, ends[0], kill_after);
    close(ends[0]);
    if (w->failure[0] == '\0')
        look(w);
    w->rounds++;
}

static void run(struct world *w, const struct player_mix *mix, uint64_t rounds, unsigned broken)
{
    *w = (struct world){.mix = mix, .broken = broken};
    test_dir_make(w->dir);
    ledger_init(&w->ledger);
    rng_seeded_init(&w->rng, 1 + broken);
    while (w->rounds < rounds && w->failure[0] == '\0')
        run_round(w);
    ledger_deinit(&w->ledger);
    test_dir_remove(w->dir);
}

static void stands_kill_9(void **state)
{
    const char *text = getenv("SPOOL_KILL_ROUNDS");
    struct world w;

    (void)state;
    run(&w, &one_in_hundred, text != NULL ? strtoul(text, NULL, 10) : 40, 0);
    if (w.failure[0] != '\0')
        fail_msg("round %llu: %s", (unsigned long long)w.rounds, w.failure);
    printf(
        "# proof: spool kill: %llu rounds, %llu acknowledged, %llu deletions, %llu cleanings; "
        "%llu segments recycled, %llu kills (%llu during a start, %llu during a cleaning), "
        "0 lost\n",
        (unsigned long long)w.rounds, (unsigned long long)w.acknowledged,
        (unsigned long long)w.deletions, (unsigned long long)w.cleanings,
        (unsigned long long)w.recycled, (unsigned long long)w.kills,
        (unsigned long long)w.at_start, (unsigned long long)w.while_cleaning);
    if (w.rounds < 20)
        return; /* too few to have met all */
    assert_true(w.acknowledged > 0 && w.deletions > 0 && w.recycled > 0);
    assert_true(w.at_start > 0 && w.while_cleaning > 0);
}

static void finds(const char *what, unsigned broken)
{
    struct world w;

    run(&w, &one_in_eight, 200, broken);
    if (w.failure[0] == '\0')
        fail_msg("%llu rounds without a safeguard, and nothing was found",
                 (unsigned long long)w.rounds);
    printf("# proof: spool kill without a safeguard, %s: caught by round %llu (%s)\n", what,
           (unsigned long long)w.rounds, w.failure);
}

static void finds_early_acknowledgement(void **state)
{
    (void)state;
    finds("acknowledged before the sync", SPOOL_BROKEN_EARLY_ACK);
}

static void finds_missing_nonce(void **state)
{
    (void)state;
    finds("nonces not looked at", SPOOL_BROKEN_NO_NONCE);
}

static void finds_dropped_del(void **state)
{
    (void)state;
    finds("DEL dropped before its PUT", SPOOL_BROKEN_DROP_DEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_kill_9),
        cmocka_unit_test(finds_early_acknowledgement),
        cmocka_unit_test(finds_missing_nonce),
        cmocka_unit_test(finds_dropped_del),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
