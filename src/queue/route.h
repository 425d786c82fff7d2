/*
 * queue/route.h: where mail goes before policy is asked: the next hops that a unit names, or the relay hosts, or the domain of its
 * recipient.
 */
#ifndef QUEUE_ROUTE_H
#define QUEUE_ROUTE_H

#include "queue/work.h"

struct route {
    struct hop *hops; /* in the arena, with all that they point to */
    size_t n;
};

/* domain: lower case or not, a literal in brackets; looked at where target is empty and there is no relay host. 0; BARID_ENOMEM;
 * BARID_ESYNTAX with *err: that is no next hop. */
int route_default(const struct queue *q, struct arena *arena, barid_slice target, barid_slice domain, struct route *r, struct err *err);
/* The group of mail to that domain; SPOOL_GROUP_NONE where there is none. */
uint32_t route_group(const struct queue *q, struct arena *arena, barid_slice domain);

#endif
