/* spool/memory_state.c: unit states, message states, removal; the store without a disk. */
#include "spool/memory_int.h"

#include "base/mem.h"

int64_t memory_next_due(struct spool *s)
{
    struct memory *m = memory_of(s);
    int64_t next;

    pthread_mutex_lock(&m->lock);
    next = m->announced_us = memory_earliest(m);
    pthread_mutex_unlock(&m->lock);
    return next;
}

void memory_watch(struct spool *s, void (*changed)(void *user), void *user)
{
    struct memory *m = memory_of(s);

    pthread_mutex_lock(&m->watch_lock);
    m->changed = changed;
    m->changed_user = user;
    pthread_mutex_unlock(&m->watch_lock);
}

/* What the next record of the log says: what was known without one is forgotten. */
static void recorded(struct message *msg, bool by_operator)
{
    msg->is_regrouped = false;
    msg->hastened = 0;
    if (by_operator)
        msg->is_aside = false;
}

/* update and change differ in the lease only: 0 is the operator's. */
static int change_units(struct spool *s, uint64_t id, uint64_t lease,
                        const struct unit_change *changes, size_t n, spool_done done,
                        void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc = completion_new(m, done, user, &c);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    msg = memory_find(m, id);
    rc = msg == NULL ? BARID_ENOTFOUND : units_change(&msg->units, lease, changes, n);
    if (rc == 0) {
        if (n > 0)
            recorded(msg, lease == 0);
        memory_remove_if_over(m, msg);
        completion_queue(m, c);
    }
    memory_announce(m);
    if (rc != 0)
        mem_free(m->mem, c);
    return rc;
}

int memory_update(struct spool *s, uint64_t id, uint64_t lease,
                  const struct unit_change *changes, size_t n, spool_done done, void *user)
{
    return lease == 0 ? BARID_EINVALID : change_units(s, id, lease, changes, n, done, user);
}

int memory_change(struct spool *s, uint64_t id, const struct unit_change *changes, size_t n,
                  spool_done done, void *user)
{
    return change_units(s, id, 0, changes, n, done, user);
}

int memory_set_state(struct spool *s, uint64_t id, enum spool_state state, spool_done done,
                     void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc;

    if (state < SPOOL_ACTIVE || state > SPOOL_QUARANTINED)
        return BARID_EINVALID;
    if ((rc = completion_new(m, done, user, &c)) != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL) {
        msg->state = state;
        recorded(msg, true);
        memory_remove_if_over(m, msg);
        completion_queue(m, c);
    }
    memory_announce(m);
    if (msg == NULL)
        mem_free(m->mem, c);
    return msg == NULL ? BARID_ENOTFOUND : 0;
}

int memory_erase(struct spool *s, uint64_t id, spool_done done, void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc = completion_new(m, done, user, &c);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL) {
        memory_remove(m, msg);
        completion_queue(m, c);
    }
    pthread_mutex_unlock(&m->lock);
    if (msg == NULL)
        mem_free(m->mem, c);
    return msg == NULL ? BARID_ENOTFOUND : 0;
}
