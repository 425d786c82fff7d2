/* queue/settle.c: see settle.h. */
#include "queue/settle.h"

#include "base/mem.h"
#include "base/slice.h"
#include "message/reply_text.h"
#include "queue/ask.h"
#include "queue/notice.h"
#include "queue/suspect.h"

enum { SETTLE_ATTEMPT = 0, SETTLE_FAILURE, SETTLE_DELAY, SETTLE_SUCCESS, SETTLE_RECORD, SETTLE_OVER };

/* One question about all outcomes that are alike. */
struct settle_ask {
    struct ask ask;
    struct settling *settling;
    struct policy_attempt attempt;
    struct send_result result;
    size_t n;
    size_t *index, *rcpts; /* of outcomes; of recipients */
};

static void go(struct settling *s);

static bool stopping(const struct settling *s)
{
    return atomic_load_explicit(&s->work->queue->stopping, memory_order_relaxed);
}

size_t settling_rcpts(const struct settling *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++)
        n += s->work->units[s->v[i].unit].n_rcpts;
    return n > 0 ? n : 1;
}

/* --- attempt --- */

static bool is_alike(const struct outcome *a, const struct outcome *b)
{
    return a->r.status == b->r.status && a->hop == b->hop && slice_eq(slice_str(a->r.reply), slice_str(b->r.reply));
}

static bool wants_ask(const struct outcome *o)
{
    return !o->is_asked && !o->not_tried && !o->hold;
}

static void ask_del(struct settle_ask *a)
{
    const barid_mem *mem = a->settling->work->queue->o.mem;

    a->settling->asking = NULL;
    mem_free(mem, a->index);
    mem_free(mem, a->rcpts);
    mem_free(mem, a);
}

static void put_off(const struct settle_ask *a, struct outcome *o)
{
    o->r.status = DELIVERY_AGAIN;
    o->again_us = a->attempt.again_us;
    o->limited = a->attempt.again_limited;
}

static void apply(const struct settle_ask *a, struct outcome *o)
{
    const barid_verdict *v = &a->ask.call.verdict;
    char text[REPLY_TEXT_SIZE];

    switch (v->kind) {
    case BARID_ACCEPT:
        o->r.status = DELIVERY_DONE;
        break;
    case BARID_REJECT:
        reply_text(v, text);
        outcome_say(o, DELIVERY_FAILED, "%s", text);
        break;
    case BARID_TEMPFAIL:
        put_off(a, o);
        break;
    case BARID_HOLD:
        o->hold = true;
        break;
    default:
        break;
    }
}

static void on_answer(struct ask *ask)
{
    struct settle_ask *a = (struct settle_ask *)((char *)ask - offsetof(struct settle_ask, ask));
    struct settling *s = a->settling;

    for (size_t i = 0; i < a->n; i++)
        apply(a, &s->v[a->index[i]]);
    ask_del(a);
    go(s);
}

