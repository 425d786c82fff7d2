/*
 * queue/future.c: at the start, what an earlier process put off by a clock that was ahead.
 *
 * Due times are of the wall clock. While a process lives the queue's clock never goes back (queue_now_us); between two it may,
 * and a unit that is to be tried in ten minutes would wait for years. Two things cannot be: a retry that is further away than
 * the longest interval of its mail, and a mail that was received later than now. The first is due now; the second was meant to wait from
 * its receipt on, and waits so long from now on. A first attempt that its policy has put off stays where it is.
 */
#include "base/mem.h"
#include "message/record.h"
#include "queue/work.h"

#define ID_TIME_SHIFT 20 /* of an id: milliseconds above a number (spool/put.c) */

static int64_t received_us(uint64_t id)
{
    return (int64_t)(id >> ID_TIME_SHIFT) * 1000;
}

/* The furthest that a retry which is decided now can be. */
static int64_t limit_us(uint32_t max_s, int64_t now_us)
{
    return now_us + (int64_t)max_s * 1100000 + 1000000;
}

/* The longest interval of that mail, which may have a schedule of its own. */
static uint32_t longest_s(const struct queue *q, const struct spool_loaded *loaded)
{
    uint32_t max_s = q->o.retry.max_s;
    struct arena arena;
    struct mail mail;
    struct unit *units;
    size_t n;

    arena_init(&arena, q->o.mem, WORK_ARENA_MAX);
    if (record_decode(&mail, &arena, loaded->meta, loaded->header, &units, &n) == 0 && mail.retry.set &&
        mail.retry.max_s > max_s)
        max_s = mail.retry.max_s;
    arena_deinit(&arena);
    return max_s;
}

/* When the unit should be tried, as far as can be known. */
static int64_t due_now(const struct unit_state *u, uint64_t id, int64_t now_us)
{
    int64_t ahead_us = received_us(id) - now_us;

    if (u->attempts > 0 ||
        u->reply.n > 0) /* put off by the queue, or at `recipient` by the policy */
        return now_us;
    return ahead_us > 0 ? u->due_us - ahead_us : u->due_us;
}

static size_t bring_back(const struct queue *q, const struct spool_loaded *loaded,
                         int64_t now_us, struct unit_change *changes)
{
    int64_t limit = limit_us(longest_s(q, loaded), now_us);
    size_t n = 0;

    for (size_t i = 0; i < loaded->n_units; i++) {
        const struct unit_state *u = &loaded->units[i];
        int64_t due_us = due_now(u, loaded->info.id, now_us);

        if (!unit_waits(u->status) || u->due_us <= limit ||
            due_us == u->due_us)
            continue;
        changes[n] = (struct unit_change){.unit = (uint32_t)i, .state = *u};
        changes[n++].state.due_us = due_us;
    }
    return n;
}

/* What cannot be read or changed now stays as it is: work.c says what is wrong with it when it is due. */
static size_t bring_back_message(struct queue *q, uint64_t id, int64_t now_us)
{
    struct spool *s = q->o.spool;
    struct spool_loaded loaded;
    struct unit_change *changes;
    size_t n = 0;

    if (s->ops->load(s, id, &loaded) != 0)
        return 0;
    changes = mem_array(q->o.mem, loaded.n_units, sizeof(*changes));
    if (changes != NULL)
        n = bring_back(q, &loaded, now_us, changes);
    if (n > 0 && s->ops->change(s, id, changes, n, NULL, NULL) != 0)
        n = 0;
    mem_free(q->o.mem, changes);
    s->ops->loaded_free(&loaded);
    return n;
}

void queue_bring_back(struct queue *q)
{
    struct spool *s = q->o.spool;
    int64_t now_us = queue_now_us(q);
    struct spool_message m = {0};
    size_t n = 0;

    while (s->ops->after(s, m.id, &m) == 0) {
        if (m.state == SPOOL_ACTIVE && m.next_due_us != INT64_MAX &&
            m.next_due_us > limit_us(q->o.retry.max_s, now_us))
            n += bring_back_message(q, m.id, now_us);
    }
    if (n > 0)
        log_record(q->o.log, LOG_LEVEL_WARN, "queue",
                   "the clock was ahead: units that waited for a far future are due again",
                   LOG_INT("units", n));
}
