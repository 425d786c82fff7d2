/* spool/log_claim.c: what is due is given out, put aside, taken back. */
#include <stdlib.h>

#include "base/mem.h"
#include "spool/log_int.h"

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
    struct log_entry *e = entry_visible(s, id, &place);

    if (e == NULL)
        return;
    e->flags |= ENTRY_BROKEN;
    index_due(&s->index, place, e->next_us, false);
    s->stats.damaged++;
    log_record(s->log, LOG_LEVEL_ERROR, "spool", "message set aside: its record cannot be read",
               LOG_INT("id", id), LOG_CSTR("error", barid_strerror(rc)));
}

/* The units of a message that are due. BARID_ENOTFOUND: none, or it went while the lock was given up, which is only for a
 * message of several units; it is where it belongs in the schedule then. */
static int claim_entry(struct store *s, uint64_t id, uint32_t place, int64_t now_us,
                       struct spool_claim *claim)
{
    struct log_entry *e = index_entry(&s->index, place);
    struct units_digest d;
    int rc = e->n_units == 1 ? make_single(s, e) : entry_whole(s, id, &place, &e);

    if (rc == BARID_ECORRUPT || rc == BARID_EIO) {
        set_broken(s, id, rc);
        return BARID_ENOTFOUND;
    }
    if (rc != 0)
        return rc;
    d = entry_digest(e);
    *claim =
        (struct spool_claim){.id = id, .lease = s->last_lease + 1, .group = digest_group(&d)};
    rc = e->state != SPOOL_ACTIVE || (e->flags & ENTRY_BROKEN) != 0
             ? BARID_ENOTFOUND
             : units_claim(&e->extra->units, now_us, e->hastened, claim->lease, &claim->units,
                           &claim->n_units);
    if (rc != BARID_ENOMEM) {
        e->flags &= ENTRY_FLAGS & ~ENTRY_ASIDE;
        entry_schedule(s, place, e);
    }
    s->last_lease += rc == 0;
    if (rc != 0)
        extra_settle(s, e);
    return rc;
}

/* Of the message on top; true: it was put aside. */
static bool put_top_aside(struct store *s, uint32_t place,
                          bool (*choose)(void *user, uint64_t id, uint32_t group), void *user)
{
    struct log_entry *e = index_entry(&s->index, place);
    struct units_digest d = entry_digest(e);

    if (choose == NULL || choose(user, e->id, digest_group(&d)))
        return false;
    e->flags |= ENTRY_ASIDE;
    entry_due(s, place, e, e->next_us);
    return true;
}

int state_claim_some(struct spool *spool, int64_t now_us, size_t max,
                     bool (*choose)(void *user, uint64_t id, uint32_t group), void *user,
                     struct spool_claim *claims, size_t *n_r, size_t *aside_r)
{
    struct store *s = store_of(spool);
    int rc;

    *n_r = *aside_r = 0;
    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    while (rc == 0 && *n_r + *aside_r < max) {
        uint32_t place = index_top(&s->index);

        if (place == 0 || index_entry(&s->index, place)->next_us > now_us)
            break;
        if (put_top_aside(s, place, choose, user)) {
            ++*aside_r;
            continue;
        }
        rc = claim_entry(s, index_entry(&s->index, place)->id, place, now_us, &claims[*n_r]);
        if (rc == 0)
            ++*n_r;
        else if (rc == BARID_ENOTFOUND)
            rc = 0; /* look again */
    }
    pthread_mutex_unlock(&s->lock);
    return *n_r > 0 ? 0 : rc;
}

int state_claim(struct spool *spool, int64_t now_us, size_t max, struct spool_claim *claims,
                size_t *n_r)
{
    size_t aside;

    return state_claim_some(spool, now_us, max, NULL, NULL, claims, n_r, &aside);
}

int state_claim_one(struct spool *spool, uint64_t id, int64_t now_us,
                    struct spool_claim *claim_r)
{
    struct store *s = store_of(spool);
    struct log_entry *e = NULL;
    uint32_t place;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0 && ((e = entry_visible(s, id, &place)) == NULL || e->state != SPOOL_ACTIVE))
        rc = BARID_ENOTFOUND;
    if (rc == 0 && e->next_us > now_us) { /* no need to read its units */
        e->flags &= ENTRY_FLAGS & ~ENTRY_ASIDE;
        entry_due(s, place, e, e->next_us);
        rc = BARID_ENOTFOUND;
    }
    if (rc == 0)
        rc = claim_entry(s, id, place, now_us, claim_r);
    store_announce(s);
    return rc;
}

/* The units of a lease are free again; put aside or not. */
static void end_lease(struct spool *spool, uint64_t id, uint64_t lease, bool aside,
                      uint32_t group)
{
    struct store *s = store_of(spool);
    struct log_entry *e;
    uint32_t place;

    pthread_mutex_lock(&s->lock);
    e = entry_visible(s, id, &place);
    if (e != NULL && e->extra != NULL && units_release(&e->extra->units, lease) > 0) {
        e->flags &= ENTRY_FLAGS & ~ENTRY_ASIDE;
        if (aside) {
            e->flags &= ENTRY_FLAGS & ~ENTRY_MIXED;
            e->flags |= ENTRY_ASIDE;
            e->group = group;
        }
        entry_schedule(s, place, e);
        extra_settle(s, e);
    }
    store_announce(s);
}

void state_release(struct spool *spool, uint64_t id, uint64_t lease)
{
    end_lease(spool, id, lease, false, SPOOL_GROUP_NONE);
}

void state_put_aside(struct spool *spool, uint64_t id, uint64_t lease, uint32_t group)
{
    end_lease(spool, id, lease, true, group);
}
