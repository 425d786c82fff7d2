/*
 * queue/question.c: the `recipient` event, asked by the queue. See question.h.
 *
 *   question_start ──▶ message? (a report) ──▶ recipient? ──answered, or later──▶ act
 *                                                     │ accepted, with a place: units decided
 *                                                     ▼ anything else: a result at once
 *   the pool again (question_deliver) ◀── work_asked ──▶ recorded
 *           └──▶ question_send ──▶ parcels, one after the other ──▶ work_asked
 */
#include "queue/question.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/slice.h"
#include "message/reply_text.h"
#include "queue/ask.h"
#include "queue/parcel.h"

struct question {
    struct ask ask;
    struct work *work;
    struct rcpt *rcpt;
    struct unit *units; /* decided; in the work's arena */
    size_t n_units, at; /* of what is sent: the next one */
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

static struct outcome *outcome_of(struct work *w)
{
    struct outcome *o = &w->outcomes[0];

    *o = (struct outcome){.unit = w->claim.units[w->at]};
    w->n = 1;
    w->end = WORK_ON;
    return o;
}

static void refused(struct work *w, enum delivery_status status, const barid_verdict *v)
{
    char text[REPLY_TEXT_SIZE];

    reply_text(v, text);
    outcome_say(outcome_of(w), status, "%s", text);
}

/* Accepted: what the hook stored where. */
static void evaluate(struct work *w)
{
    struct question *a = w->question;
    struct err err = {0};
    bool *undecided;

    a->rcpt->verdict = RCPT_ACCEPTED;
    int rc = mail_evaluate(&w->mail, &a->units, &a->n_units, &undecided, &err);
    if (rc < 0)
        outcome_say(outcome_of(w), DELIVERY_AGAIN, "451 4.3.0 dispositions: %s",
                    err.code ? err.text : barid_strerror(rc));
    else if (a->n_units == 0)
        outcome_say(outcome_of(w), DELIVERY_FAILED, "550 5.1.1 no place was decided for this recipient");
}

static bool is_opinion(enum barid_verdict_kind kind)
{
    return kind != BARID_CONTINUE && kind != BARID_ACCEPT;
}

static void act(struct work *w, const barid_verdict *v)
{
    struct outcome *o;

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
        outcome_say(outcome_of(w), DELIVERY_DONE, "250 2.0.0 discarded by policy");
        break;
    case BARID_HOLD:
    case BARID_QUARANTINE:
        o = outcome_of(w);
        outcome_say(o, DELIVERY_FAILED, "250 2.0.0 held by policy");
        o->hold = true;
        break;
    default:
        evaluate(w);
    }
}

/* --- asked --- */

static void answered(struct work *w, const barid_verdict *v)
{
    if (atomic_load(&w->queue->stopping)) { /* nobody was asked: it goes back */
        w->n = 0;
        w->end = WORK_RELEASE;
    } else {
        act(w, v);
    }
    work_asked(w);
}

static void on_recipient(struct ask *ask)
{
    answered(ask->work, &ask->call.verdict);
}

static void ask_recipient(struct question *a)
{
    a->ask.call = (struct policy_call){.event = BARID_EVENT_RECIPIENT, .rcpt = a->rcpt};
    a->ask.answered = on_recipient;
    ask_start(&a->ask, a->work);
}

static void on_message(struct ask *ask)
{
    struct question *a = (struct question *)((char *)ask - offsetof(struct question, ask));

    if (is_opinion(ask->call.verdict.kind))
        answered(a->work, &ask->call.verdict);
    else
        ask_recipient(a);
}

/* No client brought it: a report of this server. */
static bool is_own(const struct mail *m)
{
    return m->sender.address.n == 0 && m->session->started_us == 0;
}

void question_start(struct work *w)
{
    struct question *a = mem_zalloc(w->queue->o.mem, sizeof(*a));

    w->question = a;
    if (a == NULL) {
        outcome_say(outcome_of(w), DELIVERY_AGAIN, "451 4.3.0 out of memory");
        work_asked(w);
        return;
    }
    a->work = w;
    a->rcpt = rcpt_of(w, w->claim.units[w->at]);
    prepare(w, a->rcpt);
    if (!is_own(&w->mail)) {
        ask_recipient(a);
        return;
    }
    a->ask.call = (struct policy_call){.event = BARID_EVENT_MESSAGE};
    a->ask.answered = on_message;
    ask_start(&a->ask, w);
}

void question_del(struct work *w)
{
    struct question *a = w->question;

    w->question = NULL;
    mem_free(w->queue->o.mem, a);
}

/* --- delivering what was decided --- */

static bool is_worse(enum delivery_status a, enum delivery_status b)
{
    static const int rank[] = {[DELIVERY_DONE] = 0, [DELIVERY_FAILED] = 1, [DELIVERY_AGAIN] = 2};

    return rank[a] > rank[b];
}

/* The unit is done when every place has it; a repetition finds what is there by its name. */
void question_deliver(struct work *w, void *body, uint64_t size)
{
    struct question *a = w->question;
    struct outcome *o = outcome_of(w);
    bool any = false;

    for (size_t i = 0; i < a->n_units; i++) {
        struct delivery_result r;

        if (a->units[i].kind == DISPOSITION_SEND)
            continue;
        /* An index that no other file of this message has. */
        work_deliver_unit(w, &a->units[i], o->unit, o->unit + (uint32_t)(w->n_units * (i + 1)), body, size, &r);
        if (!any || is_worse(r.status, o->r.status))
            o->r = r;
        any = true;
    }
}

static void on_sent(struct parcel *p)
{
    struct work *w = p->work;
    struct outcome *o = &w->outcomes[0];

    if (is_worse(p->outcomes[0].r.status, o->r.status) || o->r.reply[0] == '\0')
        *o = p->outcomes[0];
    parcel_del(p);
    question_send(w);
}

/* A file's place in its lane is not for those that wait for a network. Where one place has failed the others wait for the next attempt: fewer are told twice. */
void question_send(struct work *w)
{
    struct question *a = w->question;

    while (a->at < a->n_units && a->units[a->at].kind != DISPOSITION_SEND)
        a->at++;
    if (a->at == a->n_units || w->outcomes[0].r.status != DELIVERY_DONE) {
        work_asked(w);
        return;
    }
    work_leave_lane(w);
    if (!parcel_start_one(w, &a->units[a->at++], w->claim.units[w->at], on_sent)) {
        outcome_say(&w->outcomes[0], DELIVERY_AGAIN, "451 4.3.0 out of memory");
        work_asked(w);
    }
}
