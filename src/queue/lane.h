/*
 * queue/lane.h: the mail that waits for one next hop: how much of it may be under way, and what is known of the next hop. On the loop.
 *
 * A lane is named by a group (interface/spool.h). Two more lanes have no next hop: SPOOL_GROUP_NONE (files) and SPOOL_GROUP_MIXED
 * (messages for several next hops; each of their parcels then goes to its own lane).
 *
 *   up ──nobody can be reached──▶ down ──after a while──▶ tried ──reached──▶ up
 *                                  ▲                        │
 *                                  └──────── not ───────────┘
 *
 * Up: as many at once as the next hop allows. Down: nothing is sent; what is due is put off by its own schedule with the reply that the
 * lane remembers. Tried: one at a time, the others wait.
 *
 * What waits is kept as ids only (8 octets each, 16 at most while the ring grows): the store knows the rest.
 */
#ifndef QUEUE_LANE_H
#define QUEUE_LANE_H

#include "base/list.h"
#include "base/map.h"
#include "io/timer.h"

struct queue;
struct hop;

/* Being put off at once by a lane that is down: what it costs must not keep others from their turn. */
#define LANE_DOWN_RUNNING 4
/* A next hop is not asked again for so long after nobody was reached there, doubling; never longer than the first retry usually is, so
 * that no message misses more than one of its own. */
#define LANE_DOWN_S     60
#define LANE_DOWN_MAX_S 300
/* Parcels that hold their message in memory while they wait: those of messages for several next hops. More are put off. */
#define LANE_PARCELS_MAX 100
#define LANE_REPLY_SIZE  256
/* Making the others due walks the whole index: once for many mails that come through after an outage. */
#define LANE_HASTEN_S 60

struct lane {
    struct queue *queue;
    uint32_t group;
    struct list node;     /* in queue.ready: it has ids and may be open */
    struct list parcels;  /* struct parcel.waiting */
    size_t n_parcels;
    size_t running;       /* slots taken */
    uint32_t max;         /* slots when it is up */
    uint32_t limit;       /* of them: fewer after one of several was turned away, one more with each that was not */
    uint64_t reached_ms;  /* somebody was reached last */
    uint64_t *ids;        /* ring of n from at; cap is a power of two or 0 */
    size_t at, n, cap;

    unsigned fails;       /* since somebody was reached; 0 = up */
    uint64_t failed_ms;   /* the last of them */
    uint64_t down_until_ms;
    char *reply;          /* what was said then; NULL = none */
    uint64_t hastened_ms; /* what waits was made due last; 0 = never */

    uint32_t rate, rate_s, sent; /* sent: since window_ms */
    uint64_t window_ms;
    struct timer *timer;  /* the end of the window; made when first needed */
    bool is_moving;       /* its parcels are woken just now: it stays, and they are not woken from within */
};

/* So many lanes are made before idle ones are looked for that nobody needs any more: those whose next hop was down or has a rate are kept
 * when they are idle. Some 2 MiB. */
#define LANES_SWEEP_MIN 4096

struct lanes {
    struct map map; /* by group */
    struct list ready;
    size_t sweep_at; /* lanes */
};

void lanes_init(struct lanes *l, struct queue *q);
void lanes_deinit(struct lanes *l);

/* The lane of that group, made when there is none. NULL: no memory. */
struct lane *lane_of(struct queue *q, uint32_t group);
/* One more may begin now. */
bool lane_is_open(const struct lane *l);
bool lane_is_down(const struct lane *l);
/* Takes a slot; for each a lane_leave. The lane lives at least as long. */
void lane_enter(struct lane *l);
void lane_leave(struct lane *l); /* l may be gone then; what waits is woken */
/* Remembers a message that waits. 0 or BARID_ENOMEM. */
int lane_push(struct lane *l, uint64_t id);
/* The next one that waits; false: none. */
bool lane_pop(struct lane *l, uint64_t *id_r);
/* The same, and it stays; there is one. */
uint64_t lane_first(const struct lane *l);
/* It goes behind the others: never for want of memory forgotten. */
void lane_turn(struct lane *l);
/* The next lane that is open and has ids, in turn; NULL: none. */
struct lane *lanes_next(struct queue *q);

/* What policy or configuration allow there. */
void lane_allow(struct lane *l, const struct hop *hop);
/* A mail is sent: counts for the rate. */
void lane_count(struct lane *l);
/* More run there than lane_allow said, or the rate is spent: one that is not sent yet has to wait. */
bool lane_is_over(const struct lane *l);
/* Nobody was reached by a mail that was begun at started_ms. */
void lane_failed(struct lane *l, uint64_t started_ms, const char *reply);
/* Somebody was. true: what else waits for it is to be made due (queue_hasten). again: the mail had failed for want of that before; after a
 * restart nothing else tells that the next hop was down. */
bool lane_reached(struct lane *l, bool again);

#endif
