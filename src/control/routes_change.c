/* control/routes_change.c: the arguments of what operators do, see queue_change.h. */
#include "control/routes_queue.h"

#include "base/slice.h"
#include "control/queue_change.h"
#include "control/routes_filter.h"
#include "message/mail.h"

/* Seconds of an interval that an operator puts in front: a month; more is a mistake. */
#define INTERVAL_S_MAX 2678400

static bool take_intervals(struct request *r, struct queue_change *c)
{
    barid_slice list = request_argument(r, "interval");
    size_t n = 0;

    while (list.n > 0) {
        uint64_t seconds = 0;

        if (n == UNIT_AHEAD_MAX ||
            slice_u64(slice_cut(list, ',', &list), INTERVAL_S_MAX, &seconds) < 0 ||
            seconds == 0) {
            request_error(r, 400, "bad_argument",
                          "interval takes 1 to %d numbers of seconds, each 1 to %d",
                          UNIT_AHEAD_MAX, INTERVAL_S_MAX);
            return false;
        }
        c->ahead_s[n++] = (uint32_t)seconds;
    }
    return true;
}

static void change_ids(struct request *r, const struct queue_change *c, barid_slice list)
{
    uint64_t ids[REQUEST_TEXT_MAX / MAIL_ID_TEXT_SIZE + 1];
    size_t n = 0;

    while (list.n > 0) {
        barid_slice id = slice_cut(list, ',', &list);

        if (mail_id_parse(id, &ids[n++]) < 0) {
            request_error(r, 400, "bad_id", "\"%.*s\" is not a queue id", (int)id.n, id.p);
            return;
        }
    }
    r->body = queue_change_ids(c, ids, n);
}

static void change_filtered(struct request *r, const struct queue_change *c)
{
    struct queue_filter f;

    if (request_filter(r, QUEUE_CHANGE_MAX, &f))
        r->body = queue_change_all(c, &f);
}

static void change(struct request *r, const struct queue_verb *verb)
{
    struct queue_change c = {.verb = verb,
                             .spool = r->control->spool,
                             .history = r->control->history,
                             .now_us = clock_wall_us(loop_clock(r->control->loop)),
                             .quarantined = slice_eq(request_argument(r, "state"), BARID_S("quarantined")),
                             .held = request_argument(r, "held").n > 0};
    barid_slice ids = request_argument(r, "id");
    bool all = c.held || request_argument(r, "all").n > 0 || request_has_filter(r);

    if (!take_intervals(r, &c))
        return;
    if (ids.n > 0 && all)
        request_error(r, 400, "bad_argument", "either ids or filters");
    else if (ids.n > 0)
        change_ids(r, &c, ids);
    else if (all)
        change_filtered(r, &c);
    else
        request_error(r, 400, "bad_argument",
                      "which messages? id=ID,ID,..., a filter, or all=1");
}

void route_hold(struct request *r)
{
    change(r, &queue_hold);
}
void route_release(struct request *r)
{
    change(r, &queue_release);
}
void route_retry(struct request *r)
{
    change(r, &queue_retry);
}
void route_remove(struct request *r)
{
    change(r, &queue_remove);
}
void route_recover(struct request *r)
{
    change(r, &queue_recover);
}
void route_bounce(struct request *r)
{
    change(r, &queue_bounce);
}
