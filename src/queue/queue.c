/*
 * queue/queue.c: the scheduler. Claims what is due, keeps a bounded number of works under way, sleeps until the spool says that something
 * is due or has changed.
 *
 * It keeps nothing per queued message but, while its lane is busy, its id (lane.h): the spool's index is the queue. It must not know how
 * anything is delivered, nor read a record (load.c does).
 *
 * A round (queue_round) runs on the loop after: the start, a change in the spool (any thread
 * posts it; many changes make one round), a finished work, the timer. What is due is claimed where its lane is open, else put aside in the
 * lane, whatever its number: one next hop never stands in the way of another. Lanes that are open again have their turn one after the
 * other, one message each. Invariants at the end of a round, unless stopping or closed: (1) running == max_works, or no lane that is open
 * has ids and nothing is due, or it is paused for QUEUE_PAUSE_MS (no memory, pool full); (2) the timer stands at the earliest
 * due time that the spool has announced, or at the end of the pause; the spool calls when
 * something earlier comes up. So there is no polling, and nothing turns in a circle: a lease
 * that is given back for lack of memory is followed by a pause.
 */
#include "queue/queue_int.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"
#include "interface/policy.h"
#include "queue/ask.h"
#include "queue/suspect.h"
#include "queue/work.h"

#define CLAIM_BATCH 64 /* in one call of the spool: its lock is taken once for that many */
#define CLAIM_MAX 1024 /* likewise, with what is put aside */
#define ROUND_CALLS 8 /* of the spool in one round: the loop has other business, too */
#define TIMER_MAX_MS 3600000 /* the wall clock may be set while we sleep: look again then */

/* --- waking ----------------------------------------------------------------------------------
 */

void queue_wake(struct queue *q)
{
    if (!atomic_exchange(&q->woken, true))
        loop_post(q->o.loop, &q->wake);
}

static void on_spool_changed(void *user) /* any thread */
{
    queue_wake(user);
}

static void on_timer(void *user)
{
    queue_wake(user);
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

void queue_pause(struct queue *q)
{
    q->paused_until_ms = loop_now_ms(q->o.loop) + QUEUE_PAUSE_MS;
    timer_set(q->timer, q->paused_until_ms);
}

struct transport *queue_transport(const struct queue *q, enum disposition_kind kind)
{
    for (size_t i = 0; i < q->o.n_transports; i++) {
        if (q->o.transports[i] != NULL && q->o.transports[i]->kind == kind)
            return q->o.transports[i];
    }
    return NULL;
}

/* --- what waits for a next hop that was down --- */

struct hasten {
    struct pool_job job;
    struct queue *queue;
    uint32_t group;
    size_t n; /* messages that are due now */
};

static void run_hasten(struct pool_job *job)
{
    struct hasten *h = (struct hasten *)((char *)job - offsetof(struct hasten, job));
    struct spool *s = h->queue->o.spool;

    if (s->ops->hasten(s, h->group, &h->n) != 0)
        h->n = 0; /* the others come by their own schedule */
}

static void on_hastened(struct pool_job *job)
{
    struct hasten *h = (struct hasten *)((char *)job - offsetof(struct hasten, job));
    struct queue *q = h->queue;

    if (h->n > 0)
        log_record(q->o.log, LOG_LEVEL_INFO, "queue", "a next hop is back: its other mail is due", LOG_INT("messages", h->n));
    mem_free(q->o.mem, h);
    q->recording--;
    queue_wake(q);
}

/* Without memory or a thread the others come by their own schedule. */
void queue_hasten(struct queue *q, uint32_t group)
{
    struct hasten *h = atomic_load(&q->stopping) ? NULL : mem_zalloc(q->o.mem, sizeof(*h));

    if (h == NULL)
        return;
    h->queue = q;
    h->group = group;
    h->job.run = run_hasten;
    h->job.done = on_hastened;
    if (pool_start(q->o.pool, q->o.loop, &h->job) != 0)
        mem_free(q->o.mem, h);
    else
        q->recording++;
}

/* --- works ----------------------------------------------------------------------------------
 */

static void take(struct queue *q, struct spool_claim *claim, struct lane *lane)
{
    struct work *w = work_new(q, claim, lane);

    if (w != NULL) {
        work_start(w);
        return;
    }
    q->o.spool->ops->release(q->o.spool, claim->id, claim->lease);
    free(claim->units);
    if (lane != NULL)
        lane_leave(lane);
    queue_pause(q);
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
        struct settling *s = LIST_ENTRY(late.next, struct settling, node);

        list_remove(&s->node);
        settle_again(s);
    }
}

