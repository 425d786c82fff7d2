/* queue/notice.c: see notice.h. */
#include "queue/notice.h"

#include "base/mem.h"
#include "base/slice.h"
#include "queue/route.h"

/* What policy writes into one report: texts, no bodies. */
#define NOTICE_ARENA_MAX (1u << 20)

struct notice *notice_new(struct settling *s, enum report_action action)
{
    const barid_mem *mem = s->work->queue->o.mem;
    struct notice *n = mem_zalloc(mem, sizeof(*n));

    if (n == NULL)
        return NULL;
    n->settling = s;
    n->action = action;
    arena_init(&n->arena, mem, NOTICE_ARENA_MAX);
    n->index = mem_array(mem, s->n, sizeof(*n->index));
    n->is_wanted = mem_array(mem, s->n, sizeof(*n->is_wanted));
    if (n->index != NULL && n->is_wanted != NULL)
        return n;
    notice_del(n);
    return NULL;
}

void notice_del(struct notice *n)
{
    const barid_mem *mem = n->settling->work->queue->o.mem;

    arena_deinit(&n->arena);
    mem_free(mem, n->index);
    mem_free(mem, n->is_wanted);
    mem_free(mem, n->rcpts);
    mem_free(mem, n);
}

bool notice_is_asked_for(const struct work *w, const struct outcome *o, enum report_action action)
{
    const struct unit *u = &w->units[o->unit];

    for (size_t i = 0; i < u->n_rcpts; i++)
        if (report_is_wanted(&w->mail, w->mail.rcpts[u->rcpts[i]], action))
            return true;
    return false;
}

/* A delay is told once, unless policy says otherwise. */
static bool is_wanted(const struct notice *n, const struct outcome *o)
{
    const struct work *w = n->settling->work;

    if (n->action == REPORT_DELAYED && o->state.attempts != outcome_retry(w).notice)
        return false;
    return notice_is_asked_for(w, o, n->action);
}

void notice_add(struct notice *n, size_t outcome)
{
    n->is_wanted[n->n] = is_wanted(n, &n->settling->v[outcome]);
    n->index[n->n++] = outcome;
}

static enum barid_event_id event_of(const struct notice *n)
{
    return n->action == REPORT_FAILED    ? BARID_EVENT_FAILURE
           : n->action == REPORT_DELAYED ? BARID_EVENT_DELAY
                                         : BARID_EVENTS;
}

static bool any_wanted(const struct notice *n)
{
    for (size_t i = 0; i < n->n; i++)
        if (n->is_wanted[i])
            return true;
    return false;
}

bool notice_is_needed(const struct notice *n)
{
    enum barid_event_id event = event_of(n);

    return n->n > 0 && (any_wanted(n) || (event != BARID_EVENTS && ask_is_heard(n->settling->work, event)));
}

/* --- what it says --- */

static void describe_rcpt(struct notice *n, const struct outcome *o, struct rcpt *rcpt)
{
    n->rcpts[n->report.n_rcpts++] =
        (struct report_rcpt){.rcpt = rcpt,
                             .reply = slice_str(o->r.reply),
                             .remote = slice_str(o->remote),
                             .attempted_us = o->not_tried ? 0 : n->settling->work->now_us,
                             .retry_until_us = n->action == REPORT_DELAYED ? n->asked.next_us : 0};
}

/* Those that want to be told of; where nobody does, all: policy may send it all the same. A file may serve many. */
static void describe_rcpts(struct notice *n)
{
    const struct work *w = n->settling->work;
    bool any = any_wanted(n);

    for (size_t i = 0; i < n->n; i++) {
        const struct outcome *o = &n->settling->v[n->index[i]];
        const struct unit *u = &w->units[o->unit];

        for (size_t k = 0; k < u->n_rcpts && (!any || n->is_wanted[i]); k++) {
            struct rcpt *rcpt = w->mail.rcpts[u->rcpts[k]];

            if (!any || report_is_wanted(&w->mail, rcpt, n->action))
                describe_rcpt(n, o, rcpt);
        }
    }
}

static void describe(struct notice *n)
{
    const struct work *w = n->settling->work;
    const struct outcome *o = &n->settling->v[n->index[0]];
    struct queue_retry retry = outcome_retry(w);

    n->asked = (struct policy_report){.report = &n->report,
                                      .to = w->mail.sender.address,
                                      .wanted = any_wanted(n),
                                      .attempts = o->state.attempts,
                                      .arena = &n->arena};
    if (n->action == REPORT_DELAYED) {
        n->asked.next_us = o->state.due_us;
        n->asked.tries_left = retry.tries > o->state.attempts ? retry.tries - o->state.attempts : 0;
    }
    n->report = (struct report){.mail = &w->mail,
                                .action = n->action,
                                .rcpts = n->rcpts,
                                .hostname = slice_str(n->hostname),
                                .now_us = queue_now_us(w->queue),
                                .random = rng_u64(w->queue->o.rng)};
    describe_rcpts(n);
}

/* --- the way --- */

static void over(struct notice *n, enum notice_end end)
{
    n->end = end;
    n->done(n);
}

