/*
 * spool/room_test.c: a disk without room, and the cleaner that makes some.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "spool/log_format.h"
#include "spool/log_testing.h"

/* --- a full disk */

static size_t fill(struct spool *s, uint64_t *ids, size_t most)
{
    struct unit_state unit = test_unit(START_US);
    size_t n = 0;

    while (n < most) {
        struct spool_put *put = test_put(s, n, 9000, SPOOL_HELD, &unit, 1);

        assert_non_null(put);
        ids[n] = s->ops->put_id(put);
        if (test_commit(s, &put, 1) != 0)
            return n;
        n++;
    }
    return n;
}

static void a_full_spool_drains(void **state)
{
    struct spool_stats stats;
    uint64_t ids[1000];
    struct spool *s;
    struct disk d;
    size_t n;

    (void)state;
    disk_init(&d);
    d.capacity = 12 * SEGMENT;
    s = open_on(&d);
    for (int round = 0; round < 3; round++) {
        n = fill(s, ids, 1000);
        assert_in_range(n, 20, 200);
        assert_int_equal(s->ops->admit(s, 0), BARID_EFULL);
        s->ops->stats(s, &stats);
        assert_true(stats.full);
        assert_false(stats.failed);
        /* States and removals still work, and not only a few. */
        for (size_t i = 0; i < n; i++) {
            struct waiter w;

            waiter_init(&w);
            assert_int_equal(s->ops->set_state(s, ids[i], SPOOL_REMOVED, waiter_done, &w), 0);
            assert_int_equal(waiter_wait(&w), 0);
            waiter_deinit(&w);
            assert_int_equal(test_verify(s, ids[i], i, 9000), 0);
            assert_int_equal(erase(s, ids[i]), 0);
        }
        s->ops->close(s);
        s = open_on(&d);
    }
    s->ops->close(s);
    disk_deinit(&d);
}

/* --- the cleaner holds a segment while the reserve is used up */

/* A read of more is the cleaner's: no mail of these tests is as large. */
#define MAIL_READ (SEGMENT / 2)

