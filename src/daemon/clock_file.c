/*
 * daemon/clock_file.c: a test moves time by writing an offset into a mapped file.
 *
 * The monotonic clock never goes back: it takes every step forward, and none back.
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
#include "base/slice.h"

#define LOOK_EVERY_NS 2000000 /* of real time: a test that moved the clock waits for this long at most */

struct clock_file {
    struct clock clock;
    char *file;
    dev_t dev;
    ino_t ino;
    _Atomic(const _Atomic int64_t *) offset_ms; /* mapped */
    pthread_mutex_t lock; /* of the next two */
    int64_t seen_ms, forward_ms; /* the offset last seen; all steps forward so far */
    int64_t first; /* when the watch began */
    pthread_t thread;
    bool watching;
    atomic_bool stop;
    void (*changed)(void *user);
    void *user;
};

static int64_t offset(struct clock_file *c)
{
    return atomic_load(atomic_load(&c->offset_ms));
}

static int64_t wall_us(void *user)
{
    struct clock_file *c = user;

    return clock_wall_us(&clock_system) + offset(c) * 1000;
}

static uint64_t mono_ms(void *user)
{
    struct clock_file *c = user;
    int64_t ms, forward_ms;

    pthread_mutex_lock(&c->lock);
    ms = offset(c);
    if (ms > c->seen_ms)
        c->forward_ms += ms - c->seen_ms;
    c->seen_ms = ms;
    forward_ms = c->forward_ms;
    pthread_mutex_unlock(&c->lock);
    return clock_mono_ms(&clock_system) + (uint64_t)forward_ms;
}

static const _Atomic int64_t *map_file(const char *file, struct stat *st, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    void *map = MAP_FAILED;

    if (fd < 0) {
        err_errno(err, BARID_EIO, errno, "clock file %s", file);
        return NULL;
    }
    if (fstat(fd, st) == 0 && st->st_size == sizeof(int64_t))
        map = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED)
        err_set(err, BARID_EIO, "clock file %s: must hold exactly 8 octets", file);
    return map != MAP_FAILED ? map : NULL;
}

int clock_file_new(struct clock_file **c_r, const char *file, struct err *err)
{
    const _Atomic int64_t *map;
    struct stat st;

    map = map_file(file, &st, err);
    if (map == NULL)
        return BARID_EIO;
    struct clock_file *c = xalloc(sizeof(*c));
    c->clock = (struct clock){.wall_us = wall_us, .mono_ms = mono_ms, .user = c};
    c->file = xstrdup(slice_str(file));
    c->dev = st.st_dev;
    c->ino = st.st_ino;
    atomic_init(&c->offset_ms, map);
    pthread_mutex_init(&c->lock, NULL);
    *c_r = c;
    return 0;
}

const struct clock *clock_file_clock(struct clock_file *c)
{
    return &c->clock;
}

/* The file may be replaced by a new one, too. The old mapping stays: another thread may be reading it. */
static void follow_file(struct clock_file *c)
{
    const _Atomic int64_t *map;
    struct stat st;

    if (stat(c->file, &st) != 0 || (st.st_dev == c->dev && st.st_ino == c->ino))
        return;
    map = map_file(c->file, &st, NULL);
    if (map == NULL)
        return;
    c->dev = st.st_dev;
    c->ino = st.st_ino;
    atomic_store(&c->offset_ms, map);
}

static void *watch_thread(void *user)
{
    struct clock_file *c = user;
    int64_t seen = c->first;

    while (!atomic_load(&c->stop)) {
        follow_file(c);
        int64_t now = offset(c);
        if (now != seen) {
            seen = now;
            mono_ms(c); /* no step is missed */
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
    c->first = offset(c);
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
    munmap((void *)(uintptr_t)atomic_load(&c->offset_ms), sizeof(int64_t));
    pthread_mutex_destroy(&c->lock);
    mem_free(NULL, c->file);
    mem_free(NULL, c);
}
