/* spool/disk_change_testing.c: every change of the disk in memory, made or played again. */
#include "spool/disk_int_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *disk_grow(void *p, size_t n)
{
    void *grown = realloc(p, n > 0 ? n : 1);

    if (grown == NULL)
        abort();
    return grown;
}

struct disk_file *disk_new_file(struct disk *d)
{
    struct disk_file *f = calloc(1, sizeof(*f));

    if (f == NULL)
        abort();
    f->number = d->n_files;
    d->files = disk_grow(d->files, (d->n_files + 1) * sizeof(struct disk_file *));
    d->files[d->n_files++] = f;
    return f;
}

/* --- names */

size_t disk_find(const struct disk_name *names, size_t n, const char *name)
{
    size_t i = 0;

    while (i < n && strcmp(names[i].name, name) != 0)
        i++;
    return i;
}

void disk_set_name(struct disk_name **names, size_t *n, const char *name,
                   struct disk_file *file)
{
    size_t i = disk_find(*names, *n, name);

    if (i == *n) {
        *names = disk_grow(*names, (*n + 1) * sizeof(**names));
        snprintf((*names)[(*n)++].name, DISK_NAME, "%s", name);
    }
    (*names)[i].file = file;
}

void disk_drop_name(struct disk_name *names, size_t *n, const char *name)
{
    size_t i = disk_find(names, *n, name);

    if (i < *n)
        memmove(&names[i], &names[i + 1], (--*n - i) * sizeof(*names));
}

struct disk_file *disk_named(struct disk *d, const char *name)
{
    size_t i = disk_find(d->names, d->n_names, name);

    return i < d->n_names ? d->names[i].file : NULL;
}

static void note_change(struct disk *d, const char *from, const char *to,
                        struct disk_file *file)
{
    struct disk_change *c;

    d->changes = disk_grow(d->changes, (d->n_changes + 1) * sizeof(*c));
    c = &d->changes[d->n_changes++];
    snprintf(c->from, sizeof(c->from), "%s", from);
    snprintf(c->to, sizeof(c->to), "%s", to);
    c->file = file;
}

static bool in_dir(const struct disk_change *c, const char *dir)
{
    const char *name = c->to[0] != '\0' ? c->to : c->from;
    const char *slash = strrchr(name, '/');
    size_t n = slash != NULL ? (size_t)(slash - name) : 0;

    return strlen(dir) == n && strncmp(dir, name, n) == 0;
}

static void sync_dir(struct disk *d, const char *dir)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->n_changes; i++) {
        const struct disk_change *c = &d->changes[i];

        if (!in_dir(c, dir)) {
            d->changes[kept++] = *c;
            continue;
        }
        if (c->from[0] != '\0')
            disk_drop_name(d->lasting, &d->n_lasting, c->from);
        if (c->to[0] != '\0')
            disk_set_name(&d->lasting, &d->n_lasting, c->to, c->file);
    }
    d->n_changes = kept;
}

/* --- octets */

static void reserve(struct disk_file *f, size_t size)
{
    size_t cap = f->cap;

    if (f->borrowed && cap > 0) {
        uint8_t *whole = f->now;

        f->now = memcpy(disk_grow(NULL, cap), whole, cap);
        f->lasting = memcpy(disk_grow(NULL, cap), whole, cap);
        f->dirty = memset(disk_grow(NULL, cap / SECTOR), 0, cap / SECTOR);
    }
    f->borrowed = false;
    if (size <= cap)
        return;
    cap = (size + 65535) / 65536 * 65536;
    f->now = disk_grow(f->now, cap);
    f->lasting = disk_grow(f->lasting, cap);
    f->dirty = disk_grow(f->dirty, cap / SECTOR);
    memset(f->now + f->cap, 0, cap - f->cap);
    memset(f->lasting + f->cap, 0, cap - f->cap);
    memset(f->dirty + f->cap / SECTOR, 0, (cap - f->cap) / SECTOR);
    f->cap = cap;
}

static void set_size(struct disk *d, struct disk_file *f, size_t size)
{
    d->used = d->used + size - f->size;
    f->size = size;
}

static void write_at(struct disk *d, struct disk_file *f, const void *p, size_t n,
                     size_t offset)
{
    if (n == 0)
        return;
    reserve(f, offset + n);
    memcpy(f->now + offset, p, n);
    for (size_t s = offset / SECTOR; s <= (offset + n - 1) / SECTOR; s++)
        f->dirty[s] = true;
    f->unsynced = true;
    if (offset + n > f->size)
        set_size(d, f, offset + n);
    d->written += n;
}

static void empty(struct disk *d, struct disk_file *f)
{
    reserve(f, 0);
    if (f->size > 0)
        memset(f->now, 0, f->size);
    set_size(d, f, 0);
}

static void make_lasting(struct disk_file *f)
{
    f->lasting_size = f->size;
    if (!f->unsynced)
        return;
    for (size_t s = 0; s * SECTOR < f->size; s++) {
        if (f->dirty[s])
            memcpy(f->lasting + s * SECTOR, f->now + s * SECTOR, SECTOR);
    }
    memset(f->dirty, 0, f->cap / SECTOR);
    f->unsynced = false;
}

/* --- changes */

static void make(struct disk *d, const struct disk_event *e)
{
    struct disk_file *f = disk_new_file(d);

    f->is_dir = e->op == DISK_MKDIR;
    disk_set_name(&d->names, &d->n_names, e->to, f);
    note_change(d, "", e->to, f);
}

static void rename_to(struct disk *d, const struct disk_event *e)
{
    struct disk_file *f = disk_named(d, e->from);

    disk_drop_name(d->names, &d->n_names, e->from);
    disk_set_name(&d->names, &d->n_names, e->to, f);
    note_change(d, e->from, e->to, f);
}

static void remove_name(struct disk *d, const struct disk_event *e)
{
    d->used -= disk_named(d, e->from)->size;
    disk_drop_name(d->names, &d->n_names, e->from);
    note_change(d, e->from, "", NULL);
}

void disk_apply(struct disk *d, const struct disk_event *e)
{
    switch (e->op) {
    case DISK_MAKE:
    case DISK_MKDIR:
        make(d, e);
        break;
    case DISK_EMPTY:
        empty(d, d->files[e->file]);
        break;
    case DISK_WRITE:
        write_at(d, d->files[e->file], e->p, e->n, (size_t)e->offset);
        break;
    case DISK_SIZE:
        reserve(d->files[e->file], e->n);
        set_size(d, d->files[e->file], e->n);
        break;
    case DISK_SYNC:
        make_lasting(d->files[e->file]);
        break;
    case DISK_SYNC_DIR:
        sync_dir(d, e->to);
        break;
    case DISK_RENAME:
        rename_to(d, e);
        break;
    case DISK_UNLINK:
        remove_name(d, e);
        break;
    }
    if (d->record != NULL)
        d->record(d->record_user, e);
}

void disk_play(struct disk *d, const struct disk_event *e)
{
    pthread_mutex_lock(&d->lock);
    disk_apply(d, e);
    pthread_mutex_unlock(&d->lock);
}
