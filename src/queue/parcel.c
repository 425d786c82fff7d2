/* queue/parcel.c: the way of a parcel to a lane; parcel_send.c has the rest. See parcel.h. */
#include "queue/parcel_int.h"

#include <stdio.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "message/reply_text.h"

/* --- results --- */

/* The same for all that have no result of a server. What an earlier next hop of the list has to do with it is not said. */
void parcel_result(struct parcel *p, enum delivery_status status, const char *reply)
{
    for (size_t i = p->at; i < p->n; i++) {
        struct outcome *o = &p->outcomes[i];

        outcome_say(o, status, "%s", reply);
        o->hop = NULL;
        o->stage = NULL;
        o->remote[0] = o->remote_address[0] = '\0';
        o->no_connection = false;
    }
}

static void on_settled(struct settling *s, int rc)
{
    struct parcel *p = (struct parcel *)((char *)s - offsetof(struct parcel, settling));
    struct work *w = p->work;

    if (rc != 0)
        work_record_failed(w, rc);
    parcel_del(p);
    work_parcel_over(w);
}

static void on_source_idle(struct source *s)
{
    struct parcel *p = (struct parcel *)((char *)s - offsetof(struct parcel, source));
    struct work *w = p->work;

    if (p->n == 0) { /* given back */
        parcel_del(p);
        work_parcel_over(w);
        return;
    }
    if (p->over != NULL) {
        w->slot = p->slot;
        w->n_parcels--;
        p->over(p);
        return;
    }
    p->settling = (struct settling){
        .work = w, .v = p->outcomes, .n = p->n, .slot = p->slot, .done = on_settled};
    settle_start(&p->settling);
}

void parcel_leave_lane(struct parcel *p)
{
    struct lane *l = p->lane;

    p->lane = NULL;
    if (l != NULL)
        lane_leave(l);
}

void parcel_end(struct parcel *p)
{
    parcel_leave_lane(p);
    source_end(&p->source, on_source_idle);
}

/* Not an attempt: again at due_us. */
static void not_now(struct parcel *p, int64_t due_us)
{
    for (size_t i = p->at; i < p->n; i++) {
        p->outcomes[i].limited = true;
        p->outcomes[i].again_us = due_us;
    }
}

/* Nothing is recorded: its units go back with what is left of the claim. But where some have a result already, it is kept: they would get
 * the mail once more. */
void parcel_give_back(struct parcel *p)
{
    if (p->at == 0) {
        p->n = 0;
    } else {
        parcel_result(p, DELIVERY_AGAIN, "451 4.3.2 this server was stopped");
        not_now(p, queue_now_us(p->work->queue));
    }
    parcel_end(p);
}

static void end_with(struct parcel *p, enum delivery_status status, const char *reply)
{
    parcel_result(p, status, reply);
    parcel_end(p);
}

/* What policy said in place of a connection. */
void parcel_end_with_verdict(struct parcel *p, const barid_verdict *v)
{
    char text[REPLY_TEXT_SIZE];

    switch (v->kind) {
    case BARID_DISCARD:
        end_with(p, DELIVERY_DONE, "250 2.0.0 discarded by policy");
        return;
    case BARID_HOLD:
        for (size_t i = p->at; i < p->n; i++)
            p->outcomes[i].hold = true;
        end_with(p, DELIVERY_AGAIN, "250 2.0.0 held by policy");
        return;
    default:
        reply_text(v, text);
        end_with(p, v->kind == BARID_REJECT ? DELIVERY_FAILED : DELIVERY_AGAIN, text);
    }
}

/* --- lane --- */

static bool is_only_parcel(const struct parcel *p)
{
    const struct work *w = p->work;

    return w->n_ways == 1 && w->n_files == 0 && w->claim.n_units == p->n && p->at == 0 && p->over == NULL;
}

/* One message for one next hop is put back and its id remembered; one for several stays in memory while there is room. A slot that it has
 * is left last: the lane lives so long. */
