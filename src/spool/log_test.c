/*
 * spool/log_test.c: what only the log can do wrong: disks that fail, memory that is not there, damage,
 * sidecars, owners, versions. Crashes are in crash_test.c, full disks in room_test.c.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/testing.h"
#include "spool/log_testing.h"

/* --- failing disks and memory */

#define SCENE 14

struct scene {
    uint64_t ids[SCENE];
    bool there[SCENE], gone[SCENE];
};

/* Accepts, holds, removes; remembers what was acknowledged. Everything may fail, nothing may
 * lie. */
static void play(struct spool *s, struct scene *scene)
{
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US)};
    struct unit_change change = {0, {.status = UNIT_DONE, .reply = {"250 ok", 6}}};
    struct spool_claim claims[2];
    struct spool_loaded loaded;
    size_t n = 0;

    for (size_t i = 0; i < SCENE; i++) {
        size_t size = i == 5 ? SPOOL_BODY_MEMORY + 100 : 9000;
        struct spool_put *put =
            test_put(s, i, size, i % 3 ? SPOOL_ACTIVE : SPOOL_HELD, units, 1 + i % 2);

        if (put == NULL)
            continue;
        scene->ids[i] = s->ops->put_id(put);
        scene->there[i] = test_commit(s, &put, 1) == 0;
        if (i % 4 == 3 && scene->there[i]) {
            scene->there[i] = false;
            scene->gone[i] = erase(s, scene->ids[i]) == 0;
        }
    }
    if (s->ops->claim(s, START_US, 2, claims, &n) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        s->ops->update(s, claims[i].id, claims[i].lease, &change, 1, NULL, NULL);
        free(claims[i].units);
        if (s->ops->load(s, claims[i].id, &loaded) == 0)
            s->ops->loaded_free(&loaded);
        for (size_t k = 0; k < SCENE; k++) {
            if (scene->ids[k] == claims[i].id)
                scene->there[k] = false; /* delivered, in part or wholly: not asked for below */
        }
    }
}

static void check_scene(struct spool *s, const struct scene *scene, size_t n)
{
    for (size_t i = 0; i < SCENE; i++) {
        int rc = scene->ids[i] == 0 ? BARID_ENOTFOUND
                                    : test_verify(s, scene->ids[i], i,
                                                  i == 5 ? SPOOL_BODY_MEMORY + 100 : 9000);

        if (rc != 0 && rc != BARID_ENOTFOUND)
            fail_msg("n %zu: message %zu is not whole: %s", n, i, barid_strerror(rc));
        if (scene->there[i] && rc != 0)
            fail_msg("n %zu: message %zu was acknowledged and is lost", n, i);
        if (scene->gone[i] && rc == 0)
            fail_msg("n %zu: message %zu was removed and is back", n, i);
    }
}

static void with_failing_call(int errno_value)
{
    for (size_t n = 1;; n++) {
        struct spool_log_options options;
        struct scene scene = {0};
        struct spool *s;
        struct disk d;
        bool failed;

        disk_init(&d);
        d.fail_at = n;
        d.fail_with = errno_value;
        options = small(&d);
        if (spool_log_open(&s, &options, NULL) == 0) {
            play(s, &scene);
            s->ops->close(s);
        }
        failed = d.failed;
        d.fail_at = 0;
        s = open_on(&d);
        check_scene(s, &scene, n);
        s->ops->close(s);
        disk_deinit(&d);
        if (!failed)
            break;
    }
}

static void stands_an_error_at_every_call(void **state)
{
    (void)state;
    with_failing_call(EIO);
}

static void stands_a_full_disk_at_every_call(void **state)
{
    (void)state;
    with_failing_call(ENOSPC);
}

static void stands_failing_allocations(void **state)
{
    struct fail_mem mem = {.settle = 3}; /* threads make the count of a run differ a little */

    (void)state;
    while (fail_mem_next(&mem)) {
        struct spool_log_options options;
        struct scene scene = {0};
        struct spool *s;
        struct disk d;

        disk_init(&d);
        options = small(&d);
        options.mem = &mem.mem;
        if (spool_log_open(&s, &options, NULL) == 0) {
            play(s, &scene);
            check_scene(s, &(struct scene){0}, mem.fail_at);
            s->ops->close(s);
        }
        s = open_on(&d);
        check_scene(s, &scene, mem.fail_at);
        s->ops->close(s);
        disk_deinit(&d);
    }
    assert_true(mem.injected > 100);
}

