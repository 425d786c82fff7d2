/*
 * spool/log_commit.c: the committer: takes all that is queued, writes it in one piece, syncs,
 * answers. While it syncs, the next batch gathers: no timer is needed to group commits.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define LAZY_MS      1000 /* what nobody waits for is written within this */
#define WRITE_PIECES 1024 /* what one pwritev takes (IOV_MAX) */

static const uint8_t zeros[LOG_BLOCK];

static void batch_add(struct log_batch *b, struct log_op *op)
{
    for (size_t i = 0; i < op->n_pieces; i++) {
        op->pieces[i].off = (uint32_t)(b->at + b->length);
        b->length += op->pieces[i].length;
    }
    op->next = NULL;
    *b->end = op;
    b->end = &op->next;
}

/* The OPEN record of a new segment is the first op of the batch that is the first in it. */
static int batch_open(struct store *s, struct log_batch *b)
{
    struct log_op *op;
    int rc = op_new(s, LOG_OP_STATE, 1, NULL, NULL, &op);

    if (rc != 0)
        return rc;
    op->pieces[0].rec = (struct log_record){
        .type = LOG_OPEN,
        .id = s->last_id,
        .body_id = b->segment->segno,
        .next_us = (int64_t)s->prev_segno,
        .body_len = s->prev_end,
    };
    op->pieces[0].length = log_record_length(&op->pieces[0].rec);
    b->open = op;
    batch_add(b, op);
    return 0;
}

/* Waits for the keeper to have a segment ready. 0, BARID_EFULL, BARID_EIO, ENOMEM. Lock held,
 * given up meanwhile. */
static int wait_for_next(struct store *s, bool may_use_reserve)
{
    s->next_error = 0;
    s->may_use_reserve = may_use_reserve;
    s->want_next = WANT_URGENT;
    pthread_cond_signal(&s->keep);
    while (s->next == NULL && s->next_error == 0 && !s->failed)
        pthread_cond_wait(&s->ready, &s->lock);
    s->want_next = WANT_NONE;
    if (s->next != NULL)
        return 0;
    return s->failed ? BARID_EIO : s->next_error;
}

/* A segment for an op: the active one, or the next when there is no room. PUTs never go into
 * the reserve. */
static int segment_for(struct store *s, struct log_batch *b, const struct log_op *op)
{
    bool is_put = op->kind == LOG_OP_PUT;
    int rc;

    if (s->active->reserve && s->n_spares > 0) {
        s->active->reserve = false; /* there is a reserve again */
        s->full = false;
    }
    b->segment = s->active;
    b->at = log_align(s->active->end, LOG_BLOCK);
    if (b->at + op->length + LOG_RECORD_SIZE <= s->options.segment_size)
        return is_put && s->active->reserve ? BARID_EFULL : 0;
    if (s->next == NULL && (rc = wait_for_next(s, !is_put)) != 0)
        return rc;
    s->sealing = s->active;
    s->prev_segno = s->active->segno;
    s->prev_end = s->active->end;
    s->active = b->segment = s->next;
    s->next = NULL;
    s->want_next = WANT_ANY; /* the one after, in time */
    pthread_cond_signal(&s->keep);
    b->at = LOG_BLOCK;
    return is_put && b->segment->reserve ? BARID_EFULL : 0;
}

/* What can be said only now: whether a record is still wanted, and where the PUT of a DEL is.
 */
static void prepare(struct store *s, struct log_op *op)
{
    struct log_entry *e = op->place != 0 ? index_entry(&s->index, op->place) : NULL;
    struct log_record *r = &op->pieces[0].rec;

    if (op->kind == LOG_OP_STATE && e != NULL && e->extra->queued == op)
        e->extra->queued = NULL;
    if (op->kind == LOG_OP_DEL)
        r->body_len = segment_at(s, e->put_seg)->segno;
    if (op->kind != LOG_OP_COPY)
        return;
    if (r->type == LOG_PUT)
        op->skip = (e->flags & ENTRY_GONE) != 0 || e->put_seg != op->old_seg ||
                   e->put_off != op->old_off;
    if (r->type == LOG_STATE)
        op->skip = (e->flags & ENTRY_GONE) != 0 || e->state_seg != op->old_seg ||
                   e->state_off != op->old_off;
}

static struct log_op *queue_pop(struct store *s)
{
    struct log_op *op = s->queue;

    if ((s->queue = op->next) == NULL)
        s->queue_end = &s->queue;
    if (s->queue == NULL) {
        s->urgent = false;
        s->n_lazy = 0;
    }
    op->next = NULL;
    return op;
}

/* A record that may be on the disk although its write or sync failed keeps its large body: the
 * next start finds both or neither. */
void op_fail(struct store *s, struct log_op *op, int rc, bool may_be_written)
{
    op->err = rc;
    if (op->kind == LOG_OP_PUT)
        op_disown(s, op);
    for (size_t i = 0; i < op->n_puts; i++) {
        if (op->puts[i]->body->big != NULL)
            big_release(s, op->puts[i]->body->big, may_be_written);
        op->puts[i]->body->big = NULL;
    }
}

