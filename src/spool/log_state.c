/* spool/log_state.c: unit states, message states, removal. */
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/log_int.h"

/* A changed unit may cut a run of equal ones in three. */
#define GROWTH_PER_CHANGE (3 * (LOG_RUN_MOST + SPOOL_UNIT_REPLY_MAX))

void body_unref(struct store *s, struct log_body *body)
{
    barid_slice key = {(const char *)&body->id, sizeof(body->id)};

    if (--body->refs > 0)
        return;
    map_take(&s->bodies, key);
    if (body->big) {
        body->next_dead = s->dead_files;
        s->dead_files = body;
        pthread_cond_signal(&s->keep);
        return;
    }
    segment_dead(s, body->seg, body->len);
    mem_free(s->mem, body);
}

/* Units as unit_state array, and what is known of them: leases are of no account on the disk. */
static void encode_states(const struct units *units, struct unit_state *states,
                          struct log_piece *piece)
{
    struct units_digest d = units_digest(units);

    record_digest(&piece->rec, &d);
    for (uint32_t i = 0; i < units->n; i++)
        states[i] = units->v[i].state;
    piece->n_units = (size_t)(log_units_encode(states, units->n, piece->units) - piece->units);
    piece->rec.units = units->n;
    piece->rec.units_len = (uint32_t)piece->n_units;
    piece->rec.head_crc = crc32c(0, piece->units, piece->n_units);
}

/* All the memory that a change of n units may need. scratch has a place for each unit; nothing
 * is given on failure. */
static int change_prepare(struct store *s, const struct log_entry *e, size_t n, spool_done done,
                          void *user, struct log_op **op_r, struct unit_state **scratch_r)
{
    const struct units *units = &e->extra->units;
    size_t size = n * GROWTH_PER_CHANGE;
    struct unit_state *scratch;
    struct log_op *op;
    int rc;

    for (uint32_t i = 0; i < units->n; i++)
        size += LOG_RUN_MOST + units->v[i].state.reply.n;
    if ((rc = op_new(s, LOG_OP_STATE, 1, done, user, &op)) != 0)
        return rc;
    op->pieces[0].units = mem_alloc(s->mem, size > 0 ? size : 1);
    scratch = mem_array(s->mem, units->n > 0 ? units->n : 1, sizeof(*scratch));
    if (op->pieces[0].units == NULL || scratch == NULL) {
        mem_free(s->mem, scratch);
        op_del(s, op);
        return BARID_ENOMEM;
    }
    *op_r = op;
    *scratch_r = scratch;
    return 0;
}

static void queue_del(struct store *s, uint32_t place, struct log_entry *e, struct log_op *op)
{
    struct log_piece *piece = &op->pieces[0];

    op->kind = LOG_OP_DEL;
    op->place = place;
    piece->n_units = 0;
    piece->rec = (struct log_record){.type = LOG_DEL, .id = e->id, .next_us = INT64_MAX};
    piece->length = op->length = log_record_length(&piece->rec);
    s->stats.messages[e->state]--;
    e->flags |= ENTRY_GONE;
    index_due(&s->index, place, INT64_MAX, false);
    op_enqueue(s, op, op->done != NULL);
}

/* A state that nobody waits for and that is still in the queue need not be written: this one
 * says more. */
static void supersede(struct log_extra *x, struct log_op *op)
{
    struct log_op *old = x->queued;

    if (old != NULL && old->done == NULL && !old->skip) {
        old->skip = true;
        x->writing--;
    }
    x->queued = op;
}

static void queue_state(struct store *s, uint32_t place, struct log_entry *e, struct log_op *op,
                        struct unit_state *scratch)
{
    struct log_piece *piece = &op->pieces[0];

    op->place = place;
    piece->rec = (struct log_record){
        .type = LOG_STATE,
        .state = e->state,
        .id = e->id,
        .version = ++e->version,
    };
    encode_states(&e->extra->units, scratch, piece);
    piece->length = op->length = log_record_length(&piece->rec);
    entry_take_digest(e, &piece->rec); /* what was hastened is forgotten */
    e->hastened = 0;
    entry_schedule(s, place, e);
    supersede(e->extra, op);
    e->extra->writing++;
    op_enqueue(s, op, op->done != NULL);
}

