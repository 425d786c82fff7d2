/* spool/twins_play_testing.c: what happens to messages of two stores; see twins_testing.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool/twins_testing.h"

/* A message, mostly one that is there, sometimes one that is gone or never was. */
static void some_mail(struct twins *t, uint64_t id[2])
{
    id[0] = id[1] = 1 + twins_below(t, 9);
    for (int tries = 0; tries < 20 && t->n_mails > 0; tries++) {
        uint64_t last = tries < 15 && t->n_mails > 40 ? 40 : t->n_mails;
        const struct twin_mail *mail = &t->mails[t->n_mails - 1 - twins_below(t, last)];

        id[0] = mail->id[0];
        id[1] = mail->id[1];
        if (!mail->gone || twins_below(t, 20) == 0)
            return;
    }
}

static void mark_gone(struct twins *t, const uint64_t id[2])
{
    for (size_t i = t->n_mails; i-- > 0;) {
        if (t->mails[i].id[0] == id[0])
            t->mails[i].gone = true;
    }
}

/* Half of the calls are waited for, some by nobody at all. */
static spool_done some_done(struct twins *t)
{
    return twins_below(t, 3) == 0 ? NULL : twins_done;
}

/* What a call of both that may have no done comes to. */
static void over(struct twins *t, const char *what, struct twin_flight *f, const int rc[2],
                 const uint64_t id[2])
{
    if (f != NULL)
        twins_called(t, f, rc);
    else
        twins_same(t, what, rc[0], rc[1]);
    if (rc[0] == BARID_ENOTFOUND)
        mark_gone(t, id);
    if (twins_below(t, 2) == 0)
        twins_settle(t);
}

static struct twin_flight *call(struct twins *t, const char *what, spool_done done)
{
    return done != NULL ? twins_call(t, what) : NULL;
}

static void *user(struct twin_flight *f, int side)
{
    return f != NULL ? twins_user(f, side) : NULL;
}

/* --- claims */

static struct twin_claim *some_claim(struct twins *t)
{
    return t->n_claims == 0 ? NULL : &t->claims[twins_below(t, t->n_claims)];
}

static void drop_claim(struct twins *t, struct twin_claim *c)
{
    free(c->units);
    *c = t->claims[--t->n_claims];
}

static void release(struct twins *t)
{
    struct twin_claim *c = some_claim(t);
    bool wrong = twins_below(t, 8) == 0, aside = twins_below(t, 3) == 0;
    uint32_t group = twins_group(t);

    if (c == NULL)
        return;
    for (int side = 0; side < 2; side++) {
        if (aside)
            t->s[side]->ops->put_aside(t->s[side], c->id[side], wrong ? 0 : c->lease[side], group);
        else
            t->s[side]->ops->release(t->s[side], c->id[side], wrong ? 0 : c->lease[side]);
    }
    if (!wrong)
        drop_claim(t, c);
}

static void add_claim(struct twins *t, const struct spool_claim *memory,
                      const struct spool_claim *log)
{
    bool known = false;

    for (size_t i = 0; i < t->n_mails && !known; i++)
        known = t->mails[i].id[0] == memory->id && t->mails[i].id[1] == log->id;
    if (!known)
        twins_differ(t, "another message was claimed");
    if (twins_same(t, "units of a claim", (int64_t)memory->n_units, (int64_t)log->n_units) &&
        memcmp(memory->units, log->units, log->n_units * sizeof(*log->units)) != 0)
        twins_differ(t, "other units were claimed");
    twins_same(t, "group of a claim", memory->group, log->group);
    free(log->units);
    t->claims[t->n_claims++] = (struct twin_claim){.id = {memory->id, log->id},
                                                   .lease = {memory->lease, log->lease},
                                                   .units = memory->units,
                                                   .n_units = memory->n_units};
}

/* Which of those that are due are chosen: the same ones on both sides, and asked about in the same order. */
struct choosing {
    uint64_t yes; /* bit by bit */
    size_t n;
    uint32_t groups[64];
};

static bool choose(void *user, uint64_t id, uint32_t group)
{
    struct choosing *c = user;

    (void)id;
    c->groups[c->n % 64] = group;
    return c->yes >> (c->n++ % 64) & 1;
}

static void compare_choosing(struct twins *t, const struct choosing c[2], const size_t aside[2])
{
    twins_same(t, "messages asked about", (int64_t)c[0].n, (int64_t)c[1].n);
    twins_same(t, "messages put aside", (int64_t)aside[0], (int64_t)aside[1]);
    if (memcmp(c[0].groups, c[1].groups, sizeof(c[0].groups)) != 0)
        twins_differ(t, "groups asked about differ");
    t->asides += aside[0];
}