static struct settle_ask *ask_new(struct settling *s)
{
    const barid_mem *mem = s->work->queue->o.mem;
    struct settle_ask *a = mem_zalloc(mem, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->settling = s;
    a->index = mem_array(mem, s->n, sizeof(*a->index));
    a->rcpts = mem_array(mem, settling_rcpts(s), sizeof(*a->rcpts));
    if (a->index != NULL && a->rcpts != NULL)
        return a;
    ask_del(a);
    return NULL;
}

static void gather(struct settle_ask *a, size_t first)
{
    struct settling *s = a->settling;

    for (size_t i = first; i < s->n; i++) {
        struct outcome *o = &s->v[i];
        const struct unit *u = &s->work->units[o->unit];

        if (!wants_ask(o) || !is_alike(&s->v[first], o))
            continue;
        o->is_asked = true;
        a->index[a->n++] = i;
        for (size_t k = 0; k < u->n_rcpts; k++)
            a->rcpts[a->attempt.n_rcpts++] = u->rcpts[k];
    }
}

static void describe(struct settle_ask *a, const struct outcome *o)
{
    struct outcome would = *o;

    outcome_decide(a->settling->work, &would);
    a->result = (struct send_result){.status = o->r.status,
                                     .is_suspect = would.state.suspect,
                                     .no_connection = o->no_connection,
                                     .stage = o->stage,
                                     .reply = slice_str(o->r.reply),
                                     .remote = slice_str(o->remote),
                                     .remote_address = slice_str(o->remote_address),
                                     .dsn_passed = o->dsn_passed};
    a->attempt.hop = o->hop;
    a->attempt.result = &a->result;
    a->attempt.attempts = would.state.attempts;
    a->attempt.next_us = would.state.status == UNIT_PENDING ? would.state.due_us : INT64_MAX;
    a->attempt.rcpts = a->rcpts;
}

/* true: a question is under way. */
static bool ask_next(struct settling *s)
{
    size_t first = 0;

    if (!s->work->is_decoded || !ask_is_heard(s->work, BARID_EVENT_ATTEMPT))
        return false;
    while (first < s->n && !wants_ask(&s->v[first]))
        first++;
    if (first == s->n)
        return false;
    s->asking = ask_new(s);
    if (s->asking == NULL) { /* nobody is passed over: they come again */
        for (size_t i = first; i < s->n; i++)
            if (wants_ask(&s->v[i]) && s->v[i].r.status != DELIVERY_DONE)
                s->v[i].r.status = DELIVERY_AGAIN;
        return false;
    }
    gather(s->asking, first);
    describe(s->asking, &s->v[first]);
    s->asking->ask.call.event = BARID_EVENT_ATTEMPT;
    s->asking->ask.call.attempt = &s->asking->attempt;
    s->asking->ask.answered = on_answer;
    ask_start(&s->asking->ask, s->work);
    return true;
}

/* --- reports --- */

/* The report cannot be made now: nothing is lost while the unit says that it is due. */
static void tell_later(const struct settling *s, struct outcome *o)
{
    o->state.due_us = queue_now_us(s->work->queue) + s->work->queue->o.retry.first_s * INT64_C(1000000);
}

static void after_failure(struct settling *s, struct notice *n, struct outcome *o)
{
    switch (n->end) {
    case NOTICE_SENT:
    case NOTICE_SILENT:
        o->state.status = UNIT_FAILED;
        break;
    case NOTICE_HELD:
        o->state.status = UNIT_HELD;
        break;
    case NOTICE_LATER:
        tell_later(s, o);
        break;
    }
}

static void on_notice(struct notice *n)
{
    struct settling *s = n->settling;

    for (size_t i = 0; n->action == REPORT_FAILED && i < n->n; i++)
        after_failure(s, n, &s->v[n->index[i]]);
    s->notice = NULL;
    notice_del(n);
    go(s);
}

static bool is_told(const struct settling *s, const struct outcome *o, int stage)
{
    const struct queue_retry retry = outcome_retry(s->work);

    switch (stage) {
    case SETTLE_FAILURE:
        return o->state.status == UNIT_GIVEN_UP;
    case SETTLE_DELAY:
        return o->state.status == UNIT_PENDING && !o->limited &&
               (o->state.attempts == retry.notice || ask_is_heard(s->work, BARID_EVENT_DELAY));
    default:
        return o->state.status == UNIT_DONE && !o->dsn_passed && notice_is_asked_for(s->work, o, REPORT_DELIVERED);
    }
}

static enum report_action action_of(const struct settling *s, int stage)
{
    size_t first = 0;

