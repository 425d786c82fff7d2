/*
 * daemon/outgoing.h: what mail to other servers is sent with: the relay, its DNS client, its TLS contexts; and which addresses are this
 * server's own, so that mail does not come back.
 */
#ifndef DAEMON_OUTGOING_H
#define DAEMON_OUTGOING_H

#include "base/err.h"
#include "base/log.h"

struct daemon;
struct generation;
struct outgoing;
struct transport;

/* Reads the addresses of the machine's interfaces: before the sandbox, which forbids it. 0 or BARID_ENOMEM; without the list only what is
 * listened on by name counts as our own. */
int outgoing_new(struct outgoing **o_r, struct daemon *d, struct err *err);
/* The relay as that version wants it; the caller closes it, before outgoing_del. Once. */
int outgoing_open(struct outgoing *o, struct generation *v, struct transport **t_r, struct err *err);
/* A reload: what is sent from now on. On failure the old stays. */
int outgoing_use(struct outgoing *o, struct generation *v, struct err *err);
void outgoing_del(struct outgoing **o); /* accepts NULL */

#endif
