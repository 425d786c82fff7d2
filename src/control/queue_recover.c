/* control/queue_recover.c: recover: removed or quarantined mail is held again: nothing leaves before somebody releases it. */
#include "control/queue_change_int.h"

static enum plan_result make_recover(const struct queue_change *c, const struct view *v,
                                     bool by_id, struct plan *p, struct err *err)
{
    (void)c;
    (void)by_id;
    if (v->loaded.info.state != SPOOL_REMOVED && v->loaded.info.state != SPOOL_QUARANTINED)
        return plan_refuse(err, "is %s: only removed or quarantined mail can be recovered",
                           queue_state_name(v->loaded.info.state));
    p->state = SPOOL_HELD;
    p->note = HISTORY_RECOVERED;
    return PLAN_GO;
}

const struct queue_verb queue_recover = {.make = make_recover};
