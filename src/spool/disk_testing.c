/* spool/disk_testing.c: the calls of the disk in memory; see disk_testing.h. */
#include "spool/disk_int_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the calls */

/* A call is about to be answered: 0, or why it fails. Lock held. */
static int touch(struct disk *d)
{
    if (++d->n_touches != d->touch_fail_at)
        return 0;
    d->failed = true;
    return -d->fail_with;
}

/* A change is about to be made: 0, or why not. Lock held. */
static int change(struct disk *d)
{
    if (d->stopped)
        return -EIO;
    d->n_calls++;
    if (d->stop_at != 0 && d->n_calls >= d->stop_at) {
        d->stopped = true;
        return -EIO;
    }
    if (d->fail_at == d->n_calls) {
        d->failed = true;
        return -d->fail_with;
    }
    return touch(d);
}

static bool is_full(const struct disk *d)
{
    return d->full_at != 0 && d->n_calls >= d->full_at;
}

/* How much more may be allocated. */
static uint64_t room(const struct disk *d)
{
    if (is_full(d))
        return 0;
    if (d->capacity == 0)
        return UINT64_MAX / 2;
    return d->capacity > d->used ? d->capacity - d->used : 0;
}

static void full_name(struct disk *d, int dir, const char *name, char *full)
{
    const char *prefix = dir == AT_FDCWD ? ".." : d->handles[dir].dir;

    snprintf(full, DISK_NAME, "%s%s%s", prefix, *prefix != '\0' ? "/" : "", name);
}

static int new_handle(struct disk *d, struct disk_file *file, const char *dir)
{
    for (int i = 3; i < 512; i++) {
        if (d->handles[i].used)
            continue;
        d->handles[i].used = true;
        d->handles[i].file = file;
        snprintf(d->handles[i].dir, sizeof(d->handles[i].dir), "%s", dir);
        return i;
    }
    return -EMFILE;
}

static int open_dir(struct disk *d, int dir, const char *name)
{
    char full[DISK_NAME];
    const struct disk_file *f;

    if (strcmp(name, "..") == 0)
        return new_handle(d, NULL, "..");
    full_name(d, dir, name, full);
    if ((f = disk_named(d, full)) == NULL)
        return -ENOENT;
    return f->is_dir ? new_handle(d, NULL, dir == AT_FDCWD ? "" : full) : -ENOTDIR;
}

static int open_file(struct disk *d, const char *full, int flags)
{
    struct disk_event e = {.op = DISK_MAKE};
    struct disk_file *f = disk_named(d, full);
    int rc = 0;

    if (f == NULL && (flags & O_CREAT) == 0)
        return -ENOENT;
    if (f != NULL && (flags & O_EXCL) != 0)
        return -EEXIST;
    if (f == NULL) {
        rc = change(d);
        if (rc == 0 && is_full(d))
            rc = -ENOSPC;
    } else {
        rc = touch(d);
    }
    if (rc == 0 && f == NULL) {
        snprintf(e.to, sizeof(e.to), "%s", full);
        disk_apply(d, &e);
        f = disk_named(d, full);
    }
    if (rc == 0 && (flags & O_TRUNC) != 0 && f->size > 0)
        disk_apply(d, &(struct disk_event){.op = DISK_EMPTY, .file = f->number});
    return rc == 0 ? new_handle(d, f, "") : rc;
}

