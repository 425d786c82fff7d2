/* spool/player_testing.c: see player_testing.h. */
#include "spool/player_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/spool_testing.h"

#define GROUP_MAX 3

/* One call of the store that is under way: what is true when it ends well. */
struct task {
    struct player *p;
    size_t n;
    struct ledger_mark done[GROUP_MAX];
};

void player_init(struct player *p, struct ledger *ledger, const struct player_mix *mix,
                 uint64_t seed)
{
    *p = (struct player){.mix = mix, .ledger = ledger};
    rng_seeded_init(&p->rng, seed);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->cond, NULL);
}

void player_deinit(struct player *p)
{
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->lock);
}

static uint64_t below(struct player *p, uint64_t n)
{
    return rng_u64(&p->rng.rng) % n;
}

static bool one_in(struct player *p, unsigned n)
{
    return n > 0 && below(p, n) == 0;
}

/* Lock held. */
static void note(struct player *p, const struct ledger_mark *m)
{
    if (p->told != NULL)
        p->told(p->told_user, m);
    ledger_note(p->ledger, m);
}

/* The mark of asking for what is done then; the message is left alone by others meanwhile. */
static void ask(struct task *t, enum ledger_kind kind, uint64_t message, uint32_t value)
{
    struct player *p = t->p;
    struct ledger_mark m = {.kind = kind, .message = message, .value = value};

    pthread_mutex_lock(&p->lock);
    note(p, &m);
    p->ledger->known[message].busy = true;
    pthread_mutex_unlock(&p->lock);
    m.kind++; /* each is followed by its end */
    t->done[t->n++] = m;
}

static void over(void *user, int err)
{
    struct task *t = user;
    struct player *p = t->p;

    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < t->n; i++) {
        if (err == 0)
            note(p, &t->done[i]);
        /* What failed is not known until the next start: no more is asked of it. */
        p->ledger->known[t->done[i].message].busy = err != 0;
    }
    p->refused += err != 0;
    p->under_way--;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->lock);
    free(t);
}

static struct task *task_new(struct player *p)
{
    struct task *t = calloc(1, sizeof(*t));

    if (t == NULL)
        abort();
    t->p = p;
    pthread_mutex_lock(&p->lock);
    p->under_way++;
    pthread_mutex_unlock(&p->lock);
    return t;
}

static void called(struct task *t, int rc)
{
    if (rc != 0)
        over(t, rc);
}

/* Nobody waits for this one: it goes along with the next that somebody does, in one batch. */
static void let_go(struct task *t, int rc)
{
    struct player *p = t->p;

    pthread_mutex_lock(&p->lock);
    p->refused += rc != 0;
    p->under_way--;
    pthread_mutex_unlock(&p->lock);
    free(t);
}

