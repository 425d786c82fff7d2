/* queue/route.c: see route.h. */
#include "queue/route.h"

#include "base/slice.h"

static int parse_list(const struct queue *q, struct arena *arena, barid_slice list, struct route *r, struct err *err)
{
    barid_slice text;
    int rc = 0;

    while (rc == 0 && r->n < HOP_LIST_MAX && hop_list_next(&list, &text)) {
        rc = hop_copy(&r->hops[r->n], arena, &q->routing.base);
        if (rc == 0)
            rc = hop_parse(&r->hops[r->n], arena, text, err);
        r->n += rc == 0;
    }
    return rc;
}

static int copy_list(struct arena *arena, const struct hop *from, size_t n, struct route *r)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = hop_copy(&r->hops[r->n++], arena, &from[i]);
    return rc;
}

int route_default(const struct queue *q, struct arena *arena, barid_slice target, barid_slice domain, struct route *r, struct err *err)
{
    size_t cap = target.n > 0 ? HOP_LIST_MAX : q->routing.n_relayhosts > 0 ? q->routing.n_relayhosts : 1;

    r->n = 0;
    r->hops = arena_alloc(arena, cap * sizeof(*r->hops));
    if (r->hops == NULL)
        return BARID_ENOMEM;
    if (target.n == 0 && q->routing.n_relayhosts > 0)
        return copy_list(arena, q->routing.relayhosts, q->routing.n_relayhosts, r);
    if (target.n == 0 && domain.n == 0)
        return err_set(err, BARID_ESYNTAX, "an address without a domain");
    return parse_list(q, arena, target.n > 0 ? target : domain, r, err);
}

uint32_t route_group(const struct queue *q, struct arena *arena, barid_slice domain)
{
    struct err err = {0};
    struct hop hop;

    if (routing_first(&q->routing, arena, (barid_slice){0}, domain, &hop, &err) != 0)
        return SPOOL_GROUP_NONE;
    return hop_group(&hop, q->o.spool->key);
}