static void says_why_it_closed(void **state)
{
    struct spool_stats stats;
    struct spool_claim claim;
    struct spool *s;
    struct disk d;
    uint64_t id;
    size_t n;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    id = test_accept(s, 1, 100, START_US);
    pthread_mutex_lock(&d.lock);
    d.stopped = true;
    pthread_mutex_unlock(&d.lock);
    assert_int_equal(erase(s, id), BARID_EIO);
    s->ops->stats(s, &stats);
    assert_true(stats.failed);
    assert_non_null(strstr(stats.failure, "Input/output error"));
    assert_int_equal(s->ops->admit(s, 0), BARID_EIO);
    assert_int_equal(s->ops->claim(s, START_US, 1, &claim, &n), BARID_EIO);
    assert_int_equal(s->ops->set_state(s, id, SPOOL_HELD, NULL, NULL), BARID_EIO);
    s->ops->close(s);
    disk_deinit(&d);
}

static int (*real_sync)(void *user, int fd);

static int big_sync_fails_once(void *user, int fd)
{
    static bool failed;
    struct disk *d = user;

    if (failed || strcmp(d->handles[fd].dir, "big") != 0)
        return real_sync(user, fd);
    failed = true;
    return -EIO;
}

/* After one sync of a directory failed the next one may lie about names that others wait for. */
static void a_directory_that_cannot_be_synced_closes_it(void **state)
{
    struct unit_state unit = test_unit(START_US);
    struct spool_stats stats;
    struct spool_put *put;
    struct spool *s;
    struct disk d;

    (void)state;
    disk_init(&d);
    real_sync = d.io.sync;
    d.io.sync = big_sync_fails_once;
    s = open_on(&d);
    for (size_t i = 0; i < 2; i++) {
        put = test_put(s, i, SPOOL_BODY_MEMORY + 5000, SPOOL_ACTIVE, &unit, 1);
        assert_int_equal(test_commit(s, &put, 1), BARID_EIO);
    }
    s->ops->stats(s, &stats);
    assert_true(stats.failed);
    assert_non_null(strstr(stats.failure, "large bodies"));
    s->ops->close(s);
    disk_deinit(&d);
}

/* The directory is a name in the one above, and that must be durable like all others. */
static void a_new_spool_outlives_the_first_power_cut(void **state)
{
    struct spool *s;
    struct disk d;
    uint64_t id;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    id = test_accept(s, 1, 100, START_US);
    s->ops->close(s);
    disk_cut_power(&d, DISK_LOSE, 1);
    s = open_on(&d);
    assert_int_equal(test_verify(s, id, 1, 100), 0);
    s->ops->close(s);
    disk_deinit(&d);
}

/* A start that died between making it and saying so leaves it to the next one. */
static void a_spool_made_by_halves_outlives_it_too(void **state)
{
    struct spool_log_options options;
    struct spool *s = NULL;
    struct disk d;
    uint64_t id;

    (void)state;
    disk_init(&d);
    options = small(&d);
    d.stop_at = 2; /* the directory is made, and no more */
    assert_int_not_equal(spool_log_open(&s, &options, NULL), 0);
    d.stop_at = 0;
    d.stopped = false; /* the process died, not the machine */
    s = open_on(&d);
    id = test_accept(s, 1, 100, START_US);
    s->ops->close(s);
    disk_cut_power(&d, DISK_LOSE, 1);
    s = open_on(&d);
    assert_int_equal(test_verify(s, id, 1, 100), 0);
    s->ops->close(s);
    disk_deinit(&d);
}

/* --- damage */

static void damage_is_set_aside(void **state)
{
    struct spool_stats stats;
    uint64_t ids[30];
    struct spool *s;
    struct disk d;
    uint8_t *content;
    const char *name;
    size_t size, lost = 0;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    for (size_t i = 0; i < 30; i++)
        ids[i] = test_accept(s, i, 3000, START_US);
    s->ops->close(s);
    assert_true(disk_unlink_matching(&d, ".idx") > 0);
    name = disk_name_at(&d, "seg/", ".log", 0);
    assert_non_null(name);
    content = disk_content(&d, name, &size);
    content[18000] ^= 1;
    s = open_on(&d);
    s->ops->stats(s, &stats);
    assert_int_equal(stats.damaged, 1);
    for (size_t i = 0; i < 30; i++) {
        int rc = test_verify(s, ids[i], i, 3000);

        assert_true(rc == 0 || rc == BARID_ENOTFOUND);
        lost += rc != 0;
    }
    assert_int_equal(lost, 1);
    assert_non_null(disk_name_at(&d, "damaged/", "", 0));
    s->ops->close(s);
    s = open_on(&d); /* told once */
    s->ops->stats(s, &stats);
    assert_int_equal(stats.damaged, 0);
    s->ops->close(s);
    disk_deinit(&d);
}

