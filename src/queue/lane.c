/* queue/lane.c: see lane.h. */
#include "queue/lane.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "queue/queue_int.h"

#define RING_FIRST 8

static barid_slice key_of(const uint32_t *group)
{
    return slice_of((const char *)group, sizeof(*group));
}

static uint64_t now_ms(const struct lane *l)
{
    return loop_now_ms(l->queue->o.loop);
}

/* --- all of them --- */

void lanes_init(struct lanes *l, struct queue *q)
{
    const uint64_t seed[2] = {rng_u64(q->o.rng), rng_u64(q->o.rng)};

    map_init(&l->map, q->o.mem, seed);
    list_init(&l->ready);
    l->sweep_at = LANES_SWEEP_MIN;
}

static void lane_del(struct lane *l)
{
    const barid_mem *mem = l->queue->o.mem;

    list_remove(&l->node);
    timer_del(&l->timer);
    mem_free(mem, l->ids);
    mem_free(mem, l->reply);
    mem_free(mem, l);
}

void lanes_deinit(struct lanes *l)
{
    struct map_iter it = {0};

    while (map_next(&l->map, &it))
        lane_del(it.value);
    map_deinit(&l->map);
}

static bool is_idle(const struct lane *l)
{
    return l->running == 0 && l->n == 0 && list_empty(&l->parcels) && !l->is_moving;
}

/* What it remembers has no consequence any more. */
static bool is_past(const struct lane *l)
{
    uint64_t now = now_ms(l);

    return (l->fails == 0 || now >= l->down_until_ms + LANE_DOWN_MAX_S * UINT64_C(1000)) &&
           (l->rate == 0 || now >= l->window_ms + l->rate_s * UINT64_C(1000));
}

/* Domains that cannot be reached come and never come again: each would leave a lane. */
static void sweep(struct lanes *all)
{
    struct map_iter it = {0};

    if (all->map.count < all->sweep_at)
        return;
    while (map_next(&all->map, &it)) {
        struct lane *l = it.value;

        if (!is_idle(l) || !is_past(l))
            continue;
        map_take(&all->map, it.key);
        lane_del(l);
    }
    all->sweep_at = all->map.count * 2 > LANES_SWEEP_MIN ? all->map.count * 2 : LANES_SWEEP_MIN;
}

struct lane *lane_of(struct queue *q, uint32_t group)
{
    struct lane *l = map_get(&q->lanes.map, key_of(&group));

