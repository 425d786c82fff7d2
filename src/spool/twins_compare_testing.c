/* spool/twins_compare_testing.c: all that two stores hold, compared; see twins_testing.h. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/twins_testing.h"

#define PIECE 8192

int64_t twins_compare_octets(struct twins *t, void *const body[2], uint64_t offset, size_t n)
{
    char octets[2][PIECE];
    int64_t got[2];

    n = n < PIECE ? n : PIECE;
    for (int side = 0; side < 2; side++)
        got[side] = t->s[side]->ops->body_read(body[side], offset, octets[side], n);
    if (twins_same(t, "octets read of a body", got[0], got[1]) && got[0] > 0 &&
        memcmp(octets[0], octets[1], (size_t)got[0]) != 0)
        twins_differ(t, "octets of a body differ");
    return t->failure[0] == '\0' ? got[0] : 0;
}

static void compare_body(struct twins *t, const uint64_t id[2])
{
    uint64_t size[2], at = 0;
    void *body[2] = {NULL, NULL};
    int64_t got;
    int rc[2];

    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->body_open(t->s[side], id[side], &body[side], &size[side]);
    if (twins_same(t, "opening a body", rc[0], rc[1]) && rc[0] == 0) {
        twins_same(t, "size of a body", (int64_t)size[0], (int64_t)size[1]);
        while ((got = twins_compare_octets(t, body, at, PIECE)) > 0)
            at += (uint64_t)got;
        twins_same(t, "end of a body", (int64_t)at, (int64_t)size[0]);
    }
    for (int side = 0; side < 2; side++) {
        if (rc[side] == 0)
            t->s[side]->ops->body_close(body[side]);
    }
}

static void compare_info(struct twins *t, const struct spool_message *memory,
                         const struct spool_message *log)
{
    twins_same(t, "state of a message", memory->state, log->state);
    twins_same(t, "when a message is due", memory->next_due_us, log->next_due_us);
    twins_same(t, "size of a message", (int64_t)memory->size, (int64_t)log->size);
    twins_same(t, "number of units", memory->units, log->units);
    twins_same(t, "group of a message", memory->group, log->group);
}

static void compare_loaded(struct twins *t, const struct spool_loaded *memory,
                           const struct spool_loaded *log)
{
    compare_info(t, &memory->info, &log->info);
    if (!slice_eq(memory->meta, log->meta))
        twins_differ(t, "meta differs");
    if (!slice_eq(memory->header, log->header))
        twins_differ(t, "headers differ");
    if (!twins_same(t, "loaded units", (int64_t)memory->n_units, (int64_t)log->n_units))
        return;
    for (size_t i = 0; i < memory->n_units; i++) {
        const struct unit_state *a = &memory->units[i], *b = &log->units[i];

        twins_same(t, "status of a unit", a->status, b->status);
        twins_same(t, "attempts of a unit", a->attempts, b->attempts);
        twins_same(t, "when a unit is due", a->due_us, b->due_us);
        twins_same(t, "group of a unit", a->group, b->group);
        twins_same(t, "suspicion of a unit", a->suspect, b->suspect);
        for (int k = 0; k < UNIT_AHEAD_MAX; k++)
            twins_same(t, "seconds ahead of a unit", a->ahead_s[k], b->ahead_s[k]);
        if (!slice_eq(a->reply, b->reply))
            twins_differ(t, "replies of a unit differ");
    }
}

static void compare_message(struct twins *t, const uint64_t id[2])
{
    struct spool_loaded loaded[2];
    int rc[2];

    for (int side = 0; side < 2; side++)
        rc[side] = t->s[side]->ops->load(t->s[side], id[side], &loaded[side]);
    if (twins_same(t, "loading", rc[0], rc[1]) && rc[0] == 0)
        compare_loaded(t, &loaded[0], &loaded[1]);
    for (int side = 0; side < 2; side++) {
        if (rc[side] == 0)
            t->s[side]->ops->loaded_free(&loaded[side]);
    }
    compare_body(t, id);
}

static struct twin_mail *mail_of(struct twins *t, uint64_t id)
{
    for (size_t i = t->n_mails; i-- > 0;) {
        if (t->mails[i].id[TWIN_MEMORY] == id)
            return &t->mails[i];
    }
    return NULL;
}

static void compare_counts(struct twins *t)
{
    struct spool_stats stats[2];

    for (int side = 0; side < 2; side++)
        t->s[side]->ops->stats(t->s[side], &stats[side]);
    for (int i = 0; i < 4; i++)
        twins_same(t, "messages in a state", (int64_t)stats[0].messages[i],
                   (int64_t)stats[1].messages[i]);
    twins_same(t, "damage", (int64_t)stats[0].damaged, (int64_t)stats[1].damaged);
    twins_same(t, "failed", stats[0].failed, stats[1].failed);
    twins_same(t, "full", stats[0].full, stats[1].full);
}

/* What a call that gives up its lock on the way has changed, the committer may have seen first: then the watcher is told by that thread, which
 * nobody waits for where it writes what nobody waits for. */
static bool log_tells(struct twins *t)
{
    for (unsigned i = 0; i < 1000000 && !t->told[TWIN_LOG]; i++)
        sched_yield();
    return t->told[TWIN_LOG];
}

/* A watcher may be called once or more often, and by the log also for nothing, at its start. */
void twins_compare_due(struct twins *t)
{
    if (t->told[TWIN_MEMORY] && !log_tells(t))
        twins_differ(t, "the watcher of the log was not told");
    twins_same(t, "next due", t->s[0]->ops->next_due(t->s[0]), t->s[1]->ops->next_due(t->s[1]));
    t->told[0] = t->told[1] = false;
}

void twins_compare(struct twins *t)
{
    struct spool_message m[2];
    uint64_t id[2] = {0, 0};
    int rc[2];

    twins_settle(t);
    for (size_t i = 0; i < t->n_mails; i++)
        t->mails[i].gone = true;
    while (t->failure[0] == '\0') {
        struct twin_mail *mail;

        for (int side = 0; side < 2; side++)
            rc[side] = t->s[side]->ops->after(t->s[side], id[side], &m[side]);
        if (!twins_same(t, "is there one more message", rc[0], rc[1]) || rc[0] != 0)
            break;
        if ((mail = mail_of(t, m[TWIN_MEMORY].id)) == NULL)
            twins_differ(t, "the memory has a message that nobody put");
        else if (mail->id[TWIN_LOG] != m[TWIN_LOG].id)
            twins_differ(t, "the next message is another one");
        else
            mail->gone = false;
        compare_info(t, &m[0], &m[1]);
        id[0] = m[0].id;
        id[1] = m[1].id;
        compare_message(t, id);
    }
    compare_counts(t);
    twins_compare_due(t);
}
