/* queue/route.c: see route.h. */
#include "queue/route.h"

#include <string.h>

int route_default(const struct queue *q, struct arena *arena, barid_slice target, barid_slice domain, struct route *r, struct err *err)
{
    struct hop hops[HOP_LIST_MAX];
    int rc = routing_hops(&q->routing, arena, target, domain, hops, HOP_LIST_MAX, &r->n, err);

    if (rc != 0)
        return rc;
    r->hops = arena_alloc(arena, r->n * sizeof(*hops));
    if (r->hops == NULL)
        return BARID_ENOMEM;
    memcpy(r->hops, hops, r->n * sizeof(*hops));
    return 0;
}

uint32_t route_group(const struct queue *q, struct arena *arena, barid_slice domain)
{
    struct hop hop;
    size_t n;

    if (routing_hops(&q->routing, arena, (barid_slice){0}, domain, &hop, 1, &n, NULL) != 0)
        return SPOOL_GROUP_NONE;
    return hop_group(&hop, q->o.spool->key);
}
