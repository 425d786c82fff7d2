/*
 * daemon/routing.h: from declarations to next hops: how every one begins (relay), and where all
 * mail to others goes (relayhost).
 */
#ifndef DAEMON_ROUTING_H
#define DAEMON_ROUTING_H

#include "message/hop.h"
#include "policy/config.h"

/* Borrows the texts of c, which outlives it; the rest is in arena. 0 or a barid_err with *err. */
int routing_make(struct routing *r, struct arena *arena, const struct config *c,
                 struct err *err);

#endif
