/*
 * spool/twins_testing.h: the memory and the log (on a disk in memory) as one store: each call is
 * made on both, and whatever they answer, then or later, must be the same, as must all that they
 * hold. Ids and leases are each store's own; here they go in pairs. Test code only.
 */
#ifndef SPOOL_TWINS_TESTING_H
#define SPOOL_TWINS_TESTING_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/rng.h"
#include "spool/disk_testing.h"
#include "spool/spool_open.h"

#define TWINS_START_US 1800000000000000

#define TWINS_DRAFTS 4
#define TWINS_CLAIMS 16
#define TWINS_BODIES 4
#define TWINS_UNITS  20

enum { TWIN_MEMORY, TWIN_LOG };

struct twin_flight; /* a call of both that is not over */

struct twin_mail {
    uint64_t id[2];
    bool gone; /* as far as is known */
};

struct twin_draft {
    struct spool_put *put[2];
    uint64_t seed;
};

struct twin_claim {
    uint64_t id[2], lease[2];
    uint32_t *units;
    size_t n_units;
};

struct twins {
    struct spool *s[2];
    struct disk disk;
    struct clock clock;
    _Atomic int64_t wall_us;          /* of the clock: the keeper's thread looks at it, too */
    struct rng_seeded rng, store_rng; /* apart: the keeper's thread draws from it */
    unsigned broken;
    struct twin_mail *mails;          /* of commits that were answered */
    size_t n_mails, cap_mails, n_new; /* new: behind them, not yet answered */
    struct twin_draft drafts[TWINS_DRAFTS];
    size_t n_drafts;
    struct twin_claim claims[TWINS_CLAIMS];
    size_t n_claims;
    void *bodies[TWINS_BODIES][2];
    size_t n_bodies;
    int64_t serial; /* no two messages are due at once: which comes first is not said */
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t under_way;
    struct twin_flight *flights;
    atomic_bool told[2]; /* something is due earlier */
    uint64_t operations, reopenings, recycled;
    uint64_t asides, hastened, ones; /* put aside, hastened, claimed by id */
    char failure[300]; /* the first difference; empty = none */
};

/* --- twins_testing.c */
void twins_init(struct twins *t, uint64_t seed, unsigned broken);
void twins_deinit(struct twins *t);
uint64_t twins_below(struct twins *t, uint64_t n);
/* False: they differ. */
bool twins_same(struct twins *t, const char *what, int64_t memory, int64_t log);
void twins_differ(struct twins *t, const char *what);
/* A call of both: done for each side is twins_done with twins_user; twins_called has what they
 * returned. True: both took it. */
struct twin_flight *twins_call(struct twins *t, const char *what);
void twins_done(void *user, int err);
void *twins_user(struct twin_flight *f, int side);
bool twins_called(struct twins *t, struct twin_flight *f, const int rc[2]);
void twins_settle(struct twins *t); /* all that is under way is answered */
void twins_add_mail(struct twins *t, const uint64_t id[2]);
/* Another opening of the log, of one kind or another; the memory ends all leases. */
void twins_reopen(struct twins *t);

/* --- twins_compare_testing.c: all they hold */
void twins_compare(struct twins *t);
/* Octets of two bodies from an offset; at their end, 0. */
int64_t twins_compare_octets(struct twins *t, void *const body[2], uint64_t offset, size_t n);
void twins_compare_due(struct twins *t);

/* --- twins_put_testing.c: messages on their way in */
void twins_describe_unit(struct twins *t, struct unit_state *unit, int64_t due_us);
int64_t twins_due(struct twins *t);
uint32_t twins_group(struct twins *t);
void twins_play_draft(struct twins *t); /* something about a put, at random */
void twins_play_mail(struct twins *t);  /* a message from begin to commit */
void twins_abort_drafts(struct twins *t);

/* --- twins_play_testing.c: what happens to messages, at random */
void twins_play(struct twins *t);
void twins_close_bodies(struct twins *t);

#endif
