/* control/routes_queue.c: what is in the spool: list, count, show, and the story of one message. */
#include "control/routes_queue.h"

#include "base/slice.h"
#include "control/queue_view.h"
#include "control/routes_filter.h"
#include "control/trace_view.h"
#include "message/mail.h"

void route_count(struct request *r)
{
    r->body = queue_view_count(r->control->spool);
}

void route_list(struct request *r)
{
    struct queue_filter f;

    if (request_filter(r, QUEUE_VIEW_LIMIT_MAX, &f))
        r->body = queue_view_list(r->control->spool, &f);
}

static bool take_id(struct request *r, uint64_t *id_r)
{
    if (mail_id_parse(slice_str(r->id), id_r) == 0)
        return true;
    request_error(r, 400, "bad_id", "\"%s\" is not a queue id", r->id);
    return false;
}

void route_show(struct request *r)
{
    uint64_t id;
    int rc;

    if (!take_id(r, &id))
        return;
    rc = queue_view_message(r->control->spool, id, &r->body);
    if (rc == BARID_ENOTFOUND)
        request_error(r, 404, "no_such_message", "there is no message %s in the spool", r->id);
    else if (rc < 0)
        request_error(r, 500, "unreadable", "message %s: %s", r->id, barid_strerror(rc));
}

void route_trace(struct request *r)
{
    uint64_t id;
    int rc;

    if (!take_id(r, &id))
        return;
    rc = trace_view(r->control->spool, r->control->history, id, &r->body);
    if (rc == BARID_ENOTFOUND)
        request_error(
            r, 404, "no_such_message",
            "there is no message %s in the spool, and the history knows nothing of it", r->id);
    else if (rc < 0)
        request_error(r, 500, "unreadable", "message %s: %s", r->id, barid_strerror(rc));
}
