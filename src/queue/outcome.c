/* queue/outcome.c: see outcome.h. On the loop. */
#include "queue/outcome.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "queue/work.h"

#define LOG_RCPTS_MAX 512 /* octets of addresses in one line: a unit may serve thousands */
#define US_PER_S      INT64_C(1000000)

/* --- what was said --- */

static void copy(char *out, size_t size, barid_slice s)
{
    snprintf(out, size, "%.*s", (int)(s.n < size ? s.n : size - 1), s.n > 0 ? s.p : "");
}

void outcome_from_send(struct outcome *o, const struct send_result *r)
{
    o->r.status = r->status;
    copy(o->r.reply, sizeof(o->r.reply), r->reply);
    copy(o->remote, sizeof(o->remote), r->remote);
    copy(o->remote_address, sizeof(o->remote_address), r->remote_address);
    o->stage = r->stage;
    o->is_suspect = o->r.maybe_duplicate = r->is_suspect;
    o->no_connection = r->no_connection;
    o->dsn_passed = r->dsn_passed;
}

void outcome_say(struct outcome *o, enum delivery_status status, const char *fmt, ...)
{
    va_list ap;

    o->r.status = status;
    va_start(ap, fmt);
    vsnprintf(o->r.reply, sizeof(o->r.reply), fmt, ap);
    va_end(ap);
}

/* --- what becomes of it --- */

static const struct unit_state *before(const struct work *w, uint32_t unit)
{
    /* A record that cannot be read has not been tried: reading it goes on at the pace of a
     * first retry. */
    static const struct unit_state untried;

    return w->is_loaded && unit < w->loaded.n_units ? &w->loaded.units[unit] : &untried;
}

struct queue_retry outcome_retry(const struct work *w)
{
    struct queue_retry retry = w->queue->o.retry;
    const struct mail_retry *own = &w->mail.retry;

    if (!w->is_decoded || !own->set)
        return retry;
    retry.first_s = own->first_s > 0 ? own->first_s : retry.first_s;
    retry.max_s = own->max_s > 0 ? own->max_s : retry.max_s;
    retry.tries = own->tries > 0 ? own->tries : retry.tries;
    retry.notice = own->notice_set ? own->notice : retry.notice;
    return retry;
}

/* Intervals that an operator has put in front of the schedule are not counted as tries. */
static bool take_ahead(struct unit_state *s, int64_t now_us)
{
    if (s->ahead_s[0] == 0)
        return false;
    s->due_us = now_us + s->ahead_s[0] * US_PER_S;
    memmove(s->ahead_s, s->ahead_s + 1, sizeof(s->ahead_s) - sizeof(s->ahead_s[0]));
    s->ahead_s[UNIT_AHEAD_MAX - 1] = 0;
    return true;
}

/* False: there are no more tries. */
static bool schedule(const struct work *w, struct outcome *o)
{
    struct queue *q = w->queue;
    struct queue_retry retry = outcome_retry(w);
    int64_t now_us = queue_now_us(q), due_us;

    o->state.status = UNIT_PENDING;
    if (o->again_us > 0) {
        o->state.due_us = o->again_us > now_us + US_PER_S ? o->again_us : now_us + US_PER_S;
        return true;
    }
    if (take_ahead(&o->state, now_us)) {
        o->state.attempts = before(w, o->unit)->attempts;
        o->limited = true;
        return true;
    }
    due_us = queue_next_attempt(&retry, o->state.attempts, now_us, rng_u64(q->o.rng));
    o->state.due_us = due_us;
    return due_us != INT64_MAX;
}

/* For good. What a next hop refused and nobody is to be told about is over; anything else waits for an operator: it is this server's
 * own doing. */
static void give_up(const struct work *w, struct outcome *o)
{
    bool is_null = !w->is_decoded || w->mail.sender.address.n == 0;

    o->state.due_us = queue_now_us(w->queue);
    o->state.status = !is_null         ? UNIT_GIVEN_UP
                      : o->hop != NULL ? UNIT_FAILED
                                       : UNIT_HELD;
}

/* Given up, and the record cannot be read to say so: for good all the same, with the reply that it had. */
static bool stays_given_up(const struct work *w, struct outcome *o)
{
    if (o->state.status != UNIT_GIVEN_UP || o->hold || o->r.status != DELIVERY_AGAIN)
        return false;
    o->state.due_us = queue_now_us(w->queue) + outcome_retry(w).first_s * US_PER_S;
    return true;
}

