/* control/routes_filter.c: see routes_filter.h. */
#include "control/routes_filter.h"

#include "base/slice.h"
#include "message/mail.h"

/* Each reads one argument; false = it was refused. */
static bool filter_state(struct request *r, struct queue_filter *f)
{
    barid_slice s = request_argument(r, "state");

    if (s.n > 0 && (f->state = queue_state_by_name(s)) < 0) {
        request_error(r, 400, "bad_argument",
                      "state must be active, held, removed, quarantined or deferred");
        return false;
    }
    return true;
}

static bool filter_number(struct request *r, const char *name, uint64_t max, uint64_t *value_r)
{
    barid_slice s = request_argument(r, name);

    if (s.n > 0 && slice_u64(s, max, value_r) < 0) {
        request_error(r, 400, "bad_argument", "%s must be a number up to %llu", name,
                      (unsigned long long)max);
        return false;
    }
    return true;
}

static bool filter_after(struct request *r, struct queue_filter *f)
{
    barid_slice s = request_argument(r, "after");

    if (s.n > 0 && mail_id_parse(s, &f->after) < 0) {
        request_error(r, 400, "bad_argument", "after must be a queue id");
        return false;
    }
    return true;
}

bool request_filter(struct request *r, uint64_t limit_max, struct queue_filter *f)
{
    int64_t now = clock_wall_us(loop_clock(r->control->loop));
    uint64_t older_s = UINT64_MAX, younger_s = UINT64_MAX, limit = 0;

    queue_filter_init(f);
    f->sender = request_argument(r, "sender");
    f->recipient = request_argument(r, "recipient");
    f->next_hop = request_argument(r, "next_hop");
    if (!filter_state(r, f) || !filter_after(r, f) ||
        !filter_number(r, "limit", limit_max, &limit) ||
        !filter_number(r, "older", UINT32_MAX, &older_s) ||
        !filter_number(r, "younger", UINT32_MAX, &younger_s))
        return false;
    f->limit = (size_t)limit;
    if (older_s != UINT64_MAX)
        f->before_us = now - (int64_t)older_s * 1000000;
    if (younger_s != UINT64_MAX)
        f->after_us = now - (int64_t)younger_s * 1000000;
    return true;
}

bool request_has_filter(const struct request *r)
{
    static const char *const names[] = {"state",    "sender", "recipient",
                                        "next_hop", "older",  "younger"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (request_argument(r, names[i]).n > 0)
            return true;
    return false;
}