void parcel_wait(struct parcel *p, struct lane *l)
{
    struct work *w = p->work;
    struct queue *q = w->queue;

    if (is_only_parcel(p) && lane_push(l, w->claim.id) == 0) {
        q->o.spool->ops->put_aside(q->o.spool, w->claim.id, w->claim.lease, l->group);
        w->is_aside = true;
        parcel_give_back(p);
        return;
    }
    if (l->n_parcels < LANE_PARCELS_MAX) {
        list_append(&l->parcels, &p->waiting);
        l->n_parcels++;
        parcel_leave_lane(p);
        return;
    }
    not_now(p, queue_now_us(q) + PARCEL_BUSY_S * INT64_C(1000000));
    end_with(p, DELIVERY_AGAIN, "451 4.3.2 other mail for that next hop goes first");
}

/* What the lane remembers is said of this one, too. */
static void skip_hop(struct parcel *p, const struct lane *l)
{
    for (size_t i = p->at; i < p->n; i++) {
        outcome_say(&p->outcomes[i], DELIVERY_AGAIN, "%s",
                    l->reply != NULL ? l->reply : "451 4.4.1 nobody could be reached there");
        p->outcomes[i].hop = &p->route.hops[p->at_hop];
        p->outcomes[i].no_connection = true;
        p->outcomes[i].stage = "connect";
    }
    p->at_hop++;
    p->is_put_off = true;
}

/* The slot that came with the claim goes to the parcel that needs it. */
static bool take_slot(struct parcel *p, struct lane *l)
{
    if (p->work->lane == l && p->work->n_ways == 1) {
        p->work->lane = NULL;
        p->lane = l;
        return true;
    }
    if (!lane_is_open(l) || !list_empty(&l->parcels))
        return false;
    lane_enter(l);
    p->lane = l;
    return true;
}

void parcel_next_hop(struct parcel *p)
{
    struct queue *q = p->work->queue;

    while (p->at_hop < p->route.n) {
        uint32_t group = hop_group(&p->route.hops[p->at_hop], q->o.spool->key);
        struct lane *l = lane_of(q, group);

        if (l == NULL) {
            end_with(p, DELIVERY_AGAIN, "451 4.3.0 out of memory");
            return;
        }
        for (size_t i = p->at; i < p->n; i++)
            p->outcomes[i].group = group;
        if (!lane_is_down(l)) {
            if (take_slot(p, l))
                parcel_relay(p);
            else
                parcel_wait(p, l);
            return;
        }
        skip_hop(p, l);
    }
    for (size_t i = p->at; p->is_put_off && i < p->n; i++)
        p->outcomes[i].r.status = DELIVERY_AGAIN;
    parcel_end(p);
}

/* An operator has held the mail while it waited: no attempt begins. One that is part of a question ends with it. */
static bool is_held(const struct parcel *p)
{
    struct spool *s = p->work->queue->o.spool;
    uint64_t id = p->work->claim.id;
    struct spool_message m;

    return p->over == NULL && s->ops->after(s, id - 1, &m) == 0 && m.id == id && m.state != SPOOL_ACTIVE;
}

void parcel_wake(struct lane *l)
{
    struct parcel *p = LIST_ENTRY(l->parcels.next, struct parcel, waiting);

    list_remove(&p->waiting);
    l->n_parcels--;
    if (is_held(p)) {
        parcel_give_back(p);
        return;
    }
    if (lane_is_down(l)) {
        skip_hop(p, l);
        parcel_next_hop(p);
        return;
    }
    lane_enter(l);
    p->lane = l;
    parcel_relay(p);
}

/* --- route --- */

