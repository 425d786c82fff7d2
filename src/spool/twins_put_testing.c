/* spool/twins_put_testing.c: messages on their way into two stores; see twins_testing.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/spool_testing.h"
#include "spool/twins_testing.h"

#define SMALL_MOST 16000 /* of a body in memory: what is in one commit must fit a segment */
#define PIECE      20000

static char text[2000]; /* meta, headers and replies are parts of it */

static barid_slice some_text(struct twins *t, size_t most)
{
    size_t n = (size_t)twins_below(t, most);

    if (text[0] == '\0')
        test_fill(1, 0, text, sizeof(text));
    return slice_of(text + twins_below(t, sizeof(text) - n), n);
}

int64_t twins_due(struct twins *t)
{
    return t->wall_us + (int64_t)twins_below(t, 20) * 1000000 + ++t->serial;
}

void twins_describe_unit(struct twins *t, struct unit_state *unit, int64_t due_us)
{
    *unit = (struct unit_state){
        .status = UNIT_PENDING,
        .due_us = due_us,
        .attempts = (uint32_t)twins_below(t, 5),
        .suspect = twins_below(t, 8) == 0,
        .group = twins_below(t, 2) == 0 ? SPOOL_GROUP_NONE : twins_group(t),
        .reply = some_text(t, twins_below(t, 10) == 0 ? SPOOL_UNIT_REPLY_MAX + 200 : 40),
    };
    if (twins_below(t, 3) == 0)
        unit->status = (enum unit_status)twins_below(t, 5);
    if (twins_below(t, 100) == 0)
        unit->status = (enum unit_status)9;
    if (twins_below(t, 100) == 0)
        unit->group = SPOOL_GROUP_MIXED; /* no group of a unit */
    for (uint64_t i = twins_below(t, 3) == 0 ? twins_below(t, UNIT_AHEAD_MAX + 1) : 0; i > 0; i--)
        unit->ahead_s[i - 1] = (uint32_t)twins_below(t, 3) * 600;
}

uint32_t twins_group(struct twins *t)
{
    /* Some have bits in common. */
    return SPOOL_GROUP_FIRST + (uint32_t)twins_below(t, 3) + 32 * (uint32_t)twins_below(t, 2);
}

/* --- one draft */

static struct twin_draft *some_draft(struct twins *t)
{
    return t->n_drafts == 0 ? NULL : &t->drafts[twins_below(t, t->n_drafts)];
}

static void drop(struct twins *t, struct twin_draft *d)
{
    *d = t->drafts[--t->n_drafts];
}

static void add_draft(struct twins *t, const char *what, const int rc[2],
                      struct spool_put *const put[2], uint64_t seed)
{
    if (!twins_same(t, what, rc[0], rc[1]) || rc[0] != 0)
        return;
    t->drafts[t->n_drafts++] = (struct twin_draft){{put[0], put[1]}, seed};
}

static void begin(struct twins *t)
{
    struct spool_put *put[2];
    int rc[2];

    if (t->n_drafts == TWINS_DRAFTS)
        return;
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->put_begin(t->s[side], &put[side]);
    add_draft(t, "put_begin", rc, put, twins_below(t, 1000));
}

static void share(struct twins *t)
{
    const struct twin_draft *d = some_draft(t);
    struct spool_put *put[2];
    int rc[2];

    if (d == NULL || t->n_drafts == TWINS_DRAFTS)
        return;
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->put_share(d->put[side], &put[side]);
    add_draft(t, "put_share", rc, put, d->seed);
}

static uint64_t size_of(struct twins *t, const struct twin_draft *d)
{
    uint64_t size = t->s[TWIN_MEMORY]->ops->put_size(d->put[TWIN_MEMORY]);

    twins_same(t, "put_size", (int64_t)size,
               (int64_t)t->s[TWIN_LOG]->ops->put_size(d->put[TWIN_LOG]));
    return size;
}

static void grow(struct twins *t, const struct twin_draft *d)
{
    size_t n = (size_t)twins_below(t, twins_below(t, 2) == 0 ? 500 : 15000);
    uint64_t size = size_of(t, d);
    char piece[PIECE];

    if (twins_below(t, 50) == 0)
        n = SPOOL_BODY_MEMORY + 1 + (size_t)twins_below(t, 300000);
    else if (size < SPOOL_BODY_MEMORY && size + n > SMALL_MOST)
        return;
    while (n > 0 && t->failure[0] == '\0') {
        size_t part = 1 + (size_t)twins_below(t, n < PIECE ? n : PIECE);
        int rc[2];

        test_fill(d->seed, size, piece, part);
        for (int side = 0; side < 2; side++)
            rc[side] = t->s[side]->ops->put_body(d->put[side], piece, part);
        if (!twins_same(t, "put_body", rc[0], rc[1]) || rc[0] != 0)
            return;
        size += part;
        n -= part;
    }
    size_of(t, d);
}

