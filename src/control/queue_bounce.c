/* control/queue_bounce.c: bounce: whoever still waits is given up, and the queue tells the sender. */
#include "control/queue_change_int.h"

#define BOUNCE_REPLY "554 5.0.0 returned by an operator"

static enum plan_result make_bounce(const struct queue_change *c, const struct view *v,
                                    bool by_id, struct plan *p, struct err *err)
{
    if (plan_spares(c, v, by_id))
        return PLAN_NOTHING;
    if (v->loaded.info.state == SPOOL_REMOVED)
        return plan_refuse(err, "is removed: recover it first");
    for (size_t i = 0; i < v->loaded.n_units; i++) {
        enum unit_status status = v->loaded.units[i].status;

        if (status != UNIT_PENDING && status != UNIT_HELD)
            continue;
        plan_unit(c, v, p, i, UNIT_GIVEN_UP);
        p->units[p->n_units - 1].state.reply = BARID_S(BOUNCE_REPLY);
    }
    if (p->n_units == 0)
        return plan_refuse(err, "has no recipient that still waits");
    p->state = SPOOL_ACTIVE;
    p->note = HISTORY_FAILED;
    return PLAN_GO;
}

const struct queue_verb queue_bounce = {.make = make_bounce, .stops = true};
