/*
 * queue/question.c: the `recipient` event, asked by the queue. See question.h.
 *
 *   question_start ──▶ policy_ask ──answered, or later──▶ act
 *                                                     │ accepted, with a place: units decided
 *                                                     ▼ anything else: a result at once
 *   the pool again (question_deliver) ◀── work_asked ──▶ recorded
 */
#include "queue/question.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"
#include "interface/policy.h"
#include "message/reply_text.h"

struct question {
    struct policy_call call;
    struct policy *policy; /* the version that is asked: kept until the answer is used */
    struct unit *units;    /* decided; in the work's arena */
    size_t n_units;
};

static struct rcpt *rcpt_of(const struct work *w, uint32_t unit)
{
    return w->mail.rcpts[w->units[unit].rcpts[0]];
}

bool question_needed(const struct work *w, uint32_t unit)
{
    const struct unit *u = &w->units[unit];

    return w->queue->asks && (unsigned)u->kind == 0 && u->n_rcpts == 1 &&
           rcpt_of(w, unit)->verdict == RCPT_TEMPFAILED;
}

/* --- the mail as the hook sees it --- */

static uint64_t body_size(void *user)
{
    const struct work *w = user;
    return w->mail.body_size;
}

/* Opened and closed each time: a hook that reads bodies here is rare, and a body held open over
 * a hook that waits would pin its segment. */
static int64_t body_read(void *user, uint64_t offset, void *p, size_t n)
{
    struct work *w = user;
    const struct spool_ops *ops = w->queue->o.spool->ops;
    uint64_t size;
    void *body;
    int64_t rc = ops->body_open(w->queue->o.spool, w->claim.id, &body, &size);

    if (rc == 0) {
        rc = ops->body_read(body, offset, p, n);
        ops->body_close(body);
    }
    return rc;
}

/* Bodies are immutable once they are durable. */
static int body_replace(void *user, barid_slice body)
{
    (void)user;
    (void)body;
    return BARID_EINVALID;
}

/* Only this recipient is decided about; what was decided for the others is done by their units.
 */
static void prepare(struct work *w, struct rcpt *asked)
{
    struct mail *m = &w->mail;

    for (size_t i = 0; i < m->n_rcpts; i++)
        m->rcpts[i]->verdict = RCPT_REJECTED;
    asked->verdict = RCPT_PENDING;
    m->n_rows = m->n_excluded = 0;
    m->frozen = true; /* only where it goes can still be decided */
    m->decided = false;
    m->body = (struct body_ops){body_size, body_read, body_replace, w};
}

/* --- the answer --- */

static void result(struct work *w, enum delivery_status status, const char *fmt, ...)
    BARID_PRINTF(3, 4);
static void result(struct work *w, enum delivery_status status, const char *fmt, ...)
{
    struct delivery_result *r = &w->results[0];
    va_list ap;

    *r = (struct delivery_result){.status = status};
    va_start(ap, fmt);
    vsnprintf(r->reply, sizeof(r->reply), fmt, ap);
    va_end(ap);
    w->n = 1;
    w->end = WORK_ON;
}

static void refused(struct work *w, enum delivery_status status, const barid_verdict *v)
{
    char text[REPLY_TEXT_SIZE];

    reply_text(v, text);
    result(w, status, "%s", text);
}

/* Accepted: what the hook stored where. */
static void evaluate(struct work *w, struct rcpt *asked)
{
    struct question *a = w->question;
    struct err err = {0};
    bool *undecided;

    asked->verdict = RCPT_ACCEPTED;
    int rc = mail_evaluate(&w->mail, &a->units, &a->n_units, &undecided, &err);
    if (rc < 0)
        result(w, DELIVERY_AGAIN, "451 4.3.0 dispositions: %s",
               err.code ? err.text : barid_strerror(rc));
    else if (a->n_units == 0)
        result(w, DELIVERY_FAILED, "550 5.1.1 no place was decided for this recipient");
}

static void act(struct work *w, const barid_verdict *v)
{
    w->n = 0;
    switch (v->kind) {
    case BARID_REJECT:
    case BARID_DISCONNECT:
        refused(w, DELIVERY_FAILED, v);
        break;
    case BARID_TEMPFAIL:
        refused(w, DELIVERY_AGAIN, v);
        break;
    case BARID_DISCARD:
        result(w, DELIVERY_DONE, "250 2.0.0 discarded by policy");
        break;
    case BARID_HOLD:
    case BARID_QUARANTINE:
        result(w, DELIVERY_FAILED, "250 2.0.0 held by policy");
        break;
    default:
        evaluate(w, rcpt_of(w, w->claim.units[w->at]));
    }
}

static void finish(struct work *w)
{
    struct question *a = w->question;

    act(w, &a->call.verdict); /* before the session goes: the verdict's texts are its */
    policy_mail_over(a->call.session, &w->mail);
    policy_session_del(&a->call.session);
    policy_unref(&a->policy);
    work_asked(w);
}

static void on_done(struct policy_call *call)
{
    finish(call->user);
}

void question_start(struct work *w)
{
    struct queue *q = w->queue;
    struct rcpt *rcpt = rcpt_of(w, w->claim.units[w->at]);
    struct question *a = mem_zalloc(q->o.mem, sizeof(*a));

    w->question = a;
    if (a != NULL) {
        a->policy = policy_ref(q->o.policy);
        a->call.session = policy_session_new(a->policy, w->mail.session);
    }
    if (a == NULL || a->call.session == NULL) {
        result(w, DELIVERY_AGAIN, "451 4.3.0 out of memory");
        work_asked(w);
        return;
    }
    prepare(w, rcpt);
    a->call.event = BARID_EVENT_RECIPIENT;
    a->call.mail = &w->mail;
    a->call.rcpt = rcpt;
    a->call.done = on_done;
    a->call.user = w;
    list_append(&q->asking, &w->node);
    if (policy_ask(a->policy, &a->call) == POLICY_ANSWERED)
        finish(w);
}

void question_cancel(struct work *w)
{
    policy_cancel(w->question->policy, &w->question->call);
}

void question_del(struct work *w)
{
    struct question *a = w->question;

    w->question = NULL;
    if (a == NULL)
        return;
    if (a->call.session != NULL) {
        policy_mail_over(a->call.session, &w->mail);
        policy_session_del(&a->call.session);
    }
    policy_unref(&a->policy);
    mem_free(w->queue->o.mem, a);
}

/* --- delivering what was decided --- */

static bool is_worse(const struct delivery_result *a, const struct delivery_result *b)
{
    static const int rank[] = {
        [DELIVERY_DONE] = 0, [DELIVERY_FAILED] = 1, [DELIVERY_AGAIN] = 2};

    return rank[a->status] > rank[b->status];
}

/* The unit is done when every place has it; a repetition finds what is there by its name. */
void question_deliver(struct work *w, void *body, uint64_t size)
{
    uint32_t unit = w->claim.units[w->at];

    for (size_t i = 0; i < w->question->n_units; i++) {
        struct delivery_result r;

        /* An index that no other file of this message has. */
        work_deliver_unit(w, &w->question->units[i], unit,
                          unit + (uint32_t)(w->n_units * (i + 1)), body, size, &r);
        if (i == 0 || is_worse(&r, &w->results[0]))
            w->results[0] = r;
    }
    w->n = 1;
}
