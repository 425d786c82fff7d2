/*
 * queue/outcome.c: what deliveries gave becomes the state of their units, and lines of the log.
 * On the loop.
 *
 *   done    -> UNIT_DONE
 *   again   -> UNIT_PENDING at queue_next_attempt, or UNIT_HELD after the last try
 *   failed  -> UNIT_HELD: nothing is given up, somebody decides
 */
#include "base/slice.h"
#include "queue/queue_int.h"

#define LOG_RCPTS_MAX 512 /* octets of addresses in one line: a unit may serve thousands */

static uint32_t attempts_before(const struct work *w, uint32_t unit)
{
    /* A record that cannot be read has not been tried: reading it goes on at the pace of a
     * first retry. */
    return w->is_loaded && unit < w->loaded.n_units ? w->loaded.units[unit].attempts : 0;
}

static uint32_t next_count(uint32_t attempts)
{
    return attempts < UINT32_MAX ? attempts + 1 : attempts;
}

static struct unit_state outcome(struct work *w, uint32_t unit, const struct delivery_result *r)
{
    struct queue *q = w->queue;
    struct unit_state s = {
        .status = UNIT_HELD,
        .attempts = next_count(attempts_before(w, unit)),
        .reply = slice_str(r->reply),
    };
    int64_t due_us;

    if (r->status == DELIVERY_DONE)
        s.status = UNIT_DONE;
    if (r->status != DELIVERY_AGAIN)
        return s;
    due_us = queue_next_attempt(&q->o.retry, s.attempts, queue_now_us(q),
                                rng_u64(q->o.rng));
    if (due_us != INT64_MAX) {
        s.status = UNIT_PENDING;
        s.due_us = due_us;
    }
    return s;
}

/* Addresses served, separated by spaces; "" for the message itself. */
static barid_slice addresses(const struct work *w, uint32_t unit, char *out)
{
    size_t n = 0;

    if (!w->is_decoded)
        return BARID_S("");
    for (size_t i = 0; i < w->units[unit].n_rcpts; i++) {
        barid_slice a = w->mail.rcpts[w->units[unit].rcpts[i]]->box.address;

        if (n + a.n + sizeof(" ...") > LOG_RCPTS_MAX) {
            memcpy(out + n, " ...", 4);
            return slice_of(out, n + 4);
        }
        if (n > 0)
            out[n++] = ' ';
        if (a.n > 0)
            memcpy(out + n, a.p, a.n);
        n += a.n;
    }
    return slice_of(out, n);
}

static const char *status_name(const struct unit_state *s)
{
    return s->status == UNIT_DONE      ? "delivered"
           : s->status == UNIT_PENDING ? "deferred"
                                       : "held";
}

static void log_attempt(const struct work *w, const struct unit_change *c,
                        const struct delivery_result *r)
{
    const struct unit *u = w->is_decoded ? &w->units[c->unit] : NULL;
    int64_t now_us = clock_wall_us(loop_clock(w->queue->o.loop));
    enum log_level level = c->state.status == UNIT_DONE      ? LOG_LEVEL_INFO
                           : c->state.status == UNIT_PENDING ? LOG_LEVEL_WARN
                                                             : LOG_LEVEL_ERROR;
    char id[MAIL_ID_TEXT_SIZE], rcpts[LOG_RCPTS_MAX];

    if (!log_wants(w->queue->o.log, level))
        return;
    mail_id_text(w->claim.id, id);
    log_record(
        w->queue->o.log, level, "queue", status_name(&c->state), LOG_CSTR("id", id),
        LOG_INT("unit", c->unit),
        LOG_CSTR("kind", u == NULL                ? "?"
                         : (unsigned)u->kind == 0 ? "none"
                                                  : disposition_kind_name(u->kind)),
        LOG_STR("rcpt", addresses(w, c->unit, rcpts)),
        LOG_STR("target", u == NULL ? BARID_S("") : u->target), LOG_CSTR("where", r->where),
        LOG_CSTR("reply", r->reply), LOG_INT("attempts", c->state.attempts),
        LOG_BOOL("maybe_duplicate", r->maybe_duplicate),
        LOG_NUM("seconds", w->is_decoded ? (double)(now_us - w->mail.received_us) / 1e6 : 0.0));
}

static void count(struct queue *q, const struct unit_state *s)
{
    atomic_fetch_add_explicit(s->status == UNIT_DONE      ? &q->delivered
                              : s->status == UNIT_PENDING ? &q->deferred
                                                          : &q->held,
                              1, memory_order_relaxed);
}

int work_record(struct work *w)
{
    struct spool *s = w->queue->o.spool;
    int rc;

    if (w->n == 0)
        return 0;
    for (size_t i = 0; i < w->n; i++) {
        uint32_t unit = w->claim.units[w->at + i];

        w->changes[i] =
            (struct unit_change){.unit = unit, .state = outcome(w, unit, &w->results[i])};
    }
    /* Nobody waits for the disk: a crash before it is written delivers again, it never loses.
     */
    rc = s->ops->update(s, w->claim.id, w->claim.lease, w->changes, w->n, NULL, NULL);
    if (rc != 0 &&
        rc != BARID_ENOTFOUND) /* gone: erased by an operator while it was delivered */
        return rc;
    for (size_t i = 0; i < w->n; i++) {
        log_attempt(w, &w->changes[i], &w->results[i]);
        count(w->queue, &w->changes[i].state);
    }
    return 0;
}
