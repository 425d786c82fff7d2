/* control/queue_hold.c: hold: no new attempt; one that runs is finished. */
#include "control/queue_change_int.h"

static enum plan_result make_hold(const struct queue_change *c, const struct view *v,
                                  bool by_id, struct plan *p, struct err *err)
{
    (void)c;
    (void)by_id;
    if (v->loaded.info.state == SPOOL_HELD)
        return plan_refuse(err, "is held already");
    if (v->loaded.info.state != SPOOL_ACTIVE)
        return plan_refuse(err, "is %s: only active mail can be held",
                           queue_state_name(v->loaded.info.state));
    p->state = SPOOL_HELD;
    p->note = HISTORY_HELD;
    return PLAN_GO;
}

const struct queue_verb queue_hold = {.make = make_hold};
