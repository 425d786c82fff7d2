/*
 * spool/log_hasten.c: what waits for one group becomes due. The index is walked in slices, so that nobody waits for the lock
 * longer than for one; what comes in meanwhile was not attempted before and need not be seen.
 *
 * A message of one group is known by its entry. Of one of several groups the entry says only that it may have this one: its units
 * are read, after the slice in which it was met.
 */
#include "spool/log_int.h"

#define SLICE 1024 /* places: some ten microseconds; with each of them hastened, some hundred */

struct hastening {
    struct store *s;
    uint32_t group;
    uint32_t place;      /* next to look at */
    uint64_t ids[SLICE]; /* to be read */
    size_t n_ids, n_messages;
};

static void hasten_entry(struct hastening *h, uint32_t place, struct log_entry *e,
                         uint32_t hastened)
{
    e->hastened = hastened;
    entry_due(h->s, place, e, 0);
    h->n_messages++;
}

static void look_at(struct hastening *h, uint32_t place, struct log_entry *e)
{
    struct units_digest d = entry_digest(e);
    uint32_t hastened = digest_hasten(&d, h->group, e->hastened);

    if (hastened == 0 || e->next_us == INT64_MAX || e->state != SPOOL_ACTIVE ||
        (e->flags & (ENTRY_GONE | ENTRY_BROKEN)) != 0)
        return;
    if (d.is_mixed || (e->extra != NULL && e->extra->units.leased > 0))
        h->ids[h->n_ids++] = e->id;
    else
        hasten_entry(h, place, e, hastened);
}

/* One of several groups, or of which some units are held. It may have changed since. Lock held, given up meanwhile. */
static int look_into(struct hastening *h, uint64_t id)
{
    struct units_digest d;
    struct log_entry *e;
    uint32_t place, hastened;
    int rc = entry_whole(h->s, id, &place, &e);

    if (rc != 0)
        return rc == BARID_ENOMEM
                   ? rc
                   : 0; /* gone; or a claim of it will say what is wrong with it */
    d = entry_digest(e);
    hastened = digest_hasten(&d, h->group, e->hastened);
    if (hastened != 0 && e->state == SPOOL_ACTIVE &&
        units_hastens(&e->extra->units, d.is_mixed ? h->group : SPOOL_GROUP_MIXED))
        hasten_entry(h, place, e, hastened);
    extra_settle(h->s, e);
    return 0;
}

/* Returns without the lock. */
static int hasten_slice(struct hastening *h, bool *more_r)
{
    struct store *s = h->s;
    uint32_t end;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    end = index_places(&s->index);
    *more_r = h->place < end;
    if (end > h->place + SLICE)
        end = h->place + SLICE;
    for (h->n_ids = 0; rc == 0 && h->place < end; h->place++) {
        struct log_entry *e = index_entry(&s->index, h->place);

        if (e->id != 0)
            look_at(h, h->place, e);
    }
    while (rc == 0 && h->n_ids > 0)
        rc = look_into(h, h->ids[--h->n_ids]);
    store_announce(s);
    return rc;
}

int state_hasten(struct spool *spool, uint32_t group, size_t *n_r)
{
    struct hastening h = {.s = store_of(spool), .group = group, .place = 1};
    bool more = true;
    int rc = group < SPOOL_GROUP_FIRST ? BARID_EINVALID : 0;

    while (rc == 0 && more)
        rc = hasten_slice(&h, &more);
    *n_r = h.n_messages;
    return rc;
}
