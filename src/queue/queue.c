/*
 * queue/queue.c: the scheduler. Claims what is due, keeps a bounded number of works on the
 * pool, sleeps until the spool says that something is due or has changed.
 *
 * It keeps nothing per queued message: the spool's index is the queue. It must not know how
 * anything is delivered, nor read a record (work.c does).
 *
 * A round (queue_round) runs on the loop after: the start, a change in the spool (any thread
 * posts it; many changes make one round), a finished work, the timer. Invariants at its end,
 * unless stopping or closed: (1) running == max_running, or nothing is due, or it is paused for
 * QUEUE_PAUSE_MS (no memory, pool full); (2) with room left, the timer stands at the earliest
 * due time that the spool has announced, or at the end of the pause; the spool calls when
 * something earlier comes up. So there is no polling, and nothing turns in a circle: a lease
 * that is given back for lack of memory is followed by a pause.
 */
#include "queue/question.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"
#include "interface/policy.h"

#define CLAIM_BATCH                                                                            \
    32 /* claims in one call of the spool: its lock is taken once for that many */
#define TIMER_MAX_MS 3600000 /* the wall clock may be set while we sleep: look again then */

static void start_or_release(struct work *w);

/* --- waking ----------------------------------------------------------------------------------
 */

static void wake(struct queue *q)
{
    if (!atomic_exchange(&q->woken, true))
        loop_post(q->o.loop, &q->wake);
}

static void on_spool_changed(void *user) /* any thread */
{
    wake(user);
}

static void on_timer(void *user)
{
    wake(user);
}

int64_t queue_now_us(struct queue *q)
{
    const struct clock *clock = loop_clock(q->o.loop);
    int64_t mono_us = (int64_t)clock_mono_ms(clock) * 1000;
    int64_t ahead = clock_wall_us(clock) - mono_us, most = atomic_load(&q->ahead_us);

    while (ahead > most && !atomic_compare_exchange_weak(&q->ahead_us, &most, ahead))
        continue;
    return mono_us + (ahead > most ? ahead : most);
}

static void pause_claims(struct queue *q)
{
    q->paused_until_ms = loop_now_ms(q->o.loop) + QUEUE_PAUSE_MS;
    timer_set(q->timer, q->paused_until_ms);
}

/* --- works -----------------------------------------------------------------------------------
 */

static void finish(struct work *w)
{
    struct queue *q = w->queue;

    q->running--;
    atomic_store_explicit(&q->running_now, q->running, memory_order_relaxed);
    work_del(w);
    wake(q);
}

static void release(struct work *w)
{
    struct spool *s = w->queue->o.spool;

    if (w->at < w->claim.n_units)
        s->ops->release(s, w->claim.id, w->claim.lease);
    finish(w);
}

static void on_update_failed(struct work *w, int err)
{
    struct queue *q = w->queue;
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(w->claim.id, id);
    log_record(q->o.log, LOG_LEVEL_ERROR, "queue",
               "a delivery cannot be recorded, it will be made again after a restart",
               LOG_CSTR("id", id), LOG_CSTR("error", barid_strerror(err)));
    if (err == BARID_EIO)
        q->closed = true;
    /* The lease is kept: giving it back would deliver again at once, and again. */
    finish(w);
}

/* Results into the spool; then the next slice, or the end. */
static void record(struct work *w)
{
    int rc = work_record(w);

    if (rc == BARID_ENOMEM) {
        list_append(&w->queue->unrecorded, &w->node);
        pause_claims(w->queue);
        return;
    }
    if (rc != 0) {
        on_update_failed(w, rc);
        return;
    }
    w->at += w->n;
    w->n = 0;
    work_unload(w);
    if (w->end == WORK_RELEASE || w->at == w->claim.n_units)
        release(w);
    else
        start_or_release(w);
}

static void on_work_done(struct pool_job *job)
{
    struct work *w = (struct work *)((char *)job - offsetof(struct work, job));

    if (w->end == WORK_ASK && !atomic_load(&w->queue->stopping))
        question_start(w);
    else
        record(w);
}

void work_asked(struct work *w)
{
    list_remove(&w->node);
    if (w->n > 0)
        record(w);
    else
        start_or_release(w);
}

/* A hook that still waits when the queue stops: its units go back. */
static void cancel_questions(struct queue *q)
{
    while (!list_empty(&q->asking)) {
        struct work *w = LIST_ENTRY(q->asking.next, struct work, node);

        list_remove(&w->node);
        question_cancel(w);
        release(w);
    }
}

static void start_or_release(struct work *w)
{
    struct queue *q = w->queue;

    w->now_us = clock_wall_us(loop_clock(q->o.loop));
    w->job.done = on_work_done;
    if (pool_start(q->o.pool, q->o.loop, &w->job) != 0) {
        pause_claims(q);
        release(w);
    }
}

static void take(struct queue *q, struct spool_claim *claim)
{
    struct work *w = work_new(q, claim);

    if (w == NULL) {
        q->o.spool->ops->release(q->o.spool, claim->id, claim->lease);
        free(claim->units);
        pause_claims(q);
        return;
    }
    q->running++;
    atomic_store_explicit(&q->running_now, q->running, memory_order_relaxed);
    start_or_release(w);
}

/* --- the round -------------------------------------------------------------------------------
 */

static bool is_paused(struct queue *q)
{
    if (q->paused_until_ms != 0 && loop_now_ms(q->o.loop) < q->paused_until_ms)
        return true;
    q->paused_until_ms = 0;
    return false;
}