static void a_damaged_header_loses_nothing(void **state)
{
    struct spool *s;
    struct disk d;
    uint64_t id;
    size_t size;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    id = test_accept(s, 1, 3000, START_US);
    s->ops->close(s);
    memset(disk_content(&d, disk_name_at(&d, "seg/", ".log", 0), &size), 0xee, 4096);
    s = open_on(&d);
    assert_int_equal(test_verify(s, id, 1, 3000), 0);
    s->ops->close(s);
    disk_deinit(&d);
}

static void damage_found_while_reading_is_an_error(void **state)
{
    struct spool *s;
    struct disk d;
    uint64_t id, size;
    uint8_t *content;
    size_t n;
    void *body;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    id = test_accept(s, 1, 30000, START_US);
    content = disk_content(&d, disk_name_at(&d, "seg/", ".log", 0), &n);
    content[20000] ^= 1;
    assert_int_equal(s->ops->body_open(s, id, &body, &size), BARID_ECORRUPT);
    s->ops->close(s);
    disk_deinit(&d);
}

static void sidecars_are_not_needed(void **state)
{
    struct spool_message with[60], m;
    struct spool *s;
    struct disk d;
    size_t n = 0;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    for (size_t i = 0; i < 90; i++) {
        uint64_t id = test_accept(s, i, 3000, START_US + (int64_t)i);

        if (i % 3 == 0)
            assert_int_equal(erase(s, id), 0);
    }
    s->ops->close(s);
    assert_non_null(disk_name_at(&d, "seg/", ".idx", 0));
    s = open_on(&d);
    for (m.id = 0; s->ops->after(s, m.id, &m) == 0; n++)
        with[n] = m;
    assert_int_equal(n, 60);
    s->ops->close(s);
    disk_unlink_matching(&d, ".idx");
    s = open_on(&d);
    m.id = 0;
    for (size_t i = 0; i < 60; i++) {
        assert_int_equal(s->ops->after(s, m.id, &m), 0);
        assert_int_equal(m.id, with[i].id);
        assert_int_equal(m.next_due_us, with[i].next_due_us);
        assert_int_equal(m.size, with[i].size);
    }
    s->ops->close(s);
    disk_deinit(&d);
}

#define CHATTY 200 /* units whose replies together are longer than a segment */

