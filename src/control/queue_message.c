/* control/queue_message.c: one message as JSON. Must not know whether it answers a socket or a terminal. */
#include "control/queue_int.h"

#include <string.h>

#include "base/slice.h"
#include "control/json_text.h"

static const char *const status_names[UNIT_STATUSES] = {"pending", "done", "failed", "held",
                                                        "given up"};

const char *unit_status_name(enum unit_status status)
{
    return (unsigned)status < UNIT_STATUSES ? status_names[status] : "?";
}

int view_open(struct view *v, struct spool *s, uint64_t id)
{
    int rc;

    memset(v, 0, sizeof(*v));
    v->spool = s;
    arena_init(&v->arena, NULL, 0);
    rc = s->ops->load(s, id, &v->loaded);
    if (rc < 0)
        return rc;
    v->is_loaded = true;
    return record_decode(&v->mail, &v->arena, v->loaded.meta, v->loaded.header, &v->units,
                         &v->n_units);
}

void view_close(struct view *v)
{
    if (v->is_loaded)
        v->spool->ops->loaded_free(&v->loaded);
    arena_deinit(&v->arena);
}

barid_slice view_next_hop(const struct view *v, size_t unit)
{
    const struct unit *u = &v->units[unit];

    if (u->kind != DISPOSITION_SEND || u->target.n > 0)
        return u->kind == DISPOSITION_SEND ? u->target : (barid_slice){0};
    return u->n_rcpts > 0 && u->rcpts[0] < v->mail.n_rcpts
               ? v->mail.rcpts[u->rcpts[0]]->box.domain
               : (barid_slice){0};
}

/* --- pieces ------------------------------------------------------------------------------------------ */

void put_text(json_t *o, const char *key, barid_slice s)
{
    if (s.n > 0)
        json_object_set_new(o, key, json_text(s));
}

static void put_info(json_t *o, const struct spool_message *m)
{
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(m->id, id);
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "state", json_string(queue_state_name(m->state)));
    json_object_set_new(o, "size", json_integer((json_int_t)m->size));
    /* 0: made due by the store, whatever its schedule says (spool.h, hasten). */
    json_object_set_new(o, "next_attempt", m->next_due_us == 0 ? json_string("now") : json_time(m->next_due_us));
}

static void put_unit_counts(json_t *o, const struct spool_loaded *l)
{
    json_t *counts = json_object();
    size_t n[UNIT_STATUSES] = {0};
    barid_slice last = {0};

    for (size_t i = 0; i < l->n_units; i++) {
        n[l->units[i].status]++;
        if (l->units[i].reply.n > 0 && l->units[i].status != UNIT_DONE)
            last = l->units[i].reply;
    }
    for (size_t i = 0; i < UNIT_STATUSES; i++)
        json_object_set_new(counts, status_names[i], json_integer((json_int_t)n[i]));
    json_object_set_new(o, "units", counts);
    put_text(o, "last_reply", last);
}

static void put_envelope(json_t *o, const struct mail *m)
{
    json_t *list = json_array();

    json_object_set_new(o, "received", json_time(m->received_us));
    json_object_set_new(o, "sender", json_text(m->sender.address));
    for (size_t i = 0; i < m->n_rcpts; i++)
        json_array_append_new(list, json_text(m->rcpts[i]->box.address));
    json_object_set_new(o, "recipients", list);
    put_text(o, "reason", m->state_reason);
}

json_t *message_summary(const struct spool_message *info, const struct view *v, int rc)
{
    json_t *o = json_object();

    put_info(o, info);
    if (rc < 0) {
        json_object_set_new(o, "error", json_string(barid_strerror(rc)));
        return o;
    }
    put_envelope(o, &v->mail);
    put_unit_counts(o, &v->loaded);
    return o;
}

/* --- all of it --------------------------------------------------------------------------------------- */

static json_t *session_json(const struct session_facts *f)
{
    json_t *o = json_object();
    char client[ENDPOINT_TEXT_SIZE];

    endpoint_text(&f->client, client);
    json_object_set_new(o, "id", json_string(f->id));
    json_object_set_new(o, "client", json_string(client));
    put_text(o, "client_name", f->client_name);
    put_text(o, "listener", f->listener);
    put_text(o, "helo", f->helo);
    json_object_set_new(o, "with", json_string(facts_with_protocol(f, false)));
    json_object_set_new(o, "tls", json_boolean(f->tls));
    put_text(o, "tls_version", f->tls_version);
    put_text(o, "tls_cipher", f->tls_cipher);
    put_text(o, "user", f->user);
    return o;
}

