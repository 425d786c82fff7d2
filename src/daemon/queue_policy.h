/*
 * daemon/queue_policy.h: the policy as the queue asks it: a Lua state on the main loop, with the
 * DNS client and the configuration version that it needs. One per version, like a worker's.
 */
#ifndef DAEMON_QUEUE_POLICY_H
#define DAEMON_QUEUE_POLICY_H

#include "daemon/daemon_int.h"

/* A policy that takes with it, when its last reference is gone, what it stands on. 0 or a
 * barid_err with one line in *err. */
int queue_policy_new(struct policy **p_r, struct daemon *d, struct generation *v, struct err *err);

#endif