static bool has_room(const struct queue *q)
{
    return !q->closed && q->paused_until_ms == 0 && q->running < q->o.max_works;
}

static void on_claim_failed(struct queue *q, int err)
{
    if (err != BARID_EIO) {
        queue_pause(q);
        return;
    }
    q->closed = true;
    log_record(q->o.log, LOG_LEVEL_ERROR, "queue",
               "the spool is closed: nothing is delivered until a restart",
               LOG_CSTR("error", barid_strerror(err)));
}

/* One claim or less for each call of lanes_next: a lane that is full or empty leaves the list. */
static void run_lanes(struct queue *q)
{
    struct spool *s = q->o.spool;
    struct spool_claim claim;
    struct lane *l;
    uint64_t id;

    while (has_room(q) && (l = lanes_next(q)) != NULL) {
        int rc = s->ops->claim_one(s, lane_first(l), queue_now_us(q), &claim);

        if (rc != 0 && rc != BARID_ENOTFOUND) { /* not gone, nor put off by an operator: it waits for another turn */
            lane_turn(l);
            on_claim_failed(q, rc);
            continue;
        }
        lane_pop(l, &id);
        lane_enter(l);
        if (rc == 0)
            take(q, &claim, l);
        else
            lane_leave(l);
    }
}

/* What one call of the store has chosen: the claims come in the same order, but some may be missing. */
struct choosing {
    struct queue *queue;
    size_t room, n;
    struct { uint64_t id; struct lane *lane; } v[CLAIM_MAX];
};

/* Under the store's lock. Without memory it is claimed, and take() says that it goes back. */
static bool choose(void *user, uint64_t id, uint32_t group)
{
    struct choosing *c = user;
    struct lane *l = lane_of(c->queue, group);
    bool fits = l != NULL && c->n < c->room && l->n == 0 && lane_is_open(l);

    if (!fits && l != NULL && lane_push(l, id) == 0)
        return false;
    if (l != NULL)
        lane_enter(l);
    c->v[c->n].id = id;
    c->v[c->n++].lane = l;
    return true;
}

static bool claim_some(struct queue *q)
{
    struct spool_claim claims[CLAIM_MAX];
    struct spool *s = q->o.spool;
    struct choosing c = {.queue = q, .room = q->o.max_works - q->running};
    size_t n = 0, aside = 0, at = 0;
    int rc;

    c.room = c.room < CLAIM_BATCH ? c.room : CLAIM_BATCH;
    rc = s->ops->claim_some(s, queue_now_us(q), CLAIM_MAX, choose, &c, claims, &n, &aside);
    if (rc != 0)
        on_claim_failed(q, rc);
    for (size_t i = 0; i < c.n; i++) {
        if (at < n && claims[at].id == c.v[i].id)
            take(q, &claims[at++], c.v[i].lane);
        else if (c.v[i].lane != NULL)
            lane_leave(c.v[i].lane);
    }
    return rc == 0 && n + aside > 0;
}

