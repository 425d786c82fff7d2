/* queue/parcel_send.c: a parcel that has a slot in its lane: its connection, its transactions, its results. See parcel.h. */
#include "queue/parcel_int.h"

#include "base/slice.h"
#include "queue/suspect.h"

static struct transport *transport(const struct parcel *p)
{
    return queue_transport(p->work->queue, DISPOSITION_SEND);
}

static struct parcel *of_consignment(struct consignment *c)
{
    return (struct parcel *)((char *)c - offsetof(struct parcel, consignment));
}

static void send_next(struct parcel *p);

/* --- results --- */

static int on_body(struct consignment *c, uint64_t offset, size_t n, barid_slice *p_r)
{
    return source_read(&of_consignment(c)->source, offset, n, p_r);
}

/* What the store knows these units by: their group as it is recorded, which is of where they were tried before. */
static uint32_t recorded_group(const struct parcel *p)
{
    const struct unit_state *states = p->work->loaded.units;

    for (size_t i = 1; i < p->n; i++)
        if (states[p->units[i]].group != states[p->units[0]].group)
            return SPOOL_GROUP_NONE; /* any */
    return states[p->units[0]].group;
}

static void on_final(struct consignment *c)
{
    struct parcel *p = of_consignment(c);

    p->is_final = true;
    if (p->slot == NULL)
        p->slot = suspect_mark(p->work->queue->suspects, p->work->claim.id, recorded_group(p));
}

static void on_result(struct consignment *c, size_t i, const struct send_result *r)
{
    struct parcel *p = of_consignment(c);
    struct outcome *o = &p->outcomes[p->at + i];

    outcome_from_send(o, r);
    o->hop = &p->route.hops[p->at_hop];
}

/* Nobody who could be asked: the next hop of the list has its turn. */
static bool is_unreached(const struct parcel *p)
{
    return p->outcomes[p->at].no_connection && p->outcomes[p->at].r.status != DELIVERY_DONE;
}

/* Somebody answers there: what failed for want of that goes now. */
static void reached(struct parcel *p)
{
    const struct unit_state *u = &p->work->loaded.units[p->units[0]];
    bool again = u->attempts > 0 && slice_starts_nocase(u->reply, BARID_S("451 4.4.1"));

    if (lane_reached(p->lane, again))
        queue_hasten(p->work->queue, p->lane->group);
}

/* One answer, for those too whose turn in a transaction has not come. A next hop that cannot be, for good, is no reason to keep others
 * waiting: each of them is told the same at once. */
static void unreached(struct parcel *p)
{
    const struct outcome *said = &p->outcomes[p->at];

    for (size_t i = p->at + p->n_now; i < p->n; i++) {
        uint32_t unit = p->outcomes[i].unit;

        p->outcomes[i] = *said;
        p->outcomes[i].unit = unit;
    }
    if (said->r.status == DELIVERY_AGAIN) {
        lane_failed(p->lane, p->started_ms, said->r.reply);
        p->is_put_off = true;
    }
    parcel_leave_lane(p);
    p->at_hop++;
    if (atomic_load(&p->work->queue->stopping))
        parcel_end(p);
    else
        parcel_next_hop(p);
}

static void on_over(struct consignment *c)
{
    struct parcel *p = of_consignment(c);

    p->is_sending = p->is_final = false;
    p->source.consignment = NULL;
    if (is_unreached(p)) {
        unreached(p);
        return;
    }
    reached(p);
    p->at += p->n_now;
    if (p->at == p->n)
        parcel_end(p);
    else if (atomic_load(&p->work->queue->stopping))
        parcel_give_back(p);
    else
        send_next(p);
}

/* --- sent --- */

static void send_next(struct parcel *p)
{
    const struct work *w = p->work;
    struct transport *t = transport(p);
    size_t left = p->n - p->at;

    p->n_now = p->hop.max_rcpts > 0 && left > p->hop.max_rcpts ? p->hop.max_rcpts : left;
    p->consignment = (struct consignment){.mail = &w->mail,
                                          .hop = &p->hop,
                                          .rcpts = p->rcpts + p->at,
                                          .n_rcpts = p->n_now,
                                          .header = w->loaded.header,
                                          .body_size = w->body_size,
                                          .body = on_body,
                                          .on_final = on_final,
                                          .on_result = on_result,
                                          .on_over = on_over};
    p->started_ms = loop_now_ms(w->queue->o.loop);
    p->source.consignment = &p->consignment;
    lane_count(p->lane);
    if (t != NULL && t->send != NULL && t->send(t, &p->consignment) == 0) {
        p->is_sending = true;
        return;
    }
    p->source.consignment = NULL;
    if (t == NULL || t->send == NULL)
        parcel_result(p, DELIVERY_FAILED, "550 5.3.5 this server has nothing that delivers by \"send\"");
    else
        parcel_result(p, DELIVERY_AGAIN, "451 4.3.0 out of memory");
    parcel_end(p);
}

static void on_relay(struct ask *a)
{
    struct parcel *p = (struct parcel *)((char *)a - offsetof(struct parcel, ask));

    if (atomic_load(&p->work->queue->stopping)) {
        parcel_give_back(p);
        return;
    }
    if (a->call.verdict.kind != BARID_CONTINUE) {
        parcel_end_with_verdict(p, &a->call.verdict);
        return;
    }
    lane_allow(p->lane, &p->hop);
    if (lane_is_over(p->lane))
        parcel_wait(p, p->lane);
    else
        send_next(p);
}

void parcel_relay(struct parcel *p)
{
    const struct work *w = p->work;

    p->hop = p->route.hops[p->at_hop];
    p->asked_relay = (struct policy_relay){.hop = &p->hop,
                                           .n_rcpts = p->n - p->at,
                                           .attempts = w->loaded.units[p->units[0]].attempts,
                                           .arena = &p->work->arena};
    p->ask.call = (struct policy_call){.event = BARID_EVENT_RELAY, .relay = &p->asked_relay};
    p->ask.answered = on_relay;
    ask_start(&p->ask, p->work);
}

/* --- the end of the queue --- */

/* The connection is cut where a server has the whole message and has not answered, or not for all. */
static void cut(struct parcel *p)
{
    struct transport *t = transport(p);
    bool is_final = p->is_final;

    t->cancel(t, &p->consignment);
    p->is_sending = p->is_final = false;
    for (size_t i = p->at; is_final && i < p->at + p->n_now; i++) {
        if (p->outcomes[i].hop == &p->route.hops[p->at_hop])
            continue; /* on_result */
        outcome_say(&p->outcomes[i], DELIVERY_AGAIN, "451 4.4.2 this server was stopped while the answer was awaited");
        p->outcomes[i].is_suspect = true;
        p->outcomes[i].hop = &p->route.hops[p->at_hop];
    }
    p->at += is_final ? p->n_now : 0;
    if (p->at == p->n)
        parcel_end(p);
    else
        parcel_give_back(p);
}

static bool stop_one(struct parcel *p, bool by_force)
{
    if (!list_empty(&p->waiting)) {
        list_remove(&p->waiting);
        parcel_give_back(p);
        return true;
    }
    if (p->is_sending && (by_force || !p->is_final)) {
        cut(p);
        return true;
    }
    return false;
}

bool parcels_stop(struct work *w, bool by_force)
{
    LIST_EACH(it, &w->parcels) {
        if (stop_one(LIST_ENTRY(it, struct parcel, node), by_force))
            return true; /* the list has changed, w may be gone */
    }
    return false;
}
