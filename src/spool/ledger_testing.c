/* spool/ledger_testing.c: see ledger_testing.h. */
#include "spool/ledger_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/spool_testing.h"

void ledger_init(struct ledger *l)
{
    *l = (struct ledger){0};
}

void ledger_deinit(struct ledger *l)
{
    free(l->known);
}

static void make_room(struct ledger *l, size_t n)
{
    if (n <= l->cap)
        return;
    l->cap = 2 * n;
    l->known = realloc(l->known, l->cap * sizeof(*l->known));
    if (l->known == NULL)
        abort();
}

void ledger_copy(struct ledger *to, const struct ledger *from)
{
    make_room(to, from->n);
    to->n = from->n;
    if (from->n > 0)
        memcpy(to->known, from->known, from->n * sizeof(*from->known));
    memcpy(to->failure, from->failure, sizeof(to->failure));
}

void ledger_complain(struct ledger *l, const struct known *k, const char *what)
{
    if (l->failure[0] != '\0')
        return;
    if (k == NULL)
        snprintf(l->failure, sizeof(l->failure), "%s", what);
    else
        snprintf(l->failure, sizeof(l->failure), "message %llx (%llu octets) %s",
                 (unsigned long long)k->id, (unsigned long long)k->n, what);
}

/* The id of a put that was lost before anybody knew it may come again when the clock was set
 * back; no other may. */
static void check_new_id(struct ledger *l, uint64_t id)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->known[i].id != id)
            continue;
        if (l->known[i].was_there)
            ledger_complain(l, &l->known[i], "had an id that was given out again");
        l->known[i].id = 0;
    }
}

static void note_put(struct ledger *l, const struct ledger_mark *m)
{
    make_room(l, m->message + 1);
    if (m->message != l->n)
        abort(); /* numbers are given in order */
    check_new_id(l, m->id);
    l->known[l->n++] = (struct known){
        .id = m->id,
        .seed = m->seed,
        .n = m->n,
        .group = m->group,
        .state = m->value,
        .other_state = m->value,
    };
}

void ledger_note(struct ledger *l, const struct ledger_mark *m)
{
    struct known *k;

    if (m->kind == LEDGER_PUT)
        note_put(l, m);
    k = &l->known[m->message];
    if (m->kind == LEDGER_PUT_DONE)
        k->mind = THERE, k->was_there = true;
    if (m->kind == LEDGER_GO)
        k->mind = LEAVING;
    if (m->kind == LEDGER_GO_DONE)
        k->mind = AWAY;
    if (m->kind == LEDGER_STATE)
        k->other_state = m->value;
    if (m->kind == LEDGER_STATE_DONE)
        k->state = m->value;
    if (m->kind == LEDGER_TRY)
        k->other_tries = m->value;
    if (m->kind == LEDGER_TRY_DONE)
        k->tries = m->value;
}

/* --- what must hold */

static void check_loaded(struct ledger *l, struct known *k, const struct spool_loaded *loaded)
{
    uint32_t state = loaded->info.state, tries = 0;

    if (state != k->state && state != k->other_state)
        ledger_complain(l, k, "is in a state that nobody asked for");
    for (size_t i = 0; i < loaded->n_units; i++) {
        tries = loaded->units[i].attempts;
        if (tries != loaded->units[0].attempts)
            ledger_complain(l, k, "has half of a change of its units");
        if (!test_unit_has_hop(&loaded->units[i], k->seed, i))
            ledger_complain(l, k, "has units with the group of others");
        if (tries != k->tries && tries != k->other_tries)
            ledger_complain(l, k, "has units in a state that nobody asked for");
    }
    k->state = k->other_state = state;
    k->tries = k->other_tries = tries;
}

static void check_one(struct ledger *l, struct spool *s, struct known *k)
{
    struct spool_loaded loaded;
    int rc = test_verify(s, k->id, k->seed, (size_t)k->n);

    if (rc != 0 && rc != BARID_ENOTFOUND)
        ledger_complain(l, k, "is there but not whole");
    if (rc == BARID_ENOTFOUND && k->mind == THERE)
        ledger_complain(l, k, "was acknowledged and is lost");
    if (rc == 0 && k->mind == AWAY)
        ledger_complain(l, k, "was removed and is back");
    k->was_there |= rc == 0;
    k->busy = false;
    if (rc == BARID_ENOTFOUND)
        k->mind = k->mind == MAYBE ? MAYBE : AWAY;
    else
        k->mind = THERE; /* and from now on it must stay */
    if (rc != 0 || s->ops->load(s, k->id, &loaded) != 0)
        return;
    check_loaded(l, k, &loaded);
    s->ops->loaded_free(&loaded);
}

/* MAYBE after the look at each is: not acknowledged, and not there. None of its commit may be. */
static void check_groups(struct ledger *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct known *first = &l->known[l->known[i].group];

        if ((l->known[i].mind == MAYBE) != (first->mind == MAYBE))
            ledger_complain(l, &l->known[i],
                            first->mind == MAYBE ? "is there without its group"
                                                 : "is absent without its group");
    }
    for (size_t i = 0; i < l->n; i++) {
        if (l->known[i].mind == MAYBE)
            l->known[i].mind = AWAY;
    }
}

static bool is_known(const struct ledger *l, uint64_t id)
{
    for (size_t i = l->n; i-- > 0;) {
        if (l->known[i].id == id)
            return true;
    }
    return false;
}

void ledger_check(struct ledger *l, struct spool *s)
{
    struct spool_message m = {0};
    struct spool_stats stats;

    for (size_t i = 0; i < l->n; i++)
        check_one(l, s, &l->known[i]);
    check_groups(l);
    while (s->ops->after(s, m.id, &m) == 0) {
        if (!is_known(l, m.id))
            ledger_complain(l, &(struct known){.id = m.id, .n = m.size}, "was never put");
    }
    s->ops->stats(s, &stats);
    if (stats.damaged > 0)
        ledger_complain(l, NULL, "damage was reported, and there was none");
}
