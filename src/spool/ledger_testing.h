/*
 * spool/ledger_testing.h: what a test asked of a store and what the store acknowledged, as marks
 * in the order they were made, and the check of a store against them. Test code only.
 *
 * A message is MAYBE from the moment it is asked for, THERE once acknowledged, LEAVING from the
 * moment it is asked to go, AWAY once that is acknowledged. THERE must be found, whole; AWAY
 * must not; MAYBE and LEAVING may be either, and after a check they are one of the two.
 */
#ifndef SPOOL_LEDGER_TESTING_H
#define SPOOL_LEDGER_TESTING_H

#include "interface/spool.h"

enum ledger_kind {
    LEDGER_PUT,
    LEDGER_PUT_DONE,
    LEDGER_GO,
    LEDGER_GO_DONE,
    LEDGER_STATE, /* value: enum spool_state */
    LEDGER_STATE_DONE,
    LEDGER_TRY, /* value: attempts of each unit */
    LEDGER_TRY_DONE,
};

struct ledger_mark {
    enum ledger_kind kind;
    uint32_t value;
    uint64_t message;            /* its number in the ledger */
    uint64_t id, seed, n, group; /* of a PUT: group = number of the first of its commit */
};

enum mind { MAYBE, THERE, LEAVING, AWAY };

struct known {
    uint64_t id, seed, n, group;
    enum mind mind;
    uint32_t state, other_state; /* other: asked for and not acknowledged */
    uint32_t tries, other_tries;
    bool was_there; /* once: its id must never be given out again */
    bool busy;      /* for the player: something about it is under way */
};

struct ledger {
    struct known *known;
    size_t n, cap;
    char failure[200]; /* the first thing that was wrong; empty = nothing */
};

void ledger_init(struct ledger *l);
void ledger_deinit(struct ledger *l);
void ledger_copy(struct ledger *to, const struct ledger *from); /* `to` is initialized */
void ledger_note(struct ledger *l, const struct ledger_mark *m);
/* k may be NULL. */
void ledger_complain(struct ledger *l, const struct known *k, const char *what);
/* All of it, after a start: messages, groups, states, no damage. */
void ledger_check(struct ledger *l, struct spool *s);

#endif
