/* queue/ask.c: see ask.h. */
#include "queue/ask.h"

#include "base/mem.h"
#include "base/slice.h"

bool ask_is_heard(const struct work *w, enum barid_event_id event)
{
    const struct queue *q = w->queue;
    const struct policy *p = w->policy != NULL ? w->policy : q->o.policy;

    return q->asks && !atomic_load_explicit(&q->stopping, memory_order_relaxed) &&
           (policy_events(p) & BARID_EVENT_BIT(event)) != 0;
}

/* All questions of a work are of one version and one session: what one hook leaves in session.vars the next finds. */
static bool begin_session(struct work *w)
{
    if (w->session != NULL)
        return true;
    if (w->policy == NULL)
        w->policy = policy_ref(w->queue->o.policy);
    w->session = policy_session_new(w->policy, w->mail.session);
    return w->session != NULL;
}

static void answer(struct ask *a)
{
    list_remove(&a->node);
    a->answered(a);
}

static void on_done(struct policy_call *call)
{
    answer(call->user);
}

void ask_start(struct ask *a, struct work *w)
{
    a->work = w;
    list_init(&a->node);
    if (!ask_is_heard(w, a->call.event)) {
        a->answered(a);
        return;
    }
    if (!begin_session(w)) {
        policy_failed_verdict(a->call.event, &a->call.verdict);
        a->answered(a);
        return;
    }
    a->call.session = w->session;
    a->call.mail = &w->mail;
    a->call.done = on_done;
    a->call.user = a;
    list_append(&w->queue->asking, &a->node);
    if (policy_ask(w->policy, &a->call) == POLICY_ANSWERED)
        answer(a);
}

void asks_stop(struct queue *q)
{
    while (!list_empty(&q->asking)) {
        struct ask *a = LIST_ENTRY(q->asking.next, struct ask, node);

        policy_cancel(a->work->policy, &a->call);
        a->call.verdict = (barid_verdict){.kind = BARID_CONTINUE};
        answer(a);
    }
}