static void claim_due(struct queue *q)
{
    bool more = true;

    run_lanes(q);
    for (int i = 0; i < ROUND_CALLS && more && !q->closed && q->paused_until_ms == 0; i++) {
        more = claim_some(q);
        run_lanes(q);
    }
    if (more)
        queue_wake(q);
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

/* --- the end --- */

/* What waits in lanes is back on its schedule, for whoever comes next in this process. */
static void give_back_aside(struct queue *q)
{
    struct spool *s = q->o.spool;
    struct map_iter it = {0};
    struct spool_claim claim;
    uint64_t id;

    while (map_next(&q->lanes.map, &it)) {
        while (lane_pop(it.value, &id)) {
            if (s->ops->claim_one(s, id, queue_now_us(q), &claim) != 0)
                continue;
            s->ops->release(s, id, claim.lease);
            free(claim.units);
        }
    }
}

static void stop_if_idle(struct queue *q)
{
    if (q->running > 0 || q->recording > 0 || q->stopped ||
        atomic_load(&q->woken)) /* a posted round still needs q */
        return;
    q->stopped = true;
    timer_set(q->timer, UINT64_MAX);
    give_back_aside(q);
    q->done(q->done_user); /* may delete q */
}

/* One that goes may wake others in its lanes, which go, too. */
static void stop_works(struct queue *q)
{
    bool by_force = loop_now_ms(q->o.loop) >= q->stop_by_ms, again = true;

    while (again) {
        again = false;
        LIST_EACH(it, &q->works) {
            again = work_stop(LIST_ENTRY(it, struct work, node), by_force);
            if (again)
                break;
        }
    }
}

static void stop_round(struct queue *q)
{
    if (q->stop_by_ms == 0)
        q->stop_by_ms = loop_now_ms(q->o.loop) + QUEUE_STOP_MS;
    if (loop_now_ms(q->o.loop) < q->stop_by_ms)
        timer_set(q->timer, q->stop_by_ms);
    record_late(q); /* may be paused */
    asks_stop(q);
    stop_works(q);
    stop_if_idle(q);
}

static void queue_round(struct loop_task *task)
{
    struct queue *q = (struct queue *)((char *)task - offsetof(struct queue, wake));

    atomic_store(&q->woken, false);
    if (atomic_load(&q->stopping)) {
        stop_round(q);
        return;
    }
    if (!is_paused(q)) {
        record_late(q);
        claim_due(q);
    }
    arm(q);
}

/* --- life ------------------------------------------------------------------------------------
 */

static int make(struct queue *q, const struct queue_options *o, struct err *err)
{
    q->o = *o;
    q->routing = o->routing;
    if (q->o.max_running == 0)
        q->o.max_running = QUEUE_RUNNING_DEFAULT;
    queue_set_max_works(q, o->max_works);
    atomic_init(&q->ahead_us, INT64_MIN);
    q->started_us = clock_wall_us(loop_clock(o->loop));
    q->wake.run = queue_round;
    list_init(&q->unrecorded);
    list_init(&q->asking);
    list_init(&q->works);
    lanes_init(&q->lanes, q);
    q->asks = o->policy != NULL;
    q->timer = timer_new(o->loop, on_timer, q);
    if (q->timer == NULL)
        return err_set(err, BARID_ENOMEM, "queue: out of memory");
    return o->inflight != NULL ? suspects_new(&q->suspects, q, o->inflight, err) : 0;
}

int queue_new(struct queue **q_r, const struct queue_options *o, struct err *err)
{
    struct queue *q = mem_zalloc(o->mem, sizeof(*q));
    int rc;

    *q_r = NULL;
    if (q == NULL)
        return err_set(err, BARID_ENOMEM, "queue: out of memory");
    rc = make(q, o, err);
    if (q->asks)
        policy_ref(q->o.policy);
    if (rc != 0) {
        queue_del(&q);
        return rc;
    }
    queue_bring_back(q);
    o->spool->ops->watch(o->spool, on_spool_changed, q);
    queue_wake(q);
    *q_r = q;
    return 0;
}

void queue_set_retry(struct queue *q, const struct queue_retry *retry)
{
    q->o.retry = *retry;
}

void queue_set_routing(struct queue *q, const struct routing *routing, const char *hostname)
{
    q->routing = *routing;
    q->o.hostname = hostname;
}

void queue_set_max_works(struct queue *q, size_t max_works)
{
    q->o.max_works = max_works > 0 ? max_works : QUEUE_WORKS_DEFAULT;
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
    queue_wake(q);
}

void queue_del(struct queue **q)
{
    struct queue *old = *q;

    if (old == NULL)
        return;
    *q = NULL;
    lanes_deinit(&old->lanes);
    suspects_del(&old->suspects);
    timer_del(&old->timer);
    if (old->asks)
        policy_unref(&old->o.policy);
    mem_free(old->o.mem, old);
}

void queue_stats(const struct queue *q, struct queue_stats *stats_r)
{
    *stats_r = (struct queue_stats){
        .delivered = atomic_load_explicit(&q->delivered, memory_order_relaxed),
        .deferred = atomic_load_explicit(&q->deferred, memory_order_relaxed),
        .held = atomic_load_explicit(&q->held, memory_order_relaxed),
        .failed = atomic_load_explicit(&q->failed, memory_order_relaxed),
        .reported = atomic_load_explicit(&q->reported, memory_order_relaxed),
        .running = atomic_load_explicit(&q->running_now, memory_order_relaxed),
    };
}
