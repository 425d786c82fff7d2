/*
 * spool/log_segment.c: segments: the table of them, what is live in each, making one, and
 * sidecars. When one is freed is the keeper's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

struct log_segment *segment_at(const struct store *s, uint32_t slot)
{
    return s->segments[slot];
}

struct log_segment *segment_by_number(const struct store *s, uint64_t segno)
{
    for (uint32_t i = 1; i < s->n_slots; i++) {
        if (s->segments[i] != NULL && s->segments[i]->segno == segno)
            return s->segments[i];
    }
    return NULL;
}

void segment_name(uint64_t segno, const char *ending, char *name)
{
    snprintf(name, LOG_NAME_SIZE, "%016llx%s", (unsigned long long)segno, ending);
}

/* A free slot, from 1 on; 0 = no memory. */
static uint32_t free_slot(struct store *s)
{
    struct log_segment **grown;
    uint32_t cap;

    for (uint32_t i = 1; i < s->n_slots; i++) {
        if (s->segments[i] == NULL)
            return i;
    }
    if (s->n_slots + 1 >= s->cap_slots) {
        cap = s->cap_slots == 0 ? 64 : s->cap_slots * 2;
        if ((grown = mem_realloc(s->mem, s->segments, cap * sizeof(*grown))) == NULL)
            return 0;
        s->segments = grown;
        s->cap_slots = cap;
    }
    if (s->n_slots == 0)
        s->segments[s->n_slots++] = NULL;
    s->segments[s->n_slots] = NULL;
    return s->n_slots++;
}

int segment_new(struct store *s, uint64_t segno, uint32_t nonce, int fd,
                struct log_segment **seg_r)
{
    struct log_segment *seg = mem_zalloc(s->mem, sizeof(*seg));
    uint32_t slot = seg == NULL ? 0 : free_slot(s);

    if (slot == 0) {
        mem_free(s->mem, seg);
        return BARID_ENOMEM;
    }
    seg->slot = slot;
    seg->segno = segno;
    seg->nonce = nonce;
    seg->fd = fd;
    seg->end = LOG_BLOCK;
    s->segments[slot] = seg;
    s->stats.disk_bytes += s->options.segment_size;
    *seg_r = seg;
    return 0;
}

void segment_del(struct store *s, struct log_segment *seg)
{
    s->stats.live_bytes -= seg->live;
    s->stats.disk_bytes -= s->options.segment_size;
    s->segments[seg->slot] = NULL;
    s->io->close(s->io->user, seg->fd);
    mem_free(s->mem, seg->dels);
    mem_free(s->mem, seg->after);
    mem_free(s->mem, seg->rows);
    mem_free(s->mem, seg);
}

void segment_pin(struct log_segment *seg)
{
    seg->pins++;
}

void segment_unpin(struct store *s, struct log_segment *seg)
{
    if (--seg->pins == 0 && segment_free(s, seg))
        pthread_cond_signal(&s->keep);
}

void segment_live(struct store *s, struct log_segment *seg, uint64_t n)
{
    seg->live += n;
    s->stats.live_bytes += n;
}

void segment_dead(struct store *s, uint32_t slot, uint64_t n)
{
    struct log_segment *seg;

    if (slot == 0)
        return;
    seg = segment_at(s, slot);
    seg->live -= n;
    s->stats.live_bytes -= n;
    if (segment_free(s, seg))
        pthread_cond_signal(&s->keep);
    else
        clean_wake(s, seg);
}

bool segment_free(const struct store *s, const struct log_segment *seg)
{
    return seg->sealed && seg->live == 0 && seg->pins == 0 && seg->n_after == 0 &&
           !s->options.read_only;
}

/* --- DEL records, and what must be gone first */

static struct log_dels *find_dels(struct log_segment *seg, uint64_t target)
{
    for (size_t i = seg->n_dels; i-- > 0;) {
        if (seg->dels[i].target == target)
            return &seg->dels[i];
    }
    return NULL;
}

