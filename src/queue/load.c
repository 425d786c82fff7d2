/*
 * queue/load.c: what a work does on a pool thread: loads the record, decodes it, reads a small body that is sent, runs the transport of
 * each file.
 *
 * Must not touch the queue's own state: it reads what never changes (options) and the stopping flag.
 *
 * Invariant: every file of the slice that was looked at has a result. What cannot be loaded or decoded gives the units of the slice a
 * result too (damaged: held; no memory, a read that failed: again), so nothing can turn in a circle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "message/record.h"
#include "queue/question.h"

static bool stopping(const struct work *w)
{
    return atomic_load_explicit(&w->queue->stopping, memory_order_relaxed);
}

/* --- what cannot be read --- */

/* The same result for every unit of the slice; whatever it is, where the order of the claim says nothing yet. */
static void cannot_read(struct work *w, const char *what, int err)
{
    bool damaged = err == BARID_ECORRUPT || err == BARID_EVERSION;
    size_t left = (w->is_sorted ? w->n_files + w->n_sent : w->claim.n_units) - w->at;

    w->n = left < w->n_slots ? left : w->n_slots;
    w->end = w->n == 0 ? WORK_RELEASE : w->end; /* only reports are left */
    for (size_t i = 0; i < w->n; i++) {
        struct outcome *o = &w->outcomes[i];

        *o = (struct outcome){.unit = w->claim.units[w->at + i], .hold = damaged, .is_asked = true};
        outcome_say(o, DELIVERY_AGAIN, "%s spool: %s: %s", damaged ? "554 5.3.0" : "451 4.3.0", what,
                    barid_strerror(err));
    }
}

/* --- the record --- */

static int decode(struct work *w)
{
    int rc =
        record_decode(&w->mail, &w->arena, w->loaded.meta, w->loaded.header, &w->units, &w->n_units);

    if (rc != 0)
        return rc;
    if (w->n_units != w->loaded.n_units)
        return BARID_ECORRUPT;
    w->mail.id = w->claim.id;
    w->mail.frozen = true;
    w->is_decoded = true;
    return 0;
}

static unsigned class_of(const struct work *w, uint32_t unit)
{
    if (w->loaded.units[unit].status == UNIT_GIVEN_UP)
        return 2;
    return w->units[unit].kind == DISPOSITION_SEND && w->units[unit].n_rcpts == 1 ? 1 : 0;
}

/* Files, then what is sent, then what was given up; each in the order of the record. What has a result already, as memory was out at the
 * first slice, keeps its place before them. 0 or BARID_ENOMEM. */
static int sort(struct work *w)
{
    uint32_t *sorted = mem_array(w->queue->o.mem, w->claim.n_units, sizeof(*sorted));
    size_t n = w->at, count[3] = {0};

    if (sorted == NULL)
        return BARID_ENOMEM;
    for (unsigned class = 0; class < 3; class++) {
        for (size_t i = w->at; i < w->claim.n_units; i++)
            if (class_of(w, w->claim.units[i]) == class)
                sorted[n++] = w->claim.units[i];
        count[class] = n;
    }
    memcpy(w->claim.units + w->at, sorted + w->at, (n - w->at) * sizeof(*sorted));
    mem_free(w->queue->o.mem, sorted);
    w->n_files = count[0];
    w->n_sent = count[1] - count[0];
    w->is_sorted = true;
    return 0;
}

/* true: loaded and decoded. false: end and results say what else. */
static bool load(struct work *w)
{
    struct spool *s = w->queue->o.spool;
    int rc;

    if (w->is_loaded) { /* for an earlier slice, and then it could not be decoded */
        s->ops->loaded_free(&w->loaded);
        w->is_loaded = false;
        arena_deinit(&w->arena);
    }
    rc = s->ops->load(s, w->claim.id, &w->loaded);
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
    if (rc != 0) {
        cannot_read(w, "decoding the record", rc);
        return false;
    }
    rc = w->is_sorted ? 0 : sort(w);
    if (rc != 0) {
        w->is_decoded = false; /* nothing is known about what is left of the claim */
        cannot_read(w, "decoding the record", rc);
    }
    return rc == 0;
}

/* --- files --- */

void work_deliver_unit(struct work *w, const struct unit *u, uint32_t unit, uint32_t index, void *body,
                       uint64_t body_size, struct delivery_result *r)
{
    struct transport *t = queue_transport(w->queue, u->kind);
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
        snprintf(r->reply, sizeof(r->reply), "550 5.3.5 no place was decided for this recipient");
    else if (t == NULL || t->deliver == NULL)
        snprintf(r->reply, sizeof(r->reply), "550 5.3.5 this server has nothing that delivers by \"%s\"",
                 disposition_kind_name(u->kind));
    else
        t->deliver(t, &d, r);
}

/* The files of the slice, up to one that the policy has to be asked about. */
static void deliver_slice(struct work *w, void *body)
{
    while (w->n < w->n_slots && w->at + w->n < w->n_files && !stopping(w)) {
        uint32_t unit = w->claim.units[w->at + w->n];
        struct outcome *o = &w->outcomes[w->n];

        if (question_needed(w, unit)) {
            if (w->n == 0)
                w->end = WORK_ASK;
            return;
        }
        *o = (struct outcome){.unit = unit};
        work_deliver_unit(w, &w->units[unit], unit, unit, body, w->body_size, &o->r);
        w->n++;
    }
}

/* --- bodies --- */

/* One that is sent, small enough to stay. */
static int read_small(struct work *w, void *body)
{
    int64_t got = 0;

    if (w->body != NULL || w->body_size > WORK_BODY_SMALL)
        return 0;
    w->body = mem_alloc(w->queue->o.mem, (size_t)w->body_size + 1);
    if (w->body == NULL)
        return BARID_ENOMEM;
    for (uint64_t at = 0; at < w->body_size; at += (uint64_t)got) {
        got = w->queue->o.spool->ops->body_read(body, at, w->body + at, (size_t)(w->body_size - at));
        if (got <= 0)
            return got < 0 ? (int)got : BARID_ECORRUPT;
    }
    return 0;
}

static void deliver(struct work *w)
{
    struct spool *s = w->queue->o.spool;
    void *body;
    uint64_t size;
    int rc = s->ops->body_open(s, w->claim.id, &body, &size);

    if (rc == BARID_ENOTFOUND) {
        w->end = WORK_RELEASE;
        return;
    }
    if (rc != 0) {
        cannot_read(w, "reading the body", rc);
        return;
    }
    w->body_size = size;
    w->is_body_known = w->n_sent == 0 || (rc = read_small(w, body)) == 0;
    if (!w->is_body_known) {
        cannot_read(w, "reading the body", rc);
        mem_free(w->queue->o.mem, w->body);
        w->body = NULL;
    } else if (w->question != NULL) {
        question_deliver(w, body, w->body_size);
    } else {
        deliver_slice(w, body);
    }
    s->ops->body_close(body);
}

void work_run(struct pool_job *job)
{
    struct work *w = (struct work *)((char *)job - offsetof(struct work, job));

    w->n = 0;
    w->end = WORK_ON;
    if (stopping(w)) {
        w->end = WORK_RELEASE;
        return;
    }
    if (!w->is_decoded && !load(w))
        return;
    if (w->at < w->n_files + w->n_sent || w->question != NULL)
        deliver(w);
}
