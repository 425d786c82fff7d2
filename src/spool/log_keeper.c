/*
 * spool/log_keeper.c: the thread that has segments ready before they are needed and takes them
 * back when nothing in them lives: writes spares ahead, gives the next one its header, writes
 * sidecars, frees, removes files of dead bodies.
 *
 * Freeing is by steps: rename to spare, sync the directory, and only then are others told that
 * the segment is gone (its DEL records elsewhere may go, copies may be freed).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define WRITE_AHEAD (1u << 20) /* octets of zeros between two looks at what is wanted */
#define RETRY_S     1          /* a full disk is looked at again after that long */

static int write_zeros(struct store *s, int fd)
{
    uint64_t at = 0, size = s->options.segment_size;
    uint8_t *zeros = mem_zalloc(s->mem, size < WRITE_AHEAD ? (size_t)size : WRITE_AHEAD);
    bool urgent = false;
    int rc = zeros == NULL ? -ENOMEM : 0;

    while (rc >= 0 && at < size && !urgent) {
        size_t n = size - at < WRITE_AHEAD ? (size_t)(size - at) : WRITE_AHEAD;

        rc = io_write_block(s->io, fd, zeros, n, at);
        at += n;
        /* Not at the expense of those who wait for the same disk. */
        if (rc >= 0 && at % (8 * WRITE_AHEAD) == 0)
            rc = s->io->datasync(s->io->user, fd);
        pthread_mutex_lock(&s->lock);
        urgent = s->want_next == WANT_URGENT || s->closing;
        pthread_mutex_unlock(&s->lock);
    }
    mem_free(s->mem, zeros);
    return rc;
}

/* A spare from nothing: its blocks written once, so that the log later only overwrites. 0 or
 * -errno. */
static int make_spare(struct store *s, uint64_t number)
{
    char name[LOG_NAME_SIZE];
    uint64_t space = 0;
    int fd, rc;

    if (s->io->free_space(s->io->user, s->seg_dir, &space) < 0 ||
        space < s->options.segment_size ||
        space - s->options.segment_size < s->options.hard_free)
        return -ENOSPC;
    snprintf(name, sizeof(name), "spare.%016llx", (unsigned long long)number);
    fd = s->io->open(s->io->user, s->seg_dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0)
        return fd;
    rc = s->io->allocate(s->io->user, fd, s->options.segment_size);
    if (rc == -EOPNOTSUPP)
        rc = s->io->truncate(s->io->user, fd, s->options.segment_size);
    if (rc >= 0)
        rc = write_zeros(s, fd);
    if (rc >= 0)
        rc = s->io->sync(s->io->user, fd);
    s->io->close(s->io->user, fd);
    if (rc >= 0)
        rc = s->io->sync(s->io->user, s->seg_dir);
    else
        s->io->unlink(s->io->user, s->seg_dir, name);
    return rc;
}

/* There is room again: whoever was refused may try. Lock held. */
static void not_full(struct store *s)
{
    if (s->active != NULL && s->active->reserve && s->n_spares > 0)
        s->active->reserve = false;
    if (s->active == NULL || !s->active->reserve)
        s->full = false;
}

/* Lock held, given up meanwhile; true: something was done. */
static bool keep_spares(struct store *s, bool *no_room)
{
    uint64_t number;
    int rc;

    if (s->n_spares >= s->options.spares || *no_room || s->failed)
        return false;
    number = ++s->spare_count;
    pthread_mutex_unlock(&s->lock);
    rc = make_spare(s, number);
    pthread_mutex_lock(&s->lock);
    if (rc < 0) {
        *no_room = true; /* whatever it was: not again at once */
        return false;
    }
    s->spares[s->n_spares++] = number;
    not_full(s);
    return true;
}

static bool keep_next(struct store *s, const bool *no_room)
{
    bool urgent = s->want_next == WANT_URGENT, reserve = urgent && s->may_use_reserve;
    struct log_segment *seg = NULL;
    int rc;

    if (s->want_next == WANT_NONE || s->next != NULL || (!urgent && *no_room) || s->failed)
        return false;
    if (urgent && s->next_error != 0)
        return false;
    pthread_mutex_unlock(&s->lock);
    rc = segment_make(s, reserve, &seg);
    pthread_mutex_lock(&s->lock);
    s->next = seg;
    /* Who came meanwhile may have the reserve: what was found without it is no answer for him. */
    if (rc != 0 && !urgent && s->want_next == WANT_URGENT)
        return true;
    s->next_error = rc;
    if (rc == 0 && s->want_next == WANT_ANY)
        s->want_next = WANT_NONE;
    pthread_cond_signal(&s->ready);
    return rc == 0;
}

