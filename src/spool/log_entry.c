/*
 * spool/log_entry.c: an entry of the index, its units, and its place in the schedule.
 *
 * A message with one unit needs no memory beside its entry: what the entry knows (it waits, from
 * when on) is enough to claim it, and the first update says all the rest. Of a message with
 * several, the states are read from its record when it is first touched. The extra goes when
 * nobody holds a lease and the record on the disk says all.
 */
#include "base/mem.h"
#include "spool/log_int.h"

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

int extra_make(struct store *s, struct log_entry *e)
{
    if (e->extra != NULL)
        return 0;
    if ((e->extra = mem_zalloc(s->mem, sizeof(*e->extra))) == NULL)
        return BARID_ENOMEM;
    e->extra->units.mem = s->mem;
    return 0;
}

struct log_entry *entry_visible(struct store *s, uint64_t id, uint32_t *place_r)
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
int entry_whole(struct store *s, uint64_t id, uint32_t *place_r, struct log_entry **e_r)
{
    for (;;) {
        struct unit_state *states;
        struct log_entry *e = *e_r = entry_visible(s, id, place_r);
        struct log_place p;
        uint8_t *block;
        int rc;

        if (e == NULL)
            return BARID_ENOTFOUND;
        if (e->extra != NULL && e->extra->whole)
            return 0;
        rc = read_states(s, e, &states, &block, &p);
        e = *e_r = entry_visible(s, id, place_r);
        if (rc == 0 && e != NULL && e->version == p.version &&
            (e->extra == NULL || !e->extra->whole))
            rc = take_over(s, e, states);
        mem_free(s->mem, states);
        mem_free(s->mem, block);
        if (rc != 0)
            return e == NULL ? BARID_ENOTFOUND : rc;
    }
}

/* --- what is known without the units */

void entry_due(struct store *s, uint32_t place, struct log_entry *e, int64_t next_us)
{
    index_due(&s->index, place, next_us,
              e->state == SPOOL_ACTIVE && (e->flags & (ENTRY_BROKEN | ENTRY_ASIDE)) == 0);
}

void entry_schedule(struct store *s, uint32_t place, struct log_entry *e)
{
    entry_due(s, place, e, units_next(&e->extra->units, e->hastened));
}

void record_digest(struct log_record *r, const struct units_digest *d)
{
    r->next_us = d->next_us;
    r->group = d->group;
    r->marks = (uint8_t)((d->is_mixed ? LOG_MIXED : 0) | (d->tried ? LOG_TRIED : 0));
}

void entry_take_digest(struct log_entry *e, const struct log_record *r)
{
    e->group = r->group;
    e->flags &= ENTRY_FLAGS & ~(ENTRY_MIXED | ENTRY_TRIED);
    if ((r->marks & LOG_MIXED) != 0)
        e->flags |= ENTRY_MIXED;
    if ((r->marks & LOG_TRIED) != 0)
        e->flags |= ENTRY_TRIED;
}

struct units_digest entry_digest(const struct log_entry *e)
{
    return (struct units_digest){.next_us = e->next_us,
                                 .group = e->group,
                                 .is_mixed = (e->flags & ENTRY_MIXED) != 0,
                                 .tried = (e->flags & ENTRY_TRIED) != 0};
}
