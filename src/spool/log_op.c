/*
 * spool/log_op.c: changes on their way to the log: made and framed on the caller's thread,
 * queued, and applied to the index once durable.
 */
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/log_int.h"

int op_new(struct store *s, enum log_op_kind kind, size_t n_pieces, spool_done done, void *user,
           struct log_op **op_r)
{
    struct log_op *op = mem_zalloc(s->mem, sizeof(*op) + n_pieces * sizeof(op->pieces[0]));

    if (op == NULL)
        return BARID_ENOMEM;
    op->kind = kind;
    op->done = done;
    op->user = user;
    op->n_pieces = n_pieces;
    *op_r = op;
    return 0;
}

void op_del(struct store *s, struct log_op *op)
{
    if (op == NULL)
        return;
    for (size_t i = 0; i < op->n_pieces; i++)
        mem_free(s->mem, op->pieces[i].units);
    for (size_t i = 0; i < op->n_puts; i++)
        put_del(&op->puts[i]);
    mem_free(s->mem, op->puts);
    mem_free(s->mem, op);
}

/* --- framing a commit */

static int frame_put(struct store *s, const struct spool_put *put, struct log_piece *piece)
{
    const struct put_text *text = put->text;
    struct units_digest d = unit_states_digest(text->units, text->n_units);
    struct log_record *r = &piece->rec;

    piece->n_units = log_units_size(text->units, text->n_units);
    if (piece->n_units > 0 && (piece->units = mem_alloc(s->mem, piece->n_units)) == NULL)
        return BARID_ENOMEM;
    log_units_encode(text->units, text->n_units, piece->units);
    piece->text = (barid_slice){text->meta.p, text->meta.n + text->header.n};
    piece->size = put_message_size(put);
    *r = (struct log_record){
        .type = LOG_PUT,
        .state = (uint8_t)text->state,
        .id = put->id,
        .units = (uint32_t)text->n_units,
        .units_len = (uint32_t)piece->n_units,
        .meta_len = (uint32_t)text->meta.n,
        .header_len = (uint32_t)text->header.n,
        .body_len = put->body->size,
        .body_crc = put->body->crc,
    };
    record_digest(r, &d);
    r->head_crc = crc32c(crc32c(0, piece->units, piece->n_units), piece->text.p, piece->text.n);
    return 0;
}

static bool is_apart(const struct put_body *body)
{
    return body->big != NULL || body->refs > 1;
}

/* The body of its own record or file, and the entry's extra that will hold on to it. */
static int attach_body(struct store *s, const struct put_body *body, struct log_piece *piece,
                       struct log_body *apart)
{
    if ((piece->extra = mem_zalloc(s->mem, sizeof(*piece->extra))) == NULL)
        return BARID_ENOMEM;
    piece->extra->units.mem = s->mem;
    piece->extra->body = apart;
    piece->body = apart;
    apart->refs++;
    piece->rec.body_id = apart->id;
    piece->rec.flags =
        (uint8_t)((body->big != NULL ? LOG_BIG : 0) | (body->refs > 1 ? LOG_SHARED : 0));
    return 0;
}

static struct log_body *new_apart(struct store *s, const struct put_body *body)
{
    struct log_body *apart = mem_zalloc(s->mem, sizeof(*apart));

    if (apart == NULL)
        return NULL;
    apart->id = body->big != NULL ? big_name(body->big) : store_new_id(s);
    apart->big = body->big != NULL;
    apart->located = true;
    apart->size = body->size;
    apart->crc = body->crc;
    return apart;
}

static void frame_body(const struct put_body *body, struct log_piece *piece,
                       struct log_body *apart)
{
    piece->rec = (struct log_record){
        .type = LOG_BODY,
        .id = apart->id,
        .next_us = INT64_MAX,
        .body_len = body->size,
        .body_crc = body->crc,
    };
    piece->chunks = body->head;
    piece->body = apart;
}

/* Puts that share a body stand side by side or not: the first of them brings it. */
static struct log_body *known_apart(const struct log_op *op, size_t n,
                                    const struct put_body *body)
{
    for (size_t i = n; i-- > 0;) {
        if (op->puts[i]->body == body)
            return op->pieces[i].body;
    }
    return NULL;
}

static size_t count_shared(struct spool_put *const *puts, size_t n)
{
    size_t shared = 0;

    for (size_t i = 0; i < n; i++) {
        bool first = true;

        if (puts[i]->body->refs < 2 || puts[i]->body->big != NULL)
            continue;
        for (size_t k = i; k-- > 0 && first;)
            first = puts[k]->body != puts[i]->body;
        shared += first;
    }
    return shared;
}

