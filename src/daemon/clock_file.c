/*
 * daemon/clock_file.c: a test moves time by writing an offset into a mapped file.
 *
 * The monotonic clock never goes back: a smaller offset than one seen before counts as that one.
 */
#include "daemon/clock_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define LOOK_EVERY_NS 2000000 /* of real time: a test that moved the clock waits for this long at most */

struct clock_file {
    struct clock clock;
    const _Atomic int64_t *offset_ms; /* mapped */
    _Atomic int64_t largest_ms;
    int64_t first; /* when the watch began */
    pthread_t thread;
    bool watching;
    atomic_bool stop;
    void (*changed)(void *user);
    void *user;
};

static int64_t wall_us(void *user)
{
    struct clock_file *c = user;

    return clock_wall_us(&clock_system) + atomic_load(c->offset_ms) * 1000;
}

static uint64_t mono_ms(void *user)
{
    struct clock_file *c = user;
    int64_t offset = atomic_load(c->offset_ms), largest = atomic_load(&c->largest_ms);

    while (offset > largest && !atomic_compare_exchange_weak(&c->largest_ms, &largest, offset))
        ;
    return clock_mono_ms(&clock_system) + (uint64_t)(offset > largest ? offset : largest);
}

int clock_file_new(struct clock_file **c_r, const char *file, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *map = MAP_FAILED;

    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "clock file %s", file);
    if (fstat(fd, &st) == 0 && st.st_size == sizeof(int64_t))
        map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        return err_set(err, BARID_EIO, "clock file %s: must hold exactly 8 octets", file);
    struct clock_file *c = xalloc(sizeof(*c));
    c->clock = (struct clock){.wall_us = wall_us, .mono_ms = mono_ms, .user = c};
    c->offset_ms = map;
    *c_r = c;
    return 0;
}

const struct clock *clock_file_clock(struct clock_file *c)
{
    return &c->clock;
}

static void *watch_thread(void *user)
{
    struct clock_file *c = user;
    int64_t seen = c->first;

    while (!atomic_load(&c->stop)) {
        int64_t now = atomic_load(c->offset_ms);

        if (now != seen) {
            seen = now;
            c->changed(c->user);
        }
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_NS}, NULL);
    }
    return NULL;
}

int clock_file_watch(struct clock_file *c, void (*changed)(void *user), void *user, struct err *err)
{
    int rc;

    c->changed = changed;
    c->user = user;
    c->first = atomic_load(c->offset_ms);
    rc = pthread_create(&c->thread, NULL, watch_thread, c);
    if (rc != 0)
        return err_errno(err, BARID_EIO, rc, "cannot start the clock thread");
    c->watching = true;
    return 0;
}

void clock_file_unwatch(struct clock_file *c)
{
    if (!c->watching)
        return;
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    c->watching = false;
}

void clock_file_del(struct clock_file **c_p)
{
    struct clock_file *c = *c_p;

    *c_p = NULL;
    if (c == NULL)
        return;
    clock_file_unwatch(c);
    munmap((void *)(uintptr_t)c->offset_ms, sizeof(int64_t));
    mem_free(NULL, c);
}
