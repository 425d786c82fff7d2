/*
 * Bodies in files of their own while the disk is behind: how much waits, and who is told when
 * it is written. The disk stands still when the test says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spool/disk_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000
#define SEGMENT  (4u << 20)
#define PIECE    (64u << 10)
#define WAIT_S   20 /* until a test says that something never comes */

struct fixture {
    struct disk disk;
    struct io_table io;
    struct spool *s;
    struct spool_put *put;
    uint64_t size;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    bool still; /* writes wait */
    sem_t told;
    _Atomic unsigned n_told, n_flushed;
};

static struct fixture *fixture; /* for the table, whose user is the disk */

static int64_t slow_write(void *user, int fd, const struct iovec *v, int n, uint64_t offset)
{
    pthread_mutex_lock(&fixture->lock);
    while (fixture->still)
        pthread_cond_wait(&fixture->moved, &fixture->lock);
    pthread_mutex_unlock(&fixture->lock);
    return fixture->disk.io.write(user, fd, v, n, offset);
}

static int counted_flush(void *user, int fd, uint64_t offset, uint64_t n)
{
    assert_true(offset % (4u << 20) < n);
    fixture->n_flushed++;
    return fixture->disk.io.flush(user, fd, offset, n);
}

static void set_still(struct fixture *f, bool still)
{
    pthread_mutex_lock(&f->lock);
    f->still = still;
    pthread_cond_broadcast(&f->moved);
    pthread_mutex_unlock(&f->lock);
}

static void told(void *user)
{
    struct fixture *f = user;

    f->n_told++;
    sem_post(&f->told);
}

static void wait_told(struct fixture *f)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAIT_S;
    while (sem_timedwait(&f->told, &until) != 0)
        if (errno == ETIMEDOUT)
            fail_msg("nobody was told");
}

static void open_store(struct fixture *f, uint64_t hard_free)
{
    struct spool_log_options options = {.dir = "spool",
                                        .io = &f->io,
                                        .segment_size = SEGMENT,
                                        .clean_above = 2 * SEGMENT,
                                        .spares_max = 3,
                                        .soft_free = 1,
                                        .hard_free = hard_free};
    struct err e = {0};

    if (spool_log_open(&f->s, &options, &e) != 0)
        fail_msg("open: %s", e.text);
    assert_int_equal(f->s->ops->put_begin(f->s, &f->put), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    *state = fixture = f;
    disk_init(&f->disk);
    f->io = f->disk.io;
    f->io.write = slow_write;
    f->io.flush = counted_flush;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->moved, NULL);
    sem_init(&f->told, 0, 0);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    set_still(f, false);
    f->s->ops->close(f->s);
    disk_deinit(&f->disk);
    sem_destroy(&f->told);
    pthread_cond_destroy(&f->moved);
    pthread_mutex_destroy(&f->lock);
    free(f);
    return 0;
}

static int put_some(struct fixture *f, uint64_t n)
{
    char piece[PIECE];
    int rc = 0;

    for (uint64_t end = f->size + n; rc == 0 && f->size < end; f->size += PIECE) {
        test_fill(1, f->size, piece, PIECE);
        rc = f->s->ops->put_body(f->put, piece, PIECE);
    }
    return rc;
}

static void commit(struct fixture *f)
{
    struct unit_state unit = test_unit(START_US);
    uint64_t id = f->s->ops->put_id(f->put);

    assert_int_equal(f->s->ops->put_describe(f->put, SPOOL_ACTIVE, (barid_slice){"meta-1", 6},
                                             (barid_slice){"header-1", 8}, &unit, 1),
                     0);
    assert_int_equal(test_commit(f->s, &f->put, 1), 0);
    assert_int_equal(test_verify(f->s, id, 1, f->size), 0);
}

