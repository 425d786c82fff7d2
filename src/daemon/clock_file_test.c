/* daemon/clock_file_test.c: a file moves the clocks, and its watcher is told. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/clock_file.h"

static void set(int fd, int64_t ms)
{
    assert_int_equal(pwrite(fd, &ms, sizeof(ms), 0), sizeof(ms));
}

static void on_changed(void *user)
{
    sem_post(user);
}

static void offsets_move_both_clocks(void **state)
{
    char path[] = "/tmp/barid-clock-XXXXXX", other[64];
    int fd = mkstemp(path);
    struct clock_file *c;
    struct err err = {0};
    sem_t changed;

    (void)state;
    assert_true(fd >= 0);
    sem_init(&changed, 0, 0);
    set(fd, 0);
    assert_int_equal(clock_file_new(&c, path, &err), 0);
    assert_int_equal(clock_file_watch(c, on_changed, &changed, &err), 0);
    uint64_t mono = clock_mono_ms(clock_file_clock(c));
    int64_t wall = clock_wall_us(clock_file_clock(c));
    set(fd, 3600000);
    sem_wait(&changed);
    assert_true(clock_mono_ms(clock_file_clock(c)) >= mono + 3600000);
    assert_true(clock_wall_us(clock_file_clock(c)) >= wall + INT64_C(3600000000));
    uint64_t later = clock_mono_ms(clock_file_clock(c));
    set(fd, 0); /* the wall clock may go back, the other never */
    sem_wait(&changed);
    assert_true(clock_mono_ms(clock_file_clock(c)) >= later);
    assert_true(clock_wall_us(clock_file_clock(c)) < wall + INT64_C(3600000000));
    snprintf(other, sizeof(other), "%s.new", path); /* replaced by another file */
    int fd2 = open(other, O_WRONLY | O_CREAT | O_EXCL, 0600);
    set(fd2, 7200000);
    assert_int_equal(rename(other, path), 0);
    sem_wait(&changed);
    assert_true(clock_wall_us(clock_file_clock(c)) >= wall + INT64_C(7200000000));
    clock_file_del(&c);
    sem_destroy(&changed);
    close(fd);
    close(fd2);
    unlink(path);
}

static void a_file_of_another_size_is_refused(void **state)
{
    char path[] = "/tmp/barid-clock-XXXXXX";
    int fd = mkstemp(path);
    struct clock_file *c = NULL;
    struct err err = {0};

    (void)state;
    assert_int_equal(clock_file_new(&c, path, &err), BARID_EIO);
    unlink(path);
    assert_int_equal(clock_file_new(&c, path, &err), BARID_EIO);
    assert_null(c);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_move_both_clocks),
        cmocka_unit_test(a_file_of_another_size_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