static void claim(struct twins *t)
{
    int64_t now_us = t->wall_us + (int64_t)twins_below(t, 20) * 1000000;
    size_t max = (size_t)twins_below(t, 4), n[2], aside[2] = {0, 0};
    uint64_t yes = twins_below(t, 3) == 0 ? UINT64_MAX : rng_u64(&t->rng.rng);
    struct choosing c[2] = {{.yes = yes}, {.yes = yes}};
    bool some = twins_below(t, 2) == 0;
    struct spool_claim claims[2][4];
    int rc[2];

    if (t->n_claims + max > TWINS_CLAIMS) {
        release(t);
        return;
    }
    twins_settle(t);
    for (int side = 0; side < 2; side++) {
        struct spool *s = t->s[side];

        rc[side] = some ? s->ops->claim_some(s, now_us, max, choose, &c[side], claims[side],
                                             &n[side], &aside[side])
                        : s->ops->claim(s, now_us, max, claims[side], &n[side]);
    }
    compare_choosing(t, c, aside);
    twins_same(t, "claim", rc[0], rc[1]);
    if (!twins_same(t, "claims", (int64_t)n[0], (int64_t)n[1])) {
        for (int side = 0; side < 2; side++) {
            while (n[side] > 0)
                free(claims[side][--n[side]].units);
        }
    }
    for (size_t i = 0; i < n[0]; i++)
        add_claim(t, &claims[0][i], &claims[1][i]);
}

static void claim_one(struct twins *t)
{
    int64_t now_us = t->wall_us + (int64_t)twins_below(t, 20) * 1000000;
    struct spool_claim claims[2];
    uint64_t id[2];
    int rc[2];

    if (t->n_claims == TWINS_CLAIMS) {
        release(t);
        return;
    }
    some_mail(t, id);
    twins_settle(t);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->claim_one(t->s[side], id[side], now_us, &claims[side]);
    if (!twins_same(t, "claim_one", rc[0], rc[1]) || rc[0] != 0) {
        for (int side = 0; side < 2; side++) {
            if (rc[side] == 0)
                free(claims[side].units);
        }
        return;
    }
    add_claim(t, &claims[0], &claims[1]);
    t->ones++;
}

static void hasten(struct twins *t)
{
    uint32_t group = twins_below(t, 20) == 0 ? SPOOL_GROUP_MIXED : twins_group(t);
    size_t n[2];
    int rc[2];

    twins_settle(t);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->hasten(t->s[side], group, &n[side]);
    twins_same(t, "hasten", rc[0], rc[1]);
    twins_same(t, "messages hastened", (int64_t)n[0], (int64_t)n[1]);
    t->hastened += n[0];
}

/* Changes of units of the list, or (NULL) of any; one may be out of range, or twice. */
static size_t some_changes(struct twins *t, const uint32_t *units, size_t n_units,
                           struct unit_change *changes)
{
    size_t n = 0, step = 1 + (size_t)twins_below(t, 3);
    bool ends = twins_below(t, 2) == 0;

    for (size_t i = twins_below(t, 3) == 0 ? 1 : 0; i < n_units && n < TWINS_UNITS; i += step) {
        changes[n].unit = units != NULL ? units[i] : (uint32_t)i;
        twins_describe_unit(t, &changes[n].state, twins_due(t));
        if (ends)
            changes[n].state.status = twins_below(t, 2) == 0 ? UNIT_DONE : UNIT_FAILED;
        n++;
    }
    if (n > 0 && twins_below(t, 20) == 0)
        changes[n - 1].unit = twins_below(t, 2) == 0 ? changes[0].unit : 77;
    return n;
}

static void update(struct twins *t)
{
    struct unit_change changes[TWINS_UNITS];
    struct twin_claim *c = some_claim(t), *other = some_claim(t);
    spool_done done = some_done(t);
    struct twin_flight *f;
    uint64_t id[2], lease[2];
    size_t n;
    int rc[2];

    if (c == NULL)
        return;
    n = some_changes(t, c->units, c->n_units, changes);
    for (int side = 0; side < 2; side++) {
        id[side] = c->id[side];
        lease[side] = c->lease[side];
    }
    if (twins_below(t, 10) == 0)
        memcpy(lease, other->lease, sizeof(lease));
    else if (twins_below(t, 30) == 0)
        lease[0] = lease[1] = 0;
    f = call(t, "update", done);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->update(t->s[side], id[side], lease[side], changes, n, done,
                                           user(f, side));
    over(t, "update", f, rc, id);
    if (rc[0] == BARID_ENOTFOUND)
        drop_claim(t, c);
}

