/* spool/disk_testing.c: see disk_testing.h. */
#include "spool/disk_testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

struct disk_file {
    struct disk_file *next;
    uint8_t *now, *lasting; /* of cap octets */
    bool *dirty;            /* by sector */
    size_t size, lasting_size, cap;
};

struct disk_name {
    char name[96];
    struct disk_file *file;
};

/* from is gone, to is there; one of them may be empty. */
struct disk_change {
    char from[96], to[96];
    struct disk_file *file;
};

static void *grow(void *p, size_t n)
{
    void *grown = realloc(p, n > 0 ? n : 1);

    if (grown == NULL)
        abort();
    return grown;
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
    return 0;
}

static void full_name(struct disk *d, int dir, const char *name, char *full)
{
    const char *prefix = dir == AT_FDCWD ? "" : d->handles[dir].dir;

    snprintf(full, 96, "%s%s%s", prefix, *prefix != '\0' ? "/" : "", name);
}

static size_t find(const struct disk_name *names, size_t n, const char *name)
{
    size_t i = 0;

    while (i < n && strcmp(names[i].name, name) != 0)
        i++;
    return i;
}

static void set_name(struct disk_name **names, size_t *n, const char *name,
                     struct disk_file *file)
{
    size_t i = find(*names, *n, name);

    if (i == *n) {
        *names = grow(*names, (*n + 1) * sizeof(**names));
        snprintf((*names)[(*n)++].name, sizeof((*names)[0].name), "%s", name);
    }
    (*names)[i].file = file;
}

static void drop_name(struct disk_name *names, size_t *n, const char *name)
{
    size_t i = find(names, *n, name);

    if (i < *n)
        memmove(&names[i], &names[i + 1], (--*n - i) * sizeof(*names));
}

static void note_change(struct disk *d, const char *from, const char *to,
                        struct disk_file *file)
{
    struct disk_change *c;

    d->changes = grow(d->changes, (d->n_changes + 1) * sizeof(*c));
    c = &d->changes[d->n_changes++];
    snprintf(c->from, sizeof(c->from), "%s", from);
    snprintf(c->to, sizeof(c->to), "%s", to);
    c->file = file;
}

static void apply_change(struct disk *d, const struct disk_change *c)
{
    if (c->from[0] != '\0')
        drop_name(d->lasting, &d->n_lasting, c->from);
    if (c->to[0] != '\0')
        set_name(&d->lasting, &d->n_lasting, c->to, c->file);
}