/* After a change in memory: the record that tells it. */
static void queue_change(struct store *s, uint32_t place, struct log_entry *e,
                         struct log_op *op, struct unit_state *scratch)
{
    if (e->state == SPOOL_ACTIVE && units_over(&e->extra->units))
        queue_del(s, place, e, op);
    else
        queue_state(s, place, e, op, scratch);
}

/* No change: it needs no lease and no record, and is answered in its turn. Lock held. */
static int answer_only(struct store *s, spool_done done, void *user)
{
    struct log_op *op;
    int rc = op_new(s, LOG_OP_STATE, 1, done, user, &op);

    if (rc != 0)
        return rc;
    op->skip = true;
    op_enqueue(s, op, done != NULL);
    return 0;
}

/* e has its extra; lock held. */
static int apply_changes(struct store *s, uint32_t place, struct log_entry *e, uint64_t lease,
                         const struct unit_change *changes, size_t n, spool_done done,
                         void *user)
{
    struct unit_state *scratch;
    struct log_op *op;
    int rc = change_prepare(s, e, n, done, user, &op, &scratch);

    if (rc != 0)
        return rc;
    rc = units_change(&e->extra->units, lease, changes, n);
    if (rc != 0) {
        op_del(s, op);
    } else {
        e->extra->whole = true; /* of several it was; one has just been told whole */
        if (lease == 0)
            e->flags &= ENTRY_FLAGS & ~ENTRY_ASIDE;
        queue_change(s, place, e, op, scratch);
    }
    mem_free(s->mem, scratch);
    return rc;
}

int state_update(struct spool *spool, uint64_t id, uint64_t lease,
                 const struct unit_change *changes, size_t n, spool_done done, void *user)
{
    struct store *s = store_of(spool);
    struct log_entry *e = NULL;
    uint32_t place;
    int rc;

    if (lease == 0)
        return BARID_EINVALID;
    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0 && (e = entry_visible(s, id, &place)) == NULL)
        rc = BARID_ENOTFOUND;
    if (rc == 0 && n > 0 && (e->extra == NULL || e->extra->units.leased == 0))
        rc = BARID_EINVALID;
    if (rc == 0)
        rc = n == 0 ? answer_only(s, done, user)
                    : apply_changes(s, place, e, lease, changes, n, done, user);
    store_announce(s);
    return rc;
}

int state_change(struct spool *spool, uint64_t id, const struct unit_change *changes, size_t n,
                 spool_done done, void *user)
{
    struct store *s = store_of(spool);
    struct log_entry *e = NULL;
    uint32_t place;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0)
        rc = entry_whole(s, id, &place, &e);
    if (rc == 0) {
        rc = n == 0 ? answer_only(s, done, user)
                    : apply_changes(s, place, e, 0, changes, n, done, user);
        if (rc != 0 || n == 0)
            extra_settle(s, e);
    }
    store_announce(s);
    return rc;
}

int state_set(struct spool *spool, uint64_t id, enum spool_state state, spool_done done,
              void *user)
{
    struct store *s = store_of(spool);
    struct unit_state *scratch = NULL;
    struct log_entry *e = NULL;
    struct log_op *op = NULL;
    uint32_t place;
    int rc;

    if (state < SPOOL_ACTIVE || state > SPOOL_QUARANTINED)
        return BARID_EINVALID;
    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0)
        rc = entry_whole(s, id, &place, &e);
    if (rc == 0 && (rc = change_prepare(s, e, 0, done, user, &op, &scratch)) != 0)
        extra_settle(s, e);
    if (rc == 0) {
        s->stats.messages[e->state]--;
        s->stats.messages[state]++;
        e->state = state & 3u;
        e->flags &= ENTRY_FLAGS & ~ENTRY_ASIDE;
        queue_change(s, place, e, op, scratch);
    }
    store_announce(s);
    mem_free(s->mem, scratch);
    return rc;
}

int state_erase(struct spool *spool, uint64_t id, spool_done done, void *user)
{
    struct store *s = store_of(spool);
    struct log_entry *e = NULL;
    struct log_op *op = NULL;
    uint32_t place;
    int rc = op_new(s, LOG_OP_DEL, 1, done, user, &op);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0 && (e = entry_visible(s, id, &place)) == NULL)
        rc = BARID_ENOTFOUND;
    if (rc == 0)
        queue_del(s, place, e, op);
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        op_del(s, op);
    return rc;
}