/* Policy chose the way: the story of the mail has the line that did. */
static void note_route(const struct parcel *p)
{
    char list[HOP_LIST_MAX * HOP_TEXT_SIZE];
    size_t n = 0;

    for (size_t i = 0; i < p->asked_route.n_hops; i++) {
        if (i > 0)
            list[n++] = ' ';
        n += hop_text(&p->asked_route.hops[i], list + n);
    }
    history_note(p->work->queue->o.history,
                 &(struct history_entry){.kind = HISTORY_ROUTED,
                                         .id = p->work->claim.id,
                                         .time_us = queue_now_us(p->work->queue),
                                         .rcpts = p->work->mail.rcpts[p->rcpts[0]]->box.address,
                                         .hop = slice_of(list, n),
                                         .where = p->ask.call.where});
}

static void on_route(struct ask *a)
{
    struct parcel *p = (struct parcel *)((char *)a - offsetof(struct parcel, ask));
    enum barid_verdict_kind kind = a->call.verdict.kind;

    if (atomic_load(&p->work->queue->stopping)) {
        parcel_give_back(p);
        return;
    }
    if (kind != BARID_CONTINUE && kind != BARID_ACCEPT) {
        parcel_end_with_verdict(p, &a->call.verdict);
        return;
    }
    if (p->asked_route.hops != p->route.hops)
        note_route(p);
    /* Handlers made them of what they were given. */
    p->route.hops = (struct hop *)(uintptr_t)p->asked_route.hops;
    p->route.n = p->asked_route.n_hops;
    parcel_next_hop(p);
}

static uint32_t attempts_of(const struct parcel *p)
{
    return p->work->loaded.units[p->units[0]].attempts;
}

static void route(struct parcel *p)
{
    const struct queue *q = p->work->queue;
    const struct rcpt *rcpt = p->work->mail.rcpts[p->rcpts[0]];
    char reply[REPLY_TEXT_SIZE];
    struct err err = {0};
    int rc = route_default(q, &p->work->arena, p->target, rcpt->box.domain, &p->route, &err);

    if (rc != 0) {
        snprintf(reply, sizeof(reply), rc == BARID_ENOMEM ? "451 4.3.0 %.200s" : "550 5.1.2 no way to send there: %.200s",
                 err.text[0] != '\0' ? err.text : barid_strerror(rc));
        end_with(p, rc == BARID_ENOMEM ? DELIVERY_AGAIN : DELIVERY_FAILED, reply);
        return;
    }
    p->asked_route = (struct policy_route){.rcpts = p->rcpts,
                                           .n_rcpts = p->n,
                                           .attempts = attempts_of(p),
                                           .hops = p->route.hops,
                                           .n_hops = p->route.n,
                                           .base = &q->routing.base,
                                           .arena = &p->work->arena};
    p->ask.call = (struct policy_call){.event = BARID_EVENT_ROUTE, .route = &p->asked_route};
    p->ask.answered = on_route;
    if (p->pinned)
        parcel_next_hop(p);
    else
        ask_start(&p->ask, p->work);
}

/* --- made --- */

void parcel_del(struct parcel *p)
{
    const barid_mem *mem = p->work->queue->o.mem;

    list_remove(&p->node);
    mem_free(mem, p->units);
    mem_free(mem, p->rcpts);
    mem_free(mem, p->outcomes);
    mem_free(mem, p);
}

static struct parcel *parcel_new(struct work *w, size_t n)
{
    const barid_mem *mem = w->queue->o.mem;
    struct parcel *p = mem_zalloc(mem, sizeof(*p));

    if (p == NULL)
        return NULL;
    p->work = w;
    list_init(&p->node);
    list_init(&p->waiting);
    p->source.work = w;
    p->units = mem_array(mem, n, sizeof(*p->units));
    p->rcpts = mem_array(mem, n, sizeof(*p->rcpts));
    p->outcomes = mem_array(mem, n, sizeof(*p->outcomes));
    if (p->units != NULL && p->rcpts != NULL && p->outcomes != NULL)
        return p;
    parcel_del(p);
    return NULL;
}