void outcome_decide(const struct work *w, struct outcome *o)
{
    o->state = *before(w, o->unit);
    if (stays_given_up(w, o))
        return;
    o->state.reply = slice_str(o->r.reply);
    o->state.due_us = 0;
    /* Once in doubt, in doubt to its end: no later attempt can say that it was not delivered then. */
    o->state.suspect |= o->is_suspect;
    o->r.maybe_duplicate = o->r.maybe_duplicate || o->state.suspect;
    if (o->group >= SPOOL_GROUP_FIRST)
        o->state.group = o->group;
    if (!o->not_tried && !o->limited && o->state.attempts < UINT32_MAX)
        o->state.attempts++;
    if (o->hold)
        o->state.status = UNIT_HELD;
    else if (o->r.status == DELIVERY_DONE)
        o->state.status = UNIT_DONE;
    else if (o->r.status == DELIVERY_FAILED || !schedule(w, o))
        give_up(w, o);
}

/* --- told --- */

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

static const char *state_name(const struct unit_state *s)
{
    static const char *const names[] = {[UNIT_PENDING] = "deferred",
                                        [UNIT_DONE] = "delivered",
                                        [UNIT_FAILED] = "failed",
                                        [UNIT_HELD] = "held",
                                        [UNIT_GIVEN_UP] = "failed"};

    return names[s->status];
}

static const char *kind_name(const struct work *w, uint32_t unit)
{
    if (!w->is_decoded)
        return "?";
    return (unsigned)w->units[unit].kind == 0 ? "none" : disposition_kind_name(w->units[unit].kind);
}

/* "mx.example.com (192.0.2.1:25)" */
static barid_slice remote(const struct outcome *o, char *out, size_t size)
{
    if (o->remote[0] == '\0')
        return BARID_S("");
    snprintf(out, size, o->remote_address[0] != '\0' ? "%s (%s)" : "%s", o->remote, o->remote_address);
    return slice_str(out);
}

#define REMOTE_SIZE (OUTCOME_NAME_SIZE + ENDPOINT_SIZE + 4)

void outcome_log(const struct work *w, const struct outcome *o)
{
    int64_t now_us = clock_wall_us(loop_clock(w->queue->o.loop));
    enum log_level level = o->state.status == UNIT_DONE      ? LOG_LEVEL_INFO
                           : o->state.status == UNIT_PENDING ? LOG_LEVEL_WARN
                                                             : LOG_LEVEL_ERROR;
    char id[MAIL_ID_TEXT_SIZE], rcpts[LOG_RCPTS_MAX], host[REMOTE_SIZE], hop[HOP_TEXT_SIZE] = "";

    if (!log_wants(w->queue->o.log, level))
        return;
    mail_id_text(w->claim.id, id);
    if (o->hop != NULL)
        hop_text(o->hop, hop);
    log_record(w->queue->o.log, level, "queue", state_name(&o->state), LOG_CSTR("id", id),
               LOG_INT("unit", o->unit), LOG_CSTR("kind", kind_name(w, o->unit)),
               LOG_STR("rcpt", addresses(w, o->unit, rcpts)),
               LOG_STR("target", w->is_decoded ? w->units[o->unit].target : BARID_S("")),
               LOG_CSTR("where", o->r.where), LOG_CSTR("reply", o->r.reply),
               LOG_INT("attempts", o->state.attempts), LOG_CSTR("hop", hop),
               LOG_STR("remote", remote(o, host, sizeof(host))), LOG_BOOL("maybe_duplicate", o->r.maybe_duplicate),
               LOG_NUM("seconds", w->is_decoded ? (double)(now_us - w->mail.received_us) / 1e6 : 0.0));
}

static enum history_kind history_kind_of(const struct outcome *o)
{
    switch (o->state.status) {
    case UNIT_DONE:
        return HISTORY_DELIVERED;
    case UNIT_PENDING:
        return HISTORY_DEFERRED;
    case UNIT_HELD:
        return HISTORY_HELD;
    default:
        return HISTORY_FAILED;
    }
}

void outcome_note(const struct work *w, const struct outcome *o)
{
    char rcpts[LOG_RCPTS_MAX], host[REMOTE_SIZE], hop[HOP_TEXT_SIZE] = "";

    if (w->queue->o.history == NULL || o->not_tried) /* what was given up was told when it was */
        return;
    if (o->hop != NULL)
        hop_text(o->hop, hop);
    history_note(w->queue->o.history,
                 &(struct history_entry){.kind = history_kind_of(o),
                                         .id = w->claim.id,
                                         .time_us = queue_now_us(w->queue),
                                         .rcpts = addresses(w, o->unit, rcpts),
                                         .hop = slice_str(o->hop != NULL ? hop : o->r.where),
                                         .remote = remote(o, host, sizeof(host)),
                                         .reply = slice_str(o->r.reply),
                                         .due_us = o->state.status == UNIT_PENDING ? o->state.due_us : 0,
                                         .attempts = o->state.attempts,
                                         .suspect = o->state.suspect});
}

void outcome_count(struct queue *q, const struct outcome *o)
{
    atomic_fetch_add_explicit(o->state.status == UNIT_DONE      ? &q->delivered
                              : o->state.status == UNIT_PENDING ? &q->deferred
                              : o->state.status == UNIT_HELD    ? &q->held
                                                                : &q->failed,
                              1, memory_order_relaxed);
}