static void say_much(struct spool *s, uint64_t id)
{
    static char replies[CHATTY][SPOOL_UNIT_REPLY_MAX];
    struct unit_change changes[CHATTY];
    struct waiter w;

    for (uint32_t i = 0; i < CHATTY; i++) {
        memset(replies[i], 'a' + (int)(i % 26), SPOOL_UNIT_REPLY_MAX);
        changes[i] = (struct unit_change){i, test_unit(START_US)};
        changes[i].state.status = i == 0 ? UNIT_PENDING : UNIT_DONE;
        changes[i].state.reply = (barid_slice){replies[i], SPOOL_UNIT_REPLY_MAX};
    }
    waiter_init(&w);
    assert_int_equal(s->ops->change(s, id, changes, CHATTY, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

/* Servers say what they like to each recipient: a record of states may be longer than a small segment. */
static void states_longer_than_a_segment_are_found(void **state)
{
    struct unit_state units[CHATTY];
    struct spool_loaded loaded;
    struct spool_put *put;
    struct spool *s;
    uint64_t id, other;
    struct disk d;

    (void)state;
    disk_init(&d);
    s = open_on(&d);
    for (size_t i = 0; i < CHATTY; i++)
        units[i] = test_unit(START_US);
    put = test_put(s, 1, 3000, SPOOL_ACTIVE, units, CHATTY);
    id = s->ops->put_id(put);
    assert_int_equal(test_commit(s, &put, 1), 0);
    say_much(s, id);
    for (int life = 0; life < 3; life++) {
        other = test_accept(s, 2, 3000, START_US);
        s->ops->close(s);
        disk_unlink_matching(&d, ".idx");
        s = open_on(&d);
        assert_int_equal(s->ops->load(s, id, &loaded), 0);
        for (size_t i = 0; i < CHATTY; i++) {
            assert_int_equal(loaded.units[i].status, i == 0 ? UNIT_PENDING : UNIT_DONE);
            assert_int_equal(loaded.units[i].reply.n, SPOOL_UNIT_REPLY_MAX);
        }
        s->ops->loaded_free(&loaded);
        assert_int_equal(test_verify(s, other, 2, 3000), 0);
    }
    s->ops->close(s);
    disk_deinit(&d);
}

/* --- owners, versions, other directories: on a real disk */

static int open_dir(const char *dir, bool read_only, struct spool **s, struct err *e)
{
    struct spool_log_options options = {.dir = dir,
                                        .segment_size = SEGMENT,
                                        .soft_free = 1,
                                        .hard_free = 1,
                                        .read_only = read_only};

    *e = (struct err){0};
    return spool_log_open(s, &options, e);
}

static void has_one_owner(void **state)
{
    char dir[TEST_DIR_SIZE], pid[32];
    struct spool *s, *other;
    struct err e;

    (void)state;
    test_dir_make(dir);
    assert_int_equal(open_dir(dir, false, &s, &e), 0);
    assert_int_equal(open_dir(dir, false, &other, &e), BARID_ELOCKED);
    snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    assert_non_null(strstr(e.text, pid));
    assert_int_equal(open_dir(dir, true, &other, &e), BARID_ELOCKED);
    s->ops->close(s);
    assert_int_equal(open_dir(dir, false, &s, &e), 0);
    s->ops->close(s);
    test_dir_remove(dir);
}

static void reads_without_changing(void **state)
{
    char dir[TEST_DIR_SIZE];
    struct spool_message m;
    struct spool_put *put;
    struct spool *s;
    struct err e;
    uint64_t id;

    (void)state;
    test_dir_make(dir);
    assert_int_equal(open_dir(dir, true, &s, &e), BARID_ENOTFOUND);
    assert_int_equal(open_dir(dir, false, &s, &e), 0);
    id = test_accept(s, 3, 500, START_US);
    s->ops->close(s);
    assert_int_equal(open_dir(dir, true, &s, &e), 0);
    assert_int_equal(s->ops->after(s, 0, &m), 0);
    assert_int_equal(m.id, id);
    assert_int_equal(test_verify(s, id, 3, 500), 0);
    assert_int_equal(s->ops->put_begin(s, &put), BARID_EUNSUPPORTED);
    assert_int_equal(s->ops->erase(s, id, NULL, NULL), BARID_EUNSUPPORTED);
    assert_int_equal(s->ops->admit(s, 0), BARID_EUNSUPPORTED);
    s->ops->close(s);
    test_dir_remove(dir);
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[TEST_DIR_SIZE + 32];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static bool exists(const char *dir, const char *name)
{
    char path[TEST_DIR_SIZE + 32];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return stat(path, &st) == 0;
}

static void refuses_what_is_not_its_own(void **state)
{
    char dir[TEST_DIR_SIZE];
    struct spool *s;
    struct err e;

    (void)state;
    test_dir_make(dir);
    write_file(dir, "letter", "dear");
    assert_int_equal(open_dir(dir, false, &s, &e), BARID_EINVALID);
    assert_non_null(strstr(e.text, "not a spool"));
    assert_false(exists(dir, "LOCK"));
    write_file(dir, "FORMAT", "barid-spool 2\nsomething new\n");
    assert_int_equal(open_dir(dir, false, &s, &e), BARID_EVERSION);
    assert_non_null(strstr(e.text, "newer version"));
    assert_false(exists(dir, "LOCK"));
    assert_false(exists(dir, "seg"));
    write_file(dir, "FORMAT", "barid-spool 1\nsegment-size 65536\nsum 00000000\n");
    assert_int_equal(open_dir(dir, false, &s, &e), BARID_ECORRUPT);
    write_file(dir, "FORMAT", "barid-spool 1\nnothing more\n");
    assert_int_equal(open_dir(dir, false, &s, &e), BARID_ECORRUPT);
    assert_non_null(strstr(e.text, "is damaged"));
    write_file(dir, "FORMAT", "another spool\n");
    assert_int_equal(open_dir(dir, false, &s, &e), BARID_EINVALID);
    assert_non_null(strstr(e.text, "is not that of a spool"));
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stands_an_error_at_every_call),
        cmocka_unit_test(stands_a_full_disk_at_every_call),
        cmocka_unit_test(stands_failing_allocations),
        cmocka_unit_test(says_why_it_closed),
        cmocka_unit_test(a_directory_that_cannot_be_synced_closes_it),
        cmocka_unit_test(a_new_spool_outlives_the_first_power_cut),
        cmocka_unit_test(a_spool_made_by_halves_outlives_it_too),
        cmocka_unit_test(damage_is_set_aside),
        cmocka_unit_test(a_damaged_header_loses_nothing),
        cmocka_unit_test(damage_found_while_reading_is_an_error),
        cmocka_unit_test(sidecars_are_not_needed),
        cmocka_unit_test(states_longer_than_a_segment_are_found),
        cmocka_unit_test(has_one_owner),
        cmocka_unit_test(reads_without_changing),
        cmocka_unit_test(refuses_what_is_not_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
