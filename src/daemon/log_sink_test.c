/* daemon/log_sink_test.c: lines arrive in order, a rotated file is opened again, a reader that does not read costs nobody time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/slice.h"
#include "daemon/log_sink.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/barid-log-XXXXXX");
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_dir(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/log", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/log.1", dir);
    unlink(path);
    snprintf(path, sizeof(path), "%s/fifo", dir);
    unlink(path);
    return rmdir(dir);
}

static size_t lines_of(const char *path)
{
    FILE *f = fopen(path, "r");
    size_t n = 0;
    int c;

    assert_non_null(f);
    while ((c = getc(f)) != EOF)
        n += c == '\n';
    fclose(f);
    return n;
}

static void lines_arrive_and_rotation_works(void **state)
{
    struct log_sink *s;
    struct err err = {0};
    char path[128], old[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(old, sizeof(old), "%s/log.1", dir);
    log_sink_new(&s, &clock_system);
    assert_int_equal(log_sink_start(s, &err), 0);
    assert_int_equal(log_sink_configure(s, path, true, LOG_LEVEL_INFO, &err), 0);
    for (int i = 0; i < 100; i++)
        log_record(log_sink_log(s), LOG_LEVEL_INFO, "test", "one", LOG_INT("i", i));
    log_record(log_sink_log(s), LOG_LEVEL_DEBUG, "test", "not wanted", LOG_INT("i", 0));
    log_sink_flush(s);
    assert_int_equal(lines_of(path), 100);
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(log_sink_reopen(s, &err), 0);
    log_write(log_sink_log(s), LOG_LEVEL_INFO, "test", "after", NULL);
    log_sink_del(&s);
    assert_int_equal(lines_of(path), 1);
    assert_int_equal(lines_of(old), 100);
}

static void a_file_that_cannot_be_opened_changes_nothing(void **state)
{
    struct log_sink *s;
    struct err err = {0};

    (void)state;
    log_sink_new(&s, &clock_system);
    assert_int_equal(log_sink_start(s, &err), 0);
    assert_int_equal(log_sink_configure(s, "/nonexistent/dir/log", false, LOG_LEVEL_INFO, &err), BARID_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/dir/log"));
    log_sink_del(&s);
}

static atomic_int reading;

static void *read_all(void *path)
{
    char piece[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    atomic_store(&reading, 1);
    while (fd >= 0 && read(fd, piece, sizeof(piece)) > 0)
        ;
    close(fd);
    return NULL;
}

static void a_stuck_reader_drops_records_and_counts_them(void **state)
{
    struct log_sink *s;
    struct err err = {0};
    char path[128], text[1024];
    pthread_t reader;
    int fd;

    (void)state;
    snprintf(path, sizeof(path), "%s/fifo", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    memset(text, 'x', sizeof(text));
    log_sink_new(&s, &clock_system);
    assert_int_equal(log_sink_start(s, &err), 0);
    assert_int_equal(log_sink_configure(s, path, false, LOG_LEVEL_INFO, &err), 0);
    /* Twice what the buffers and the pipe take. None of these calls may wait. */
    for (size_t i = 0; i < 4 * LOG_SINK_BUFFER / sizeof(text); i++)
        log_record(log_sink_log(s), LOG_LEVEL_INFO, "test", "flood", LOG_STR("x", slice_of(text, sizeof(text))));
    assert_true(log_sink_dropped(s) > 0);
    /* Somebody reads again: everything that was kept comes out, and the thread ends. */
    assert_int_equal(pthread_create(&reader, NULL, read_all, path), 0);
    while (atomic_load(&reading) == 0)
        sched_yield();
    close(fd);
    log_sink_del(&s);
    pthread_join(reader, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_arrive_and_rotation_works),
        cmocka_unit_test(a_file_that_cannot_be_opened_changes_nothing),
        cmocka_unit_test(a_stuck_reader_drops_records_and_counts_them),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