/* Pieces 0..n-1 are the PUTs, then the BODY records. */
static int frame_all(struct store *s, struct log_op *op)
{
    size_t bodies = op->n_puts;

    for (size_t i = 0; i < op->n_puts; i++) {
        struct put_body *body = op->puts[i]->body;
        struct log_body *apart = NULL;
        int rc = frame_put(s, op->puts[i], &op->pieces[i]);

        if (rc != 0)
            return rc;
        if (!is_apart(body)) {
            op->pieces[i].chunks = body->head;
            continue;
        }
        if (body->refs > 1)
            apart = known_apart(op, i, body);
        if (apart == NULL) {
            if ((apart = new_apart(s, body)) == NULL)
                return BARID_ENOMEM;
            if (!apart->big)
                frame_body(body, &op->pieces[bodies++], apart);
            op->pieces[i].body = apart; /* so that it is found and freed on the way out */
        }
        if ((rc = attach_body(s, body, &op->pieces[i], apart)) != 0)
            return rc;
    }
    return 0;
}

static void measure(struct log_op *op)
{
    op->length = 0;
    for (size_t i = 0; i < op->n_pieces; i++) {
        op->pieces[i].length = log_record_length(&op->pieces[i].rec);
        op->pieces[i].rec.group_left = (uint32_t)(op->n_pieces - 1 - i);
        op->length += op->pieces[i].length;
    }
}

/* What frame_all made beside pieces: bodies are named by several PUTs, so each goes with its
 * last. */
static void drop_made(struct store *s, struct log_op *op)
{
    for (size_t i = 0; i < op->n_puts; i++) {
        struct log_piece *piece = &op->pieces[i];
        struct log_body *apart = piece->body;

        mem_free(s->mem, piece->extra);
        if (apart == NULL)
            continue;
        for (size_t k = i + 1; k < op->n_pieces; k++) {
            if (op->pieces[k].body == apart)
                op->pieces[k].body = NULL;
        }
        for (size_t k = i + 1; k < op->n_puts; k++) {
            if (op->pieces[k].extra != NULL && op->pieces[k].extra->body == apart)
                op->pieces[k].extra->body = NULL;
        }
        mem_free(s->mem, apart);
    }
}

int op_new_put(struct store *s, struct spool_put **puts, size_t n, spool_done done, void *user,
               struct log_op **op_r)
{
    struct log_op *op;
    int rc = op_new(s, LOG_OP_PUT, n + count_shared(puts, n), done, user, &op);

    if (rc != 0)
        return rc;
    if ((op->puts = mem_array(s->mem, n, sizeof(*op->puts))) == NULL) {
        op_del(s, op);
        return BARID_ENOMEM;
    }
    memcpy(op->puts, puts, n * sizeof(*puts));
    op->n_puts = n;
    rc = frame_all(s, op);
    if (rc == 0) {
        measure(op);
        /* All or none needs one segment; a header block and the OPEN record are in it, too. */
        if (op->length > s->options.segment_size - 3 * LOG_BLOCK)
            rc = BARID_ELIMIT;
    }
    if (rc != 0) {
        drop_made(s, op);
        op->n_puts = 0; /* they stay the caller's */
        op_del(s, op);
        return rc;
    }
    *op_r = op;
    return 0;
}

static barid_slice body_key(const struct log_body *body)
{
    return (barid_slice){(const char *)&body->id, sizeof(body->id)};
}

int op_adopt(struct store *s, struct log_op *op)
{
    int rc = index_reserve(&s->index, (uint32_t)op->n_puts);

    if (rc != 0)
        return rc;
    op->reserved = (uint32_t)op->n_puts;
    for (size_t i = 0; i < op->n_puts; i++) {
        struct log_body *body = op->pieces[i].body;

        if (body == NULL || map_get(&s->bodies, body_key(body)) != NULL)
            continue;
        if ((rc = map_put(&s->bodies, body_key(body), body, NULL)) != 0)
            return rc;
    }
    return 0;
}

void op_disown(struct store *s, struct log_op *op)
{
    index_unreserve(&s->index, op->reserved);
    op->reserved = 0;
    for (size_t i = 0; i < op->n_puts; i++) {
        if (op->pieces[i].body != NULL)
            map_take(&s->bodies, body_key(op->pieces[i].body));
    }
    drop_made(s, op);
}

void op_enqueue(struct store *s, struct log_op *op, bool waited_for)
{
    op->next = NULL;
    *s->queue_end = op;
    s->queue_end = &op->next;
    if (!waited_for && s->n_lazy++ == 0 && !s->urgent) {
        s->lazy_since_ms = clock_mono_ms(&clock_system);
        pthread_cond_signal(&s->work); /* to set its alarm */
    }
    if (waited_for || s->n_lazy >= LOG_LAZY_MAX) {
        if (!s->urgent)
            pthread_cond_signal(&s->work);
        s->urgent = true;
    }
}

/* --- durable now */