static void record_late(struct queue *q)
{
    struct list late;

    list_init(&late);
    while (!list_empty(&q->unrecorded)) {
        struct list *node = q->unrecorded.next;

        list_remove(node);
        list_append(&late, node);
    }
    while (!list_empty(&late)) {
        struct work *w = LIST_ENTRY(late.next, struct work, node);

        list_remove(&w->node);
        record(w);
    }
}

static void on_claim_failed(struct queue *q, int err)
{
    if (err != BARID_EIO) {
        pause_claims(q);
        return;
    }
    q->closed = true;
    log_record(q->o.log, LOG_LEVEL_ERROR, "queue",
               "the spool is closed: nothing is delivered until a restart",
               LOG_CSTR("error", barid_strerror(err)));
}

static void claim_due(struct queue *q)
{
    struct spool_claim claims[CLAIM_BATCH];
    struct spool *s = q->o.spool;

    while (!q->closed && q->paused_until_ms == 0 && q->running < q->o.max_running) {
        size_t room = q->o.max_running - q->running, n = 0;
        int64_t now_us = queue_now_us(q);
        int rc = s->ops->claim(s, now_us, room < CLAIM_BATCH ? room : CLAIM_BATCH, claims, &n);

        if (rc != 0)
            on_claim_failed(q, rc);
        for (size_t i = 0; i < n; i++)
            take(q, &claims[i]);
        if (n == 0)
            return;
    }
}

static void arm(struct queue *q)
{
    uint64_t now_ms = loop_now_ms(q->o.loop), wait_ms = TIMER_MAX_MS;
    int64_t due_us, now_us;

    if (q->paused_until_ms != 0) {
        timer_set(q->timer, q->paused_until_ms);
        return;
    }
    due_us = q->o.spool->ops->next_due(q->o.spool);
    if (q->closed || due_us == INT64_MAX) {
        timer_set(q->timer, UINT64_MAX);
        return;
    }
    now_us = queue_now_us(q);
    if (due_us <= now_us)
        wait_ms = 0;
    else if ((uint64_t)(due_us - now_us) < TIMER_MAX_MS * 1000ULL)
        wait_ms = (uint64_t)(due_us - now_us + 999) / 1000;
    timer_set(q->timer, now_ms + wait_ms);
}

static void stop_if_idle(struct queue *q)
{
    if (q->running > 0 || q->stopped ||
        atomic_load(&q->woken)) /* a posted round still needs q */
        return;
    q->stopped = true;
    timer_set(q->timer, UINT64_MAX);
    q->done(q->done_user); /* may delete q */
}

static void queue_round(struct loop_task *task)
{
    struct queue *q = (struct queue *)((char *)task - offsetof(struct queue, wake));

    atomic_store(&q->woken, false);
    if (!is_paused(q) || atomic_load(&q->stopping))
        record_late(q);
    if (atomic_load(&q->stopping)) {
        cancel_questions(q);
        stop_if_idle(q);
        return;
    }
    if (!is_paused(q))
        claim_due(q);
    if (q->running < q->o.max_running)
        arm(q);
}

/* --- life ------------------------------------------------------------------------------------
 */

int queue_new(struct queue **q_r, const struct queue_options *o, struct err *err)
{
    struct queue *q = mem_zalloc(o->mem, sizeof(*q));

    if (q == NULL)
        return err_set(err, BARID_ENOMEM, "queue: out of memory");
    q->o = *o;
    if (q->o.max_running == 0)
        q->o.max_running = QUEUE_RUNNING_DEFAULT;
    atomic_init(&q->ahead_us, INT64_MIN);
    q->started_us = clock_wall_us(loop_clock(o->loop));
    q->wake.run = queue_round;
    list_init(&q->unrecorded);
    list_init(&q->asking);
    q->asks = o->policy != NULL;
    q->timer = timer_new(o->loop, on_timer, q);
    if (q->timer == NULL) {
        mem_free(o->mem, q);
        return err_set(err, BARID_ENOMEM, "queue: out of memory");
    }
    if (q->asks)
        policy_ref(q->o.policy);
    queue_bring_back(q);
    o->spool->ops->watch(o->spool, on_spool_changed, q);
    wake(q);
    *q_r = q;
    return 0;
}

void queue_set_retry(struct queue *q, const struct queue_retry *retry)
{
    q->o.retry = *retry;
}

void queue_set_policy(struct queue *q, struct policy *policy)
{
    struct policy *old = q->o.policy;

    if (!q->asks)
        return;
    q->o.policy = policy_ref(policy);
    policy_unref(&old);
}

void queue_stop(struct queue *q, void (*done)(void *user), void *user)
{
    q->done = done;
    q->done_user = user;
    /* Waits for a watcher that runs now: after it only this thread wakes the queue. */
    q->o.spool->ops->watch(q->o.spool, NULL, NULL);
    atomic_store(&q->stopping, true);
    wake(q);
}

void queue_del(struct queue **q)
{
    struct queue *old = *q;

    if (old == NULL)
        return;
    *q = NULL;
    timer_del(&old->timer);
    policy_unref(&old->o.policy);
    mem_free(old->o.mem, old);
}

void queue_stats(const struct queue *q, struct queue_stats *stats_r)
{
    *stats_r = (struct queue_stats){
        .delivered = atomic_load_explicit(&q->delivered, memory_order_relaxed),
        .deferred = atomic_load_explicit(&q->deferred, memory_order_relaxed),
        .held = atomic_load_explicit(&q->held, memory_order_relaxed),
        .running = atomic_load_explicit(&q->running_now, memory_order_relaxed),
    };
}