/* Its result, before there is one, takes nothing for done. */
static void add(struct parcel *p, uint32_t unit, size_t rcpt)
{
    p->outcomes[p->n] = (struct outcome){.unit = unit, .group = SPOOL_GROUP_NONE};
    outcome_say(&p->outcomes[p->n], DELIVERY_AGAIN, "451 4.3.0 nothing was tried");
    p->units[p->n] = unit;
    p->rcpts[p->n++] = rcpt;
}

/* Units with equal keys go together. */
struct way {
    const struct unit *u;
    barid_slice domain; /* empty where it does not matter */
    uint32_t unit;
};

static int compare_slices(barid_slice a, barid_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int rc = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return rc != 0 ? rc : (a.n > b.n) - (a.n < b.n);
}

static int compare_ways(const void *x, const void *y)
{
    const struct way *a = x, *b = y;
    int rc = compare_slices(a->u->target, b->u->target);

    if (rc == 0)
        rc = compare_slices(a->domain, b->domain);
    return rc != 0 ? rc : (int)a->u->pinned - (int)b->u->pinned;
}

static int compare_places(const void *x, const void *y)
{
    const struct way *a = x, *b = y;
    int rc = compare_ways(x, y);

    return rc != 0 ? rc : (a->unit > b->unit) - (a->unit < b->unit); /* in the order of RCPT */
}

static struct way *sort_ways(struct work *w, size_t n)
{
    struct way *ways = mem_array(w->queue->o.mem, n, sizeof(*ways));

    for (size_t i = 0; ways != NULL && i < n; i++) {
        uint32_t unit = w->claim.units[w->at + i];
        const struct unit *u = &w->units[unit];

        ways[i] = (struct way){.u = u, .unit = unit};
        if (u->target.n == 0 && w->queue->routing.n_relayhosts == 0)
            ways[i].domain = w->mail.rcpts[u->rcpts[0]]->box.domain;
    }
    if (ways != NULL)
        qsort(ways, n, sizeof(*ways), compare_places);
    return ways;
}

static int make(struct work *w, struct list *made, const struct way *ways, size_t n)
{
    struct parcel *p = parcel_new(w, n);

    if (p == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < n; i++)
        add(p, ways[i].unit, ways[i].u->rcpts[0]);
    p->target = ways[0].u->target;
    p->pinned = ways[0].u->pinned;
    list_append(made, &p->node);
    w->n_parcels++;
    w->n_ways++;
    return 0;
}

/* One that ends may wake another of the same work in its lane, but none that is not begun. */
static void begin_all(struct work *w, struct list *made)
{
    while (!list_empty(made)) {
        struct list *node = made->next;

        list_remove(node);
        list_append(&w->parcels, node);
        route(LIST_ENTRY(node, struct parcel, node));
    }
}

int parcels_start(struct work *w)
{
    size_t end = w->n_files + w->n_sent, n = w->at < end ? end - w->at : 0, first = 0;
    struct way *ways = n > 0 ? sort_ways(w, n) : NULL;
    int rc = n > 0 && ways == NULL ? BARID_ENOMEM : 0;
    struct list made;

    list_init(&made);

    for (size_t i = 1; rc == 0 && i <= n; i++) {
        if (i < n && compare_ways(&ways[first], &ways[i]) == 0)
            continue;
        rc = make(w, &made, ways + first, i - first);
        first = i;
    }
    mem_free(w->queue->o.mem, ways);
    w->at += n;
    w->n_parcels++; /* the caller's: no parcel is the last one before all are begun */
    begin_all(w, &made);
    return rc;
}

bool parcel_start_one(struct work *w, const struct unit *u, uint32_t unit, void (*over)(struct parcel *p))
{
    struct parcel *p = parcel_new(w, 1);

    if (p == NULL)
        return false;
    add(p, unit, u->rcpts[0]);
    p->slot = w->slot;
    p->target = u->target;
    p->pinned = u->pinned;
    p->over = over;
    list_append(&w->parcels, &p->node);
    w->n_parcels++;
    w->n_ways++;
    route(p);
    return true;
}