    switch (stage) {
    case SETTLE_FAILURE:
        return REPORT_FAILED;
    case SETTLE_DELAY:
        return REPORT_DELAYED;
    default: /* what a next hop took over without knowing of DSN was relayed (RFC 3461 5.2.2) */
        while (first + 1 < s->n && !is_told(s, &s->v[first], stage))
            first++;
        return s->v[first].hop != NULL && s->v[first].hop->protocol == HOP_SMTP ? REPORT_RELAYED : REPORT_DELIVERED;
    }
}

static bool any_told(const struct settling *s, int stage)
{
    for (size_t i = 0; i < s->n; i++)
        if (is_told(s, &s->v[i], stage))
            return true;
    return false;
}

/* true: a report is under way. While the queue stops only what nobody is asked about, and no later attempt would tell. */
static bool tell(struct settling *s, int stage)
{
    if ((stopping(s) && stage != SETTLE_SUCCESS) || !s->work->is_decoded || s->work->mail.sender.address.n == 0 || !any_told(s, stage))
        return false;
    s->notice = notice_new(s, action_of(s, stage));
    if (s->notice == NULL) {
        log_record(s->work->queue->o.log, LOG_LEVEL_ERROR, "queue", "no memory to tell the sender",
                   LOG_BOOL("later", stage == SETTLE_FAILURE));
        for (size_t i = 0; stage == SETTLE_FAILURE && i < s->n; i++)
            if (is_told(s, &s->v[i], stage))
                tell_later(s, &s->v[i]);
        return false;
    }
    for (size_t i = 0; i < s->n; i++)
        if (is_told(s, &s->v[i], stage))
            notice_add(s->notice, i);
    if (!notice_is_needed(s->notice)) {
        for (size_t i = 0; stage == SETTLE_FAILURE && i < s->notice->n; i++)
            s->v[s->notice->index[i]].state.status = UNIT_FAILED; /* its sender asked not to be told */
        notice_del(s->notice);
        s->notice = NULL;
        return false;
    }
    notice_start(s->notice, on_notice);
    return true;
}

/* --- recorded --- */

#define RECORD_SLICE 32 /* changes in one call of the store: they stand on the stack, so recording needs no memory */

struct recording {
    struct loop_task task;
    struct queue *queue;
    struct suspect_slot *slot;
};

/* On the loop: when the last one is counted, the queue may go. */
static void after_recording(struct loop_task *task)
{
    struct recording *r = (struct recording *)((char *)task - offsetof(struct recording, task));
    struct queue *q = r->queue;

    mem_free(q->o.mem, r);
    q->recording--;
    queue_wake(q);
}

static void on_recorded(void *user, int err) /* any thread */
{
    struct recording *r = user;

    if (err == 0)
        suspect_clear(r->slot);
    loop_post(r->queue->o.loop, &r->task);
}

/* What was sent is written with the next batch, at once: a crash before it sends it again. A file is found again by its name. */
static int update(struct settling *s, const struct unit_change *changes, size_t n, struct recording *r)
{
    struct queue *q = s->work->queue;
    struct spool *spool = q->o.spool;
    int rc;

    if (r != NULL)
        q->recording++;
    rc = spool->ops->update(spool, s->work->claim.id, s->work->claim.lease, changes, n,
                            r != NULL ? on_recorded : NULL, r);
    if (rc != 0 && r != NULL) {
        mem_free(q->o.mem, r);
        q->recording--;
    }
    if (rc == BARID_ENOTFOUND) { /* gone: erased by an operator while it was delivered */
        suspect_clear(s->slot);
        return 0;
    }
    return rc;
}

static int record(struct settling *s)
{
    struct unit_change changes[RECORD_SLICE];
    struct recording *r = NULL;
    int rc = 0;

    if (s->slot != NULL && (r = mem_alloc(s->work->queue->o.mem, sizeof(*r))) == NULL)
        return BARID_ENOMEM;
    if (r != NULL)
        *r = (struct recording){.task.run = after_recording, .queue = s->work->queue, .slot = s->slot};
    while (rc == 0 && s->recorded < s->n) {
        size_t left = s->n - s->recorded, n = left < RECORD_SLICE ? left : RECORD_SLICE;
        bool is_last = n == left;

        for (size_t i = 0; i < n; i++) {
            const struct outcome *o = &s->v[s->recorded + i];

            changes[i] = (struct unit_change){.unit = o->unit, .state = o->state};
        }
        rc = update(s, changes, n, is_last ? r : NULL);
        if (is_last)
            r = NULL;
        s->recorded += rc == 0 ? n : 0;
    }
    mem_free(s->work->queue->o.mem, r);
    return rc;
}

static void tell_all(const struct settling *s)
{
    for (size_t i = 0; i < s->n; i++) {
        outcome_log(s->work, &s->v[i]);
        outcome_note(s->work, &s->v[i]);
        outcome_count(s->work->queue, &s->v[i]);
    }
}

static void finish(struct settling *s)
{
    int rc = record(s);

    if (rc == BARID_ENOMEM) {
        list_append(&s->work->queue->unrecorded, &s->node);
        queue_pause(s->work->queue);
        return;
    }
    if (rc == 0)
        tell_all(s);
    s->stage = SETTLE_OVER;
    s->done(s, rc); /* s may be gone */
}

/* --- the stages --- */

static bool advance(struct settling *s)
{
    switch (s->stage) {
    case SETTLE_ATTEMPT:
        if (ask_next(s))
            return false;
        for (size_t i = 0; i < s->n; i++)
            outcome_decide(s->work, &s->v[i]);
        break;
    default: /* one report each */
        s->stage++;
        return !tell(s, s->stage - 1);
    }
    s->stage++;
    return true;
}

/* Answers that come at once call go from within go: they only say that there is more to do. */
static void go(struct settling *s)
{
    s->moved = true;
    if (s->is_going)
        return;
    s->is_going = true;
    while (s->moved) {
        bool is_last = s->stage == SETTLE_RECORD;

        s->moved = false;
        if (is_last) {
            s->is_going = false;
            finish(s);
            return; /* s may be gone */
        }
        if (advance(s))
            s->moved = true;
    }
    s->is_going = false;
}

void settle_start(struct settling *s)
{
    s->stage = SETTLE_ATTEMPT;
    s->is_going = false;
    list_init(&s->node);
    go(s);
}

void settle_again(struct settling *s)
{
    finish(s);
}