enum beginning { BEGIN_TAKEN, BEGIN_REFUSED, BEGIN_STALLED };

/* The first op of a batch decides on the segment; it may be refused, and is to be answered
 * then. Stalled: the reserve is used up, and the cleaner holds a segment that may be all that
 * keeps a removal from finding room: whoever is slower must not decide whether a full spool
 * drains. */
static enum beginning begin(struct store *s, struct log_batch *b, struct log_op *op)
{
    int rc = segment_for(s, b, op);

    if (rc == 0 && b->at == LOG_BLOCK)
        rc = batch_open(s, b);
    if (rc == 0)
        return BEGIN_TAKEN;
    if (rc == BARID_EFULL) {
        s->full = true;
        pthread_cond_signal(&s->clean);
        if (s->cleaning && (op->kind == LOG_OP_STATE || op->kind == LOG_OP_DEL))
            return BEGIN_STALLED;
    } else if (rc == BARID_EIO) {
        store_fail(s, -EIO, "cannot add a segment");
    }
    op_fail(s, op, rc, false);
    return BEGIN_REFUSED;
}

/* op goes first in the queue again, until the cleaner lets go. Copies find no room either: they
 * are refused at once, as the cleaner waits for them. */
static void stall(struct store *s, struct log_op *op, struct log_op ***failed)
{
    struct log_op **at = &s->queue;

    while (*at != NULL) {
        struct log_op *next = *at;

        if (next->kind != LOG_OP_COPY) {
            at = &next->next;
            continue;
        }
        *at = next->next;
        next->next = NULL;
        op_fail(s, next, BARID_EFULL, false);
        **failed = next;
        *failed = &next->next;
    }
    s->queue_end = at;
    op->next = s->queue;
    s->queue = op;
    if (op->next == NULL)
        s->queue_end = &op->next;
    s->urgent = s->stalled = true;
}

void commit_resume(struct store *s)
{
    if (!s->stalled)
        return;
    s->stalled = false;
    pthread_cond_signal(&s->work);
}

/* Takes what fits. failed gets ops that are answered without being written. */
static void take(struct store *s, struct log_batch *b, struct log_op ***failed)
{
    *b = (struct log_batch){.end = &b->first};
    while (s->queue != NULL) {
        struct log_op *op = s->queue;
        enum beginning begun;
        bool first = b->first == NULL;

        if (s->failed) {
            op = queue_pop(s);
            op_fail(s, op, BARID_EIO, false);
            **failed = op;
            *failed = &op->next;
            continue;
        }
        if (!first && (b->length + op->length > LOG_BATCH_MAX ||
                       b->at + b->length + op->length > s->options.segment_size ||
                       (op->kind == LOG_OP_PUT && b->segment->reserve)))
            break;
        op = queue_pop(s);
        prepare(s, op);
        begun = op->skip || !first ? BEGIN_TAKEN : begin(s, b, op);
        if (begun == BEGIN_STALLED) {
            stall(s, op, failed);
            break;
        }
        if (begun == BEGIN_REFUSED) {
            **failed = op;
            *failed = &op->next;
            continue;
        }
        if (!op->skip) {
            batch_add(b, op);
            continue;
        }
        /* Nothing to write, but answered in order: it rides behind what came before it. */
        *b->end = op;
        b->end = &op->next;
        if (first)
            break;
    }
}

/* A batch on its way out, in calls of WRITE_PIECES: no memory is asked for once records are to
 * be written. */
struct writer {
    struct store *s;
    int fd, rc;
    uint64_t at;
    size_t n, bytes;
    struct iovec v[WRITE_PIECES];
};

static void writer_flush(struct writer *w)
{
    if (w->rc >= 0)
        w->rc = io_write_all(w->s->io, w->fd, w->v, w->n, w->at);
    w->at += w->bytes;
    w->n = w->bytes = 0;
}

static void writer_add(struct writer *w, const void *p, size_t n)
{
    if (n == 0)
        return;
    if (w->n == WRITE_PIECES)
        writer_flush(w);
    w->v[w->n++] = (struct iovec){(void *)(uintptr_t)p, n};
    w->bytes += n;
}

static void write_piece(struct log_batch *b, struct log_piece *piece, bool last,
                        struct writer *w)
{
    uint64_t used = LOG_RECORD_SIZE + piece->n_units + piece->text.n;

    piece->rec.nonce = b->segment->nonce;
    piece->rec.synced_to = (uint32_t)b->at;
    if (last)
        piece->rec.flags |= LOG_BATCH_END;
    else
        piece->rec.flags &= (uint8_t)~LOG_BATCH_END; /* of a copy, from its first life */
    log_record_encode(&piece->rec, piece->head);
    writer_add(w, piece->head, LOG_RECORD_SIZE);
    writer_add(w, piece->units, piece->n_units);
    writer_add(w, piece->text.p, piece->text.n);
    for (const struct put_chunk *c = piece->chunks; c != NULL; c = c->next) {
        writer_add(w, c->data, c->n);
        used += c->n;
    }
    writer_add(w, zeros, (size_t)(piece->length - used));
}

