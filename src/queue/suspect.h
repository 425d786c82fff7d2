/*
 * queue/suspect.h: what was being sent when the process ended (RFC 1047). On the loop, but for suspect_clear.
 *
 * Between the final dot and the record of its reply a mail may have been delivered without our knowing. Its id stands in a slot of a
 * mapped file meanwhile: a store into memory, no system call, and a killed process leaves it behind. Nothing is synced: after a power cut
 * the marks may be missing, and only they. The next start marks the units in the spool, so that policy, log and `barid queue show` see
 * that another attempt may be a second delivery.
 */
#ifndef QUEUE_SUSPECT_H
#define QUEUE_SUSPECT_H

#include "queue/queue_int.h"

/* Slots, 16 octets each: more mail than that is not sent at once (queue_options.max_works parcels or so). Without a free one a mail goes
 * unmarked. */
#define SUSPECTS_MAX 4096

struct suspect_slot;

/* Opens or makes the file and marks what the process before left there. 0, BARID_ENOMEM, BARID_EIO with *err. */
int suspects_new(struct suspects **s_r, struct queue *q, const char *path, struct err *err);
void suspects_del(struct suspects **s); /* accepts NULL */

/* NULL: none is free, or s is NULL. */
struct suspect_slot *suspect_mark(struct suspects *s, uint64_t id, uint32_t group);
void suspect_clear(struct suspect_slot *slot); /* any thread; accepts NULL */

#endif