static bool keep_sidecars(struct store *s)
{
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        struct log_segment *seg = s->segments[slot];
        int rc = 0;

        if (seg == NULL || !seg->sealed || seg->sidecar || seg->live == 0)
            continue;
        segment_pin(seg);
        seg->sidecar = true;
        pthread_mutex_unlock(&s->lock);
        if (!seg->rows_lost)
            rc = sidecar_write(s, seg);
        pthread_mutex_lock(&s->lock);
        if (rc < 0)
            log_record(s->log, LOG_LEVEL_WARN, "spool",
                       "sidecar not written: the next start scans the segment",
                       LOG_INT("segment", seg->segno));
        mem_free(s->mem, seg->rows);
        seg->rows = NULL;
        seg->n_rows = seg->cap_rows = 0;
        segment_unpin(s, seg);
        return true;
    }
    return false;
}

/* Renamed (or, with enough of them, removed), not yet durably. Its slot stays for the while. */
static int put_away(struct store *s, uint64_t segno, uint64_t number, bool recycle)
{
    char from[LOG_NAME_SIZE], to[LOG_NAME_SIZE];

    segment_name(segno, ".idx", from);
    s->io->unlink(s->io->user, s->seg_dir, from);
    segment_name(segno, ".log", from);
    snprintf(to, sizeof(to), "spare.%016llx", (unsigned long long)number);
    if (recycle)
        return s->io->rename(s->io->user, s->seg_dir, from, to);
    return s->io->unlink(s->io->user, s->seg_dir, from);
}

static bool keep_free(struct store *s)
{
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        struct log_segment *seg = s->segments[slot];
        uint64_t segno, number;
        bool recycle;
        int rc;

        if (seg == NULL || !segment_free(s, seg) || s->failed)
            continue;
        recycle = s->n_spares < s->options.spares_max;
        number = recycle ? ++s->spare_count : 0;
        segno = seg->segno;
        segment_pin(seg); /* nobody else may find it free meanwhile */
        pthread_mutex_unlock(&s->lock);
        rc = put_away(s, segno, number, recycle);
        if (rc >= 0)
            rc = s->io->sync(s->io->user, s->seg_dir);
        pthread_mutex_lock(&s->lock);
        if (rc < 0) {
            store_fail(s, rc, "cannot free a segment");
            return false;
        }
        segment_del(s, seg);
        if (recycle)
            s->spares[s->n_spares++] = number;
        segment_gone(s, segno);
        not_full(s);
        return true;
    }
    return false;
}

static bool keep_files(struct store *s)
{
    struct log_body *body = s->dead_files;
    char name[LOG_NAME_SIZE];

    if (body == NULL)
        return false;
    s->dead_files = body->next_dead;
    pthread_mutex_unlock(&s->lock);
    segment_name(body->id, "", name);
    s->io->unlink(s->io->user, s->big_dir, name);
    mem_free(s->mem, body);
    pthread_mutex_lock(&s->lock);
    return true;
}

void *keeper_thread(void *store)
{
    struct store *s = store;
    bool no_room = false;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct timespec t;

        /* The reserve comes before all: without it a full spool could not drain. */
        if (s->n_spares == 0 && !s->committer_over && keep_spares(s, &no_room))
            continue;
        if (keep_free(s) || keep_next(s, &no_room) || keep_files(s) || keep_sidecars(s))
            continue;
        if (s->committer_over)
            break;
        if (keep_spares(s, &no_room))
            continue;
        if (!no_room) {
            pthread_cond_wait(&s->keep, &s->lock);
            continue;
        }
        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += RETRY_S;
        if (pthread_cond_timedwait(&s->keep, &s->lock, &t) == ETIMEDOUT) {
            no_room = false;
            not_full(s);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
