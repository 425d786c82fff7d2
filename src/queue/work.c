/* queue/work.c: a claim on the loop: its slices, its parcels, its end. See work.h; load.c is its other half. */
#include "queue/work.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"
#include "interface/policy.h"
#include "queue/parcel.h"
#include "queue/question.h"

static void hand_over(struct work *w);

/* --- life --- */

struct work *work_new(struct queue *q, const struct spool_claim *claim, struct lane *lane)
{
    size_t slots = claim->n_units < WORK_SLICE ? claim->n_units : WORK_SLICE;
    struct work *w = mem_zalloc(q->o.mem, sizeof(*w) + slots * sizeof(w->outcomes[0]));

    if (w == NULL)
        return NULL;
    w->n_slots = slots;
    w->queue = q;
    w->lane = lane;
    w->claim = *claim;
    w->job.run = work_run;
    list_init(&w->node);
    list_init(&w->parcels);
    arena_init(&w->arena, q->o.mem, WORK_ARENA_MAX);
    return w;
}

void work_leave_lane(struct work *w)
{
    struct lane *l = w->lane;

    w->lane = NULL;
    if (l != NULL)
        lane_leave(l);
}

void work_del(struct work *w)
{
    list_remove(&w->node);
    work_unload(w);
    policy_unref(&w->policy);
    free(w->claim.units);
    mem_free(w->queue->o.mem, w);
}

void work_unload(struct work *w)
{
    question_del(w);
    if (w->session != NULL) {
        policy_mail_over(w->session, &w->mail);
        policy_session_del(&w->session);
    }
    if (w->is_loaded)
        w->queue->o.spool->ops->loaded_free(&w->loaded);
    w->is_loaded = w->is_decoded = w->is_body_known = false;
    w->units = NULL;
    w->n_units = 0;
    mem_free(w->queue->o.mem, w->body);
    w->body = NULL;
    arena_deinit(&w->arena);
}

/* --- the end --- */

/* The last line of its history, where nothing is left of it. */
static void note_if_gone(const struct work *w)
{
    struct spool *s = w->queue->o.spool;
    struct spool_message m;

    if (w->queue->o.history == NULL || (s->ops->after(s, w->claim.id - 1, &m) == 0 && m.id == w->claim.id))
        return;
    history_note(w->queue->o.history,
                 &(struct history_entry){.kind = HISTORY_GONE, .id = w->claim.id, .time_us = queue_now_us(w->queue)});
}

static void finish(struct work *w)
{
    struct queue *q = w->queue;

    note_if_gone(w);
    q->running--;
    atomic_store_explicit(&q->running_now, q->running, memory_order_relaxed);
    work_leave_lane(w);
    work_del(w);
    queue_wake(q);
}

/* What has no result goes back. */
static void release(struct work *w)
{
    struct spool *s = w->queue->o.spool;

    if (!w->is_aside && !w->is_kept)
        s->ops->release(s, w->claim.id, w->claim.lease);
    finish(w);
}

void work_record_failed(struct work *w, int err)
{
    struct queue *q = w->queue;
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(w->claim.id, id);
    log_record(q->o.log, LOG_LEVEL_ERROR, "queue", "a delivery cannot be recorded, it will be made again after a restart",
               LOG_CSTR("id", id), LOG_CSTR("error", barid_strerror(err)));
    if (err == BARID_EIO)
        q->closed = true;
    /* The lease is kept: giving it back would deliver again at once, and again. */
    w->is_kept = true;
}

/* --- what was given up --- */

static void on_given_up(struct settling *s, int rc);

static void report_given_up(struct work *w)
{
    size_t left = w->claim.n_units - w->at;

    w->n = left < w->n_slots ? left : w->n_slots;
    for (size_t i = 0; i < w->n; i++) {
        uint32_t unit = w->claim.units[w->at + i];
        struct outcome *o = &w->outcomes[i];

        *o = (struct outcome){.unit = unit, .not_tried = true};
        outcome_say(o, DELIVERY_FAILED, "%.*s", (int)w->loaded.units[unit].reply.n, w->loaded.units[unit].reply.p);
    }
    w->settling = (struct settling){.work = w, .v = w->outcomes, .n = w->n, .done = on_given_up};
    settle_start(&w->settling);
}

