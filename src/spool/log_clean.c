/*
 * spool/log_clean.c: the cleaner: makes room by copying what lives in the emptiest segment to
 * the head of the log, in ordinary batches, a piece at a time. Not oldest first: a little mail
 * that is nearly immortal would be copied again and again.
 */
#include <string.h>

#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define PIECE (1u << 20) /* octets copied between two waits for the disk: mail comes first */

/* Copies on their way; each counts itself off. */
struct copying {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t left;
    int err;
};

static void copied(void *user, int err)
{
    struct copying *c = user;

    pthread_mutex_lock(&c->lock);
    c->left--;
    if (err != 0)
        c->err = err;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

static int wait_copied(struct copying *c)
{
    int err;

    pthread_mutex_lock(&c->lock);
    while (c->left > 0)
        pthread_cond_wait(&c->cond, &c->lock);
    err = c->err;
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* Whether the index still needs this record; its place for those that have one. Lock held. */
static bool lives(struct store *s, const struct log_segment *seg, uint32_t off,
                  const struct log_record *r, uint32_t *place_r)
{
    barid_slice key = {(const char *)&r->id, sizeof(r->id)};
    const struct log_body *body;
    const struct log_entry *e;

    *place_r = 0;
    if (r->type == LOG_BODY) {
        body = map_get(&s->bodies, key);
        return body != NULL && !body->big && body->seg == seg->slot && body->off == off;
    }
    if (r->type == LOG_DEL)
        return r->body_len != seg->segno && segment_by_number(s, r->body_len) != NULL;
    if (r->type == LOG_OPEN || (*place_r = index_find(&s->index, r->id)) == 0)
        return false;
    e = index_entry(&s->index, *place_r);
    if ((e->flags & ENTRY_GONE) != 0)
        return false;
    if (r->type == LOG_PUT)
        return e->put_seg == seg->slot && e->put_off == off;
    return e->state_seg == seg->slot && e->state_off == off;
}

/* Queues the copy of one record. 0 (also when it is not wanted), or an error that ends the
 * cleaning. */
static int copy_record(struct store *s, struct log_segment *seg, uint32_t off, size_t length,
                       const struct log_record *r, const uint8_t *octets, struct copying *c)
{
    struct log_piece *piece;
    struct log_op *op;
    bool live;
    int rc = op_new(s, LOG_OP_COPY, 1, copied, c, &op);

    if (rc != 0)
        return rc;
    piece = &op->pieces[0];
    piece->rec = *r;
    piece->rec.flags |= LOG_COPIED;
    piece->rec.group_left = 0;
    piece->length = op->length = length;
    piece->n_units = length - LOG_RECORD_SIZE;
    if (piece->n_units > 0 && (piece->units = mem_alloc(s->mem, piece->n_units)) == NULL) {
        op_del(s, op);
        return BARID_ENOMEM;
    }
    if (piece->n_units > 0)
        memcpy(piece->units, octets + LOG_RECORD_SIZE, piece->n_units);
    op->old_seg = seg->slot;
    op->old_off = off;
    pthread_mutex_lock(&s->lock);
    rc = s->failed || s->closing ? BARID_ECLOSED : 0;
    live = rc == 0 && lives(s, seg, off, r, &op->place);
    if (live) {
        pthread_mutex_lock(&c->lock);
        c->left++;
        pthread_mutex_unlock(&c->lock);
        op_enqueue(s, op, true);
        commit_resume(s);
    }
    pthread_mutex_unlock(&s->lock);
    if (!live)
        op_del(s, op);
    return rc;
}

static int copy_all(struct store *s, struct log_segment *seg, const uint8_t *octets, size_t n)
{
    struct copying c = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0};
    struct log_scan scan;
    struct log_record r;
    size_t off, length, since = 0;
    enum log_found found;
    int rc = 0, err;

    log_scan_init(&scan, octets, n, seg->nonce, seg->end);
    while (rc == 0 && (found = log_scan_next(&scan, &r, &off, &length)) != LOG_FOUND_END) {
        if (found == LOG_FOUND_DAMAGE)
            continue; /* whoever reads it will report it; the segment stays */
        rc = copy_record(s, seg, (uint32_t)off, length, &r, octets + off, &c);
        if ((since += length) < PIECE)
            continue;
        since = 0;
        rc = wait_copied(&c);
    }
    err = wait_copied(&c);
    return rc != 0 ? rc : err;
}

/* How much may live in a segment that is worth copying. On a full disk the copies go into the
 * reserve, which is there so that removals find room: it must not be used up for this. */
static uint64_t worth_most(const struct store *s)
{
    uint64_t size = s->options.segment_size, room = size - s->active->end;

    if (!s->full)
        return size / 4 * 3;
    return s->active->reserve && room / 2 < size / 4 ? room / 2 : size / 4;
}

static bool is_worth(const struct store *s, const struct log_segment *seg)
{
    return seg->sealed && seg->live > 0 && !seg->stuck && seg->live <= worth_most(s);
}

void clean_wake(struct store *s, const struct log_segment *seg)
{
    if (s->full && is_worth(s, seg))
        pthread_cond_signal(&s->clean);
}

/* The one with the fewest live octets, if any is worth it. Lock held. */
static struct log_segment *choose(const struct store *s)
{
    uint64_t disk = s->stats.disk_bytes + s->n_spares * s->options.segment_size;
    struct log_segment *best = NULL;

    if (s->failed || (!s->full && disk <= 4 * s->stats.live_bytes + s->options.clean_above))
        return NULL;
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        struct log_segment *seg = s->segments[slot];

        if (seg != NULL && is_worth(s, seg) && (best == NULL || seg->live < best->live))
            best = seg;
    }
    return best;
}

/* Lock held, given up meanwhile. 0 or why it is not empty. */
static int clean(struct store *s, struct log_segment *seg)
{
    uint64_t n = seg->end;
    uint8_t *octets;
    int rc = 0;

    segment_pin(seg);
    s->cleaning = true;
    pthread_mutex_unlock(&s->lock);
    octets = mem_alloc(s->mem, (size_t)n);
    if (octets == NULL)
        rc = BARID_ENOMEM;
    else if (io_read_all(s->io, seg->fd, octets, (size_t)n, 0) != (int64_t)n)
        rc = BARID_EIO;
    else
        rc = copy_all(s, seg, octets, (size_t)n);
    mem_free(s->mem, octets);
    pthread_mutex_lock(&s->lock);
    if (rc != BARID_ECLOSED && rc != BARID_EFULL && seg->live > 0)
        seg->stuck = true;
    segment_unpin(s, seg);
    s->cleaning = false;
    commit_resume(s);
    return rc;
}

static void wait_for_work(struct store *s)
{
    if (!s->closing)
        pthread_cond_wait(&s->clean, &s->lock);
}

void *cleaner_thread(void *store)
{
    struct store *s = store;

    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        struct log_segment *seg = choose(s);

        /* No room for the copies: until something more has gone. */
        if (seg == NULL || clean(s, seg) == BARID_EFULL)
            wait_for_work(s);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
