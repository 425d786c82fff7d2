/*
 * spool/units.h: the units of one message while they are in memory: states, leases, and what
 * may follow what. Knows no storage and no lock: the owner of the message holds one.
 */
#ifndef SPOOL_UNITS_H
#define SPOOL_UNITS_H

#include "interface/spool.h"

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

int64_t units_next(
    const struct units *u); /* earliest pending unit without a lease; INT64_MAX = none */
bool units_over(const struct units *u); /* none is pending or held */

/* Leases every free unit that is due. *list_r is from malloc(3). 0, ENOMEM, or ENOTFOUND (none
 * is due). */
int units_claim(struct units *u, int64_t now_us, uint64_t lease, uint32_t **list_r,
                size_t *n_r);

/*
 * New states, all or none. lease != 0: every unit must be of that lease (else BARID_EINVALID),
 * which ends. lease 0, the operator: no unit may be leased (BARID_EAGAIN). BARID_EINVALID (no
 * such unit or status), BARID_ENOMEM.
 */
int units_change(struct units *u, uint64_t lease, const struct unit_change *changes, size_t n);
size_t units_release(struct units *u, uint64_t lease); /* how many */

bool unit_states_over(const struct unit_state *states,
                      size_t n); /* units_over of states elsewhere */
bool unit_state_valid(const struct unit_state *state);

#endif
