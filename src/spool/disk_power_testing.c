/* spool/disk_power_testing.c: what a power cut leaves of the disk in memory, and what a test looks
 * at or damages. */
#include "spool/disk_int_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool coin(struct disk *d)
{
    return rng_u64(&d->rng.rng) % 2 == 0;
}

static bool keeps(struct disk *d, enum disk_fate fate)
{
    return fate == DISK_KEEP || (fate != DISK_LOSE && coin(d));
}

/* --- names */

/* A directory that is not there takes along what is in it. */
static void drop_orphans(struct disk_name *names, size_t *n)
{
    for (size_t i = 0; i < *n;) {
        char above[DISK_NAME];
        char *slash;

        snprintf(above, sizeof(above), "%s", names[i].name);
        if ((slash = strrchr(above, '/')) != NULL)
            *slash = '\0';
        if (slash == NULL)
            snprintf(above, sizeof(above), "../spool");
        if (strcmp(above, "..") == 0 || disk_find(names, *n, above) < *n) {
            i++;
            continue;
        }
        memmove(&names[i], &names[i + 1], (--*n - i) * sizeof(*names));
        i = 0;
    }
}

/* The names that are there afterwards, a list of its own. */
static struct disk_name *names_after(struct disk *d, enum disk_fate fate, size_t *n_r)
{
    struct disk_name *names = disk_grow(NULL, d->n_lasting * sizeof(*names));
    size_t n = d->n_lasting, first = d->n_changes;

    if (n > 0)
        memcpy(names, d->lasting, n * sizeof(*names));
    if (fate == DISK_LOSE)
        first = 0;
    if (fate == DISK_MIX)
        first = (size_t)(rng_u64(&d->rng.rng) % (d->n_changes + 1));
    for (size_t i = 0; i < first; i++) {
        const struct disk_change *c = &d->changes[i];

        if (fate == DISK_GARBLE && !coin(d))
            continue;
        if (c->from[0] != '\0')
            disk_drop_name(names, &n, c->from);
        if (c->to[0] != '\0')
            disk_set_name(&names, &n, c->to, c->file);
    }
    drop_orphans(names, &n);
    *n_r = n;
    return names;
}

/* --- sectors */

static bool is_dirty(const struct disk_file *f)
{
    return f->unsynced || f->size != f->lasting_size;
}

/* The sectors of f that a cut leaves; to holds the lasting ones. */
static void leave(struct disk *d, const struct disk_file *f, enum disk_fate fate, uint8_t *to)
{
    for (size_t s = 0; s * SECTOR < f->cap && f->unsynced; s++) {
        if (!f->dirty[s])
            continue;
        if (keeps(d, fate))
            memcpy(to + s * SECTOR, f->now + s * SECTOR, SECTOR);
        else if (fate == DISK_GARBLE && coin(d))
            rng_fill(&d->rng.rng, to + s * SECTOR, SECTOR);
    }
}

/* Its length, with or without the sectors: what is cut off reads as nothing. */
static size_t size_after(struct disk *d, const struct disk_file *f, enum disk_fate fate)
{
    return keeps(d, fate) ? f->size : f->lasting_size;
}

static void cut_file(struct disk *d, struct disk_file *f, enum disk_fate fate)
{
    if (!is_dirty(f))
        return;
    leave(d, f, fate, f->lasting);
    f->size = f->lasting_size = size_after(d, f, fate);
    if (f->cap > 0) {
        memset(f->lasting + f->size, 0, f->cap - f->size);
        memcpy(f->now, f->lasting, f->cap);
        memset(f->dirty, 0, f->cap / SECTOR);
    }
    f->unsynced = false;
}

static void count_used(struct disk *d)
{
    d->used = 0;
    for (size_t i = 0; i < d->n_names; i++)
        d->used += d->names[i].file->size;
}

static void start_again(struct disk *d)
{
    for (size_t i = 0; i < 512; i++)
        d->handles[i].used = false;
    d->stopped = d->failed = false;
    d->stop_at = d->fail_at = d->touch_fail_at = d->full_at = 0;
    d->n_calls = d->n_touches = d->n_writes = 0;
    count_used(d);
}

/* Both lists, the present and the lasting one, are this from now on. */
static void take_names(struct disk *d, struct disk_name *names, size_t n)
{
    free(d->names);
    d->names = names;
    d->n_names = d->n_lasting = n;
    d->lasting = disk_grow(d->lasting, n * sizeof(*names));
    if (n > 0)
        memcpy(d->lasting, names, n * sizeof(*names));
    d->n_changes = 0;
}

void disk_cut_power(struct disk *d, enum disk_fate fate, uint64_t seed)
{
    struct disk_name *names;
    size_t n;

    pthread_mutex_lock(&d->lock);
    rng_seeded_init(&d->rng, seed);
    names = names_after(d, fate, &n);
    take_names(d, names, n);
    for (size_t i = 0; i < d->n_files; i++)
        cut_file(d, d->files[i], fate);
    start_again(d);
    pthread_mutex_unlock(&d->lock);
}

static struct disk_file *image_file(struct disk *image, struct disk *d,
                                    const struct disk_file *f, enum disk_fate fate)
{
    struct disk_file *copy = disk_new_file(image);
    size_t number = copy->number;

    *copy = *f;
    copy->number = number;
    copy->dirty = NULL;
    copy->borrowed = true;
    copy->unsynced = false;
    if (!is_dirty(f)) {
        copy->now = copy->lasting;
        return copy;
    }
    copy->borrowed = false;
    copy->now = memcpy(disk_grow(NULL, f->cap), f->lasting, f->cap);
    leave(d, f, fate, copy->now);
    copy->size = copy->lasting_size = size_after(d, f, fate);
    memset(copy->now + copy->size, 0, f->cap - copy->size);
    copy->lasting = memcpy(disk_grow(NULL, f->cap), copy->now, f->cap);
    copy->dirty = memset(disk_grow(NULL, f->cap / SECTOR), 0, f->cap / SECTOR);
    return copy;
}

void disk_image(struct disk *image, struct disk *d, enum disk_fate sectors,
                enum disk_fate names, uint64_t seed)
{
    struct disk_name *after;
    size_t n;

    disk_init(image);
    pthread_mutex_lock(&d->lock);
    rng_seeded_init(&d->rng, seed);
    after = names_after(d, names, &n);
    for (size_t i = 0; i < n; i++)
        after[i].file = image_file(image, d, after[i].file, sectors);
    take_names(image, after, n);
    count_used(image);
    pthread_mutex_unlock(&d->lock);
}

void disk_unsynced(struct disk *d, bool *sectors_r, size_t *names_r)
{
    pthread_mutex_lock(&d->lock);
    *names_r = d->n_changes;
    *sectors_r = false;
    for (size_t i = 0; i < d->n_names && !*sectors_r; i++)
        *sectors_r = is_dirty(d->names[i].file);
    for (size_t i = 0; i < d->n_lasting && !*sectors_r; i++)
        *sectors_r = is_dirty(d->lasting[i].file);
    pthread_mutex_unlock(&d->lock);
}

/* --- for tests to look at */

uint8_t *disk_content(struct disk *d, const char *name, size_t *size_r)
{
    uint8_t *content = NULL;
    size_t i;

    pthread_mutex_lock(&d->lock);
    if ((i = disk_find(d->names, d->n_names, name)) < d->n_names) {
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
        disk_drop_name(d->lasting, &d->n_lasting, d->names[i].name);
        disk_drop_name(d->names, &d->n_names, d->names[i].name);
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
