/* history/history_test.c: what was noted is read back: over files, days, restarts, torn ends, a full disk; and what listeners hear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/testing.h"
#include "history/history_int.h"

#define DAY_MS (86400 * UINT64_C(1000))
#define START  1764400000000000 /* 2025-11-29 */

static char dir[64];
static struct clock_fake fake;

static int make_dir(void **state)
{
    (void)state;
    clock_fake_init(&fake, START);
    snprintf(dir, sizeof(dir), "/tmp/barid-history-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

/* Names of the files in there, in order; removes them when asked to. */
static size_t files(char names[][FILE_NAME_SIZE], size_t max, bool removing)
{
    struct history_file *list;
    char path[256];
    size_t n;
    int fd = open(dir, O_RDONLY | O_DIRECTORY);

    assert_int_equal(folder_list(fd, NULL, &list, &n), 0);
    close(fd);
    for (size_t i = 0; i < n; i++) {
        char name[FILE_NAME_SIZE];

        file_name(list[i], name);
        if (i < max)
            strcpy(names[i], name);
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        if (removing)
            unlink(path);
    }
    free(list);
    return n;
}

static int remove_dir(void **state)
{
    (void)state;
    files(NULL, 0, true);
    return rmdir(dir);
}

static struct history *open_it(const struct history_options *more)
{
    struct history_options o = more != NULL ? *more : (struct history_options){0};
    struct history *h;
    struct err err = {0};

    o.dir = dir;
    o.clock = &fake.clock;
    if (history_open(&h, &o, &err) < 0)
        fail_msg("%s", err.text);
    return h;
}

static void note(struct history *h, uint64_t id, enum history_kind kind, const char *text)
{
    history_note(h, &(struct history_entry){.kind = kind, .id = id, .text = slice_str(text)});
}

struct found {
    char text[65536]; /* "spooled:x delivered:y " */
    size_t n, enough;
};

static bool add_found(void *user, const struct history_entry *e)
{
    struct found *f = user;
    size_t used = strlen(f->text);

    f->n++;
    if (used < sizeof(f->text) - 128)
        snprintf(f->text + used, sizeof(f->text) - used, "%s:%.*s ", history_kind_name(e->kind),
                 (int)(e->text.n < 64 ? e->text.n : 64), e->text.p);
    return f->n != f->enough;
}

static struct found found;

static const char *story(struct history *h, uint64_t id)
{
    memset(&found, 0, sizeof(found));
    assert_int_equal(h->ops->read(h, id, add_found, &found), 0);
    return found.text;
}

static void test_read_back(void **state)
{
    struct history *h = open_it(NULL);
    struct history_stats st;

    (void)state;
    note(h, 7, HISTORY_SPOOLED, "a");
    note(h, 8, HISTORY_SPOOLED, "b");
    note(h, 7, HISTORY_DELIVERED, "c");
    note(h, 7, HISTORY_GONE, "");
    assert_string_equal(story(h, 7), "spooled:a delivered:c gone: ");
    assert_string_equal(story(h, 8), "spooled:b ");
    assert_string_equal(story(h, 9), "");
    found = (struct found){.enough = 2};
    assert_int_equal(h->ops->read(h, 7, add_found, &found), 0);
    assert_int_equal(found.n, 2);
    history_stats(h, &st);
    assert_true(st.noted == 4 && st.written == 4 && st.dropped == 0);
    history_close(&h);
    h = open_it(NULL); /* a restart: another file, the same story */
    note(h, 7, HISTORY_ERASED, "d");
    assert_string_equal(story(h, 7), "spooled:a delivered:c gone: erased:d ");
    assert_int_equal(files(NULL, 0, false), 2);
    history_close(&h);
}

static void test_reader_beside_a_writer(void **state)
{
    struct history *h = open_it(NULL),
                   *reader = open_it(&(struct history_options){.read_only = true});

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        note(h, 1 + i % 2, HISTORY_DEFERRED, "x");
        if (i % 20 == 0)
            history_flush(h);
        story(reader, 1);
        assert_true(found.n <= i / 2 + 1);
    }
    history_flush(h);
    story(reader, 1);
    assert_int_equal(found.n, 100);
    note(reader, 1, HISTORY_GONE, ""); /* nothing */
    story(reader, 1);
    assert_int_equal(found.n, 100);
    history_close(&reader);
    history_close(&h);
}

static void test_rotation_and_retention(void **state)
{
    struct history *h = open_it(&(struct history_options){.days = 2, .file_max = 200});
    char names[16][FILE_NAME_SIZE];

    (void)state;
    for (int i = 0; i < 9; i++) { /* three in a file */
        note(h, 1, HISTORY_DEFERRED, "0123456789012345678901234567890");
        history_flush(h);
    }
    assert_int_equal(files(names, 16, false), 3);
    assert_string_equal(names[0] + 11, "20251129.history");
    story(h, 1);
    assert_int_equal(found.n, 9);
    for (int i = 1; i <= 3;
         i++) { /* a file a day, and the first ones go when they are older than two days */
        clock_fake_advance(&fake, DAY_MS);
        note(h, 1, HISTORY_RELEASED, "");
        history_flush(h);
        assert_int_equal(files(names, 16, false), i < 3 ? 3 + i : 3);
    }
    assert_string_equal(story(h, 1), "released: released: released: ");
    history_close(&h);
    clock_fake_advance(&fake, 9 * DAY_MS);
    h = open_it(&(struct history_options){.days = 2}); /* a start cleans, too */
    assert_int_equal(files(names, 16, false), 0);
    history_close(&h);
}

static void test_files_max(void **state)
{
    struct history *h;
    char path[256];

    (void)state;
    for (uint32_t i = 1; i <= HISTORY_FILES_MAX + 10; i++) {
        char name[FILE_NAME_SIZE];

        file_name((struct history_file){i, 20251129}, name);
        snprintf(path, sizeof(path), "%s/%s", dir, name);
        close(open(path, O_WRONLY | O_CREAT, 0600));
    }
    h = open_it(NULL);
    assert_int_equal(files(NULL, 0, false), HISTORY_FILES_MAX);
    note(h, 1, HISTORY_GONE, "last");
    assert_string_equal(story(h, 1), "gone:last ");
    history_close(&h);
}

/* Every way a file can end too early: what is whole before is read, and the next start's entries, too. */
static void test_torn(void **state)
{
    char names[2][FILE_NAME_SIZE], path[256], content[512];
    struct history *h = open_it(NULL);
    size_t cuts = 0;
    ssize_t n;
    int fd;

    (void)state;
    note(h, 1, HISTORY_SPOOLED, "one");
    note(h, 1, HISTORY_HELD, "two");
    history_close(&h);
    assert_int_equal(files(names, 2, false), 1);
    snprintf(path, sizeof(path), "%s/%s", dir, names[0]);
    fd = open(path, O_RDONLY);
    n = read(fd, content, sizeof(content));
    close(fd);
    for (ssize_t cut = 0; cut <= n; cut++, cuts++) {
        bool garbage = cut % 2 == 1;

        files(NULL, 0, true);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, content, (size_t)cut), cut);
        if (garbage)
            assert_int_equal(write(fd, "\xff\0\0\0garbage", 11), 11);
        close(fd);
        h = open_it(NULL);
        note(h, 1, HISTORY_GONE, "three");
        story(h, 1);
        assert_int_equal(found.n, 1 + (cut >= (n - HEAD_SIZE) / 2 + HEAD_SIZE) + (cut == n));
        assert_non_null(strstr(found.text, "gone:three "));
        history_close(&h);
    }
    printf("# proof: torn history files: %zu ends, nothing whole is lost\n", cuts);
}

