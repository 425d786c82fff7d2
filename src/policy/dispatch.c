/*
 * policy/dispatch.c: one event to its handlers, their verdicts to one. Knows nothing of
 * sessions, sockets or Lua.
 *
 * Merge:
 *   continue                  the next handler is asked; hidden extensions (an edit) accumulate
 *   every other verdict       the first of them ends the event
 *   not allowed for the event, a code or enhanced code of the wrong class, failed, too late
 *                             451 4.3.0, logged with the handler's place, counted, ends the event;
 *                             for a report, or what is delivered, continue and as it was before
 *
 * Life of a call:
 *
 *   policy_ask ──▶ run handler at ──ANSWERED──▶ merge ──▶ next handler, or the answer
 *                    │                            ▲
 *                 WAITING ─▶ in the list ─────────┤ policy_resume
 *                              │  deadline passed ┘ (handler cancelled; a failure)
 *                              └─ policy_cancel: forgotten, nobody is called
 *
 * Invariants: a call is in the list exactly while a handler owes it an answer; the list is in
 * order of deadlines, as every call gets the same time; the timer stands at or before the first
 * one.
 */
#include "policy/dispatch_int.h"

#include <stdio.h>

#include "barid/verdict.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/timer.h"

/* One writer (the loop's thread), any reader: no locked instruction is needed. */
static inline void count_up(atomic_uint_fast64_t *c)
{
    atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static bool is_about_report(enum barid_event_id event)
{
    return event == BARID_EVENT_FAILURE || event == BARID_EVENT_DELAY;
}

void policy_failed_verdict(enum barid_event_id event, barid_verdict *verdict_r)
{
    if (is_about_report(event)) {
        *verdict_r = (barid_verdict){0}; /* a sender who hears nothing is worse off */
        return;
    }
    *verdict_r = (barid_verdict){
        .kind = BARID_TEMPFAIL,
        .code = event == BARID_EVENT_CONNECT ? 421 : 451,
        .enhanced = BARID_S("4.3.0"),
        .text = BARID_S("Local policy error, try again later"),
    };
}

/* --- the list of those that wait ------------------------------------------------------------
 */

static void waiting_add(struct policy *p, struct policy_call *call)
{
    call->next = NULL;
    call->prev = p->last;
    if (p->last != NULL)
        p->last->next = call;
    else
        p->first = call;
    p->last = call;
    if (p->timer == NULL)
        return;
    call->deadline_ms = loop_now_ms(p->loop) + p->hook_ms;
    if (p->first == call)
        timer_set(p->timer, call->deadline_ms);
}

static void waiting_remove(struct policy *p, struct policy_call *call)
{
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        p->first = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    else
        p->last = call->prev;
    call->prev = call->next = NULL;
    if (p->timer != NULL)
        timer_set(p->timer, p->first != NULL ? p->first->deadline_ms : UINT64_MAX);
}

/* --- merging --------------------------------------------------------------------------------
 */

static const struct policy_handler *handler_of(const struct policy *p,
                                               const struct policy_call *call)
{
    return &p->event[call->event].v[call->at];
}

static void log_failure(const struct policy *p, const struct policy_call *call,
                        const char *what, barid_slice error)
{
    const struct policy_handler *h = handler_of(p, call);
    const struct session_facts *facts = call->session != NULL ? call->session->facts : NULL;

    log_record(p->log, LOG_LEVEL_ERROR, "policy", what,
               LOG_CSTR("event", barid_event_info_get(call->event)->name),
               LOG_CSTR("hook", h->name), LOG_CSTR("where", h->where), LOG_STR("error", error),
               LOG_CSTR("session", facts != NULL ? facts->id : ""));
}

/* --- what delivery asks: out fields, and how it was before ----------------------------------
 */

static bool is_delivered(const struct policy_call *call)
{
    return call->event == BARID_EVENT_ATTEMPT &&
           call->attempt->result->status == DELIVERY_DONE;
}

static void clear_out(struct policy_call *call)
{
    if (call->event == BARID_EVENT_ATTEMPT) {
        call->attempt->again_us = 0;
        call->attempt->again_limited = false;
    }
}

static void keep_before(struct policy_call *call)
{
    clear_out(call);
    if (is_about_report(call->event)) {
        call->report->report_before = *call->report->report;
        call->report->to_before = call->report->to;
    }
}

static void put_back(struct policy_call *call)
{
    clear_out(call);
    if (is_about_report(call->event)) {
        *call->report->report = call->report->report_before;
        call->report->to = call->report->to_before;
    }
}

/* --- checking -------------------------------------------------------------------------------
 */

static void fail(struct policy *p, struct policy_call *call, const char *what,
                 barid_slice error)
{
    count_up(&p->count[call->event].errors);
    log_failure(p, call, what, error);
    put_back(call);
    if (is_delivered(call))
        call->verdict = (barid_verdict){0};
    else
        policy_failed_verdict(call->event, &call->verdict);
}

/* The others are accepted to the client, but not by a reply of their own. */
static bool has_reply(enum barid_verdict_kind kind)
{
    return kind == BARID_ACCEPT || kind == BARID_REJECT || kind == BARID_TEMPFAIL ||
           kind == BARID_DISCONNECT;
}

/* NULL = fine, else why not: what the session would not take is the error of the handler that
 * said it, not of whoever passes it on. */
static const char *verdict_wrong(const struct policy_call *call)
{
    const barid_verdict *v = &call->verdict;

    if (v->kind == BARID_CONTINUE)
        return NULL;
    if (v->kind >= BARID_VERDICT_KINDS)
        return "no such verdict";
    if (!(barid_event_info_get(call->event)->verdicts & BARID_CAN_BIT(v->kind)))
        return "this event does not allow that verdict";
    if (is_delivered(call) && v->kind != BARID_ACCEPT)
        return "the mail is delivered, which nothing takes back";
    if (v->code != 0 && !has_reply(v->kind))
        return "the verdict has no reply of its own, so no code";
    if (!barid_verdict_fits(call->event, v))
        return "the reply code or enhanced code does not fit the verdict";
    return NULL;
}

/* False = the handler failed: the event ends. */
static bool check(struct policy *p, struct policy_call *call)
{
    const char *wrong;
    char text[160];

    if (call->failed) {
        fail(p, call, "hook failed", call->error);
        return false;
    }
    wrong = verdict_wrong(call);
    if (wrong == NULL)
        return true;
    snprintf(text, sizeof(text), "%s (%s)", wrong, barid_verdict_name(call->verdict.kind));
    fail(p, call, "hook gave a wrong answer", slice_str(text));
    return false;
}

static void explain(const struct policy *p, const struct policy_call *call)
{
    const struct policy_handler *h = handler_of(p, call);
    const struct clock *clock = p->loop != NULL ? loop_clock(p->loop) : &clock_system;

    if (call->mail == NULL)
        return;
    explain_add(&call->mail->explain,
                &(struct explain_entry){
                    .event = call->event,
                    .verdict = call->verdict.kind,
                    .rcpt_index = call->rcpt != NULL ? (uint32_t)call->rcpt->index : UINT32_MAX,
                    .at_us = clock_wall_us(clock),
                    .code = call->verdict.code,
                    .handler = slice_str(h->name),
                    .where = call->where.n > 0 ? call->where : slice_str(h->where),
                    .text = call->failed ? call->error : call->verdict.text,
                });
}

/* What handler `at` said. True when the event is decided. */
static bool merge(struct policy *p, struct policy_call *call)
{
    bool fine = check(p, call);

    call->hidden |= call->verdict.hide_extensions;
    if (fine && call->verdict.kind == BARID_CONTINUE)
        return false;
    explain(p, call);
    return true;
}

static enum policy_outcome answered(struct policy *p, struct policy_call *call)
{
    if (barid_event_info_get(call->event)->kind == BARID_KIND_OBSERVE)
        call->verdict = (barid_verdict){
            0}; /* it cannot change anything: a failure was logged and counted */
    call->verdict.hide_extensions = call->hidden;
    count_up(&p->count[call->event].verdicts[call->verdict.kind]);
    return POLICY_ANSWERED;
}

/* Ask from handler `at` on. */
static enum policy_outcome run_from(struct policy *p, struct policy_call *call)
{
    const struct policy_event *e = &p->event[call->event];

    for (; call->at < e->n; call->at++) {
        const struct policy_handler *h = &e->v[call->at];
        call->verdict = (barid_verdict){0};
        call->failed = false;
        call->error = call->where = (barid_slice){0};
        if (h->run(h->user, call) == POLICY_WAITING) {
            count_up(&p->count[call->event].waited);
            waiting_add(p, call);
            return POLICY_WAITING;
        }
        if (merge(p, call))
            return answered(p, call);
    }
    call->verdict = (barid_verdict){0};
    return answered(p, call);
}

enum policy_outcome policy_ask(struct policy *p, struct policy_call *call)
{
    count_up(&p->count[call->event].asked);
    call->at = 0;
    call->hidden = 0;
    keep_before(call);
    return run_from(p, call);
}

/* The handler's answer is in: the rest of the event, then whoever asked. */
static void go_on(struct policy *p, struct policy_call *call)
{
    enum policy_outcome outcome;

    policy_ref(p); /* done may drop the session's */
    if (merge(p, call)) {
        outcome = answered(p, call);
    } else {
        call->at++;
        outcome = run_from(p, call);
    }
    if (outcome == POLICY_ANSWERED)
        call->done(call);
    policy_unref(&p);
}

void policy_resume(struct policy *p, struct policy_call *call)
{
    waiting_remove(p, call);
    go_on(p, call);
}

static void handler_cancel(struct policy *p, struct policy_call *call)
{
    const struct policy_handler *h = handler_of(p, call);

    waiting_remove(p, call);
    if (h->cancel != NULL)
        h->cancel(h->user, call);
}

void policy_cancel(struct policy *p, struct policy_call *call)
{
    handler_cancel(p, call);
}

static void on_deadline(void *user)
{
    struct policy *p = user;
    uint64_t now = loop_now_ms(p->loop);

    policy_ref(p);
    while (p->first != NULL && p->first->deadline_ms <= now) {
        struct policy_call *call = p->first;
        count_up(&p->count[call->event].timeouts);
        handler_cancel(p, call);
        call->verdict = (barid_verdict){0};
        call->failed = true;
        call->error = BARID_S("no answer within limits.hook_ms");
        go_on(p, call);
    }
    if (p->first != NULL)
        timer_set(p->timer, p->first->deadline_ms);
    policy_unref(&p);
}

/* --- making one -----------------------------------------------------------------------------
 */

int policy_new_mem(struct policy **p_r, struct loop *loop, const struct log *log,
                   uint32_t hook_ms, uint64_t version, const barid_mem *mem)
{
    struct policy *p = mem_zalloc(mem, sizeof(*p));

    *p_r = NULL;
    if (p == NULL)
        return BARID_ENOMEM;
    p->refs = 1;
    p->mem = mem;
    p->loop = loop;
    p->log = log;
    p->hook_ms = hook_ms;
    p->version = version;
    arena_init(&p->strings, mem, 0);
    if (loop != NULL && (p->timer = timer_new(loop, on_deadline, p)) == NULL) {
        policy_unref(&p);
        return BARID_ENOMEM;
    }
    *p_r = p;
    return 0;
}

int policy_new(struct policy **p_r, struct loop *loop, const struct log *log, uint32_t hook_ms,
               uint64_t version)
{
    return policy_new_mem(p_r, loop, log, hook_ms, version, NULL);
}

static int make_room(struct policy *p, struct policy_event *e)
{
    size_t cap = e->cap == 0 ? 4 : e->cap * 2;
    struct policy_handler *v;

    if (e->n >= POLICY_HANDLERS_MAX)
        return BARID_ELIMIT;
    if (e->n < e->cap)
        return 0;
    v = mem_realloc(p->mem, e->v, cap * sizeof(*v));
    if (v == NULL)
        return BARID_ENOMEM;
    e->v = v;
    e->cap = cap;
    return 0;
}

int policy_add(struct policy *p, const struct policy_handler *handler)
{
    enum barid_event_id id = handler->event;
    struct policy_handler copy = *handler;
    struct policy_event *e;
    size_t i;
    int rc;

    if (id <= BARID_EVENT_NONE || id >= BARID_EVENTS ||
        barid_event_info_get(id)->kind == BARID_KIND_HOST)
        return BARID_EINVALID;
    e = &p->event[id];
    if ((rc = make_room(p, e)) < 0)
        return rc;
    copy.name = arena_strdup(&p->strings, slice_str(handler->name));
    copy.where = arena_strdup(&p->strings, slice_str(handler->where));
    if (copy.name == NULL || copy.where == NULL)
        return BARID_ENOMEM;
    for (i = e->n; i > 0 && e->v[i - 1].priority > copy.priority; i--)
        e->v[i] = e->v[i - 1];
    e->v[i] = copy;
    e->n++;
    p->events |= BARID_EVENT_BIT(id);
    return 0;
}

uint64_t policy_events(const struct policy *p)
{
    return p->events;
}

uint64_t policy_version(const struct policy *p)
{
    return p->version;
}

struct policy *policy_ref(struct policy *p)
{
    p->refs++;
    return p;
}

void policy_unref(struct policy **p)
{
    struct policy *gone = *p;

    *p = NULL;
    if (gone == NULL || --gone->refs > 0)
        return;
    if (gone->script.del != NULL)
        gone->script.del(gone->script.user);
    timer_del(&gone->timer);
    for (size_t i = 0; i < BARID_EVENTS; i++)
        mem_free(gone->mem, gone->event[i].v);
    arena_deinit(&gone->strings);
    void (*released)(void *) = gone->released;
    void *user = gone->released_user;
    mem_free(gone->mem, gone);
    if (released != NULL)
        released(user); /* last: what the policy stood on may go now */
}

void policy_on_release(struct policy *p, void (*released)(void *user), void *user)
{
    p->released = released;
    p->released_user = user;
}

/* --- sessions -------------------------------------------------------------------------------
 */

struct policy_session *policy_session_new(struct policy *p, struct session_facts *facts)
{
    struct policy_session *s = mem_zalloc(p->mem, sizeof(*s));

    if (s == NULL)
        return NULL;
    s->policy = policy_ref(p);
    s->facts = facts;
    return s;
}

void policy_session_clear(struct policy *p, struct policy_session *s)
{
    if (p->script.session_del != NULL)
        p->script.session_del(p->script.user, s);
    if (s->vars != NULL)
        arena_deinit(&s->vars->arena);
    mem_free(p->mem, s->vars);
    mem_free(p->mem, s->rcpts);
    mem_wipe(s->text, s->text_cap); /* it may have held a secret */
    mem_free(p->mem, s->text);
}

void policy_session_del(struct policy_session **s)
{
    struct policy_session *gone = *s;
    struct policy *p;

    *s = NULL;
    if (gone == NULL)
        return;
    p = gone->policy;
    policy_session_clear(p, gone);
    mem_free(p->mem, gone);
    policy_unref(&p);
}

void policy_mail_over(struct policy_session *s, struct mail *m)
{
    const struct policy_script *script = &s->policy->script;

    if (script->mail_over != NULL)
        script->mail_over(script->user, s, m);
}

/* --- statistics -----------------------------------------------------------------------------
 */

static uint64_t read_count(const atomic_uint_fast64_t *c)
{
    return atomic_load_explicit(c, memory_order_relaxed);
}

void policy_stats(const struct policy *p, struct policy_stats *stats_r)
{
    for (size_t i = 0; i < BARID_EVENTS; i++) {
        const struct policy_counters *c = &p->count[i];
        stats_r->event[i].asked = read_count(&c->asked);
        stats_r->event[i].errors = read_count(&c->errors);
        stats_r->event[i].timeouts = read_count(&c->timeouts);
        stats_r->event[i].waited = read_count(&c->waited);
        for (size_t k = 0; k < BARID_VERDICT_KINDS; k++)
            stats_r->event[i].verdicts[k] = read_count(&c->verdicts[k]);
    }
}