/* Stops the cleaner where it holds a segment and has read it. */
static struct gate {
    int64_t (*read)(void *user, int fd, void *p, size_t n, uint64_t offset);
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool closed, reached;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int64_t gated_read(void *user, int fd, void *p, size_t n, uint64_t offset)
{
    int64_t rc = gate.read(user, fd, p, n, offset);

    pthread_mutex_lock(&gate.lock);
    gate.reached = gate.reached || (n > MAIL_READ && gate.closed);
    pthread_cond_broadcast(&gate.cond);
    while (n > MAIL_READ && gate.closed)
        pthread_cond_wait(&gate.cond, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return rc;
}

static void gate_set(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
}

/* Up to a moment from now, for what either comes soon or not at all. */
static struct timespec soon(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 100 * 1000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

/* Whether the cleaner has taken up a segment. */
static bool cleaner_begins(void)
{
    struct timespec t = soon();
    bool reached;

    pthread_mutex_lock(&gate.lock);
    while (!gate.reached && pthread_cond_timedwait(&gate.cond, &gate.lock, &t) == 0)
        continue;
    reached = gate.reached;
    pthread_mutex_unlock(&gate.lock);
    return reached;
}

/* Opens the gate when the change is not answered by itself: it waits for the cleaner then. */
static void answered(struct waiter *w, int rc, bool *waited)
{
    struct timespec t = soon();

    assert_int_equal(rc, 0);
    pthread_mutex_lock(&w->lock);
    while (w->calls == 0 && pthread_cond_timedwait(&w->cond, &w->lock, &t) == 0)
        continue;
    *waited = *waited || w->calls == 0;
    pthread_mutex_unlock(&w->lock);
    if (*waited)
        gate_set(false);
    assert_int_equal(waiter_wait(w), 0);
}

/* False: the segment that the cleaner was to hold was free before it began. */
static bool drain_beside_cleaner(struct spool *s)
{
    bool begun = false, waited = false;
    uint64_t ids[1000];
    size_t n = fill(s, ids, 1000);
    struct waiter w;

    assert_in_range(n, 20, 200);
    waiter_init(&w);
    for (size_t i = 0; i < n; i++) {
        answered(&w, s->ops->set_state(s, ids[i], SPOOL_REMOVED, waiter_done, &w), &waited);
        answered(&w, s->ops->erase(s, ids[i], waiter_done, &w), &waited);
        begun = begun || (i < 5 && cleaner_begins());
    }
    waiter_deinit(&w);
    gate_set(false);
    return begun && waited;
}

/* The segment that all room depends on is empty, but the cleaner still holds it: a removal waits
 * for the cleaner and is not refused. */
static void a_slow_cleaner_does_not_keep_it_full(void **state)
{
    bool met = false;

    (void)state;
    for (int attempt = 0; attempt < 10 && !met; attempt++) {
        struct spool *s;
        struct disk d;

        disk_init(&d);
        d.capacity = 12 * SEGMENT;
        gate.read = d.io.read;
        gate.reached = false;
        gate_set(true);
        d.io.read = gated_read;
        s = open_on(&d);
        met = drain_beside_cleaner(s);
        s->ops->close(s);
        disk_deinit(&d);
    }
    assert_true(met);
}

/* --- the reserve is wanted while the keeper looks for room without it */

/* Stops the first look for room that finds none, while it is armed. */
static struct look {
    int (*free_space)(void *user, int fd, uint64_t *free_r);
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool armed, reached;
} look = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int gated_look(void *user, int fd, uint64_t *free_r)
{
    int rc = look.free_space(user, fd, free_r);

    pthread_mutex_lock(&look.lock);
    if (look.armed && *free_r < SEGMENT) {
        look.reached = true;
        pthread_cond_broadcast(&look.cond);
        while (look.armed)
            pthread_cond_wait(&look.cond, &look.lock);
    }
    pthread_mutex_unlock(&look.lock);
    return rc;
}

static void look_set(bool armed)
{
    pthread_mutex_lock(&look.lock);
    look.armed = armed;
    pthread_cond_broadcast(&look.cond);
    pthread_mutex_unlock(&look.lock);
}

static void wait_for_look(void)
{
    pthread_mutex_lock(&look.lock);
    while (!look.reached)
        pthread_cond_wait(&look.cond, &look.lock);
    pthread_mutex_unlock(&look.lock);
}

static bool is_answered(struct waiter *w)
{
    struct timespec t = soon();
    bool answered;

    pthread_mutex_lock(&w->lock);
    while (w->calls == 0 && pthread_cond_timedwait(&w->cond, &w->lock, &t) == 0)
        continue;
    answered = w->calls > 0;
    pthread_mutex_unlock(&w->lock);
    return answered;
}

/* Until the keeper has all that it wants: the next segment and two spares. */
static void wait_for_keeper(struct spool *s)
{
    struct spool_stats stats;

    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        s->ops->stats(s, &stats);
    } while (stats.disk_bytes < 4 * SEGMENT);
}

/* That there is no room but the reserve is no answer for one who may have it. */
static void a_look_without_the_reserve_refuses_nobody(void **state)
{
    struct unit_state unit = test_unit(START_US);
    struct spool_put *put;
    uint64_t id = 0;
    struct waiter w;
    struct spool *s;
    struct disk d;
    bool waited = false;

    (void)state;
    disk_init(&d);
    look.free_space = d.io.free_space;
    d.io.free_space = gated_look;
    s = open_on(&d);
    wait_for_keeper(s);
    pthread_mutex_lock(&d.lock);
    d.capacity = d.used; /* somebody else fills the disk */
    pthread_mutex_unlock(&d.lock);
    for (size_t i = 0; i < 3; i++) { /* one segment each: then there is the reserve only */
        put = test_put(s, i, 40000, SPOOL_HELD, &unit, 1);
        id = s->ops->put_id(put);
        assert_int_equal(test_commit(s, &put, 1), 0);
    }
    look_set(true);
    wait_for_look();
    waiter_init(&w);
    for (size_t i = 0; i < SEGMENT / LOG_BLOCK && !waited; i++) {
        assert_int_equal(s->ops->set_state(s, id, SPOOL_REMOVED, waiter_done, &w), 0);
        waited = !is_answered(&w);
        if (waited)
            look_set(false);
        assert_int_equal(waiter_wait(&w), 0);
    }
    assert_true(waited);
    waiter_deinit(&w);
    s->ops->close(s);
    disk_deinit(&d);
}

/* What a power cut leaves of spares that were being made: their names. */
static void empty_spares(struct disk *d)
{
    int dir = d->io.open(d, AT_FDCWD, "spool", O_RDONLY | O_DIRECTORY, 0), fd;
    const char *name;

    for (size_t k = 0; (name = disk_name_at(d, "seg/spare.", "", k)) != NULL; k++) {
        fd = d->io.open(d, dir, name, O_RDWR | O_TRUNC, 0);
        assert_true(fd >= 0);
        d->io.close(d, fd);
    }
    d->io.close(d, dir);
}

/* A name without room behind it is no reserve. */
static void the_reserve_has_room(void **state)
{
    struct unit_state unit = test_unit(START_US);
    struct spool_put *put;
    struct waiter w;
    struct spool *s;
    struct disk d;
    uint64_t id = 0;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    wait_for_keeper(s);
    s->ops->close(s);
    empty_spares(&d);
    s = open_on(&d);
    wait_for_keeper(s);
    pthread_mutex_lock(&d.lock);
    d.capacity = d.used;
    pthread_mutex_unlock(&d.lock);
    for (size_t i = 0; i < 3; i++) {
        put = test_put(s, i, 40000, SPOOL_HELD, &unit, 1);
        id = s->ops->put_id(put);
        assert_int_equal(test_commit(s, &put, 1), 0);
    }
    put = test_put(s, 3, 40000, SPOOL_HELD, &unit, 1);
    assert_int_equal(test_commit(s, &put, 1), BARID_EFULL);
    waiter_init(&w);
    for (size_t i = 0; i < 12; i++) { /* more than there is room for in the last segment */
        assert_int_equal(s->ops->set_state(s, id, SPOOL_REMOVED, waiter_done, &w), 0);
        assert_int_equal(waiter_wait(&w), 0);
    }
    waiter_deinit(&w);
    s->ops->close(s);
    disk_deinit(&d);
}

/* A little mail stays for ever, the rest goes: the cleaner keeps the disk small. */
static void the_cleaner_bounds_the_disk(void **state)
{
    struct spool_stats stats;
    uint64_t kept[40];
    struct spool *s;
    struct disk d;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    for (size_t i = 0; i < 40; i++) {
        kept[i] = test_accept(s, i, 3000, START_US);
        for (size_t k = 0; k < 20; k++)
            assert_int_equal(erase(s, test_accept(s, k, 3000, START_US)), 0);
    }
    s->ops->close(s);
    s = open_on(&d);
    s->ops->stats(s, &stats);
    /* 800 mails of a whole segment each 13 went through: without cleaning every segment with a
     * kept one would stay. */
    assert_in_range(stats.disk_bytes, SEGMENT, 14 * SEGMENT);
    assert_int_equal(stats.messages[SPOOL_ACTIVE], 40);
    assert_int_equal(stats.damaged, 0);
    for (size_t i = 0; i < 40; i++)
        assert_int_equal(test_verify(s, kept[i], i, 3000), 0);
    s->ops->close(s);
    disk_deinit(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_spool_drains),
        cmocka_unit_test(a_slow_cleaner_does_not_keep_it_full),
        cmocka_unit_test(a_look_without_the_reserve_refuses_nobody),
        cmocka_unit_test(the_reserve_has_room),
        cmocka_unit_test(the_cleaner_bounds_the_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
