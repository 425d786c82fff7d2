/* delivery/relay_conversion.c: a message being made fit for a server, on a loop. A task that is queued cannot be taken back: so the memory of a
 * conversion that is given up meanwhile is freed there. */
#include "base/mem.h"
#include "delivery/relay_int.h"

struct relay_conversion {
    struct relay_conversion_options o;
    struct downgrade *downgrade;
    struct loop_task task;
    bool is_queued, is_deleted;
    int rc; /* how it failed, 0 so far */
    struct err err;
};

static void conversion_free(struct relay_conversion *v)
{
    downgrade_del(&v->downgrade);
    mem_free(v->o.downgrade.mem, v);
}

static void run_on(struct loop_task *task)
{
    struct relay_conversion *v =
        (struct relay_conversion *)((char *)task - offsetof(struct relay_conversion, task));

    v->is_queued = false;
    if (v->is_deleted)
        conversion_free(v);
    else
        v->o.on_ready(v->o.user); /* v may be gone */
}

int relay_conversion_new(struct relay_conversion **v_r,
                         const struct relay_conversion_options *o)
{
    struct relay_conversion *v = mem_zalloc(o->downgrade.mem, sizeof(*v));
    int rc;

    *v_r = NULL;
    if (v == NULL)
        return BARID_ENOMEM;
    v->o = *o;
    v->task.run = run_on;
    rc = downgrade_new(&v->downgrade, &o->downgrade);
    if (rc == 0)
        *v_r = v;
    else
        conversion_free(v);
    return rc;
}

int relay_conversion_prepare(struct relay_conversion *v, struct err *err)
{
    int rc = v->rc;

    if (rc == 0)
        rc = downgrade_prepare(v->downgrade, &v->err);
    if (rc == BARID_EAGAIN) {
        if (!v->is_queued)
            loop_defer(v->o.loop, &v->task);
        v->is_queued = true;
    } else if (rc < 0) {
        v->rc = rc;
        *err = v->err;
    }
    return rc;
}

struct downgrade *relay_conversion_result(struct relay_conversion *v)
{
    return v->downgrade;
}

enum barid_body_type relay_conversion_target(const struct relay_conversion *v)
{
    return v->o.downgrade.target;
}

void relay_conversion_del(struct relay_conversion **conversion)
{
    struct relay_conversion *v = *conversion;

    if (v == NULL)
        return;
    *conversion = NULL;
    v->is_deleted = true;
    if (!v->is_queued)
        conversion_free(v);
}