static void a_small_body_never_waits(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    set_still(f, true);
    assert_int_equal(put_some(f, SPOOL_BODY_MEMORY), 0);
    assert_int_equal(f->s->ops->put_backlog(f->put), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    set_still(f, false);
    commit(f);
    assert_int_equal(f->n_told, 0);
}

/* Told once, though the body goes on and comes to the end of what waits again and again. */
static void it_is_told_once(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    set_still(f, true);
    assert_int_equal(put_some(f, SPOOL_BACKLOG_PAUSE + 2 * PIECE), 0);
    assert_int_equal(f->s->ops->put_backlog(f->put), f->size);
    f->s->ops->put_on_drain(f->put, told, f);
    assert_int_equal(f->n_told, 0);
    set_still(f, false);
    wait_told(f);
    assert_int_equal(f->s->ops->put_backlog(f->put), 0);
    assert_int_equal(f->n_flushed, 1);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(put_some(f, 8 * PIECE), 0);
        while (f->s->ops->put_backlog(f->put) > 4 * PIECE)
            sched_yield();
    }
    commit(f); /* the writer has looked at it for the last time */
    assert_int_equal(f->n_told, 1);
    assert_int_equal(f->n_flushed, 2);
}

/* Everything was written before somebody began to wait: nothing else would wake the writer. */
static void who_comes_late_is_told(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    assert_int_equal(put_some(f, SPOOL_BODY_MEMORY + 8 * PIECE), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    wait_told(f);
    assert_int_equal(f->s->ops->put_backlog(f->put), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    wait_told(f);
    /* Less than is worth a writer's while: written all the same when somebody waits for it. */
    assert_int_equal(put_some(f, PIECE), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    wait_told(f);
    assert_int_equal(f->s->ops->put_backlog(f->put), 0);
    assert_int_equal(f->n_told, 3);
    commit(f);
}

static void who_waits_no_more_is_not_told(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    set_still(f, true);
    assert_int_equal(put_some(f, SPOOL_BACKLOG_PAUSE + PIECE), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    f->s->ops->put_on_drain(f->put, NULL, NULL);
    set_still(f, false);
    commit(f);
    assert_int_equal(f->n_told, 0);
}

static void an_aborted_put_is_not_told(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    set_still(f, true);
    assert_int_equal(put_some(f, SPOOL_BACKLOG_PAUSE + PIECE), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    f->s->ops->put_abort(f->put);
    set_still(f, false);
    f->s->ops->close(f->s); /* the writers are over */
    assert_int_equal(f->n_told, 0);
    assert_null(disk_name_at(&f->disk, "spool/big/", "", 0)); /* and no file is left */
    open_store(f, 1);
    f->s->ops->put_abort(f->put);
}

/* What waits when the disk fails will never be written: who waits has to hear of it. */
static void a_failure_is_told(void **state)
{
    struct fixture *f = *state;

    open_store(f, 1);
    set_still(f, true);
    assert_int_equal(put_some(f, SPOOL_BACKLOG_PAUSE + PIECE), 0);
    f->s->ops->put_on_drain(f->put, told, f);
    pthread_mutex_lock(&f->disk.lock);
    f->disk.stopped = true;
    pthread_mutex_unlock(&f->disk.lock);
    set_still(f, false);
    wait_told(f);
    assert_int_equal(f->s->ops->put_backlog(f->put), 0);
    assert_int_equal(put_some(f, PIECE), BARID_EIO);
    f->s->ops->put_abort(f->put);
    assert_int_equal(f->n_told, 1);
}

/* The last room is the log's, which needs it to remove mail. */
static void the_reserve_is_not_for_bodies(void **state)
{
    struct fixture *f = *state;
    int rc;

    open_store(f, 64u << 20);
    pthread_mutex_lock(&f->disk.lock);
    f->disk.capacity = f->disk.used + (32u << 20);
    pthread_mutex_unlock(&f->disk.lock);
    /* The writer may find out before all is put, or after. */
    if ((rc = put_some(f, SPOOL_BODY_MEMORY + PIECE)) == 0) {
        f->s->ops->put_on_drain(f->put, told, f);
        wait_told(f);
        rc = put_some(f, PIECE);
    }
    assert_int_equal(rc, BARID_EFULL);
    f->s->ops->put_abort(f->put);
    f->s->ops->close(f->s);
    assert_null(disk_name_at(&f->disk, "spool/big/", "", 0));
    open_store(f, 1);
    f->s->ops->put_abort(f->put);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_small_body_never_waits),      T(it_is_told_once),
        T(who_comes_late_is_told),        T(who_waits_no_more_is_not_told),
        T(an_aborted_put_is_not_told),    T(a_failure_is_told),
        T(the_reserve_is_not_for_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
