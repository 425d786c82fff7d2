/* control/queue_change_int.h: a plan: what one verb would do to one message. */
#ifndef CONTROL_QUEUE_CHANGE_INT_H
#define CONTROL_QUEUE_CHANGE_INT_H

#include "control/queue_change.h"
#include "control/queue_int.h"

#define BY_OPERATOR "by an operator"

struct plan {
    struct unit_change *units; /* room for all */
    size_t n_units;
    int state;              /* new enum spool_state; -1 = stays */
    enum history_kind note; /* 0 = nothing to tell */
};

enum plan_result {
    PLAN_GO = 0,
    PLAN_NOTHING, /* it is so already */
    PLAN_REFUSED  /* why in err, behind "message ID " */
};

struct queue_verb {
    /* by_id: a person named this very message. */
    enum plan_result (*make)(const struct queue_change *c, const struct view *v, bool by_id,
                             struct plan *p, struct err *err);
    bool
        stops; /* an active message is held meanwhile, so that no attempt begins between looking and changing */
};

enum plan_result plan_refuse(struct err *err, const char *fmt, ...) BARID_PRINTF(2, 3);
/* What nobody named must not leave the quarantine. */
static inline bool plan_spares(const struct queue_change *c, const struct view *v, bool by_id)
{
    return v->loaded.info.state == SPOOL_QUARANTINED && !by_id && !c->quarantined;
}
/* Unit i becomes this, due now, its reply kept. */
void plan_unit(const struct queue_change *c, const struct view *v, struct plan *p, size_t i,
               enum unit_status status);

#endif