static void tell(const struct notice *n)
{
    static const char *const names[] = {[REPORT_FAILED] = "failure",
                                        [REPORT_DELAYED] = "delay",
                                        [REPORT_DELIVERED] = "delivered",
                                        [REPORT_RELAYED] = "relayed"};
    struct queue *q = n->settling->work->queue;
    char id[MAIL_ID_TEXT_SIZE], report[MAIL_ID_TEXT_SIZE];

    mail_id_text(n->settling->work->claim.id, id);
    mail_id_text(n->id, report);
    atomic_fetch_add_explicit(&q->reported, 1, memory_order_relaxed);
    log_record(q->o.log, LOG_LEVEL_INFO, "queue", "reported", LOG_CSTR("id", id), LOG_CSTR("report", report),
               LOG_CSTR("action", names[n->action]), LOG_STR("to", n->asked.to));
    history_note(q->o.history, &(struct history_entry){.kind = HISTORY_REPORTED,
                                                       .id = n->settling->work->claim.id,
                                                       .other = n->id,
                                                       .time_us = n->report.now_us,
                                                       .rcpts = n->asked.to,
                                                       .where = n->ask.call.where,
                                                       .text = slice_str(names[n->action])});
    history_note(q->o.history, &(struct history_entry){.kind = HISTORY_SPOOLED,
                                                       .id = n->id,
                                                       .other = n->settling->work->claim.id,
                                                       .time_us = n->report.now_us,
                                                       .rcpts = n->asked.to});
}

static void not_stored(struct notice *n, int rc)
{
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(n->settling->work->claim.id, id);
    log_record(n->settling->work->queue->o.log, LOG_LEVEL_ERROR, "queue",
               n->action == REPORT_FAILED ? "a report cannot be stored, it is tried again later"
                                          : "a report cannot be stored: the sender does not hear of it",
               LOG_CSTR("id", id),
               LOG_CSTR("error", barid_strerror(rc)));
    over(n, NOTICE_LATER);
}

/* The job has ended and the store has answered, in whatever order. */
static void conclude(struct notice *n)
{
    int rc;

    if (--n->left > 0)
        return; /* the other one may be writing what it has to say */
    rc = n->store_rc != 0 ? n->store_rc : n->commit_rc;
    if (rc != 0) {
        not_stored(n, rc);
        return;
    }
    tell(n);
    over(n, NOTICE_SENT);
}

static void on_committed(struct loop_task *task)
{
    conclude((struct notice *)((char *)task - offsetof(struct notice, committed)));
}

static void run(struct pool_job *job)
{
    struct notice *n = (struct notice *)((char *)job - offsetof(struct notice, job));

    n->store_rc = notice_store(n);
}

static void on_run(struct pool_job *job)
{
    struct notice *n = (struct notice *)((char *)job - offsetof(struct notice, job));

    if (n->store_rc != 0)
        n->left = 1; /* no commit follows */
    conclude(n);
}

/* On the loop: routing and what is local change with a reload. */
static void address(struct notice *n)
{
    struct queue *q = n->settling->work->queue;
    size_t at = n->asked.to.n;

    while (at > 0 && n->asked.to.p[at - 1] != '@')
        at--;
    n->is_local = at == 0 || (q->o.is_local != NULL && q->o.is_local(q->o.site, slice_from(n->asked.to, at)));
    if (!n->is_local)
        n->group = route_group(q, &n->arena, slice_from(n->asked.to, at));
}

static void store(struct notice *n)
{
    struct queue *q = n->settling->work->queue;
    int rc;

    if (n->report.n_rcpts == 0) {
        over(n, NOTICE_SILENT);
        return;
    }
    address(n);
    n->left = 2;
    n->job.run = run;
    n->job.done = on_run;
    n->committed.run = on_committed;
    rc = pool_start(q->o.pool, q->o.loop, &n->job);
    if (rc != 0)
        not_stored(n, rc);
}

static void on_answer(struct ask *a)
{
    struct notice *n = (struct notice *)((char *)a - offsetof(struct notice, ask));

    if (atomic_load(&n->settling->work->queue->stopping)) { /* nobody has answered */
        over(n, NOTICE_LATER);
        return;
    }
    switch (a->call.verdict.kind) {
    case BARID_HOLD:
        over(n, NOTICE_HELD);
        break;
    case BARID_DISCARD:
        over(n, NOTICE_SILENT);
        break;
    case BARID_ACCEPT:
        store(n);
        break;
    default: /* no opinion, or a hook that failed */
        if (n->asked.wanted)
            store(n);
        else
            over(n, NOTICE_SILENT);
    }
}

void notice_start(struct notice *n, void (*done)(struct notice *n))
{
    const struct work *w = n->settling->work;

    n->done = done;
    n->hostname = arena_strdup(&n->arena, slice_str(w->queue->o.hostname)); /* a reload may come before it is written */
    n->rcpts = mem_array(w->queue->o.mem, settling_rcpts(n->settling), sizeof(*n->rcpts));
    if (n->hostname == NULL || n->rcpts == NULL) {
        not_stored(n, BARID_ENOMEM);
        return;
    }
    describe(n);
    n->ask.call.event = event_of(n);
    n->ask.call.report = &n->asked;
    n->ask.answered = on_answer;
    if (n->ask.call.event == BARID_EVENTS) { /* success: nothing to decide (RFC 3461) */
        store(n);
        return;
    }
    ask_start(&n->ask, n->settling->work);
}
