/*
 * spool/log_state.c: claims, unit states, message states, removal.
 *
 * A message with one unit needs no memory beside its entry: what the entry knows (pending, due)
 * is enough to claim it, and the first update says all the rest. Of a message with several, the
 * states are read from its record when it is first touched. The extra goes when nobody holds a
 * lease and the record on the disk says all.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/log_int.h"

/* A changed unit may cut a run of equal ones in three. */
#define GROWTH_PER_CHANGE (3 * (19 + SPOOL_UNIT_REPLY_MAX))

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

void extra_settle(struct store *s, struct log_entry *e)
{
    struct log_extra *x = e->extra;

    if (x == NULL || x->units.leased > 0 || x->writing > 0)
        return;
    units_deinit(&x->units);
    x->whole = false;
    if (x->body != NULL)
        return;
    mem_free(s->mem, x);
    e->extra = NULL;
}

static int extra_make(struct store *s, struct log_entry *e)
{
    if (e->extra != NULL)
        return 0;
    if ((e->extra = mem_zalloc(s->mem, sizeof(*e->extra))) == NULL)
        return BARID_ENOMEM;
    e->extra->units.mem = s->mem;
    return 0;
}

static struct log_entry *visible(struct store *s, uint64_t id, uint32_t *place_r)
{
    struct log_entry *e;

    *place_r = index_find(&s->index, id);
    e = *place_r != 0 ? index_entry(&s->index, *place_r) : NULL;
    return e != NULL && (e->flags & ENTRY_GONE) == 0 ? e : NULL;
}

/* Puts what was read into the extra; a lease that was given meanwhile (one unit) stays. */
static int take_over(struct store *s, struct log_entry *e, const struct unit_state *states)
{
    struct units units;
    int rc = units_init(&units, s->mem, states, e->n_units);

    if (rc == 0 && (rc = extra_make(s, e)) != 0)
        units_deinit(&units);
    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < e->extra->units.n; i++)
        units.v[i].lease = e->extra->units.v[i].lease;
    units.leased = e->extra->units.leased;
    units_deinit(&e->extra->units);
    e->extra->units = units;
    e->extra->whole = true;
    return 0;
}

/* Reads the record of e without the lock; on return e may be another message's: find it again.
 */
static int read_states(struct store *s, struct log_entry *e, struct unit_state **states_r,
                       uint8_t **block_r, struct log_place *p)
{
    int rc;

    place_pin(s, e, p);
    pthread_mutex_unlock(&s->lock);
    *states_r = mem_array(s->mem, p->n_units > 0 ? p->n_units : 1, sizeof(**states_r));
    *block_r = NULL;
    rc = *states_r == NULL ? BARID_ENOMEM : place_read_units(s, p, *states_r, block_r);
    pthread_mutex_lock(&s->lock);
    place_unpin(s, p);
    return rc;
}

/* All units of a message in memory. 0 and its entry, or ENOTFOUND, ENOMEM, EIO, ECORRUPT. Lock
 * held, given up meanwhile. */
static int make_whole(struct store *s, uint64_t id, uint32_t *place_r, struct log_entry **e_r)
{
    for (;;) {
        struct unit_state *states;
        struct log_entry *e = *e_r = visible(s, id, place_r);
        struct log_place p;
        uint8_t *block;
        int rc;

        if (e == NULL)
            return BARID_ENOTFOUND;
        if (e->extra != NULL && e->extra->whole)
            return 0;
        rc = read_states(s, e, &states, &block, &p);
        e = *e_r = visible(s, id, place_r);
        if (rc == 0 && e != NULL && e->version == p.version &&
            (e->extra == NULL || !e->extra->whole))
            rc = take_over(s, e, states);
        mem_free(s->mem, states);
        mem_free(s->mem, block);
        if (rc != 0)
            return e == NULL ? BARID_ENOTFOUND : rc;
    }
}

/* --- claims */

static int make_single(struct store *s, struct log_entry *e)
{
    struct unit_state pending = {.status = UNIT_PENDING, .due_us = e->next_us};
    int rc = extra_make(s, e);

    if (rc != 0 || e->extra->units.n > 0)
        return rc;
    if ((rc = units_init(&e->extra->units, s->mem, &pending, 1)) != 0)
        extra_settle(s, e);
    return rc;
}