int segment_add_del(struct store *s, struct log_segment *seg, uint64_t target)
{
    struct log_dels *d = find_dels(seg, target);

    segment_live(s, seg, LOG_RECORD_SIZE);
    if (d == NULL) {
        d = mem_realloc(s->mem, seg->dels, (seg->n_dels + 1) * sizeof(*d));
        if (d == NULL)
            return BARID_ENOMEM; /* live for good, until it is scanned again: wasteful, never
                                    wrong */
        seg->dels = d;
        d = &seg->dels[seg->n_dels++];
        *d = (struct log_dels){.target = target};
    }
    d->count++;
    return 0;
}

static void take_dels(struct store *s, struct log_segment *seg, struct log_dels *d, uint32_t n)
{
    d->count -= n;
    if (d->count == 0)
        *d = seg->dels[--seg->n_dels];
    segment_dead(s, seg->slot, (uint64_t)n * LOG_RECORD_SIZE);
}

void segment_drop_del(struct store *s, struct log_segment *seg, uint64_t target)
{
    struct log_dels *d = find_dels(seg, target);

    if (d != NULL)
        take_dels(s, seg, d, 1);
}

void segment_add_after(struct store *s, struct log_segment *seg, uint64_t segno)
{
    uint64_t *grown;

    for (size_t i = 0; i < seg->n_after; i++) {
        if (seg->after[i] == segno)
            return;
    }
    grown = mem_realloc(s->mem, seg->after, (seg->n_after + 1) * sizeof(*grown));
    if (grown == NULL) {
        segment_live(s, seg,
                     1); /* cannot be remembered: keep the segment until the next start */
        return;
    }
    seg->after = grown;
    seg->after[seg->n_after++] = segno;
}

void segment_gone(struct store *s, uint64_t segno)
{
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        struct log_segment *seg = s->segments[slot];
        struct log_dels *d;

        if (seg == NULL)
            continue;
        for (size_t i = 0; i < seg->n_after; i++) {
            if (seg->after[i] == segno)
                seg->after[i--] = seg->after[--seg->n_after];
        }
        if ((d = find_dels(seg, segno)) != NULL)
            take_dels(s, seg, d, d->count);
        else if (segment_free(s, seg))
            pthread_cond_signal(&s->keep);
    }
}

void segment_add_row(struct store *s, struct log_segment *seg, uint32_t offset,
                     const struct log_record *r)
{
    if (seg->rows_lost)
        return;
    if (seg->n_rows == seg->cap_rows) {
        size_t cap = seg->cap_rows == 0 ? 256 : seg->cap_rows * 2;
        uint8_t *grown = mem_realloc(s->mem, seg->rows, cap * LOG_SIDECAR_ROW);

        if (grown == NULL) {
            mem_free(s->mem, seg->rows);
            seg->rows = NULL;
            seg->rows_lost = true; /* no sidecar: the next start scans this segment */
            return;
        }
        seg->rows = grown;
        seg->cap_rows = cap;
    }
    log_sidecar_row_encode(offset, r, seg->rows + seg->n_rows++ * LOG_SIDECAR_ROW);
}

