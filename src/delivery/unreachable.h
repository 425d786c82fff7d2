/*
 * delivery/unreachable.h: addresses that could not be reached just now. A thousand mails must not each wait for the connect timeout of
 * a first exchanger that is down: what is remembered here is tried last. Bounded; the oldest is forgotten first.
 */
#ifndef DELIVERY_UNREACHABLE_H
#define DELIVERY_UNREACHABLE_H

#include <stdbool.h>

#include "barid/endpoint.h"

#define UNREACHABLE_MAX                                                                        \
    256 /* looked through for every address of every mail; more hosts are seldom down at once */
#define UNREACHABLE_MS                                                                         \
    60000 /* then it is tried in its turn again: a restart of a server takes less */

struct unreachable {
    struct {
        barid_endpoint address; /* family 0: nothing */
        uint64_t until_ms;
    } rows[UNREACHABLE_MAX];
};

/* Starts all zero. */
void unreachable_add(struct unreachable *u, const barid_endpoint *address, uint64_t now_ms);
void unreachable_remove(struct unreachable *u,
                        const barid_endpoint *address); /* it was reached */
bool unreachable_has(const struct unreachable *u, const barid_endpoint *address,
                     uint64_t now_ms);

#endif
