/*
 * message/explain.c: the explain trace as octets. Knows what an entry is, not who writes or
 * reads it.
 *
 * An entry: event, verdict, recipient + 1, time since the entry before (zigzag: the wall clock
 * may step back), reply code: varints; then handler, where and text, each a varint length and
 * its octets. 12-40 octets in practice.
 *
 * Invariant: n <= EXPLAIN_MAX; what follows a cut is never written, so a trace is a true
 * beginning.
 */
#include "message/explain.h"

#include <string.h>

#include "base/slice.h"
#include "message/varint_int.h"

#define EXPLAIN_FIRST 256
/* Room that is kept back for the entry that says that the trace was cut. */
#define EXPLAIN_CUT_ROOM 64
/* A text from a peer or a script must not fill the trace alone. */
#define EXPLAIN_TEXT_MAX 512

void explain_init(struct explain *e, struct arena *arena)
{
    *e = (struct explain){.arena = arena};
}

barid_slice explain_data(const struct explain *e)
{
    return slice_of(e->p, e->n);
}

static bool room(struct explain *e, size_t extra)
{
    size_t cap = e->cap > 0 ? e->cap : EXPLAIN_FIRST;
    char *p;

    while (cap < e->n + extra)
        cap *= 2;
    if (cap == e->cap)
        return true;
    p = arena_alloc(e->arena, cap);
    if (p == NULL)
        return false;
    if (e->n > 0)
        memcpy(p, e->p, e->n);
    e->p = p;
    e->cap = cap;
    return true;
}

static void put_text(struct explain *e, barid_slice s)
{
    e->n += varint_put(e->p + e->n, s.n);
    if (s.n > 0)
        memcpy(e->p + e->n, s.p, s.n);
    e->n += s.n;
}

static bool put_entry(struct explain *e, const struct explain_entry *entry, size_t limit)
{
    const barid_slice texts[] = {slice_head(entry->handler, EXPLAIN_TEXT_MAX),
                                 slice_head(entry->where, EXPLAIN_TEXT_MAX),
                                 slice_head(entry->text, EXPLAIN_TEXT_MAX)};
    size_t need = 8 * VARINT_MAX + texts[0].n + texts[1].n + texts[2].n;

    if (e->n + need > limit || !room(e, need))
        return false;
    e->n += varint_put(e->p + e->n, (uint64_t)entry->event);
    e->n += varint_put(e->p + e->n, (uint64_t)entry->verdict);
    e->n += varint_put(e->p + e->n, (uint32_t)(entry->rcpt_index + 1));
    /* Wraps by definition instead of overflowing; explain_next undoes it the same way. */
    e->n += varint_put(e->p + e->n,
                       zigzag((int64_t)((uint64_t)entry->at_us - (uint64_t)e->clock_us)));
    e->n += varint_put(e->p + e->n, entry->code);
    for (size_t i = 0; i < 3; i++)
        put_text(e, texts[i]);
    e->clock_us = entry->at_us;
    return true;
}

void explain_add(struct explain *e, const struct explain_entry *entry)
{
    /* At most 5 short numbers (well under VARINT_MAX each) and 3 lengths: fits the room kept
     * back. */
    static const char cut[] = {0, 0, 0, 0, 0, 0, 0, 3, 'c', 'u', 't'};

    if (e->cut || put_entry(e, entry, EXPLAIN_MAX - EXPLAIN_CUT_ROOM))
        return;
    e->cut = true;
    if (!room(e, sizeof(cut)))
        return;
    memcpy(e->p + e->n, cut, sizeof(cut));
    e->n += sizeof(cut);
}

static bool get_text(barid_slice data, size_t *at, barid_slice *text_r)
{
    uint64_t n;

    if (!varint_get(data, at, &n) || n > data.n - *at)
        return false;
    *text_r = slice_of(data.p + *at, (size_t)n);
    *at += (size_t)n;
    return true;
}

int explain_next(barid_slice data, size_t *offset, int64_t *clock_us,
                 struct explain_entry *entry_r)
{
    uint64_t num[5];

    if (*offset >= data.n)
        return 0;
    for (size_t i = 0; i < 5; i++)
        if (!varint_get(data, offset, &num[i]))
            return BARID_ECORRUPT;
    if (num[0] >= BARID_EVENTS || num[1] >= BARID_VERDICT_KINDS || num[2] > UINT32_MAX ||
        num[4] > UINT16_MAX)
        return BARID_ECORRUPT;
    *clock_us = (int64_t)((uint64_t)*clock_us + (uint64_t)unzigzag(num[3]));
    *entry_r = (struct explain_entry){.event = (enum barid_event_id)num[0],
                                      .verdict = (enum barid_verdict_kind)num[1],
                                      .rcpt_index = (uint32_t)(num[2] - 1),
                                      .at_us = *clock_us,
                                      .code = (uint16_t)num[4]};
    if (!get_text(data, offset, &entry_r->handler) ||
        !get_text(data, offset, &entry_r->where) || !get_text(data, offset, &entry_r->text))
        return BARID_ECORRUPT;
    return 1;
}