static struct log_piece *last_piece(const struct log_batch *b)
{
    struct log_piece *last = NULL;

    for (struct log_op *op = b->first; op != NULL; op = op->next) {
        if (!op->skip)
            last = &op->pieces[op->n_pieces - 1];
    }
    return last;
}

/* Without the lock: the committer alone writes to the active segment. 0 or -errno. */
static int batch_write(struct store *s, struct log_batch *b)
{
    struct log_piece *last = last_piece(b);
    struct writer w = {.s = s, .at = b->at};

    if (last == NULL)
        return 0;
    w.fd = b->segment->fd;
    for (struct log_op *op = b->first; op != NULL; op = op->next) {
        for (size_t i = 0; i < op->n_pieces && !op->skip; i++)
            write_piece(b, &op->pieces[i], &op->pieces[i] == last, &w);
    }
    /* Whole blocks: never again written, and nothing to be read before writing. */
    writer_add(&w, zeros, (size_t)(log_align(b->length, LOG_BLOCK) - b->length));
    writer_flush(&w);
    return w.rc;
}

void op_answer(struct store *s, struct log_op *op)
{
    if (op->done != NULL)
        op->done(op->user, op->err);
    op_del(s, op);
}

static void answer_all(struct store *s, struct log_op *op)
{
    struct log_op *next;

    for (; op != NULL; op = next) {
        next = op->next;
        op_answer(s, op);
    }
}

static void ack_early(struct store *s, struct log_batch *b)
{
    if ((s->options.broken & SPOOL_BROKEN_EARLY_ACK) == 0)
        return;
    for (struct log_op *op = b->first; op != NULL; op = op->next) {
        if (op->kind == LOG_OP_COPY) /* nobody outside hears of it, and the cleaner would let go of the segment */
            continue;
        if (op->done != NULL)
            op->done(op->user, 0);
        op->done = NULL;
    }
}

static void finish(struct store *s, struct log_batch *b, int rc, uint64_t sync_us)
{
    uint64_t n = 0;

    if (rc < 0)
        store_fail(s, rc, "cannot write to the log");
    for (struct log_op *op = b->first; op != NULL; op = op->next) {
        if (rc < 0) {
            op_fail(s, op, BARID_EIO, true);
            continue;
        }
        s->stats.commits += op->kind == LOG_OP_PUT;
        n++;
        if (op != b->open)
            op_finish(s, b, op);
        else
            segment_add_row(s, b->segment, op->pieces[0].off, &op->pieces[0].rec);
    }
    if (rc < 0 || b->length == 0)
        return;
    b->segment->end = b->at + b->length;
    s->stats.syncs++;
    s->stats.batch_max = n > s->stats.batch_max ? n : s->stats.batch_max;
    s->stats.sync_us_last = sync_us;
    s->stats.sync_us_max = sync_us > s->stats.sync_us_max ? sync_us : s->stats.sync_us_max;
    if (b->open != NULL && s->sealing != NULL) {
        s->sealing->sealed = true;
        s->sealing = NULL;
        pthread_cond_signal(&s->keep);
        pthread_cond_signal(&s->clean);
    }
}

static uint64_t mono_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* One batch, from the queue to the answers. Lock held, given up meanwhile. */
static void run_batch(struct store *s)
{
    struct log_op *failed = NULL, **failed_end = &failed;
    struct log_batch b;
    uint64_t began;
    int rc = 0;

    take(s, &b, &failed_end);
    pthread_mutex_unlock(&s->lock);
    began = mono_us();
    if (b.first != NULL) {
        rc = batch_write(s, &b);
        if (rc >= 0)
            ack_early(s, &b);
        if (rc >= 0 && b.length > 0)
            rc = s->io->datasync(s->io->user, b.segment->fd);
    }
    pthread_mutex_lock(&s->lock);
    if (b.first != NULL)
        finish(s, &b, rc, mono_us() - began);
    store_announce(s);
    answer_all(s, b.first);
    answer_all(s, failed);
    pthread_mutex_lock(&s->lock);
}

/* Until there is something to do at once: somebody waits, or nobody has waited for long enough.
 */
static bool must_wait(struct store *s, uint64_t *until_ms)
{
    *until_ms = 0;
    if (s->stalled)
        return true;
    if (s->urgent || (s->closing && s->queue != NULL))
        return false;
    if (s->queue == NULL)
        return true;
    *until_ms = s->lazy_since_ms + LAZY_MS;
    return clock_mono_ms(&clock_system) < *until_ms;
}

void *committer_thread(void *store)
{
    struct store *s = store;
    uint64_t until_ms;

    pthread_mutex_lock(&s->lock);
    while (!s->closing || s->queue != NULL || s->n_sealing > 0) {
        struct timespec t;

        if (!must_wait(s, &until_ms)) {
            run_batch(s);
            continue;
        }
        t = (struct timespec){.tv_sec = (time_t)(until_ms / 1000),
                              .tv_nsec = (long)(until_ms % 1000) * 1000000};
        if (until_ms == 0)
            pthread_cond_wait(&s->work, &s->lock);
        else
            pthread_cond_timedwait(&s->work, &s->lock, &t);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