/* A file large enough for a filter is found by it, and found without it, too. */
static void test_filtered_file(void **state)
{
    struct history *h = open_it(NULL);
    char names[2][FILE_NAME_SIZE], path[256], *text = calloc(1, 1025);
    int fd;

    (void)state;
    memset(text, 'x', 1024);
    for (uint64_t i = 1; i <= 2000; i++) {
        note(h, i, HISTORY_SPOOLED, text);
        if (i % 500 == 0)
            history_flush(h);
    }
    history_close(&h);
    h = open_it(&(struct history_options){.read_only = true});
    story(h, 1500);
    assert_int_equal(found.n, 1);
    story(h, 2001);
    assert_int_equal(found.n, 0);
    assert_int_equal(files(names, 2, false), 1);
    snprintf(path, sizeof(path), "%s/%s", dir, names[0]);
    fd = open(path, O_RDWR);
    assert_true(lseek(fd, 0, SEEK_END) > 2000 * 1024 + (off_t)FILTER_SIZE);
    assert_int_equal(pwrite(fd, "XXXXXXXX", 8, 100),
                     8); /* damage in the first record: what is behind it cannot be found */
    story(h, 1500);
    assert_int_equal(found.n, 0);
    close(fd);
    history_close(&h);
    free(text);
}

/* More than the buffer holds while the thread cannot keep up: counted, said, and the rest is whole. */
static void test_dropped(void **state)
{
    struct log_history *log_h;
    struct log_memory log;
    struct history *h;
    struct history_stats st;
    char *text = malloc(HISTORY_TEXT_MAX + 1);

    (void)state;
    log_memory_init(&log);
    h = open_it(&(struct history_options){.log = &log.log});
    memset(text, 'x', HISTORY_TEXT_MAX);
    text[HISTORY_TEXT_MAX] = '\0';
    log_h = LIST_ENTRY(h, struct log_history, history);
    pthread_mutex_lock(
        &log_h
             ->feeds_lock); /* somebody listens, so the thread waits for the lock that we have */
    atomic_fetch_add(&log_h->n_feeds, 1);
    for (size_t i = 0; i < 3 * HISTORY_BUFFER_MAX / HISTORY_TEXT_MAX; i++)
        note(h, 1, HISTORY_DEFERRED, text);
    history_stats(h, &st);
    assert_true(st.dropped > 0);
    atomic_fetch_sub(&log_h->n_feeds, 1);
    pthread_mutex_unlock(&log_h->feeds_lock);
    history_flush(h);
    history_stats(h, &st);
    assert_int_equal(st.written + st.dropped, st.noted);
    story(h, 1);
    assert_int_equal(found.n, st.written);
    history_close(&h);
    assert_non_null(strstr(log.text.p, "dropped"));
    log_memory_deinit(&log);
    free(text);
}

