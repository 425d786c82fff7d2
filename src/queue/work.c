/*
 * queue/work.c: one claim on a pool thread: load the record, decode it, run the transport of
 * each unit.
 *
 * Must not touch the queue's own state: it reads what never changes (options) and the stopping
 * flag.
 *
 * Invariant: every unit that was looked at has a result. What cannot be loaded or decoded gives
 * the units of the slice a result too (damaged: failed, so it is held; no memory, a read that
 * failed: again), so nothing can turn in a circle.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "message/record.h"
#include "queue/question.h"

struct work *work_new(struct queue *q, const struct spool_claim *claim)
{
    size_t slots = claim->n_units < WORK_SLICE ? claim->n_units : WORK_SLICE;
    struct work *w = mem_zalloc(q->o.mem, sizeof(*w) + slots * sizeof(w->results[0]));

    if (w == NULL)
        return NULL;
    w->changes = mem_array(q->o.mem, slots, sizeof(*w->changes));
    if (w->changes == NULL) {
        mem_free(q->o.mem, w);
        return NULL;
    }
    w->n_slots = slots;
    w->queue = q;
    w->claim = *claim;
    w->job.run = work_run;
    list_init(&w->node);
    arena_init(&w->arena, q->o.mem, WORK_ARENA_MAX);
    return w;
}

void work_del(struct work *w)
{
    work_unload(w);
    free(w->claim.units);
    mem_free(w->queue->o.mem, w->changes);
    mem_free(w->queue->o.mem, w);
}

void work_unload(struct work *w)
{
    question_del(w);
    if (w->is_loaded)
        w->queue->o.spool->ops->loaded_free(&w->loaded);
    w->is_loaded = w->is_decoded = false;
    w->units = NULL;
    w->n_units = 0;
    arena_deinit(&w->arena);
}

static bool stopping(const struct work *w)
{
    return atomic_load_explicit(&w->queue->stopping, memory_order_relaxed);
}

/* The same result for every unit of the slice. */
static void result_for_all(struct work *w, enum delivery_status status, const char *reply)
{
    size_t left = w->claim.n_units - w->at;

    w->n = left < w->n_slots ? left : w->n_slots;
    for (size_t i = 0; i < w->n; i++) {
        struct delivery_result *r = &w->results[i];

        *r = (struct delivery_result){.status = status};
        snprintf(r->reply, sizeof(r->reply), "%s", reply);
    }
}

static void cannot_read(struct work *w, const char *what, int err)
{
    bool damaged = err == BARID_ECORRUPT || err == BARID_EVERSION;
    char reply[128];

    snprintf(reply, sizeof(reply), "%s spool: %s: %s", damaged ? "554 5.3.0" : "451 4.3.0",
             what, barid_strerror(err));
    result_for_all(w, damaged ? DELIVERY_FAILED : DELIVERY_AGAIN, reply);
}

static int decode(struct work *w)
{
    int rc = record_decode(&w->mail, &w->arena, w->loaded.meta, w->loaded.header, &w->units,
                           &w->n_units);

    if (rc != 0)
        return rc;
    if (w->n_units != w->loaded.n_units)
        return BARID_ECORRUPT;
    w->mail.id = w->claim.id;
    w->is_decoded = true;
    return 0;
}

/* true: loaded and decoded. false: end and results say what else. */
static bool load(struct work *w)
{
    struct spool *s = w->queue->o.spool;
    int rc = s->ops->load(s, w->claim.id, &w->loaded);

    if (rc == BARID_ENOTFOUND) { /* erased by an operator: nothing left to do */
        w->end = WORK_RELEASE;
        return false;
    }
    if (rc != 0) {
        cannot_read(w, "reading the record", rc);
        return false;
    }
    w->is_loaded = true;
    if (w->loaded.info.state != SPOOL_ACTIVE) { /* held or removed since it was claimed */
        w->end = WORK_RELEASE;
        return false;
    }
    rc = decode(w);
    if (rc != 0)
        cannot_read(w, "decoding the record", rc);
    return rc == 0;
}

static struct transport *transport_of(const struct queue *q, enum disposition_kind kind)
{
    for (size_t i = 0; i < q->o.n_transports; i++) {
        if (q->o.transports[i] != NULL && q->o.transports[i]->kind == kind)
            return q->o.transports[i];
    }
    return NULL;
}

void work_deliver_unit(struct work *w, const struct unit *u, uint32_t unit, uint32_t index,
                       void *body, uint64_t body_size, struct delivery_result *r)
{
    struct transport *t = transport_of(w->queue, u->kind);
    struct delivery d = {
        .mail = &w->mail,
        .unit = u,
        .unit_index = index,
        .attempts = w->loaded.units[unit].attempts,
        .after_restart = w->mail.received_us <= w->queue->started_us,
        .body_size = body_size,
        .body_read = w->queue->o.spool->ops->body_read,
        .body = body,
        .now_us = w->now_us,
    };

    *r = (struct delivery_result){.status = DELIVERY_FAILED};
    if ((unsigned)u->kind == 0)
        snprintf(r->reply, sizeof(r->reply),
                 "550 5.3.5 no place was decided for this recipient");
    else if (t == NULL)
        snprintf(r->reply, sizeof(r->reply),
                 "550 5.3.5 this server has nothing that delivers by \"%s\"",
                 disposition_kind_name(u->kind));
    else
        t->deliver(t, &d, r);
}

/* The units of the slice, up to one that the policy has to be asked about. */
static void deliver_slice(struct work *w, void *body, uint64_t body_size)
{
    while (w->n < w->n_slots && w->at + w->n < w->claim.n_units && !stopping(w)) {
        uint32_t unit = w->claim.units[w->at + w->n];

        if (question_needed(w, unit)) {
            if (w->n == 0)
                w->end = WORK_ASK;
            return;
        }
        work_deliver_unit(w, &w->units[unit], unit, unit, body, body_size, &w->results[w->n]);
        w->n++;
    }
}

void work_run(struct pool_job *job)
{
    struct work *w = (struct work *)((char *)job - offsetof(struct work, job));
    struct spool *s = w->queue->o.spool;
    uint64_t body_size;
    void *body;
    int rc;

    w->n = 0;
    w->end = WORK_ON;
    if (stopping(w)) {
        w->end = WORK_RELEASE;
        return;
    }
    if (w->question == NULL && !load(w))
        return;
    rc = s->ops->body_open(s, w->claim.id, &body, &body_size);
    if (rc == BARID_ENOTFOUND) {
        w->end = WORK_RELEASE;
        return;
    }
    if (rc != 0) {
        cannot_read(w, "reading the body", rc);
        return;
    }
    if (w->question != NULL)
        question_deliver(w, body, body_size);
    else
        deliver_slice(w, body, body_size);
    s->ops->body_close(body);
}
