/*
 * spool/player_testing.h: works a store at random: commits of one or several, with bodies shared
 * or large, removals, deliveries, deferrals, states; several at a time, so that batches are of
 * many. What it asks and what is acknowledged it notes in a ledger. Test code only.
 */
#ifndef SPOOL_PLAYER_TESTING_H
#define SPOOL_PLAYER_TESTING_H

#include <pthread.h>

#include "base/rng.h"
#include "spool/ledger_testing.h"

#define PLAYER_START_US 1800000000000000 /* when its messages are due, and the clock of tests */

/* Chances are one in so many; 0 = never. */
struct player_mix {
    unsigned commits, erases, delivers, states; /* of all steps, in parts */
    unsigned big_one_in;                        /* bodies above SPOOL_BODY_MEMORY */
    unsigned stays_one_in; /* messages that are put off whenever they are tried */
    size_t body_most;
    size_t at_once; /* steps begun before the first is waited for */
};

struct player {
    struct spool *s;
    const struct player_mix *mix;
    struct rng_seeded rng;
    struct ledger *ledger;
    /* Told every mark, in order, before it has any effect; NULL = nobody. */
    void (*told)(void *user, const struct ledger_mark *m);
    void *told_user;
    pthread_mutex_t lock; /* the ledger, while the store lives, and what is below */
    pthread_cond_t cond;
    size_t under_way;
    size_t refused; /* by an error: of the call, or of its end */
};

void player_init(struct player *p, struct ledger *ledger, const struct player_mix *mix,
                 uint64_t seed);
void player_deinit(struct player *p);
/* Several steps at once; comes back when all are over. */
void player_step(struct player *p);
/* Asks each message that is there to go, one by one: 0, or the first error. */
int player_erase_all(struct player *p);

#endif