/* No file may grow beyond n octets. */
static void limit_files(rlim_t n)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What cannot be written leaves no file: so many of them would push out those that tell something. */
static void test_full_disk(void **state)
{
    static const rlim_t room[] = {4, HEAD_SIZE, HEAD_SIZE + 20};
    struct history *h = open_it(NULL);
    struct history_stats st;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    note(h, 1, HISTORY_SPOOLED, "a");
    history_close(&h);
    h = open_it(NULL);
    for (size_t i = 0; i < 9; i++) {
        limit_files(room[i % 3]);
        note(h, 1, HISTORY_DEFERRED, "b");
        history_flush(h);
        limit_files(RLIM_INFINITY);
        assert_int_equal(files(NULL, 0, false), 1);
    }
    history_stats(h, &st);
    assert_int_equal(st.dropped, 9);
    note(h, 1, HISTORY_GONE, "c");
    assert_string_equal(story(h, 1), "spooled:a gone:c ");
    history_close(&h);
}

/* The directory goes away: entries are dropped and counted, and it goes on when it is back. */
static void test_no_directory(void **state)
{
    struct history *h = open_it(NULL);
    struct history_stats st;
    char moved[128];

    (void)state;
    snprintf(moved, sizeof(moved), "%s.x", dir);
    assert_int_equal(rmdir(dir), 0);
    note(h, 1, HISTORY_DEFERRED, "a");
    history_flush(h);
    history_stats(h, &st);
    assert_int_equal(st.dropped, 1);
    history_close(&h);
    assert_int_equal(
        history_open(&h, &(struct history_options){.dir = "/proc/barid/none"}, NULL),
        BARID_EIO);
    h = open_it(NULL); /* made again */
    history_close(&h);
}

/* --- listeners --------------------------------------------------------------------------------------- */

static void on_wake(void *user)
{
    sem_post(user);
}

