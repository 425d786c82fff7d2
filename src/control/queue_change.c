/*
 * control/queue_change.c: carries plans out.
 *
 * A message is read, planned, and both changes (of units, then of its state) are handed to the store, which writes them in that order; only
 * when all messages of the request are handed over, the disk is waited for: one sync serves many. An attempt that is under way is
 * seen by the store, which refuses to change its units; one that begins between reading and changing is mostly possible only for units
 * that are due: plans leave those alone, or stop the message first. Where it was of others, whose next hop came back, and is over already,
 * the store leaves what was delivered as it is.
 */
#include "control/queue_change_int.h"

#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "control/json_text.h"

struct outcome { /* of one message */
    uint64_t id;
    struct batch *batch;
    struct err refused; /* code 0: not refused */
    atomic_int err;     /* of the disk */
    bool passed_over;
};

struct batch {
    const struct queue_change *c;
    struct outcome *v;
    size_t n;
    sem_t done;
    size_t waiting; /* for done */
    bool by_id;
};

enum plan_result plan_refuse(struct err *err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    return PLAN_REFUSED;
}

void plan_unit(const struct queue_change *c, const struct view *v, struct plan *p, size_t i,
               enum unit_status status)
{
    struct unit_change *u = &p->units[p->n_units++];

    u->unit = (uint32_t)i;
    u->state = v->loaded.units[i];
    u->state.status = status;
    u->state.due_us = c->now_us;
}

/* --- history ------------------------------------------------------------------------------------------ */

static void join_rcpts(const struct view *v, const struct plan *p, struct buf *out)
{
    for (size_t i = 0; i < p->n_units; i++) {
        const struct unit *u = &v->units[p->units[i].unit];

        for (size_t k = 0; k < u->n_rcpts; k++) {
            barid_slice address = u->rcpts[k] < v->mail.n_rcpts
                                      ? v->mail.rcpts[u->rcpts[k]]->box.address
                                      : (barid_slice){0};

            if (out->len + 1 + address.n > HISTORY_TEXT_MAX ||
                buf_reserve(out, 1 + address.n) < 0)
                return;
            if (out->len > 0)
                buf_byte(out, ' ');
            buf_append(out, address);
        }
    }
}

static void tell(const struct queue_change *c, const struct view *v, const struct plan *p)
{
    struct history_entry e = {.kind = p->note,
                              .id = v->loaded.info.id,
                              .time_us = c->now_us,
                              .text = BARID_S(BY_OPERATOR)};
    struct buf rcpts;

    if (c->history == NULL || p->note == 0)
        return;
    buf_init(&rcpts, NULL, HISTORY_TEXT_MAX);
    join_rcpts(v, p, &rcpts);
    e.rcpts = buf_slice(&rcpts);
    if (p->note == HISTORY_DEFERRED)
        e.due_us = c->now_us;
    if (p->note == HISTORY_FAILED)
        e.reply = p->units[0].state.reply;
    history_note(c->history, &e);
    buf_deinit(&rcpts);
}

/* --- one message ---------------------------------------------------------------------------------------- */

static void refuse(struct outcome *o, int rc)
{
    const char *text =
        rc == BARID_ENOTFOUND ? "is not in the spool"
        : rc == BARID_EAGAIN  ? "is being delivered right now: try again"
        : rc == BARID_EIO
            ? "could not be changed: the spool is closed for writing until a restart"
        : rc == BARID_ECORRUPT ? "cannot be read"
                               : barid_strerror(rc);

    err_set(&o->refused, rc, "%s", text);
    /* A person asked for "all that": what is under way, or went meanwhile, needs no word. */
    o->passed_over = !o->batch->by_id && (rc == BARID_ENOTFOUND || rc == BARID_EAGAIN);
}

static void on_done(void *user, int err) /* a thread of the store */
{
    struct outcome *o = user;

    if (err < 0)
        atomic_store(&o->err, err);
    sem_post(&o->batch->done);
}

static void wait_for_disk(struct batch *b)
{
    for (; b->waiting > 0; b->waiting--)
        while (sem_wait(&b->done) != 0)
            ; /* a signal */
}

static int set_state(struct outcome *o, enum spool_state state)
{
    struct spool *s = o->batch->c->spool;
    int rc = s->ops->set_state(s, o->id, state, on_done, o);

    o->batch->waiting += rc == 0;
    return rc;
}

static int carry_out(struct outcome *o, const struct view *v, const struct plan *p)
{
    struct spool *s = o->batch->c->spool;
    int rc = 0;

    if (p->n_units > 0) {
        rc = s->ops->change(s, o->id, p->units, p->n_units, on_done, o);
        o->batch->waiting += rc == 0;
    }
    if (rc == 0 && p->state != SPOOL_ACTIVE && p->state >= 0)
        rc = set_state(o, (enum spool_state)p->state);
    if (rc < 0)
        return rc;
    tell(o->batch->c, v, p); /* before the queue may go on with it */
    return p->state == SPOOL_ACTIVE ? set_state(o, SPOOL_ACTIVE) : 0;
}

