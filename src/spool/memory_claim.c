/* spool/memory_claim.c: what is due is given out and taken back; the store without a disk. */
#include "spool/memory_int.h"

static struct message *most_due(const struct memory *m, int64_t now_us)
{
    struct message *best = NULL;
    int64_t best_from = 0;

    for (size_t i = 0; i < m->n; i++) {
        int64_t from = memory_claimable(m->messages[i]);

        if (from > now_us || from == INT64_MAX || (best != NULL && from >= best_from))
            continue;
        best = m->messages[i];
        best_from = from;
    }
    return best;
}

/* Lock held. */
static int claim_message(struct memory *m, struct message *msg, int64_t now_us,
                         struct spool_claim *claim)
{
    struct units_digest d = memory_digest(msg);
    int rc;

    claim->id = msg->id;
    claim->lease = m->last_lease + 1;
    claim->group = digest_group(&d);
    rc = units_claim(&msg->units, now_us, msg->hastened, claim->lease, &claim->units,
                     &claim->n_units);
    if (rc != BARID_ENOMEM)
        msg->is_aside = false;
    m->last_lease += rc == 0;
    return rc;
}

int memory_claim_some(struct spool *s, int64_t now_us, size_t max,
                      bool (*choose)(void *user, uint64_t id, uint32_t group), void *user,
                      struct spool_claim *claims, size_t *n_r, size_t *aside_r)
{
    struct memory *m = memory_of(s);
    int rc = 0;

    *n_r = *aside_r = 0;
    pthread_mutex_lock(&m->lock);
    while (rc == 0 && *n_r + *aside_r < max) {
        struct message *msg = most_due(m, now_us);
        struct units_digest d;

        if (msg == NULL)
            break;
        d = memory_digest(msg);
        if (choose != NULL && !choose(user, msg->id, digest_group(&d))) {
            msg->is_aside = true;
            ++*aside_r;
        } else if ((rc = claim_message(m, msg, now_us, &claims[*n_r])) == 0) {
            ++*n_r;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return *n_r > 0 ? 0 : rc;
}

int memory_claim(struct spool *s, int64_t now_us, size_t max, struct spool_claim *claims,
                 size_t *n_r)
{
    size_t aside;

    return memory_claim_some(s, now_us, max, NULL, NULL, claims, n_r, &aside);
}

int memory_claim_one(struct spool *s, uint64_t id, int64_t now_us, struct spool_claim *claim_r)
{
    struct memory *m = memory_of(s);
    struct message *msg;
    int rc = BARID_ENOTFOUND;

    pthread_mutex_lock(&m->lock);
    msg = memory_find(m, id);
    if (msg != NULL && msg->state == SPOOL_ACTIVE)
        rc = claim_message(m, msg, now_us, claim_r);
    memory_announce(m);
    return rc;
}

void memory_release(struct spool *s, uint64_t id, uint64_t lease)
{
    struct memory *m = memory_of(s);
    struct message *msg;

    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL && units_release(&msg->units, lease) > 0)
        msg->is_aside = false;
    memory_announce(m);
}

void memory_put_aside(struct spool *s, uint64_t id, uint64_t lease, uint32_t group)
{
    struct memory *m = memory_of(s);
    struct message *msg;

    pthread_mutex_lock(&m->lock);
    if ((msg = memory_find(m, id)) != NULL && units_release(&msg->units, lease) > 0) {
        msg->is_aside = true;
        msg->is_regrouped = true;
        msg->group = group;
    }
    pthread_mutex_unlock(&m->lock);
}

int memory_hasten(struct spool *s, uint32_t group, size_t *n_r)
{
    struct memory *m = memory_of(s);

    *n_r = 0;
    if (group < SPOOL_GROUP_FIRST)
        return BARID_EINVALID;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n; i++) {
        struct message *msg = m->messages[i];
        struct units_digest d = memory_digest(msg);
        uint32_t hastened = digest_hasten(&d, group, msg->hastened);

        if (msg->state != SPOOL_ACTIVE || hastened == 0 ||
            !units_hastens(&msg->units, d.is_mixed ? group : SPOOL_GROUP_MIXED))
            continue;
        msg->hastened = hastened;
        ++*n_r;
    }
    memory_announce(m);
    return 0;
}