static void wait_all(struct player *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->under_way > 0)
        pthread_cond_wait(&p->cond, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

/* --- commits */

struct draft {
    size_t n, size;
    bool share;
    uint64_t seed;
    enum spool_state state;
    struct unit_state units[2];
    size_t n_units;
};

static struct draft new_draft(struct player *p)
{
    struct unit_state unit = test_unit(PLAYER_START_US);
    struct draft d = {
        .n = one_in(p, 4) ? GROUP_MAX : 1,
        .size = one_in(p, p->mix->big_one_in) ? SPOOL_BODY_MEMORY + 1 + (size_t)below(p, 300000)
                                              : (size_t)below(p, p->mix->body_most),
        .share = below(p, 2) == 0,
        .seed = below(p, 1000000),
        .state = p->mix->states > 0 && one_in(p, 4) ? SPOOL_HELD : SPOOL_ACTIVE,
        .units = {unit, unit},
        .n_units = 1 + (size_t)below(p, 2),
    };

    for (size_t i = 0; i < d.n_units; i++)
        test_unit_hop(&d.units[i], d.seed, 0, i);
    return d;
}

static size_t size_of(const struct draft *d, size_t i)
{
    return i == 0 || d->share ? d->size : 500;
}

static int make_put(struct player *p, const struct draft *d, struct spool_put **puts, size_t i)
{
    char meta[64], header[64];
    int rc;

    if (i == 0 || !d->share) {
        puts[i] = test_put(p->s, d->seed, size_of(d, i), d->state, d->units, d->n_units);
        return puts[i] == NULL ? BARID_EIO : 0;
    }
    snprintf(meta, sizeof(meta), "meta-%llu", (unsigned long long)d->seed);
    snprintf(header, sizeof(header), "header-%llu", (unsigned long long)d->seed);
    if ((rc = p->s->ops->put_share(puts[0], &puts[i])) != 0)
        return rc;
    rc = p->s->ops->put_describe(puts[i], d->state, slice_str(meta), slice_str(header),
                                 d->units, d->n_units);
    if (rc != 0)
        p->s->ops->put_abort(puts[i]);
    return rc;
}

static void do_commit(struct player *p)
{
    struct draft d = new_draft(p);
    struct spool_put *puts[GROUP_MAX];
    struct task *t = task_new(p);
    uint64_t first;

    for (size_t i = 0; i < d.n; i++) {
        int rc = make_put(p, &d, puts, i);

        if (rc == 0)
            continue;
        while (i-- > 0)
            p->s->ops->put_abort(puts[i]);
        called(t, rc);
        return;
    }
    pthread_mutex_lock(&p->lock);
    first = p->ledger->n;
    for (size_t i = 0; i < d.n; i++) {
        struct ledger_mark m = {.kind = LEDGER_PUT,
                                .value = d.state,
                                .message = first + i,
                                .id = p->s->ops->put_id(puts[i]),
                                .seed = d.seed,
                                .n = size_of(&d, i),
                                .group = first};

        note(p, &m);
        p->ledger->known[m.message].busy = true;
        m.kind = LEDGER_PUT_DONE;
        t->done[t->n++] = m;
    }
    pthread_mutex_unlock(&p->lock);
    called(t, p->s->ops->commit(p->s, puts, d.n, over, t));
}

/* --- the rest */

/* A message that is there and at rest; mostly a late one. False: none was met. */
static bool pick(struct player *p, uint64_t *message_r)
{
    bool found = false;

    pthread_mutex_lock(&p->lock);
    for (int tries = 0; tries < 20 && p->ledger->n > 0 && !found; tries++) {
        uint64_t n = p->ledger->n, last = n > 64 && tries < 15 ? 64 : n;

        *message_r = n - 1 - below(p, last);
        found =
            p->ledger->known[*message_r].mind == THERE && !p->ledger->known[*message_r].busy;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static uint64_t id_of(struct player *p, uint64_t message)
{
    uint64_t id;

    pthread_mutex_lock(&p->lock);
    id = p->ledger->known[message].id;
    pthread_mutex_unlock(&p->lock);
    return id;
}

static void do_erase(struct player *p)
{
    struct task *t;
    uint64_t message;

    if (!pick(p, &message))
        return;
    t = task_new(p);
    ask(t, LEDGER_GO, message, 0);
    called(t, p->s->ops->erase(p->s, id_of(p, message), over, t));
}

static void do_state(struct player *p)
{
    enum spool_state state = (enum spool_state)below(p, 4);
    struct task *t;
    uint64_t message;

    if (!pick(p, &message))
        return;
    t = task_new(p);
    ask(t, LEDGER_STATE, message, state);
    called(t, p->s->ops->set_state(p->s, id_of(p, message), state, over, t));
}

static bool find(struct player *p, uint64_t id, uint64_t *message_r, struct known *k)
{
    size_t i;

    pthread_mutex_lock(&p->lock);
    for (i = p->ledger->n; i-- > 0 && p->ledger->known[i].id != id;)
        ;
    if (i < p->ledger->n)
        *k = p->ledger->known[i];
    pthread_mutex_unlock(&p->lock);
    *message_r = i;
    return i != SIZE_MAX && !k->busy;
}

/* What is due is delivered, or put off by a second; as by the queue, that waits for no answer,
 * every other time. */
static void do_deliver(struct player *p)
{
    struct unit_change changes[2];
    struct spool_claim claim;
    struct known k = {0};
    struct task *t;
    uint64_t message;
    size_t n = 0;

    if (p->s->ops->claim(p->s, PLAYER_START_US, 1, &claim, &n) != 0 || n == 0)
        return;
    if (!find(p, claim.id, &message, &k)) {
        p->s->ops->release(p->s, claim.id, claim.lease);
        free(claim.units);
        return;
    }
    t = task_new(p);
    for (size_t i = 0; i < claim.n_units && i < 2; i++)
        changes[i] = (struct unit_change){claim.units[i], {.status = UNIT_DONE}};
    if (p->mix->stays_one_in > 0 && k.seed % p->mix->stays_one_in == 0) {
        struct unit_state off = {.status = UNIT_PENDING,
                                 .due_us = PLAYER_START_US + 1000000,
                                 .reply = slice_str("451 4.2.1 not now")};

        for (size_t i = 0; i < claim.n_units && i < 2; i++) {
            test_unit_hop(&off, k.seed, k.tries + 1, claim.units[i]);
            changes[i].state = off;
        }
        ask(t, LEDGER_TRY, message, k.tries + 1);
    } else {
        ask(t, LEDGER_GO, message, 0);
    }
    if (below(p, 2) == 0)
        let_go(t, p->s->ops->update(p->s, claim.id, claim.lease, changes, claim.n_units, NULL,
                                    NULL));
    else
        called(t,
               p->s->ops->update(p->s, claim.id, claim.lease, changes, claim.n_units, over, t));
    free(claim.units);
}

void player_step(struct player *p)
{
    const struct player_mix *m = p->mix;
    size_t n = 1 + (size_t)below(p, m->at_once > 0 ? m->at_once : 1);

    while (n-- > 0) {
        uint64_t which = below(p, m->commits + m->erases + m->delivers + m->states);

        if (which < m->commits)
            do_commit(p);
        else if (which < m->commits + m->erases)
            do_erase(p);
        else if (which < m->commits + m->erases + m->delivers)
            do_deliver(p);
        else
            do_state(p);
    }
    wait_all(p);
}

int player_erase_all(struct player *p)
{
    for (uint64_t message = 0; message < p->ledger->n; message++) {
        size_t before = p->refused;
        struct task *t;

        if (p->ledger->known[message].mind != THERE)
            continue;
        t = task_new(p);
        ask(t, LEDGER_GO, message, 0);
        called(t, p->s->ops->erase(p->s, id_of(p, message), over, t));
        wait_all(p);
        if (p->refused != before)
            return BARID_EIO;
    }
    return 0;
}