    if (l != NULL)
        return l;
    sweep(&q->lanes);
    l = mem_zalloc(q->o.mem, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->queue = q;
    l->group = group;
    l->max = group == SPOOL_GROUP_NONE    ? (uint32_t)q->o.max_running
             : group == SPOOL_GROUP_MIXED ? QUEUE_MIXED_RUNNING
                                          : q->routing.base.max_connections;
    l->limit = l->max;
    list_init(&l->node);
    list_init(&l->parcels);
    if (map_put(&q->lanes.map, key_of(&group), l, NULL) != 0) {
        mem_free(q->o.mem, l);
        return NULL;
    }
    return l;
}

struct lane *lanes_next(struct queue *q)
{
    /* Those that are not open leave the list: whatever opens them puts them back. */
    while (!list_empty(&q->lanes.ready)) {
        struct lane *l = LIST_ENTRY(q->lanes.ready.next, struct lane, node);

        list_remove(&l->node);
        if (l->n == 0 || !lane_is_open(l))
            continue;
        list_append(&q->lanes.ready, &l->node); /* behind the others: each has its turn */
        return l;
    }
    return NULL;
}

/* Something may begin here, or the lane is of no use any more. A parcel that is woken need not take a slot, where the lane is down: all
 * that may go are woken. */
static void lane_moved(struct lane *l)
{
    struct queue *q = l->queue;

    if (l->is_moving)
        return;
    l->is_moving = true;
    while (!list_empty(&l->parcels) && lane_is_open(l))
        parcel_wake(l);
    l->is_moving = false;
    if (l->n > 0) {
        if (list_empty(&l->node) && lane_is_open(l))
            list_append(&q->lanes.ready, &l->node);
        queue_wake(q);
        return;
    }
    /* One that is up and idle knows nothing that is worth keeping, but how fast it was. */
    if (is_idle(l) && l->fails == 0 && l->rate == 0) {
        map_take(&q->lanes.map, key_of(&l->group));
        lane_del(l);
    }
}

/* --- slots --- */

bool lane_is_down(const struct lane *l)
{
    return l->fails > 0 && now_ms(l) < l->down_until_ms;
}

static bool rate_is_spent(const struct lane *l)
{
    return l->rate > 0 && l->sent >= l->rate && now_ms(l) < l->window_ms + l->rate_s * UINT64_C(1000);
}

bool lane_is_open(const struct lane *l)
{
    if (lane_is_down(l))
        return l->running < LANE_DOWN_RUNNING;
    return l->running < (l->fails > 0 ? 1 : l->limit) && !rate_is_spent(l);
}

bool lane_is_over(const struct lane *l)
{
    return !lane_is_down(l) && (l->running > l->limit || rate_is_spent(l));
}

void lane_enter(struct lane *l)
{
    l->running++;
}

void lane_leave(struct lane *l)
{
    l->running--;
    lane_moved(l);
}

/* --- what waits --- */

static int ring_grow(struct lane *l)
{
    size_t cap = l->cap > 0 ? l->cap * 2 : RING_FIRST;
    uint64_t *ids = mem_array(l->queue->o.mem, cap, sizeof(*ids));

    if (ids == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < l->n; i++)
        ids[i] = l->ids[(l->at + i) & (l->cap - 1)];
    mem_free(l->queue->o.mem, l->ids);
    l->ids = ids;
    l->at = 0;
    l->cap = cap;
    return 0;
}

int lane_push(struct lane *l, uint64_t id)
{
    if (l->n == l->cap && ring_grow(l) != 0)
        return BARID_ENOMEM;
    l->ids[(l->at + l->n++) & (l->cap - 1)] = id;
    if (list_empty(&l->node))
        list_append(&l->queue->lanes.ready, &l->node);
    return 0;
}

bool lane_pop(struct lane *l, uint64_t *id_r)
{
    if (l->n == 0)
        return false;
    *id_r = l->ids[l->at];
    l->at = (l->at + 1) & (l->cap - 1);
    if (--l->n == 0) {
        mem_free(l->queue->o.mem, l->ids);
        l->ids = NULL;
        l->at = l->cap = 0;
    }
    return true;
}

uint64_t lane_first(const struct lane *l)
{
    return l->ids[l->at];
}

void lane_turn(struct lane *l)
{
    uint64_t id;

    if (l->n > 1 && lane_pop(l, &id))
        lane_push(l, id); /* into the place that was left */
}

/* --- how fast --- */

static uint64_t window_end_ms(const struct lane *l)
{
    return l->window_ms + l->rate_s * UINT64_C(1000);
}

static void on_window(void *user)
{
    lane_moved(user);
}

/* Those that wait go on when the window ends. */
static void wait_for_window(struct lane *l)
{
    if (!rate_is_spent(l))
        return;
    if (l->timer == NULL)
        l->timer = timer_new(l->queue->o.loop, on_window, l);
    if (l->timer != NULL) /* else the next mail that is due wakes the lane */
        timer_set(l->timer, window_end_ms(l));
}

void lane_allow(struct lane *l, const struct hop *hop)
{
    if (l->limit == l->max || l->limit > hop->max_connections)
        l->limit = hop->max_connections;
    l->max = hop->max_connections;
    l->rate = hop->rate;
    l->rate_s = hop->rate_s;
    wait_for_window(l);
}

void lane_count(struct lane *l)
{
    if (l->rate == 0)
        return;
    if (now_ms(l) >= window_end_ms(l)) {
        l->window_ms = now_ms(l);
        l->sent = 0;
    }
    l->sent++;
    wait_for_window(l);
}

/* --- up and down --- */

void lane_failed(struct lane *l, uint64_t started_ms, const char *reply)
{
    uint64_t s = LANE_DOWN_S;

    if (l->fails > 0 && started_ms <= l->failed_ms) /* one of those that were under way together */
        return;
    if (l->fails == 0 && l->reached_ms > started_ms) { /* others get through: one too many */
        l->limit = l->limit > 1 ? l->limit / 2 : 1;
        return;
    }
    for (unsigned i = 0; i < l->fails && s < LANE_DOWN_MAX_S; i++)
        s *= 2;
    s = s < LANE_DOWN_MAX_S ? s : LANE_DOWN_MAX_S;
    l->fails++;
    l->failed_ms = now_ms(l);
    l->down_until_ms = l->failed_ms + s * 1000;
    if (l->reply == NULL)
        l->reply = mem_alloc(l->queue->o.mem, LANE_REPLY_SIZE);
    if (l->reply != NULL)
        snprintf(l->reply, LANE_REPLY_SIZE, "%s", reply);
}

bool lane_reached(struct lane *l, bool again)
{
    uint64_t now = now_ms(l);
    bool is_rested = l->hastened_ms == 0 || now - l->hastened_ms >= LANE_HASTEN_S * UINT64_C(1000);
    bool hastens = l->fails > 0 || (again && is_rested);

    l->fails = 0;
    l->reached_ms = now;
    l->limit += l->limit < l->max;
    if (hastens)
        l->hastened_ms = now;
    return hastens;
}