static void read_back(struct twins *t, const struct twin_draft *d)
{
    uint64_t offset = twins_below(t, size_of(t, d) + 10);
    size_t n = (size_t)twins_below(t, PIECE);
    char octets[2][PIECE];
    int64_t got[2];

    for (int side = 0; side < 2; side++)
        got[side] = t->s[side]->ops->put_read(d->put[side], offset, octets[side], n);
    if (twins_same(t, "put_read", got[0], got[1]) && got[0] > 0 &&
        memcmp(octets[0], octets[1], (size_t)got[0]) != 0)
        twins_differ(t, "octets of a put differ");
}

static void truncate_draft(struct twins *t, const struct twin_draft *d)
{
    int rc[2];

    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->put_truncate(d->put[side]);
    twins_same(t, "put_truncate", rc[0], rc[1]);
    size_of(t, d);
}

static void describe(struct twins *t, const struct twin_draft *d, bool valid)
{
    struct unit_state units[TWINS_UNITS];
    size_t n = (size_t)twins_below(t, twins_below(t, 10) == 0 ? TWINS_UNITS : 3) + valid;
    enum spool_state state = SPOOL_ACTIVE;
    barid_slice meta = some_text(t, 200), header = some_text(t, 400);
    int64_t due_us = twins_due(t);
    bool together = twins_below(t, 2) == 0;
    int rc[2];

    n = n < TWINS_UNITS ? n : TWINS_UNITS;
    for (size_t i = 0; i < n; i++) {
        twins_describe_unit(t, &units[i], together ? due_us : twins_due(t));
        if (valid && units[i].status > UNIT_GIVEN_UP)
            units[i].status = UNIT_PENDING;
        if (valid && units[i].group == SPOOL_GROUP_MIXED)
            units[i].group = SPOOL_GROUP_NONE;
    }
    if (valid)
        units[0].status = UNIT_PENDING;
    if (!valid || twins_below(t, 4) == 0)
        state = (enum spool_state)twins_below(t, valid ? 4 : 5);
    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->put_describe(d->put[side], state, meta, header, units, n);
    twins_same(t, "put_describe", rc[0], rc[1]);
}

static void abort_draft(struct twins *t, struct twin_draft *d)
{
    for (int side = 0; side < 2; side++)
        t->s[side]->ops->put_abort(d->put[side]);
    drop(t, d);
}

void twins_abort_drafts(struct twins *t)
{
    while (t->n_drafts > 0)
        abort_draft(t, &t->drafts[0]);
}

/* --- commits */

/* The last n drafts, or as many of any. */
static void commit(struct twins *t, size_t n, bool last)
{
    struct spool_put *puts[2][TWINS_DRAFTS];
    uint64_t ids[TWINS_DRAFTS][2];
    struct twin_flight *f = twins_call(t, "commit");
    int rc[2];

    for (size_t i = 0; i < n; i++) {
        struct twin_draft *d = last ? &t->drafts[t->n_drafts - 1] : some_draft(t);

        for (int side = 0; side < 2; side++) {
            puts[side][i] = d->put[side];
            ids[i][side] = t->s[side]->ops->put_id(d->put[side]);
        }
        drop(t, d);
    }
    for (int side = 0; side < 2; side++)
        rc[side] =
            t->s[side]->ops->commit(t->s[side], puts[side], n, twins_done, twins_user(f, side));
    if (!twins_called(t, f, rc))
        return;
    for (size_t i = 0; i < n; i++)
        twins_add_mail(t, ids[i]);
}

void twins_play_mail(struct twins *t)
{
    size_t before;

    if (t->n_drafts == TWINS_DRAFTS)
        abort_draft(t, &t->drafts[0]);
    before = t->n_drafts;
    begin(t);
    grow(t, &t->drafts[before]);
    if (twins_below(t, 4) == 0 && t->n_drafts < TWINS_DRAFTS) {
        int rc[2];
        struct spool_put *put[2];

        for (int side = 0; side < 2; side++)
            rc[side] = t->s[side]->ops->put_share(t->drafts[before].put[side], &put[side]);
        add_draft(t, "put_share", rc, put, t->drafts[before].seed);
    }
    for (size_t i = before; i < t->n_drafts; i++)
        describe(t, &t->drafts[i], true);
    commit(t, t->n_drafts - before, true);
}

/* Mostly all of them are described: else the commit is refused, as when a sharer is missing. */
static void commit_some(struct twins *t)
{
    bool some = twins_below(t, 4) == 0;

    for (size_t i = 0; i < t->n_drafts; i++) {
        if (twins_below(t, 12) > 0)
            describe(t, &t->drafts[i], true);
    }
    commit(t, some ? (size_t)twins_below(t, t->n_drafts + 1) : t->n_drafts, false);
}

void twins_play_draft(struct twins *t)
{
    struct twin_draft *d = some_draft(t);
    uint64_t what = twins_below(t, 16);

    if (d == NULL || what < 2)
        begin(t);
    else if (what < 6)
        grow(t, d);
    else if (what < 8)
        read_back(t, d);
    else if (what < 9)
        truncate_draft(t, d);
    else if (what < 11)
        share(t);
    else if (what < 14)
        describe(t, d, what < 13);
    else if (what < 15)
        abort_draft(t, d);
    else
        commit_some(t);
}