static void finish_put(struct store *s, struct log_segment *seg, struct log_piece *piece)
{
    const struct log_record *r = &piece->rec;
    uint32_t place = index_insert(&s->index, r->id);
    struct log_entry *e = index_entry(&s->index, place);

    e->put_seg = seg->slot;
    e->put_off = piece->off;
    e->put_len = (uint32_t)piece->length;
    e->size_low = (uint32_t)piece->size;
    e->size_high = (uint8_t)(piece->size >> 32);
    e->state = r->state & 3u;
    e->n_units = (uint16_t)r->units;
    e->extra = piece->extra;
    piece->extra = NULL;
    entry_take_digest(e, r);
    index_due(&s->index, place, r->next_us, r->state == SPOOL_ACTIVE);
    s->stats.messages[r->state]++;
}

static void finish_puts(struct store *s, struct log_segment *seg, struct log_op *op)
{
    op->reserved = 0; /* index_insert uses them up */
    for (size_t i = 0; i < op->n_pieces; i++) {
        struct log_piece *piece = &op->pieces[i];

        segment_live(s, seg, piece->length);
        if (piece->rec.type == LOG_PUT) {
            finish_put(s, seg, piece);
            continue;
        }
        piece->body->seg = seg->slot;
        piece->body->off = piece->off;
        piece->body->len = (uint32_t)piece->length;
    }
    for (size_t i = 0; i < op->n_puts; i++) {
        struct put_body *body = op->puts[i]->body;

        if (body->big != NULL)
            big_release(s, body->big, true);
        body->big = NULL;
    }
}

static void move_state(struct store *s, struct log_segment *seg, struct log_entry *e,
                       const struct log_piece *piece)
{
    segment_dead(s, e->state_seg, e->state_len);
    e->state_seg = seg->slot;
    e->state_off = piece->off;
    e->state_len = (uint32_t)piece->length;
    segment_live(s, seg, piece->length);
}

static void finish_state(struct store *s, struct log_segment *seg, struct log_op *op)
{
    struct log_entry *e = index_entry(&s->index, op->place);

    e->extra->writing--;
    if ((e->flags & ENTRY_GONE) == 0)
        move_state(s, seg, e, &op->pieces[0]);
    extra_settle(s, e);
}

static void finish_del(struct store *s, struct log_segment *seg, struct log_op *op)
{
    struct log_entry *e = index_entry(&s->index, op->place);
    uint64_t target = op->pieces[0].rec.body_len;

    if (target != seg->segno && (s->options.broken & SPOOL_BROKEN_DROP_DEL) == 0)
        segment_add_del(s, seg, target);
    segment_dead(s, e->put_seg, e->put_len);
    segment_dead(s, e->state_seg, e->state_len);
    if (e->extra != NULL) {
        if (e->extra->body != NULL)
            body_unref(s, e->extra->body);
        units_deinit(&e->extra->units);
        mem_free(s->mem, e->extra);
    }
    index_remove(&s->index, op->place);
}

static void finish_copy_body(struct store *s, struct log_segment *seg, struct log_op *op)
{
    const struct log_piece *piece = &op->pieces[0];
    barid_slice key = {(const char *)&piece->rec.id, sizeof(piece->rec.id)};
    struct log_body *body = map_get(&s->bodies, key);

    if (body == NULL || body->seg != op->old_seg || body->off != op->old_off)
        return;
    segment_dead(s, body->seg, body->len);
    body->seg = seg->slot;
    body->off = piece->off;
    segment_live(s, seg, piece->length);
}

/* The record's copy counts from now on; see invariant 3 for `after`. */
static void finish_copy(struct store *s, struct log_segment *seg, struct log_op *op)
{
    const struct log_piece *piece = &op->pieces[0];
    struct log_segment *old = segment_at(s, op->old_seg);
    struct log_entry *e = op->place != 0 ? index_entry(&s->index, op->place) : NULL;

    if (piece->rec.type == LOG_BODY) {
        finish_copy_body(s, seg, op);
    } else if (piece->rec.type == LOG_DEL) {
        if (segment_by_number(s, piece->rec.body_len) != NULL &&
            piece->rec.body_len != seg->segno)
            segment_add_del(s, seg, piece->rec.body_len);
        segment_drop_del(s, old, piece->rec.body_len);
    } else if (piece->rec.type == LOG_STATE) {
        if (e->state_seg == op->old_seg && e->state_off == op->old_off)
            move_state(s, seg, e, piece);
    } else {
        segment_add_after(s, seg, old->segno);
        segment_dead(s, e->put_seg, e->put_len);
        e->put_seg = seg->slot;
        e->put_off = piece->off;
        segment_live(s, seg, piece->length);
    }
}

void op_finish(struct store *s, struct log_batch *b, struct log_op *op)
{
    static void (*const finish[])(struct store *, struct log_segment *, struct log_op *) = {
        [LOG_OP_PUT] = finish_puts,
        [LOG_OP_STATE] = finish_state,
        [LOG_OP_DEL] = finish_del,
        [LOG_OP_COPY] = finish_copy,
    };

    if (op->skip)
        return;
    for (size_t i = 0; i < op->n_pieces; i++)
        segment_add_row(s, b->segment, op->pieces[i].off, &op->pieces[i].rec);
    finish[op->kind](s, b->segment, op);
}