/* PLAN_REFUSED with *err filled, or a barid_err. */
static int plan_and_go(struct outcome *o, const struct view *v)
{
    struct plan p = {.units = mem_array(NULL, v->loaded.n_units + 1, sizeof(*p.units)),
                     .state = -1};
    struct batch *b = o->batch;
    struct err why = {0};
    int rc;

    if (p.units == NULL)
        return BARID_ENOMEM;
    rc = (int)b->c->verb->make(b->c, v, b->by_id, &p, &why);
    if (rc == PLAN_GO)
        rc = carry_out(o, v, &p);
    else if (rc == PLAN_REFUSED)
        err_set(&o->refused, BARID_EINVALID, "%s", why.text);
    if (rc > 0)
        o->passed_over = !b->by_id;
    mem_free(NULL, p.units);
    return rc < 0 ? rc : 0;
}

/* As plan_and_go, for a message that is active: held while it is looked at. */
static int stop_and_go(struct outcome *o)
{
    struct spool *s = o->batch->c->spool;
    int rc = set_state(o, SPOOL_HELD);
    struct view v;

    if (rc < 0)
        return rc;
    wait_for_disk(o->batch);
    rc = view_open(&v, s, o->id);
    if (rc == 0)
        rc = plan_and_go(o, &v);
    view_close(&v);
    if (rc < 0 || o->refused.code != 0)
        (void)set_state(o, SPOOL_ACTIVE);
    return rc;
}

static void change_one(struct batch *b, uint64_t id, const struct queue_filter *f)
{
    struct outcome *o = &b->v[b->n++];
    struct view v;
    int rc;

    o->id = id;
    o->batch = b;
    rc = view_open(&v, b->c->spool, id);
    if (rc == 0 && f != NULL && !filter_takes(f, &v))
        o->passed_over = true;
    else if (rc == 0 && b->c->verb->stops && v.loaded.info.state == SPOOL_ACTIVE)
        rc = stop_and_go(o);
    else if (rc == 0)
        rc = plan_and_go(o, &v);
    if (rc < 0)
        refuse(o, rc);
    view_close(&v);
    if (o->passed_over) /* its room is for another one, once the disk knows no more of it */
        wait_for_disk(b);
    if (o->passed_over)
        memset(&b->v[--b->n], 0, sizeof(*o));
}

/* --- all of them ---------------------------------------------------------------------------------------- */

static bool batch_init(struct batch *b, const struct queue_change *c, bool by_id)
{
    *b = (struct batch){
        .c = c, .by_id = by_id, .v = mem_array(NULL, QUEUE_CHANGE_MAX, sizeof(*b->v))};
    sem_init(&b->done, 0, 0);
    return b->v != NULL;
}

static const char *code_of(int err)
{
    return err == BARID_ENOTFOUND  ? "no_such_message"
           : err == BARID_EAGAIN   ? "busy"
           : err == BARID_EINVALID ? "refused"
                                   : "failed";
}

static json_t *refused_json(const char *id, const struct err *why)
{
    char text[sizeof(why->text) + MAIL_ID_TEXT_SIZE + 16];

    snprintf(text, sizeof(text), "message %s %s", id, why->text);
    return json_pack("{s:s,s:s,s:s}", "id", id, "code", code_of(why->code), "text", text);
}

static json_t *batch_end(struct batch *b)
{
    json_t *o = json_object(), *changed = json_array(), *refused = json_array();

    wait_for_disk(b);
    for (size_t i = 0; i < b->n; i++) {
        struct outcome *one = &b->v[i];
        char id[MAIL_ID_TEXT_SIZE];

        mail_id_text(one->id, id);
        if (one->refused.code == 0 && atomic_load(&one->err) < 0)
            refuse(one, atomic_load(&one->err));
        if (one->refused.code == 0)
            json_array_append_new(changed, json_string(id));
        else
            json_array_append_new(refused, refused_json(id, &one->refused));
    }
    json_object_set_new(o, "changed", changed);
    json_object_set_new(o, "refused", refused);
    sem_destroy(&b->done);
    mem_free(NULL, b->v);
    return o;
}

json_t *queue_change_ids(const struct queue_change *c, const uint64_t *ids, size_t n)
{
    struct batch b;

    if (!batch_init(&b, c, true))
        return NULL;
    for (size_t i = 0; i < n && i < QUEUE_CHANGE_MAX; i++)
        change_one(&b, ids[i], NULL);
    return batch_end(&b);
}

json_t *queue_change_all(const struct queue_change *c, const struct queue_filter *f)
{
    size_t limit = f->limit == 0 || f->limit > QUEUE_CHANGE_MAX ? QUEUE_CHANGE_MAX : f->limit,
           examined = 0;
    struct spool_message info = {.id = f->after};
    char next[MAIL_ID_TEXT_SIZE];
    struct batch b;
    json_t *o;
    int rc = 1;

    if (!batch_init(&b, c, false))
        return NULL;
    while (b.n < limit && (rc = filter_next(f, c->spool, &info, &examined)) > 0)
        change_one(&b, info.id, f);
    o = batch_end(&b);
    mail_id_text(info.id, next);
    json_object_set_new(o, "examined", json_integer((json_int_t)examined));
    json_object_set_new(o, "next", rc < 0 ? json_null() : json_string(next));
    return o;
}
