/*
 * spool/units.h: the units of one message while they are in memory: states, leases, and what
 * may follow what. Knows no storage and no lock: the owner of the message holds one.
 */
#ifndef SPOOL_UNITS_H
#define SPOOL_UNITS_H

#include "interface/spool.h"

/*
 * What is known of units without having them: of those that wait, whoever holds them. group is that of all of them; of several
 * groups (is_mixed) it is two bits for each, so that a message without a certain group is mostly known to be one.
 */
struct units_digest {
    int64_t next_us; /* earliest; INT64_MAX = none waits */
    uint32_t group;
    bool is_mixed;
    bool tried; /* one of them was attempted before */
};
struct units_digest unit_states_digest(const struct unit_state *states, size_t n);
struct units;
struct units_digest units_digest(const struct units *u);

/* Hastening a group in a message that has this digest, of which `hastened` was hastened before: what to hasten from now on, 0 = the
 * group is not in it. SPOOL_GROUP_MIXED: all that was attempted; else what was attempted and has that group. Of a mixed one it
 * may be in it: units_hastens tells. */
uint32_t digest_hasten(const struct units_digest *d, uint32_t group, uint32_t hastened);
static inline uint32_t digest_group(const struct units_digest *d)
{
    return d->is_mixed ? SPOOL_GROUP_MIXED : d->group;
}

struct unit {
    struct unit_state state; /* state.reply is an own block of mem, or empty */
    uint64_t lease;          /* 0 = nobody has it */
};

struct units {
    const barid_mem *mem;
    struct unit *v; /* NULL when n is 0 */
    uint32_t n;
    uint32_t leased; /* units with a lease */
};

/* Copies states; replies are cut at SPOOL_UNIT_REPLY_MAX. 0 or BARID_ENOMEM (units is then
 * empty). */
int units_init(struct units *u, const barid_mem *mem, const struct unit_state *states,
               size_t n);
void units_deinit(struct units *u);

/* Earliest unit that waits and has no lease; INT64_MAX = none. What is hastened is due at 0. */
int64_t units_next(const struct units *u, uint32_t hastened);
/* Whether a unit without a lease is due at 0 for this. */
bool units_hastens(const struct units *u, uint32_t hastened);
bool units_over(const struct units *u); /* none waits or is held */

/* Leases every free unit that is due. *list_r is from malloc(3). 0, ENOMEM, or ENOTFOUND (none
 * is due). */
int units_claim(struct units *u, int64_t now_us, uint32_t hastened, uint64_t lease,
                uint32_t **list_r, size_t *n_r);

/*
 * New states, all or none. lease != 0: every unit must be of that lease (else BARID_EINVALID),
 * which ends. lease 0, the operator: no unit may be leased, nor one that is done become anything
 * else (BARID_EAGAIN). BARID_EINVALID (no such unit or status), BARID_ENOMEM.
 */
int units_change(struct units *u, uint64_t lease, const struct unit_change *changes, size_t n);
size_t units_release(struct units *u, uint64_t lease); /* how many */

bool unit_states_over(const struct unit_state *states,
                      size_t n); /* units_over of states elsewhere */
bool unit_state_valid(const struct unit_state *state);

#endif
