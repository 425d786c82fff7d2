/*
 * queue/parcel.h: recipients of one message that go the same way. On the loop.
 *
 *   route? ──▶ next hop ──▶ its lane ──open──▶ relay? ──▶ sent, some recipients at a time ──▶ settled ──▶ over
 *                 ▲             │ full: waits, or the whole message is put aside          │
 *                 │             ▼ down                                                    │
 *                 └──────────── the next one of the list ◀──nobody was reached────────────┘
 *
 * Whoever has refused a recipient is not passed over: only where nobody was reached does the next hop of the list get its turn.
 */
#ifndef QUEUE_PARCEL_H
#define QUEUE_PARCEL_H

#include "queue/ask.h"
#include "queue/route.h"
#include "queue/source.h"

/* So long a parcel is put off whose lane has LANE_PARCELS_MAX others waiting. */
#define PARCEL_BUSY_S 60

struct parcel {
    struct work *work;
    struct list node;    /* in work.parcels */
    struct list waiting; /* in lane.parcels */
    size_t n;
    uint32_t *units;     /* in the record */
    size_t *rcpts;       /* the recipient of each */
    struct outcome *outcomes;
    barid_slice target;
    bool pinned;

    struct route route;
    size_t at_hop;
    struct lane *lane; /* whose slot it has */
    struct hop hop;    /* as policy changed it */
    size_t at, n_now;  /* recipients of the transaction under way */

    struct ask ask;
    struct policy_route asked_route;
    struct policy_relay asked_relay;
    struct consignment consignment;
    struct source source;
    bool is_sending, is_final;
    bool is_put_off; /* by a next hop that was not reached: no other one says that it is for good */
    uint64_t started_ms;
    struct suspect_slot *slot;
    struct settling settling;
    /* Instead of settling, where the results are somebody else's business (question.c); NULL = settled. */
    void (*over)(struct parcel *p);
};

/* Parcels for the sent units of the claim from w->at on, one for each way. Each ends with work_parcel_over, perhaps from within, and so
 * does the call itself: the caller calls it once more. 0 or BARID_ENOMEM: those made so far end, the other units go back. */
int parcels_start(struct work *w);
/* One unit, decided just now. over, perhaps from within, takes outcomes[0] and deletes the parcel; at a stop work_parcel_over is called
 * instead. false: no memory. */
bool parcel_start_one(struct work *w, const struct unit *u, uint32_t unit, void (*over)(struct parcel *p));
void parcel_del(struct parcel *p);
/* The queue stops: one parcel that no server has whole is given back, or recorded as far as it came; by_force: any one. false: there is
 * none. Others may end with it, and the work. */
bool parcels_stop(struct work *w, bool by_force);

#endif
