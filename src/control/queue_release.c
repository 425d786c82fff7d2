/* control/queue_release.c: release: held or quarantined mail goes on; recipients that were held are due now, the others as before. */
#include "control/queue_change_int.h"

static enum plan_result make_release(const struct queue_change *c, const struct view *v,
                                     bool by_id, struct plan *p, struct err *err)
{
    if (plan_spares(c, v, by_id))
        return PLAN_NOTHING;
    if (v->loaded.info.state == SPOOL_REMOVED)
        return plan_refuse(err, "is removed: recover it first");
    for (size_t i = 0; i < v->loaded.n_units; i++)
        if (v->loaded.units[i].status == UNIT_HELD)
            plan_unit(c, v, p, i, UNIT_PENDING);
    if (v->loaded.info.state != SPOOL_ACTIVE)
        p->state = SPOOL_ACTIVE;
    else if (p->n_units == 0)
        return plan_refuse(err, "is not held");
    p->note = HISTORY_RELEASED;
    return PLAN_GO;
}

const struct queue_verb queue_release = {.make = make_release};
