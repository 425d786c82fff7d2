/* control/trace_view.c: the record where there is one, and what the history kept. The trace of the policy comes from either. */
#include "control/trace_view.h"

#include "control/history_json.h"
#include "control/queue_int.h"

struct telling {
    json_t *list;
    json_t *explain; /* of SPOOLED */
    bool cut;
};

static bool add_entry(void *user, const struct history_entry *e)
{
    struct telling *t = user;

    t->cut = json_array_size(t->list) == TRACE_ENTRIES_MAX;
    if (t->cut)
        return false;
    if (e->kind == HISTORY_SPOOLED && t->explain == NULL)
        t->explain = explain_json(e->text);
    json_array_append_new(t->list, history_entry_json(e));
    return true;
}

static int view_message(struct spool *spool, uint64_t id, json_t **message_r)
{
    int rc = spool != NULL ? queue_view_message(spool, id, message_r) : BARID_ENOTFOUND;

    return rc == BARID_ENOTFOUND ? 0 : rc;
}

int trace_view(struct spool *spool, struct history *history, uint64_t id, json_t **trace_r)
{
    struct telling t = {.list = json_array()};
    json_t *message = NULL, *explain;
    char text[MAIL_ID_TEXT_SIZE];
    int rc = history != NULL && history->ops->read != NULL
                 ? history->ops->read(history, id, add_entry, &t)
                 : 0;

    if (rc == 0)
        rc = view_message(spool, id, &message);
    if (rc == 0 && message == NULL && json_array_size(t.list) == 0)
        rc = BARID_ENOTFOUND;
    if (rc == 0 && (*trace_r = json_object()) == NULL)
        rc = BARID_ENOMEM;
    explain = message != NULL ? json_incref(json_object_get(message, "explain"))
                              : json_incref(t.explain);
    if (rc == 0) {
        mail_id_text(id, text);
        json_object_set_new(*trace_r, "id", json_string(text));
        json_object_set(*trace_r, "explain", explain);
        json_object_set_new(*trace_r, "message",
                            message != NULL ? json_incref(message) : json_null());
        json_object_set(*trace_r, "history", t.list);
        if (t.cut)
            json_object_set_new(*trace_r, "cut", json_true());
    }
    json_decref(explain);
    json_decref(message);
    json_decref(t.explain);
    json_decref(t.list);
    return rc;
}
