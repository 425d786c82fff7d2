/* control/history_json.c: see history_json.h. */
#include "control/history_json.h"

#include "base/slice.h"
#include "control/json_text.h"
#include "control/queue_int.h"

static void put_id(json_t *o, const char *key, uint64_t id)
{
    char text[MAIL_ID_TEXT_SIZE];

    if (id == 0)
        return;
    mail_id_text(id, text);
    json_object_set_new(o, key, json_string(text));
}

static void put_rcpts(json_t *o, barid_slice rcpts)
{
    json_t *list;

    if (rcpts.n == 0)
        return;
    list = json_array();
    while (rcpts.n > 0)
        json_array_append_new(list, json_text(slice_cut(rcpts, ' ', &rcpts)));
    json_object_set_new(o, "recipients", list);
}

json_t *history_entry_json(const struct history_entry *e)
{
    json_t *o = json_object();

    json_object_set_new(o, "at", json_time(e->time_us));
    json_object_set_new(o, "event", json_string(history_kind_name(e->kind)));
    put_id(o, "id", e->id);
    if (e->kind == HISTORY_SPOOLED) /* "" is a sender, too */
        json_object_set_new(o, "sender", json_text(e->sender));
    put_rcpts(o, e->rcpts);
    put_text(o, "next_hop", e->hop);
    put_text(o, "remote", e->remote);
    put_text(o, "reply", e->reply);
    put_text(o, "where", e->where);
    if (e->kind != HISTORY_SPOOLED)
        put_text(o, "text", e->text);
    put_id(o, "other", e->other);
    if (e->due_us != 0)
        json_object_set_new(o, "due", json_time(e->due_us));
    if (e->attempts != 0)
        json_object_set_new(o, "attempts", json_integer(e->attempts));
    if (e->suspect)
        json_object_set_new(o, "suspect", json_true());
    return o;
}