static bool in_dir(const struct disk_change *c, const char *dir)
{
    const char *name = c->to[0] != '\0' ? c->to : c->from;
    const char *slash = strrchr(name, '/');
    size_t n = slash != NULL ? (size_t)(slash - name) : 0;

    return strlen(dir) == n && strncmp(dir, name, n) == 0;
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

static struct disk_file *new_file(struct disk *d)
{
    struct disk_file *f = calloc(1, sizeof(*f));

    if (f == NULL)
        abort();
    f->next = d->files;
    d->files = f;
    return f;
}

static int disk_open(void *user, int dir, const char *name, int flags, int mode)
{
    struct disk *d = user;
    char full[96];
    size_t i;
    int rc = 0;

    (void)mode;
    pthread_mutex_lock(&d->lock);
    if ((flags & O_DIRECTORY) != 0) {
        rc = new_handle(d, NULL, dir == AT_FDCWD ? "" : name); /* the spool is the root */
        pthread_mutex_unlock(&d->lock);
        return rc;
    }
    full_name(d, dir, name, full);
    i = find(d->names, d->n_names, full);
    if (i == d->n_names && (flags & O_CREAT) == 0) {
        rc = -ENOENT;
    } else if (i == d->n_names && (rc = change(d)) == 0) {
        struct disk_file *f = new_file(d);

        set_name(&d->names, &d->n_names, full, f);
        note_change(d, "", full, f);
    } else if (rc == 0 && (flags & O_EXCL) != 0) {
        rc = -EEXIST;
    }
    if (rc == 0) {
        struct disk_file *f = d->names[find(d->names, d->n_names, full)].file;

        if ((flags & O_TRUNC) != 0)
            f->size = 0;
        rc = new_handle(d, f, "");
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

    pthread_mutex_lock(&d->lock);
    f = d->handles[fd].file;
    if (offset >= f->size)
        n = 0;
    else if (n > f->size - offset)
        n = (size_t)(f->size - offset);
    if (n > 0)
        memcpy(p, f->now + offset, n);
    pthread_mutex_unlock(&d->lock);
    return (int64_t)n;
}

static void reserve(struct disk_file *f, size_t size)
{
    size_t cap = f->cap;

    if (size <= cap)
        return;
    cap = (size + 65535) / 65536 * 65536;
    f->now = grow(f->now, cap);
    f->lasting = grow(f->lasting, cap);
    f->dirty = grow(f->dirty, cap / SECTOR);
    memset(f->now + f->cap, 0, cap - f->cap);
    memset(f->lasting + f->cap, 0, cap - f->cap);
    memset(f->dirty + f->cap / SECTOR, 0, (cap - f->cap) / SECTOR);
    f->cap = cap;
}

static void write_at(struct disk_file *f, const void *p, size_t n, uint64_t offset)
{
    if (n == 0)
        return;
    reserve(f, (size_t)offset + n);
    memcpy(f->now + offset, p, n);
    for (size_t s = (size_t)offset / SECTOR; s <= (offset + n - 1) / SECTOR; s++)
        f->dirty[s] = true;
    if (offset + n > f->size)
        f->size = (size_t)offset + n;
}

/* Writes short now and then: whoever calls must cope. */
static int64_t disk_write(void *user, int fd, const struct iovec *v, int n, uint64_t offset)
{
    struct disk *d = user;
    struct disk_file *f;
    uint64_t at = offset;
    int rc;

    pthread_mutex_lock(&d->lock);
    f = d->handles[fd].file;
    rc = change(d);
    for (int i = 0; i < n && rc == 0; i++) {
        size_t part = v[i].iov_len;

        if (i > 0 && d->n_calls % 7 == 0)
            break;
        if (part > 1 && i == 0 && d->n_calls % 11 == 0)
            part /= 2;
        write_at(f, v[i].iov_base, part, at);
        at += part;
        if (part < v[i].iov_len)
            break;
    }
    d->written += at - offset;
    pthread_mutex_unlock(&d->lock);
    return rc != 0 ? rc : (int64_t)(at - offset);
}

static void make_lasting(struct disk_file *f)
{
    if (f->size > 0)
        memcpy(f->lasting, f->now, f->size);
    if (f->cap > 0)
        memset(f->dirty, 0, f->cap / SECTOR);
    f->lasting_size = f->size;
}

static int disk_sync(void *user, int fd)
{
    struct disk *d = user;
    struct disk_handle *h = &d->handles[fd];
    size_t kept = 0;
    int rc;

    pthread_mutex_lock(&d->lock);
    rc = change(d);
    if (rc == 0 && h->file != NULL)
        make_lasting(h->file);
    if (rc == 0 && h->file == NULL) {
        for (size_t i = 0; i < d->n_changes; i++) {
            if (in_dir(&d->changes[i], h->dir))
                apply_change(d, &d->changes[i]);
            else
                d->changes[kept++] = d->changes[i];
        }
        d->n_changes = kept;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_rename(void *user, int dir, const char *from, const char *to)
{
    struct disk *d = user;
    char a[96], b[96];
    size_t i;
    int rc;

    pthread_mutex_lock(&d->lock);
    full_name(d, dir, from, a);
    full_name(d, dir, to, b);
    i = find(d->names, d->n_names, a);
    rc = i == d->n_names ? -ENOENT : change(d);
    if (rc == 0) {
        struct disk_file *f = d->names[i].file;

        drop_name(d->names, &d->n_names, a);
        set_name(&d->names, &d->n_names, b, f);
        note_change(d, a, b, f);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_unlink(void *user, int dir, const char *name)
{
    struct disk *d = user;
    char full[96];
    int rc;

    pthread_mutex_lock(&d->lock);
    full_name(d, dir, name, full);
    rc = find(d->names, d->n_names, full) == d->n_names ? -ENOENT : change(d);
    if (rc == 0) {
        d->used -= d->names[find(d->names, d->n_names, full)].file->size;
        drop_name(d->names, &d->n_names, full);
        note_change(d, full, "", NULL);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_mkdir(void *user, int dir, const char *name, int mode)
{
    (void)user;
    (void)dir;
    (void)name;
    (void)mode;
    return 0;
}

static int disk_allocate(void *user, int fd, uint64_t size)
{
    struct disk *d = user;
    int rc;

    pthread_mutex_lock(&d->lock);
    rc = change(d);
    if (rc == 0 && d->capacity != 0 && d->used + size > d->capacity)
        rc = -ENOSPC;
    if (rc == 0) {
        struct disk_file *f = d->handles[fd].file;

        reserve(f, (size_t)size);
        d->used += size - f->size;
        f->size = (size_t)size;
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

static int disk_truncate(void *user, int fd, uint64_t size)
{
    return disk_allocate(user, fd, size);
}

static int disk_size(void *user, int fd, uint64_t *size_r)
{
    struct disk *d = user;

    pthread_mutex_lock(&d->lock);
    *size_r = d->handles[fd].file->size;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int disk_free_space(void *user, int fd, uint64_t *free_r)
{
    struct disk *d = user;

    (void)fd;
    pthread_mutex_lock(&d->lock);
    *free_r = d->capacity == 0        ? UINT64_MAX / 2
              : d->capacity > d->used ? d->capacity - d->used
                                      : 0;
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int disk_lock(void *user, int fd)
{
    (void)user;
    (void)fd;
    return 0;
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
    struct disk_name *names;
    size_t n, prefix;

    pthread_mutex_lock(&d->lock);
    n = d->n_names;
    names = grow(NULL, n * sizeof(*names));
    if (n > 0)
        memcpy(names, d->names, n * sizeof(*names));
    pthread_mutex_unlock(&d->lock);
    prefix = strlen(d->handles[dir].dir);
    for (size_t i = 0; i < n; i++) {
        const char *rest = names[i].name + prefix + (prefix > 0);

        if (strncmp(names[i].name, d->handles[dir].dir, prefix) != 0 ||
            (prefix > 0 && names[i].name[prefix] != '/') || strchr(rest, '/') != NULL)
            continue;
        each(arg, rest);
    }
    free(names);
    return 0;
}

void disk_init(struct disk *d)
{
    *d = (struct disk){
        .io = {d, disk_open, disk_close, disk_read, disk_write, disk_sync, disk_sync,
               disk_rename, disk_unlink, disk_mkdir, disk_allocate, disk_truncate, disk_size,
               disk_free_space, disk_lock, disk_flush, disk_list},
    };
    pthread_mutex_init(&d->lock, NULL);
    rng_seeded_init(&d->rng, 1);
}

void disk_deinit(struct disk *d)
{
    struct disk_file *next;

    for (struct disk_file *f = d->files; f != NULL; f = next) {
        next = f->next;
        free(f->now);
        free(f->lasting);
        free(f->dirty);
        free(f);
    }
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

static bool keeps(struct disk *d, enum disk_fate fate)
{
    return fate == DISK_KEEP || (fate != DISK_LOSE && rng_u64(&d->rng.rng) % 2 == 0);
}

static void cut_file(struct disk *d, struct disk_file *f, enum disk_fate fate)
{
    /* The size comes with the last sector that is kept: what is cut off reads as nothing. */
    size_t size = fate == DISK_LOSE ? f->lasting_size : f->size;

    for (size_t s = 0; s * SECTOR < f->cap; s++) {
        uint8_t *from = f->now + s * SECTOR, *to = f->lasting + s * SECTOR;

        if (!f->dirty[s])
            continue;
        if (keeps(d, fate))
            memcpy(to, from, SECTOR);
        else if (fate == DISK_GARBLE && rng_u64(&d->rng.rng) % 2 == 0)
            rng_fill(&d->rng.rng, to, SECTOR);
    }
    if (f->cap > 0)
        memcpy(f->now, f->lasting, f->cap);
    if (f->cap > 0)
        memset(f->dirty, 0, f->cap / SECTOR);
    f->size = f->lasting_size = size;
}

void disk_cut_power(struct disk *d, enum disk_fate fate, uint64_t seed)
{
    pthread_mutex_lock(&d->lock);
    rng_seeded_init(&d->rng, seed);
    for (size_t i = 0; i < d->n_changes; i++) {
        if (keeps(d, fate))
            apply_change(d, &d->changes[i]);
    }
    d->n_changes = 0;
    d->names = grow(d->names, d->n_lasting * sizeof(*d->names));
    if (d->n_lasting > 0)
        memcpy(d->names, d->lasting, d->n_lasting * sizeof(*d->names));
    d->n_names = d->n_lasting;
    for (struct disk_file *f = d->files; f != NULL; f = f->next)
        cut_file(d, f, fate);
    for (size_t i = 0; i < 512; i++)
        d->handles[i].used = false;
    d->stopped = d->failed = false;
    d->stop_at = d->fail_at = 0;
    d->n_calls = 0;
    pthread_mutex_unlock(&d->lock);
}

uint8_t *disk_content(struct disk *d, const char *name, size_t *size_r)
{
    uint8_t *content = NULL;
    size_t i;

    pthread_mutex_lock(&d->lock);
    if ((i = find(d->names, d->n_names, name)) < d->n_names) {
        *size_r = d->names[i].file->size;
        content = d->names[i].file->now;
    }
    pthread_mutex_unlock(&d->lock);
    return content;
}

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), k = strlen(ending);

    return n >= k && strcmp(name + n - k, ending) == 0;
}

size_t disk_unlink_matching(struct disk *d, const char *ending)
{
    size_t n = 0;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; i < d->n_names;) {
        if (!ends_with(d->names[i].name, ending)) {
            i++;
            continue;
        }
        drop_name(d->lasting, &d->n_lasting, d->names[i].name);
        drop_name(d->names, &d->n_names, d->names[i].name);
        n++;
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

const char *disk_name_at(struct disk *d, const char *prefix, const char *ending, size_t k)
{
    const char *found = NULL;

    pthread_mutex_lock(&d->lock);
    for (size_t i = 0; found == NULL && i < d->n_names; i++) {
        const char *name = d->names[i].name;

        if (strncmp(name, prefix, strlen(prefix)) != 0 || !ends_with(name, ending) || k-- > 0)
            continue;
        snprintf(d->found, sizeof(d->found), "%s", name);
        found = d->found;
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}