static void test_feed(void **state)
{
    struct history *h = open_it(NULL), *none;
    struct history_feed *f, *more[HISTORY_FEEDS_MAX];
    struct history_entry e;
    sem_t woken;

    (void)state;
    sem_init(&woken, 0, 0);
    note(h, 1, HISTORY_SPOOLED, "before");
    history_flush(h);
    assert_int_equal(h->ops->feed_open(h, on_wake, &woken, &f), 0);
    assert_int_equal(h->ops->feed_next(f, &e), 0);
    note(h, 2, HISTORY_HELD, "a");
    note(h, 3, HISTORY_GONE, "b");
    sem_wait(&woken);
    history_flush(h);
    assert_int_equal(h->ops->feed_next(f, &e), 1);
    assert_true(e.id == 2 && e.kind == HISTORY_HELD && slice_eq(e.text, BARID_S("a")));
    assert_int_equal(h->ops->feed_next(f, &e), 1);
    assert_true(e.id == 3 && e.kind == HISTORY_GONE && e.time_us == fake.wall_us);
    assert_int_equal(h->ops->feed_next(f, &e), 0);
    for (size_t i = 0; i < HISTORY_FEEDS_MAX - 1; i++)
        assert_int_equal(h->ops->feed_open(h, on_wake, &woken, &more[i]), 0);
    assert_int_equal(h->ops->feed_open(h, on_wake, &woken, &more[HISTORY_FEEDS_MAX - 1]),
                     BARID_ELIMIT);
    for (size_t i = 0; i < HISTORY_FEEDS_MAX - 1; i++)
        h->ops->feed_close(&more[i]);
    h->ops->feed_close(&f);
    h->ops->feed_close(&f);
    history_close(&h);
    /* Without a directory there are listeners all the same. */
    assert_int_equal(history_open(&none, &(struct history_options){.clock = &fake.clock}, NULL),
                     0);
    assert_int_equal(none->ops->feed_open(none, on_wake, &woken, &f), 0);
    note(none, 4, HISTORY_GONE, "");
    assert_string_equal(story(none, 4), "");
    assert_int_equal(none->ops->feed_next(f, &e), 1);
    none->ops->feed_close(&f);
    history_close(&none);
    sem_destroy(&woken);
}

/* Who does not listen is cut off, gets what was there until then, and costs nobody else anything. */
static void test_slow_listener(void **state)
{
    struct history *h = open_it(NULL);
    struct history_feed *slow, *quick;
    struct history_entry e;
    char *text = calloc(1, 32769);
    size_t heard = 0, got = 0;
    sem_t woken;
    int rc;

    (void)state;
    sem_init(&woken, 0, 0);
    memset(text, 'x', 32768);
    assert_int_equal(h->ops->feed_open(h, on_wake, &woken, &slow), 0);
    assert_int_equal(h->ops->feed_open(h, on_wake, &woken, &quick), 0);
    for (size_t i = 0; i < 2 * HISTORY_FEED_MAX / 32768; i++) {
        note(h, i, HISTORY_DEFERRED, text);
        history_flush(h);
        while (h->ops->feed_next(quick, &e) == 1)
            heard++;
    }
    assert_int_equal(heard, 2 * HISTORY_FEED_MAX / 32768);
    while ((rc = h->ops->feed_next(slow, &e)) == 1)
        assert_int_equal(e.id, got++);
    assert_int_equal(rc, BARID_ELIMIT);
    assert_true(got > 20 && got < HISTORY_FEED_MAX / 32768 + 1);
    h->ops->feed_close(&slow);
    h->ops->feed_close(&quick);
    history_close(&h);
    sem_destroy(&woken);
    free(text);
}

static void test_no_memory(void **state)
{
    struct fail_mem mem = {0};

    (void)state;
    while (fail_mem_next(&mem)) {
        struct history_options o = {.dir = dir, .clock = &fake.clock, .mem = &mem.mem};
        struct history_feed *f = NULL;
        struct history *h;
        sem_t woken;
        int rc = history_open(&h, &o, NULL);

        if (rc < 0) {
            assert_true(rc == BARID_ENOMEM && h == NULL);
            continue;
        }
        sem_init(&woken, 0, 0);
        rc = h->ops->feed_open(h, on_wake, &woken, &f);
        assert_true(rc == 0 || (rc == BARID_ENOMEM && f == NULL));
        note(h, 1, HISTORY_SPOOLED, "a");
        found = (struct found){0};
        rc = h->ops->read(h, 1, add_found, &found);
        assert_true((rc == 0 && found.n >= 1) || mem.failed);
        h->ops->feed_close(&f);
        history_close(&h);
        sem_destroy(&woken);
        files(NULL, 0, true);
    }
    assert_true(mem.injected > 8);
    printf("# proof: history without memory: %zu allocations failed\n", mem.injected);
}

#define WITH_DIR(f) cmocka_unit_test_setup_teardown(f, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIR(test_read_back),
        WITH_DIR(test_reader_beside_a_writer),
        WITH_DIR(test_rotation_and_retention),
        WITH_DIR(test_files_max),
        WITH_DIR(test_torn),
        WITH_DIR(test_filtered_file),
        WITH_DIR(test_dropped),
        WITH_DIR(test_full_disk),
        WITH_DIR(test_no_directory),
        WITH_DIR(test_feed),
        WITH_DIR(test_slow_listener),
        WITH_DIR(test_no_memory),
    };

    return cmocka_run_group_tests_name("history", tests, NULL, NULL);
}