static bool has_given_up(const struct work *w)
{
    return w->at < w->claim.n_units && !atomic_load(&w->queue->stopping) && !w->is_kept && !w->is_aside;
}

/* Slices of which nobody wants to hear are settled at once, from within: they only say that there is more to do, as there may be
 * SPOOL_UNITS_MAX units of them. */
static void end_parcels(struct work *w)
{
    w->has_more = true;
    if (w->is_ending)
        return;
    w->is_ending = true;
    while (w->has_more) {
        w->has_more = false;
        if (!has_given_up(w)) {
            release(w);
            return; /* w is gone */
        }
        report_given_up(w);
    }
    w->is_ending = false;
}

static void on_given_up(struct settling *s, int rc)
{
    struct work *w = s->work;

    if (rc != 0)
        work_record_failed(w, rc);
    w->at += w->n;
    end_parcels(w);
}

void work_parcel_over(struct work *w)
{
    if (--w->n_parcels == 0)
        end_parcels(w);
}

static void send(struct work *w)
{
    struct queue *q = w->queue;
    int rc = parcels_start(w);

    if (rc != 0) {
        queue_pause(q);
        w->at = w->claim.n_units; /* no report before the others were tried */
    }
    /* All have their own slots, and those that wait may wait for this one. */
    if (w->lane != NULL && w->lane->group != SPOOL_GROUP_MIXED)
        work_leave_lane(w);
    work_parcel_over(w);
}

/* --- files --- */

/* What is sent needs the body; what was given up does not. */
static bool is_ready(const struct work *w)
{
    return w->is_decoded && w->at >= w->n_files && (w->is_body_known || w->at >= w->n_files + w->n_sent);
}

static void go_on(struct work *w)
{

    w->n = 0;
    if (w->question_asked) /* it has changed the mail: loaded again */
        work_unload(w);
    w->question_asked = false;
    if (w->end == WORK_RELEASE || w->is_kept || w->at == w->claim.n_units || atomic_load(&w->queue->stopping))
        release(w);
    else if (is_ready(w))
        send(w);
    else
        hand_over(w);
}

static void on_settled(struct settling *s, int rc)
{
    struct work *w = s->work;

    if (rc != 0)
        work_record_failed(w, rc);
    w->at += w->n;
    go_on(w);
}

static void settle_slice(struct work *w)
{
    if (w->n == 0) {
        go_on(w);
        return;
    }
    w->settling = (struct settling){.work = w, .v = w->outcomes, .n = w->n, .slot = w->slot, .done = on_settled};
    w->slot = NULL;
    settle_start(&w->settling);
}

static void on_run(struct pool_job *job)
{
    struct work *w = (struct work *)((char *)job - offsetof(struct work, job));

    if (w->end == WORK_ASK && !atomic_load(&w->queue->stopping))
        question_start(w);
    else if (w->question != NULL && w->end == WORK_ON)
        question_send(w);
    else
        settle_slice(w);
}

void work_asked(struct work *w)
{
    w->question_asked = true;
    if (w->n > 0 || w->end == WORK_RELEASE)
        settle_slice(w);
    else
        hand_over(w);
}

static void hand_over(struct work *w)
{
    struct queue *q = w->queue;

    w->now_us = clock_wall_us(loop_clock(q->o.loop));
    w->job.done = on_run;
    if (pool_start(q->o.pool, q->o.loop, &w->job) != 0) {
        queue_pause(q);
        release(w);
    }
}

void work_start(struct work *w)
{
    struct queue *q = w->queue;

    list_append(&q->works, &w->node);
    q->running++;
    atomic_store_explicit(&q->running_now, q->running, memory_order_relaxed);
    hand_over(w);
}

bool work_stop(struct work *w, bool by_force)
{
    return parcels_stop(w, by_force);
}
