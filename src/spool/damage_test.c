/*
 * What a disk has done to the log's files, and what is said of it: nothing that is whole is
 * lost, nothing that is damaged is handed out.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "spool/disk_testing.h"
#include "spool/log_format.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000
#define SEGMENT  (64u << 10)
#define MAILS    30
#define BIG      (SPOOL_BODY_MEMORY + 5000)

struct fixture {
    struct disk d;
    struct spool *s;
    uint64_t ids[MAILS];
    uint64_t soft_free; /* 0 = one segment */
};

static int open_store(struct fixture *f, bool read_only, struct err *e)
{
    struct spool_log_options options = {.dir = "spool",
                                        .io = &f->d.io,
                                        .segment_size = SEGMENT,
                                        .clean_above = 100 * SEGMENT,
                                        .spares_max = 3,
                                        .soft_free = f->soft_free > 0 ? f->soft_free : SEGMENT,
                                        .hard_free = 1,
                                        .read_only = read_only};

    *e = (struct err){0};
    f->s = NULL;
    return spool_log_open(&f->s, &options, e);
}

static void reopen(struct fixture *f)
{
    struct err e;

    if (open_store(f, false, &e) != 0)
        fail_msg("open: %s", e.text);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    disk_init(&f->d);
    reopen(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    if (f->s != NULL)
        f->s->ops->close(f->s);
    disk_deinit(&f->d);
    free(f);
    return 0;
}

static void accept_all(struct fixture *f)
{
    for (size_t i = 0; i < MAILS; i++)
        f->ids[i] = test_accept(f->s, i, 3000, START_US + (int64_t)i);
}

static size_t count_lost(struct fixture *f)
{
    size_t lost = 0;

    for (size_t i = 0; i < MAILS; i++) {
        int rc = test_verify(f->s, f->ids[i], i, 3000);

        assert_true(rc == 0 || rc == BARID_ENOTFOUND);
        lost += rc != 0;
    }
    return lost;
}

static uint64_t damaged(const struct fixture *f)
{
    struct spool_stats stats;

    f->s->ops->stats(f->s, &stats);
    return stats.damaged;
}

static uint8_t *first(struct fixture *f, const char *prefix, const char *ending, size_t *n_r)
{
    const char *name = disk_name_at(&f->d, prefix, ending, 0);

    assert_non_null(name);
    return disk_content(&f->d, name, n_r);
}

/* Neither header nor first record: what the file was is not to be known. */
static void a_file_that_is_no_segment_is_set_aside(void **state)
{
    struct fixture *f = *state;
    struct err e;
    size_t n, lost;

    accept_all(f);
    f->s->ops->close(f->s);
    memset(first(f, "seg/", ".log", &n), 0xee, 2 * LOG_BLOCK);

    assert_int_equal(open_store(f, true, &e), 0); /* looking changes nothing */
    assert_int_equal(damaged(f), 1);
    assert_null(disk_name_at(&f->d, "damaged/", ".log", 0));
    f->s->ops->close(f->s);

    reopen(f);
    assert_int_equal(damaged(f), 1);
    assert_non_null(disk_name_at(&f->d, "damaged/", ".log", 0));
    lost = count_lost(f);
    assert_in_range(lost, 1, 20); /* those of one segment */
    f->s->ops->close(f->s);

    reopen(f); /* told once */
    assert_int_equal(damaged(f), 0);
    assert_int_equal(count_lost(f), lost);
}

/* A header that is whole but names another segment: a file copied to the wrong name. */
static void a_segment_of_another_name_keeps_its_own(void **state)
{
    struct fixture *f = *state;
    struct log_segment_header h;
    uint8_t *p;
    size_t n;

    accept_all(f);
    f->s->ops->close(f->s);
    p = first(f, "seg/", ".log", &n);
    assert_int_equal(log_header_decode(&h, p), 0);
    h.segno += 1000;
    log_header_encode(&h, p);
    reopen(f);
    assert_int_equal(damaged(f), 1);
    assert_int_equal(count_lost(f), 0); /* the first record knows better */
}

static void a_newer_segment_is_not_touched(void **state)
{
    struct fixture *f = *state;
    uint8_t *p, before[LOG_BLOCK];
    struct err e;
    uint32_t crc;
    size_t n;

    accept_all(f);
    f->s->ops->close(f->s);
    p = first(f, "seg/", ".log", &n);
    p[8] = LOG_FORMAT_VERSION + 1;
    crc = crc32c(0, p + 8, 32);
    memcpy(p + 4,
           (uint8_t[]){(uint8_t)crc, (uint8_t)(crc >> 8), (uint8_t)(crc >> 16),
                       (uint8_t)(crc >> 24)},
           4);
    memcpy(before, p, sizeof before);
    assert_int_equal(open_store(f, false, &e), BARID_EVERSION);
    assert_non_null(strstr(e.text, "was written by a newer version"));
    assert_null(f->s);
    assert_memory_equal(first(f, "seg/", ".log", &n), before, sizeof before);
}

/* The states of a message with several units are read when it is due. */
static void a_claim_goes_round_what_is_damaged(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US + 5)};
    struct spool_put *put = test_put(f->s, 7, 3000, SPOOL_ACTIVE, units, 2);
    struct spool_claim claims[4];
    uint64_t bad = f->s->ops->put_id(put), good;
    uint8_t *p, *head;
    size_t n;

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    good = test_accept(f->s, 8, 3000, START_US + 10);
    f->s->ops->close(f->s);
    reopen(f);
    p = first(f, "seg/", ".log", &n);
    head = memmem(p, n, "header-7", 8);
    assert_non_null(head);
    *head ^= 1; /* covered by the checksum of the states */
    assert_int_equal(f->s->ops->claim(f->s, START_US + 100, 4, claims, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(claims[0].id, good);
    free(claims[0].units);
    assert_int_equal(damaged(f), 1);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX); /* and it does not turn round it */
    *head ^= 1;
    f->s->ops->close(f->s);
    reopen(f);
    assert_int_equal(f->s->ops->claim(f->s, START_US + 100, 1, claims, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(claims[0].id, bad); /* a start looks again */
    assert_int_equal(claims[0].n_units, 2);
    free(claims[0].units);
}

static int read_whole(struct fixture *f, uint64_t id)
{
    uint64_t size, at = 0;
    char p[8192];
    void *body;
    int64_t got = f->s->ops->body_open(f->s, id, &body, &size);

    if (got != 0)
        return (int)got;
    while ((got = f->s->ops->body_read(body, at, p, sizeof p)) > 0)
        at += (uint64_t)got;
    f->s->ops->body_close(body);
    if (got == 0)
        assert_int_equal(at, BIG);
    return (int)got;
}

/* The last piece is not given out when the sum over all is wrong. */
static void a_damaged_file_of_a_body(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 1, BIG, START_US);
    uint8_t *p;
    size_t n;

    p = first(f, "big/", "", &n);
    assert_int_equal(read_whole(f, id), 0);
    p[BIG / 2] ^= 1;
    assert_int_equal(read_whole(f, id), BARID_ECORRUPT);
    p[BIG / 2] ^= 1;
    assert_int_equal(read_whole(f, id), 0);
    assert_int_equal(
        disk_unlink_matching(&f->d, strrchr(disk_name_at(&f->d, "big/", "", 0), '/') + 1), 1);
    assert_int_equal(read_whole(f, id), BARID_EIO);
}

/* The record of a mail is damaged: its body is kept for a person as the record is, also by the starts that know of no damage. */
static void a_body_stays_with_what_is_set_aside(void **state)
{
    struct fixture *f = *state;
    uint8_t *p, *head;
    const char *name;
    size_t n;

    test_accept(f->s, 1, BIG, START_US);
    test_accept(f->s, 2, 3000, START_US);
    f->s->ops->close(f->s);
    disk_unlink_matching(&f->d, ".idx");
    p = first(f, "seg/", ".log", &n);
    head = memmem(p, n, "header-1", 8);
    assert_non_null(head);
    *head ^= 1;
    for (int life = 0; life < 3; life++) {
        reopen(f);
        assert_int_equal(damaged(f), life == 0);
        f->s->ops->close(f->s);
        name = disk_name_at(&f->d, "damaged/", "", 1); /* the other one is the record */
        assert_non_null(name);
        assert_non_null(disk_content(&f->d, name, &n));
        assert_int_equal(n, BIG);
    }
    assert_null(disk_name_at(&f->d, "big/", "", 0));
    reopen(f);
}

/* The removal of a file is not synced: the next start makes up for it. */
static void a_body_that_came_back_goes_again(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 1, BIG, START_US);
    struct waiter w;

    test_accept(f->s, 2, 3000, START_US);
    waiter_init(&w);
    assert_int_equal(f->s->ops->erase(f->s, id, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
    f->s->ops->close(f->s);
    disk_cut_power(&f->d, DISK_LOSE, 1);
    assert_non_null(disk_name_at(&f->d, "big/", "", 0));
    reopen(f);
    assert_null(disk_name_at(&f->d, "big/", "", 0));
    assert_null(disk_name_at(&f->d, "damaged/", "", 0));
}

/* --- room */

static void what_has_no_room_is_not_admitted(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(f->s->ops->admit(f->s, UINT64_C(1) << 30), 0);
    pthread_mutex_lock(&f->d.lock);
    f->d.capacity = f->d.used + 10 * SEGMENT;
    pthread_mutex_unlock(&f->d.lock);
    assert_int_equal(f->s->ops->admit(f->s, 0), 0);
    assert_int_equal(f->s->ops->admit(f->s, 5 * SEGMENT), 0);
    assert_int_equal(f->s->ops->admit(f->s, 100 * SEGMENT), BARID_EFULL);
    assert_int_equal(f->s->ops->admit(f->s, UINT64_MAX), BARID_EFULL);
}

static void room_is_measured_again_in_time(void **state)
{
    struct fixture *f = *state;
    unsigned more = 0;

    f->s->ops->close(f->s);
    f->soft_free = 100 * SEGMENT; /* more than the spares, whose number is the keeper's */
    reopen(f);
    assert_int_equal(f->s->ops->admit(f->s, 0), 0);
    pthread_mutex_lock(&f->d.lock);
    f->d.capacity = f->d.used; /* somebody else fills the disk */
    pthread_mutex_unlock(&f->d.lock);
    while (more < 1000 && f->s->ops->admit(f->s, 0) == 0)
        more++;
    assert_in_range(more, 1, 256); /* ADMIT_MAX in steps */
    pthread_mutex_lock(&f->d.lock);
    f->d.capacity = f->d.used + 200 * SEGMENT;
    pthread_mutex_unlock(&f->d.lock);
    assert_int_equal(f->s->ops->admit(f->s, 0), 0);
}

/* --- a real disk */

static int not_allocated(void *user, int fd, uint64_t size)
{
    (void)user;
    (void)fd;
    (void)size;
    return -EOPNOTSUPP;
}

/* Some file systems cannot reserve space: files are only made long then. */
static void it_does_without_allocation(void **state)
{
    struct io_table io = io_table_system;
    char dir[TEST_DIR_SIZE];
    struct spool_log_options options = {
        .dir = dir, .io = &io, .segment_size = SEGMENT, .soft_free = 1, .hard_free = 1};
    const size_t sizes[] = {3000, 30000, 5u << 20, 50000};
    uint64_t ids[4];
    struct spool *s;
    struct err e = {0};

    (void)state;
    io.allocate = not_allocated;
    test_dir_make(dir);
    for (int life = 0; life < 2; life++) {
        if (spool_log_open(&s, &options, &e) != 0)
            fail_msg("open: %s", e.text);
        for (size_t i = 0; i < 4; i++) {
            if (life == 0)
                ids[i] = test_accept(s, i, sizes[i], START_US);
            assert_int_equal(test_verify(s, ids[i], i, sizes[i]), 0);
        }
        s->ops->close(s);
    }
    test_dir_remove(dir);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_file_that_is_no_segment_is_set_aside),
        T(a_segment_of_another_name_keeps_its_own),
        T(a_newer_segment_is_not_touched),
        T(a_claim_goes_round_what_is_damaged),
        T(a_damaged_file_of_a_body),
        T(a_body_stays_with_what_is_set_aside),
        T(a_body_that_came_back_goes_again),
        T(what_has_no_room_is_not_admitted),
        T(room_is_measured_again_in_time),
        cmocka_unit_test(it_does_without_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