/* --- operating */

static void change(struct twins *t)
{
    struct unit_change changes[TWINS_UNITS];
    size_t n = some_changes(t, NULL, 1 + (size_t)twins_below(t, 4), changes);
    spool_done done = some_done(t);
    struct twin_flight *f = call(t, "change", done);
    uint64_t id[2];
    int rc[2];

    some_mail(t, id);
    for (int side = 0; side < 2; side++)
        rc[side] =
            t->s[side]->ops->change(t->s[side], id[side], changes, n, done, user(f, side));
    over(t, "change", f, rc, id);
}

static void set_state(struct twins *t)
{
    enum spool_state state = SPOOL_ACTIVE;
    spool_done done = some_done(t);
    struct twin_flight *f = call(t, "set_state", done);
    uint64_t id[2];
    int rc[2];

    if (twins_below(t, 2) == 0)
        state = (enum spool_state)twins_below(t, 5);
    some_mail(t, id);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->set_state(t->s[side], id[side], state, done, user(f, side));
    over(t, "set_state", f, rc, id);
}

static void erase(struct twins *t)
{
    spool_done done = some_done(t);
    struct twin_flight *f = call(t, "erase", done);
    uint64_t id[2];
    int rc[2];

    some_mail(t, id);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->erase(t->s[side], id[side], done, user(f, side));
    mark_gone(t, id);
    over(t, "erase", f, rc, id);
}

/* --- reading */

static void open_body(struct twins *t)
{
    uint64_t id[2], size[2];
    void *body[2];
    int rc[2];

    if (t->n_bodies == TWINS_BODIES)
        return;
    some_mail(t, id);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->body_open(t->s[side], id[side], &body[side], &size[side]);
    if (!twins_same(t, "body_open", rc[0], rc[1]) || rc[0] != 0)
        return;
    twins_same(t, "body_open, the size", (int64_t)size[0], (int64_t)size[1]);
    memcpy(t->bodies[t->n_bodies++], body, sizeof(body));
}

static void close_body(struct twins *t, size_t i)
{
    for (int side = 0; side < 2; side++)
        t->s[side]->ops->body_close(t->bodies[i][side]);
    memcpy(t->bodies[i], t->bodies[--t->n_bodies], sizeof(t->bodies[i]));
}

void twins_close_bodies(struct twins *t)
{
    while (t->n_bodies > 0)
        close_body(t, 0);
}

static void read_body(struct twins *t)
{
    size_t i;

    if (t->n_bodies == 0 || twins_below(t, 5) == 0) {
        open_body(t);
        return;
    }
    i = (size_t)twins_below(t, t->n_bodies);
    twins_compare_octets(t, t->bodies[i], twins_below(t, 20000), (size_t)twins_below(t, 9000));
    if (twins_below(t, 4) == 0)
        close_body(t, i);
}

static void look(struct twins *t)
{
    struct spool_message m[2];
    uint64_t id[2];
    int rc[2];

    twins_settle(t);
    twins_compare_due(t);
    some_mail(t, id);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->after(t->s[side], id[side], &m[side]);
    if (twins_same(t, "after", rc[0], rc[1]) && rc[0] == 0)
        twins_same(t, "after, when it is due", m[0].next_due_us, m[1].next_due_us);
    twins_same(t, "admit", t->s[0]->ops->admit(t->s[0], id[0] % 100000),
               t->s[1]->ops->admit(t->s[1], id[0] % 100000));
}

static void pass_time(struct twins *t)
{
    t->wall_us += (int64_t)twins_below(t, 5000) * 1000;
    if (twins_below(t, 10) == 0)
        t->wall_us -= 20000000;
}

void twins_play(struct twins *t)
{
    static const struct {
        void (*act)(struct twins *t);
        unsigned parts;
    } acts[] = {
        {twins_play_mail, 10},
        {twins_play_draft, 12},
        {claim, 8},
        {claim_one, 4},
        {hasten, 2},
        {update, 14},
        {release, 2},
        {set_state, 6},
        {change, 4},
        {erase, 5},
        {read_body, 5},
        {look, 3},
        {pass_time, 2},
    };
    uint64_t which = 0, all = 0;

    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++)
        all += acts[i].parts;
    which = twins_below(t, all);
    for (size_t i = 0; i < sizeof(acts) / sizeof(*acts); i++) {
        if (which < acts[i].parts) {
            acts[i].act(t);
            break;
        }
        which -= acts[i].parts;
    }
    t->operations++;
}