static json_t *recipients_json(const struct mail *m)
{
    static const char *const verdicts[] = {"pending",   "accepted",    "rejected", "tempfailed",
                                           "discarded", "quarantined", "held"};
    json_t *list = json_array();

    for (size_t i = 0; i < m->n_rcpts; i++) {
        const struct rcpt *r = m->rcpts[i];
        json_t *o = json_object();

        json_object_set_new(o, "address", json_text(r->box.address));
        put_text(o, "original", r->original);
        json_object_set_new(o, "local", json_boolean(r->is_local));
        json_object_set_new(o, "verdict",
                            json_string((unsigned)r->verdict < 7 ? verdicts[r->verdict] : "?"));
        put_text(o, "reply", r->reply);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *unit_recipients(const struct mail *m, const struct unit *u)
{
    json_t *list = json_array();

    for (size_t i = 0; i < u->n_rcpts; i++)
        if (u->rcpts[i] < m->n_rcpts)
            json_array_append_new(list, json_text(m->rcpts[u->rcpts[i]]->box.address));
    return list;
}

static void put_ahead(json_t *o, const struct unit_state *st)
{
    json_t *list = NULL;

    for (size_t i = 0; i < UNIT_AHEAD_MAX && st->ahead_s[i] != 0; i++) {
        if (list == NULL)
            json_object_set_new(o, "intervals", list = json_array());
        json_array_append_new(list, json_integer(st->ahead_s[i]));
    }
}

static json_t *units_json(const struct view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->n_units && i < v->loaded.n_units; i++) {
        const struct unit *u = &v->units[i];
        const struct unit_state *st = &v->loaded.units[i];
        json_t *o = json_object();

        json_object_set_new(
            o, "kind", json_string(u->kind != 0 ? disposition_kind_name(u->kind) : "none"));
        put_text(o, "target", u->target);
        json_object_set_new(o, "recipients", unit_recipients(&v->mail, u));
        json_object_set_new(o, "status", json_string(unit_status_name(st->status)));
        if (unit_waits(st->status))
            json_object_set_new(o, "due", json_time(st->due_us));
        json_object_set_new(o, "attempts", json_integer((json_int_t)st->attempts));
        put_text(o, "next_hop", view_next_hop(v, i));
        put_text(o, "reply", st->reply);
        if (st->suspect)
            json_object_set_new(o, "suspect", json_true());
        put_ahead(o, st);
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *var_json(const struct var *v)
{
    switch (v->type) {
    case VAR_BOOL:
        return json_boolean(v->flag);
    case VAR_INT:
        return json_integer((json_int_t)v->num);
    case VAR_NUM:
        return json_real(v->real); /* NULL for NaN, which JSON has not */
    case VAR_STR:
        return json_text(v->str);
    }
    return json_null();
}

static json_t *vars_json(const struct vars *vars)
{
    json_t *o = json_object();

    for (size_t i = 0; i < vars->n; i++) {
        json_t *key = json_text(vars->v[i].key), *value = var_json(&vars->v[i]);

        if (key != NULL)
            json_object_set_new(o, json_string_value(key), value != NULL ? value : json_null());
        json_decref(key);
    }
    return o;
}

static json_t *explain_entry_json(const struct explain_entry *e)
{
    const barid_event_info *info = barid_event_info_get(e->event);
    json_t *o = json_object();

    json_object_set_new(o, "at", json_time(e->at_us));
    json_object_set_new(o, "event",
                        json_string(info != NULL && info->name != NULL ? info->name : ""));
    json_object_set_new(o, "verdict", json_string(barid_verdict_name(e->verdict)));
    if (e->rcpt_index != UINT32_MAX)
        json_object_set_new(o, "recipient", json_integer((json_int_t)e->rcpt_index));
    if (e->code != 0)
        json_object_set_new(o, "code", json_integer(e->code));
    put_text(o, "handler", e->handler);
    put_text(o, "where", e->where);
    put_text(o, "text", e->text);
    return o;
}

json_t *explain_json(barid_slice trace)
{
    struct explain_entry e;
    json_t *list = json_array();
    int64_t clock = 0;
    size_t at = 0;

    while (explain_next(trace, &at, &clock, &e) == 1)
        json_array_append_new(list, explain_entry_json(&e));
    return list;
}

json_t *message_json(const struct view *v)
{
    json_t *o = message_summary(&v->loaded.info, v, 0);

    json_object_set_new(o, "session",
                        v->mail.session != NULL ? session_json(v->mail.session) : json_null());
    json_object_set_new(o, "recipients", recipients_json(&v->mail));
    json_object_set_new(o, "units", units_json(v));
    json_object_set_new(o, "vars", vars_json(&v->mail.vars));
    json_object_set_new(o, "explain", explain_json(explain_data(&v->mail.explain)));
    json_object_set_new(o, "header", json_text(v->loaded.header));
    return o;
}
