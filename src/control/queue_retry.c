/*
 * control/queue_retry.c: retry: the next attempt is now. All that waits; by id also what is held, what failed for good and what its sender
 * is about to be told of; with `held` what is held and nothing else.
 */
#include "control/queue_change_int.h"

#include <string.h>

/* What is due within a second is left to the queue, which may be taking it at this moment: after that, its state is not ours to say. */
#define SOON_US 1000000

static bool wants(const struct queue_change *c, const struct view *v, bool by_id, size_t i)
{
    const struct unit_state *st = &v->loaded.units[i];
    bool is_held = v->loaded.info.state == SPOOL_HELD || st->status == UNIT_HELD;

    if (st->status == UNIT_DONE || (c->held && !is_held))
        return false;
    if (by_id || st->status == UNIT_PENDING)
        return true;
    return c->held && st->status == UNIT_HELD;
}

static enum plan_result make_retry(const struct queue_change *c, const struct view *v,
                                   bool by_id, struct plan *p, struct err *err)
{
    enum spool_state state = v->loaded.info.state;
    size_t soon = 0;

    if (state == SPOOL_REMOVED || state == SPOOL_QUARANTINED)
        return plan_refuse(err, state == SPOOL_REMOVED ? "is removed: recover it first"
                                                       : "is quarantined: release it first");
    if (state == SPOOL_HELD && !by_id && !c->held)
        return PLAN_NOTHING;
    for (size_t i = 0; i < v->loaded.n_units; i++) {
        const struct unit_state *st = &v->loaded.units[i];

        if (!wants(c, v, by_id, i))
            continue;
        if (state == SPOOL_ACTIVE && unit_waits(st->status) &&
            st->due_us <= c->now_us + SOON_US) {
            soon++;
            continue;
        }
        plan_unit(c, v, p, i, UNIT_PENDING);
        if (c->ahead_s[0] != 0)
            memcpy(p->units[p->n_units - 1].state.ahead_s, c->ahead_s, sizeof(c->ahead_s));
    }
    if (p->n_units == 0 && soon > 0 && c->ahead_s[0] != 0)
        return plan_refuse(err, "is being delivered right now: hold it first, or try again");
    if (p->n_units == 0)
        return soon > 0 || !by_id ? PLAN_NOTHING
                                  : plan_refuse(err, "has no recipient left to try");
    p->note = state == SPOOL_HELD ? HISTORY_RELEASED : HISTORY_DEFERRED;
    if (state == SPOOL_HELD)
        p->state = SPOOL_ACTIVE;
    return PLAN_GO;
}

const struct queue_verb queue_retry = {.make = make_retry};
