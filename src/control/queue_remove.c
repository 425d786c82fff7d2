/* control/queue_remove.c: remove: held mail out of sight; it can be recovered. */
#include "control/queue_change_int.h"

static enum plan_result make_remove(const struct queue_change *c, const struct view *v,
                                    bool by_id, struct plan *p, struct err *err)
{
    (void)c;
    (void)by_id;
    if (v->loaded.info.state == SPOOL_REMOVED)
        return plan_refuse(err, "is removed already");
    if (v->loaded.info.state != SPOOL_HELD)
        return plan_refuse(err, "is %s: only held mail can be removed: %s it first",
                           queue_state_name(v->loaded.info.state),
                           v->loaded.info.state == SPOOL_ACTIVE ? "hold" : "recover");
    p->state = SPOOL_REMOVED;
    p->note = HISTORY_REMOVED;
    return PLAN_GO;
}

const struct queue_verb queue_remove = {.make = make_remove};