int sidecar_write(struct store *s, struct log_segment *seg)
{
    struct log_sidecar_head head = {
        .segno = seg->segno,
        .nonce = seg->nonce,
        .rows = (uint32_t)seg->n_rows,
        .end = seg->end,
        .rows_crc = crc32c(0, seg->rows, seg->n_rows * LOG_SIDECAR_ROW),
    };
    uint8_t first[LOG_SIDECAR_HEAD];
    struct iovec v[2] = {{first, sizeof(first)}, {seg->rows, seg->n_rows * LOG_SIDECAR_ROW}};
    char name[LOG_NAME_SIZE];
    int fd, rc;

    segment_name(seg->segno, ".idx", name);
    log_sidecar_encode(&head, first);
    fd = s->io->open(s->io->user, s->seg_dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    rc = io_write_all(s->io, fd, v, 2, 0);
    s->io->close(s->io->user, fd);
    if (rc < 0)
        s->io->unlink(s->io->user, s->seg_dir, name);
    return rc;
}

/* --- making one */

static bool is_room(struct store *s)
{
    uint64_t space = 0;

    return s->io->free_space(s->io->user, s->seg_dir, &space) == 0 &&
           space >= s->options.segment_size &&
           space - s->options.segment_size >= s->options.hard_free;
}

/* A spare, as long as more than keep stay. False: there is none. */
static bool take_spare(struct store *s, uint32_t keep, uint64_t *number_r)
{
    bool have;

    pthread_mutex_lock(&s->lock);
    have = s->n_spares > keep;
    if (have)
        *number_r = s->spares[--s->n_spares];
    pthread_mutex_unlock(&s->lock);
    return have;
}

static int open_spare(struct store *s, uint64_t number, char *name)
{
    snprintf(name, LOG_NAME_SIZE, "spare.%016llx", (unsigned long long)number);
    return s->io->open(s->io->user, s->seg_dir, name, O_RDWR, 0600);
}

/* A new file with its space. The descriptor or -errno. */
static int create_file(struct store *s, char *name)
{
    int fd, rc;

    if (!is_room(s))
        return -ENOSPC;
    pthread_mutex_lock(&s->lock);
    snprintf(name, LOG_NAME_SIZE, "spare.%016llx", (unsigned long long)++s->spare_count);
    pthread_mutex_unlock(&s->lock);
    fd = s->io->open(s->io->user, s->seg_dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    rc = s->io->allocate(s->io->user, fd, s->options.segment_size);
    if (rc == -EOPNOTSUPP)
        rc = s->io->truncate(s->io->user, fd, s->options.segment_size);
    if (rc == 0)
        return fd;
    s->io->close(s->io->user, fd);
    s->io->unlink(s->io->user, s->seg_dir, name);
    return rc;
}

/* The file of a new segment: a spare under its old name, or a new file. The last spare is the
 * reserve: for DEL, STATE and the cleaner when nothing else is to be had, also when the file
 * system said that there is room and there is none (a quota). The descriptor or -errno. */
static int take_file(struct store *s, bool may_use_reserve, char *name, bool *reserve_r)
{
    uint64_t spare;
    int fd;

    *reserve_r = false;
    if (take_spare(s, 1, &spare))
        return open_spare(s, spare, name);
    fd = create_file(s, name);
    if (fd >= 0 || store_err(fd) != BARID_EFULL || !may_use_reserve ||
        !take_spare(s, 0, &spare))
        return fd;
    *reserve_r = true;
    return open_spare(s, spare, name);
}

/* Header, then its own name, each durable before the next: a file under a segment's name has
 * its header. */
static int give_life(struct store *s, int fd, const struct log_segment_header *h,
                     const char *old_name)
{
    uint8_t block[LOG_BLOCK];
    char name[LOG_NAME_SIZE];
    int rc;

    log_header_encode(h, block);
    segment_name(h->segno, ".log", name);
    rc = io_write_block(s->io, fd, block, sizeof(block), 0);
    if (rc >= 0)
        rc = s->io->sync(s->io->user, fd);
    if (rc >= 0)
        rc = s->io->rename(s->io->user, s->seg_dir, old_name, name);
    if (rc >= 0)
        rc = s->io->sync(s->io->user, s->seg_dir);
    return rc;
}

int segment_make(struct store *s, bool may_use_reserve, struct log_segment **seg_r)
{
    struct log_segment_header h = {.nonce = (uint32_t)rng_u64(&s->rng),
                                   .created_us = clock_wall_us(&s->clock)};
    char name[LOG_NAME_SIZE];
    bool reserve;
    int fd = take_file(s, may_use_reserve, name, &reserve), rc;

    if (fd < 0)
        return store_err(fd);
    pthread_mutex_lock(&s->lock);
    h.segno = ++s->last_segno;
    h.id_floor = s->last_id;
    pthread_mutex_unlock(&s->lock);
    if ((rc = give_life(s, fd, &h, name)) < 0) {
        s->io->close(s->io->user, fd);
        return BARID_EIO; /* not even for a full disk: the space was there */
    }
    pthread_mutex_lock(&s->lock);
    rc = segment_new(s, h.segno, h.nonce, fd, seg_r);
    if (rc == 0)
        (*seg_r)->reserve = reserve;
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        s->io->close(s->io->user, fd);
    return rc;
}