/* Its states cannot be had: it waits for an operator or the next start, and others go on. */
static void set_broken(struct store *s, uint64_t id, int rc)
{
    uint32_t place;
    struct log_entry *e = visible(s, id, &place);

    if (e == NULL)
        return;
    e->flags |= ENTRY_BROKEN;
    index_due(&s->index, place, e->next_us, false);
    s->stats.damaged++;
    log_record(s->log, LOG_LEVEL_ERROR, "spool", "message set aside: its record cannot be read",
               LOG_INT("id", id), LOG_CSTR("error", barid_strerror(rc)));
}

/* Claims the message on top. BARID_EAGAIN: the top is another one now. */
static int claim_top(struct store *s, uint32_t place, int64_t now_us, struct spool_claim *claim)
{
    struct log_entry *e = index_entry(&s->index, place);
    uint64_t id = e->id;
    int rc;

    if (e->n_units == 1) {
        rc = make_single(s, e);
    } else if (e->extra == NULL || !e->extra->whole) {
        rc = make_whole(s, id, &place, &e);
        if (rc == BARID_ECORRUPT || rc == BARID_EIO)
            set_broken(s, id, rc);
        if (rc != BARID_ENOMEM)
            return BARID_EAGAIN; /* the lock was given up: look again */
    } else {
        rc = 0;
    }
    if (rc != 0)
        return rc;
    claim->id = id;
    claim->lease = s->last_lease + 1;
    rc = units_claim(&e->extra->units, now_us, claim->lease, &claim->units, &claim->n_units);
    if (rc == BARID_ENOMEM) {
        extra_settle(s, e);
        return rc;
    }
    s->last_lease += rc == 0;
    index_due(&s->index, place, units_next(&e->extra->units), true);
    return rc == 0 ? 0 : BARID_EAGAIN;
}

int state_claim(struct spool *spool, int64_t now_us, size_t max, struct spool_claim *claims,
                size_t *n_r)
{
    struct store *s = store_of(spool);
    int rc;

    *n_r = 0;
    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    while (rc == 0 && *n_r < max) {
        uint32_t place = index_top(&s->index);

        if (place == 0 || index_entry(&s->index, place)->next_us > now_us)
            break;
        rc = claim_top(s, place, now_us, &claims[*n_r]);
        if (rc == 0)
            ++*n_r;
        else if (rc == BARID_EAGAIN)
            rc = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return *n_r > 0 ? 0 : rc;
}

void state_release(struct spool *spool, uint64_t id, uint64_t lease)
{
    struct store *s = store_of(spool);
    struct log_entry *e;
    uint32_t place;

    pthread_mutex_lock(&s->lock);
    e = visible(s, id, &place);
    if (e != NULL && e->extra != NULL && units_release(&e->extra->units, lease) > 0) {
        index_due(&s->index, place, units_next(&e->extra->units), e->state == SPOOL_ACTIVE);
        extra_settle(s, e);
    }
    store_announce(s);
}

/* --- changes */

/* Units as unit_state array, and the earliest pending one: leases are of no account on the
 * disk. */
static void encode_states(const struct units *units, struct unit_state *states,
                          struct log_piece *piece)
{
    piece->rec.next_us = INT64_MAX;
    for (uint32_t i = 0; i < units->n; i++) {
        states[i] = units->v[i].state;
        if (states[i].status == UNIT_PENDING && states[i].due_us < piece->rec.next_us)
            piece->rec.next_us = states[i].due_us;
    }
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
        size += 19 + units->v[i].state.reply.n;
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
    index_due(&s->index, place, units_next(&e->extra->units),
              e->state == SPOOL_ACTIVE && (e->flags & ENTRY_BROKEN) == 0);
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
    if (rc == 0 && (e = visible(s, id, &place)) == NULL)
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
        rc = make_whole(s, id, &place, &e);
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
        rc = make_whole(s, id, &place, &e);
    if (rc == 0 && (rc = change_prepare(s, e, 0, done, user, &op, &scratch)) != 0)
        extra_settle(s, e);
    if (rc == 0) {
        s->stats.messages[e->state]--;
        s->stats.messages[state]++;
        e->state = state & 3u;
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
    if (rc == 0 && (e = visible(s, id, &place)) == NULL)
        rc = BARID_ENOTFOUND;
    if (rc == 0)
        queue_del(s, place, e, op);
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        op_del(s, op);
    return rc;
}
