/* control/queue_view.c: what is in a spool, as JSON: pages and counts. Must not know whether it answers a socket or a terminal. */
#include "control/queue_int.h"

#include "base/slice.h"
#include "control/json_text.h"

static void list_one(struct spool *s, const struct queue_filter *f,
                     const struct spool_message *info, json_t *list)
{
    struct view v;
    int rc = view_open(&v, s, info->id);

    /* A message that left meanwhile is not listed; a damaged one is, where no filter would have to read it. */
    if (rc == 0 ? filter_takes(f, &v) : rc != BARID_ENOTFOUND && !filter_reads(f))
        json_array_append_new(list, message_summary(info, &v, rc));
    view_close(&v);
}

json_t *queue_view_list(struct spool *s, const struct queue_filter *f)
{
    size_t limit = f->limit == 0                     ? QUEUE_VIEW_LIMIT
                   : f->limit < QUEUE_VIEW_LIMIT_MAX ? f->limit
                                                     : QUEUE_VIEW_LIMIT_MAX;
    json_t *o = json_object(), *list = json_array();
    struct spool_message info = {.id = f->after};
    char next[MAIL_ID_TEXT_SIZE];
    size_t examined = 0;
    int rc = 1;

    while (json_array_size(list) < limit && (rc = filter_next(f, s, &info, &examined)) > 0)
        list_one(s, f, &info, list);
    mail_id_text(info.id, next);
    json_object_set_new(o, "messages", list);
    json_object_set_new(o, "examined", json_integer((json_int_t)examined));
    json_object_set_new(o, "next", rc < 0 ? json_null() : json_string(next));
    return o;
}

json_t *queue_view_count(struct spool *s)
{
    struct spool_stats st = {0};
    json_t *o = json_object();
    uint64_t sum = 0;

    s->ops->stats(s, &st);
    for (size_t i = 0; i < 4; i++) {
        json_object_set_new(o, queue_state_name((enum spool_state)i),
                            json_integer((json_int_t)st.messages[i]));
        sum += st.messages[i];
    }
    json_object_set_new(o, "messages", json_integer((json_int_t)sum));
    json_object_set_new(o, "live_bytes", json_integer((json_int_t)st.live_bytes));
    json_object_set_new(o, "disk_bytes", json_integer((json_int_t)st.disk_bytes));
    json_object_set_new(o, "free_bytes", json_integer((json_int_t)st.free_bytes));
    json_object_set_new(o, "damaged", json_integer((json_int_t)st.damaged));
    json_object_set_new(o, "full", json_boolean(st.full));
    json_object_set_new(o, "failed", json_boolean(st.failed));
    if (st.failed)
        json_object_set_new(o, "failure", json_text(slice_str(st.failure)));
    return o;
}

int queue_view_message(struct spool *s, uint64_t id, json_t **message_r)
{
    struct view v;
    int rc = view_open(&v, s, id);

    if (rc == 0)
        *message_r = message_json(&v);
    view_close(&v);
    return rc;
}
