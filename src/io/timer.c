/*
 * io/timer.c: timers of one loop in a binary heap of our own.
 *
 * Why not uv_timer_t: it is three times the size, is freed asynchronously, runs by the real
 * clock only, and each move costs a heap operation. Here a timer has a deadline (what its owner
 * wants) and an armed time (where it stands in the heap), and the invariant is armed <=
 * deadline for each timer in the heap; one that is not in the heap has the deadline UINT64_MAX.
 * Moving later is a store; when the armed time comes too early the timer is armed again.
 */
#include "io/timer.h"

#include "base/mem.h"
#include "io/loop_int.h"

#define NOT_ARMED SIZE_MAX

struct timer {
    struct loop *loop;
    void (*fn)(void *user);
    void *user;
    uint64_t deadline_ms;
    uint64_t armed_ms;
    size_t at; /* index in the heap, NOT_ARMED = not in it */
};

static void place(struct timer_heap *h, size_t at, struct timer *t)
{
    h->at[at] = t;
    t->at = at;
}

static void sift_up(struct timer_heap *h, struct timer *t)
{
    size_t at = t->at;

    while (at > 0 && h->at[(at - 1) / 2]->armed_ms > t->armed_ms) {
        place(h, at, h->at[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(h, at, t);
}

static void sift_down(struct timer_heap *h, struct timer *t)
{
    size_t at = t->at;

    for (;;) {
        size_t child = 2 * at + 1;

        if (child + 1 < h->n && h->at[child + 1]->armed_ms < h->at[child]->armed_ms)
            child++;
        if (child >= h->n || h->at[child]->armed_ms >= t->armed_ms)
            break;
        place(h, at, h->at[child]);
        at = child;
    }
    place(h, at, t);
}

static void heap_add(struct timer_heap *h, struct timer *t)
{
    t->armed_ms = t->deadline_ms;
    place(h, h->n++, t);
    sift_up(h, t);
}

static void heap_remove(struct timer_heap *h, struct timer *t)
{
    struct timer *last = h->at[--h->n];

    if (last != t) {
        place(h, t->at, last);
        sift_up(h, last);
        sift_down(h, last);
    }
    t->at = NOT_ARMED;
}

static int heap_reserve(struct timer_heap *h)
{
    size_t cap = h->cap != 0 ? h->cap * 2 : 64;
    struct timer **at;

    if (h->timers < h->cap)
        return 0;
    if (cap > SIZE_MAX / sizeof(*at))
        return BARID_ENOMEM;
    at = mem_realloc(NULL, h->at, cap * sizeof(*at));
    if (at == NULL)
        return BARID_ENOMEM;
    h->at = at;
    h->cap = cap;
    return 0;
}

struct timer *timer_new(struct loop *loop, void (*fn)(void *user), void *user)
{
    struct timer *t;

    if (heap_reserve(&loop->heap) != 0 || (t = mem_alloc(NULL, sizeof(*t))) == NULL)
        return NULL;
    *t = (struct timer){loop, fn, user, UINT64_MAX, UINT64_MAX, NOT_ARMED};
    loop->heap.timers++;
    return t;
}

void timer_set(struct timer *t, uint64_t deadline_ms)
{
    struct timer_heap *h = &t->loop->heap;

    t->deadline_ms = deadline_ms;
    if (t->at == NOT_ARMED) {
        if (deadline_ms != UINT64_MAX)
            heap_add(h, t);
    } else if (deadline_ms < t->armed_ms) {
        t->armed_ms = deadline_ms;
        sift_up(h, t);
    }
}

void timer_del(struct timer **timer)
{
    struct timer *t = *timer;

    if (t == NULL)
        return;
    *timer = NULL;
    if (t->at != NOT_ARMED)
        heap_remove(&t->loop->heap, t);
    t->loop->heap.timers--;
    mem_free(NULL, t);
}

bool timers_run(struct loop *loop)
{
    struct timer_heap *h = &loop->heap;
    uint64_t now = loop_now_ms(loop);
    bool fired = false;

    /* Not more than there were: a timer that sets itself to now must not keep the loop from its
     * events. */
    for (size_t budget = h->n; budget > 0 && h->n > 0 && h->at[0]->armed_ms <= now; budget--) {
        struct timer *t = h->at[0];

        heap_remove(h, t);
        if (t->deadline_ms > now) {
            if (t->deadline_ms != UINT64_MAX)
                heap_add(h, t);
            continue;
        }
        t->deadline_ms = UINT64_MAX;
        fired = true;
        t->fn(t->user); /* may set or delete any timer, t too */
    }
    return fired;
}

uint64_t timers_next(const struct loop *loop)
{
    return loop->heap.n > 0 ? loop->heap.at[0]->armed_ms : UINT64_MAX;
}