static int disk_open(void *user, int dir, const char *name, int flags, int mode)
{
    struct disk *d = user;
    char full[DISK_NAME];
    int rc;

    (void)mode;
    pthread_mutex_lock(&d->lock);
    if ((flags & O_DIRECTORY) != 0) {
        if ((rc = touch(d)) == 0)
            rc = open_dir(d, dir, name);
    } else {
        full_name(d, dir, name, full);
        rc = open_file(d, full, flags);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static void disk_close(void *user, int fd)
{
    struct disk *d = user;

    pthread_mutex_lock(&d->lock);
    d->handles[fd].used = false;
    pthread_mutex_unlock(&d->lock);
}

static int64_t disk_read(void *user, int fd, void *p, size_t n, uint64_t offset)
{
    struct disk *d = user;
    const struct disk_file *f;
    int rc;

    pthread_mutex_lock(&d->lock);
    f = d->handles[fd].file;
    rc = touch(d);
    if (offset >= f->size)
        n = 0;
    else if (n > f->size - offset)
        n = (size_t)(f->size - offset);
    if (n > 0 && rc == 0)
        memcpy(p, f->now + offset, n);
    pthread_mutex_unlock(&d->lock);
    return rc != 0 ? rc : (int64_t)n;
}

/* How much of n octets this write takes: whoever calls must cope. */
static size_t shortened(struct disk *d, const struct iovec *v, size_t n)
{
    size_t to = n;

    d->n_writes++;
    if (d->short_every != 0 && d->n_writes % d->short_every == 0)
        to = d->short_to != 0 ? d->short_to : n / 2;
    else if (d->short_every == 0 && d->n_calls % 7 == 0)
        to = v[0].iov_len;
    else if (d->short_every == 0 && d->n_calls % 11 == 0)
        to = v[0].iov_len / 2;
    return to == 0 || to > n ? n : to;
}

/* A file that grows stops where the disk does. 0 or -ENOSPC. */
static int fit(struct disk *d, const struct disk_file *f, uint64_t offset, size_t *n)
{
    uint64_t end = f->size + room(d);

    if (offset + *n <= end)
        return 0;
    if (offset >= end)
        return -ENOSPC;
    *n = (size_t)(end - offset);
    return 0;
}

static int64_t disk_write(void *user, int fd, const struct iovec *v, int n, uint64_t offset)
{
    struct disk *d = user;
    struct disk_event e = {.op = DISK_WRITE, .offset = offset};
    uint8_t *whole;
    size_t size = 0;
    int rc;

    for (int i = 0; i < n; i++)
        size += v[i].iov_len;
    e.p = whole = disk_grow(NULL, size);
    for (int i = 0, at = 0; i < n; at += (int)v[i++].iov_len) {
        if (v[i].iov_len > 0)
            memcpy(whole + at, v[i].iov_base, v[i].iov_len);
    }
    pthread_mutex_lock(&d->lock);
    e.file = d->handles[fd].file->number;
    rc = change(d);
    e.n = shortened(d, v, size);
    if (rc == 0)
        rc = fit(d, d->files[e.file], offset, &e.n);
    if (rc == 0)
        disk_apply(d, &e);
    pthread_mutex_unlock(&d->lock);
    free(whole);
    return rc != 0 ? rc : (int64_t)e.n;
}

static int disk_sync(void *user, int fd)
{
    struct disk *d = user;
    struct disk_handle *h = &d->handles[fd];
    struct disk_event e = {.op = DISK_SYNC};
    int rc;

    pthread_mutex_lock(&d->lock);
    rc = change(d);
    if (h->file != NULL) {
        e.file = h->file->number;
    } else {
        e.op = DISK_SYNC_DIR;
        snprintf(e.to, sizeof(e.to), "%s", h->dir);
    }
    if (rc == 0)
        disk_apply(d, &e);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_rename(void *user, int dir, const char *from, const char *to)
{
    struct disk *d = user;
    struct disk_event e = {.op = DISK_RENAME};
    int rc;

    pthread_mutex_lock(&d->lock);
    full_name(d, dir, from, e.from);
    full_name(d, dir, to, e.to);
    rc = disk_named(d, e.from) == NULL ? -ENOENT : change(d);
    if (rc == 0)
        disk_apply(d, &e);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_unlink(void *user, int dir, const char *name)
{
    struct disk *d = user;
    struct disk_event e = {.op = DISK_UNLINK};
    int rc;

    pthread_mutex_lock(&d->lock);
    full_name(d, dir, name, e.from);
    rc = disk_named(d, e.from) == NULL ? -ENOENT : change(d);
    if (rc == 0)
        disk_apply(d, &e);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_mkdir(void *user, int dir, const char *name, int mode)
{
    struct disk *d = user;
    struct disk_event e = {.op = DISK_MKDIR};
    int rc;

    (void)mode;
    pthread_mutex_lock(&d->lock);
    full_name(d, dir, name, e.to);
    rc = disk_named(d, e.to) != NULL ? -EEXIST : change(d);
    if (rc == 0 && is_full(d))
        rc = -ENOSPC;
    if (rc == 0)
        disk_apply(d, &e);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_allocate(void *user, int fd, uint64_t size)
{
    struct disk *d = user;
    const struct disk_file *f;
    int rc;

    pthread_mutex_lock(&d->lock);
    f = d->handles[fd].file;
    rc = change(d);
    if (rc == 0 && size > f->size && size - f->size > room(d))
        rc = -ENOSPC;
    if (rc == 0)
        disk_apply(d,
                   &(struct disk_event){.op = DISK_SIZE, .file = f->number, .n = (size_t)size});
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_size(void *user, int fd, uint64_t *size_r)
{
    struct disk *d = user;
    int rc;

    pthread_mutex_lock(&d->lock);
    if ((rc = touch(d)) == 0)
        *size_r = d->handles[fd].file->size;
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_free_space(void *user, int fd, uint64_t *free_r)
{
    struct disk *d = user;
    int rc;

    (void)fd;
    pthread_mutex_lock(&d->lock);
    if ((rc = touch(d)) == 0)
        *free_r = d->hides_full ? UINT64_MAX / 2 : room(d);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_lock(void *user, int fd)
{
    struct disk *d = user;
    int rc;

    (void)fd;
    pthread_mutex_lock(&d->lock);
    rc = touch(d);
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_flush(void *user, int fd, uint64_t offset, uint64_t n)
{
    (void)user;
    (void)fd;
    (void)offset;
    (void)n;
    return 0;
}

static int disk_list(void *user, int dir, void (*each)(void *arg, const char *name), void *arg)
{
    struct disk *d = user;
    const char *prefix = d->handles[dir].dir;
    struct disk_name *names;
    size_t n, skip = strlen(prefix) + (*prefix != '\0');
    int rc;

    pthread_mutex_lock(&d->lock);
    n = d->n_names;
    names = disk_grow(NULL, n * sizeof(*names));
    if (n > 0)
        memcpy(names, d->names, n * sizeof(*names));
    rc = touch(d);
    pthread_mutex_unlock(&d->lock);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const char *name = names[i].name;

        if (strncmp(name, prefix, strlen(prefix)) != 0 || strncmp(name, "..", 2) == 0 ||
            (skip > 0 && (strlen(name) <= skip || name[skip - 1] != '/')) ||
            strchr(name + skip, '/') != NULL)
            continue;
        each(arg, name + skip);
    }
    free(names);
    return rc;
}

void disk_init(struct disk *d)
{
    *d = (struct disk){
        .io = {d, disk_open, disk_close, disk_read, disk_write, disk_sync, disk_sync,
               disk_rename, disk_unlink, disk_mkdir, disk_allocate, disk_allocate, disk_size,
               disk_free_space, disk_lock, disk_flush, disk_list},
    };
    pthread_mutex_init(&d->lock, NULL);
    rng_seeded_init(&d->rng, 1);
}

void disk_deinit(struct disk *d)
{
    for (size_t i = 0; i < d->n_files; i++) {
        struct disk_file *f = d->files[i];

        if (!f->borrowed) {
            free(f->now);
            free(f->lasting);
        }
        free(f->dirty);
        free(f);
    }
    free(d->files);
    free(d->names);
    free(d->lasting);
    free(d->changes);
    pthread_mutex_destroy(&d->lock);
}

bool disk_stopped(struct disk *d)
{
    bool stopped;

    pthread_mutex_lock(&d->lock);
    stopped = d->stopped;
    pthread_mutex_unlock(&d->lock);
    return stopped;
}
