/* control/queue_view.c: spool records as JSON. Must not know whether it answers a socket or a terminal. */
#include "control/queue_view.h"

#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/slice.h"
#include "control/json_text.h"
#include "message/record.h"

static const char *const state_names[] = {"active", "held", "removed", "quarantined"};
static const char *const unit_names[] = {"pending", "done", "failed", "held", "given up"};

struct view { /* one message read back */
    struct arena arena;
    struct spool *spool;
    struct spool_loaded loaded;
    bool is_loaded;
    struct mail mail;
    struct unit *units;
    size_t n_units;
};

void queue_filter_init(struct queue_filter *f)
{
    *f = (struct queue_filter){.state = -1, .before_us = INT64_MAX};
}

int queue_state_by_name(barid_slice name)
{
    for (int i = 0; i < 4; i++)
        if (slice_eq(name, slice_str(state_names[i])))
            return i;
    return -1;
}

static int view_open(struct view *v, struct spool *s, uint64_t id)
{
    int rc;

    memset(v, 0, sizeof(*v));
    v->spool = s;
    arena_init(&v->arena, NULL, 0);
    rc = s->ops->load(s, id, &v->loaded);
    if (rc < 0)
        return rc;
    v->is_loaded = true;
    return record_decode(&v->mail, &v->arena, v->loaded.meta, v->loaded.header, &v->units, &v->n_units);
}

static void view_close(struct view *v)
{
    if (v->is_loaded)
        v->spool->ops->loaded_free(&v->loaded);
    arena_deinit(&v->arena);
}

/* --- pieces ------------------------------------------------------------------------------------------ */

static void put_text(json_t *o, const char *key, barid_slice s)
{
    if (s.n > 0)
        json_object_set_new(o, key, json_text(s));
}

static void put_info(json_t *o, const struct spool_message *m)
{
    char id[MAIL_ID_TEXT_SIZE];

    mail_id_text(m->id, id);
    json_object_set_new(o, "id", json_string(id));
    json_object_set_new(o, "state", json_string((unsigned)m->state < 4 ? state_names[m->state] : "?"));
    json_object_set_new(o, "size", json_integer((json_int_t)m->size));
    json_object_set_new(o, "next_attempt", json_time(m->next_due_us));
}

static void put_unit_counts(json_t *o, const struct spool_loaded *l)
{
    json_t *counts = json_object();
    size_t n[sizeof(unit_names) / sizeof(*unit_names)] = {0};
    barid_slice last = {0};

    for (size_t i = 0; i < l->n_units; i++) {
        n[l->units[i].status]++;
        if (l->units[i].reply.n > 0 && l->units[i].status != UNIT_DONE)
            last = l->units[i].reply;
    }
    for (size_t i = 0; i < sizeof(unit_names) / sizeof(*unit_names); i++)
        json_object_set_new(counts, unit_names[i], json_integer((json_int_t)n[i]));
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

static json_t *summary(const struct spool_message *info, const struct view *v, int rc)
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

/* --- filters ------------------------------------------------------------------------------------------ */

static bool address_matches(const struct mailbox *box, barid_slice pattern)
{
    if (slice_eq(pattern, BARID_S("<>")))
        return box->null || box->address.n == 0;
    if (pattern.p[0] == '@')
        return slice_eq_nocase(box->domain, slice_from(pattern, 1));
    return slice_eq_nocase(box->address, pattern);
}

static bool matches(const struct queue_filter *f, const struct mail *m)
{
    if (m->received_us >= f->before_us)
        return false;
    if (f->sender.n > 0 && !address_matches(&m->sender, f->sender))
        return false;
    if (f->recipient.n == 0)
        return true;
    for (size_t i = 0; i < m->n_rcpts; i++)
        if (address_matches(&m->rcpts[i]->box, f->recipient))
            return true;
    return false;
}

static bool filters_record(const struct queue_filter *f)
{
    return f->sender.n > 0 || f->recipient.n > 0 || f->before_us != INT64_MAX;
}

static void list_one(struct spool *s, const struct queue_filter *f, const struct spool_message *info, json_t *list)
{
    struct view v;
    int rc = view_open(&v, s, info->id);

    /* A message that left meanwhile is not listed; a damaged one is, where no filter would have to read it. */
    if (rc == 0 ? matches(f, &v.mail) : rc != BARID_ENOTFOUND && !filters_record(f))
        json_array_append_new(list, summary(info, &v, rc));
    view_close(&v);
}

json_t *queue_view_list(struct spool *s, const struct queue_filter *f)
{
    size_t limit = f->limit == 0 ? QUEUE_VIEW_LIMIT : f->limit < QUEUE_VIEW_LIMIT_MAX ? f->limit : QUEUE_VIEW_LIMIT_MAX;
    json_t *o = json_object(), *list = json_array();
    struct spool_message info = {.id = f->after};
    char next[MAIL_ID_TEXT_SIZE];
    size_t examined = 0;
    int rc = 0;

    while (json_array_size(list) < limit && examined < QUEUE_VIEW_EXAMINED_MAX) {
        rc = s->ops->after(s, info.id, &info);
        if (rc < 0)
            break;
        examined++;
        if (f->state < 0 || (int)info.state == f->state)
            list_one(s, f, &info, list);
    }
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
        json_object_set_new(o, state_names[i], json_integer((json_int_t)st.messages[i]));
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

/* --- one message --------------------------------------------------------------------------------------- */

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
    static const char *const verdicts[] = {"pending", "accepted", "rejected", "tempfailed", "discarded", "quarantined", "held"};
    json_t *list = json_array();

    for (size_t i = 0; i < m->n_rcpts; i++) {
        const struct rcpt *r = m->rcpts[i];
        json_t *o = json_object();

        json_object_set_new(o, "address", json_text(r->box.address));
        put_text(o, "original", r->original);
        json_object_set_new(o, "local", json_boolean(r->is_local));
        json_object_set_new(o, "verdict", json_string((unsigned)r->verdict < 7 ? verdicts[r->verdict] : "?"));
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

static json_t *units_json(const struct view *v)
{
    json_t *list = json_array();

    for (size_t i = 0; i < v->n_units && i < v->loaded.n_units; i++) {
        const struct unit *u = &v->units[i];
        const struct unit_state *st = &v->loaded.units[i];
        json_t *o = json_object();

        json_object_set_new(o, "kind", json_string(u->kind != 0 ? disposition_kind_name(u->kind) : "none"));
        put_text(o, "target", u->target);
        json_object_set_new(o, "recipients", unit_recipients(&v->mail, u));
        json_object_set_new(o, "status", json_string(unit_names[st->status]));
        if (unit_waits(st->status))
            json_object_set_new(o, "due", json_time(st->due_us));
        json_object_set_new(o, "attempts", json_integer((json_int_t)st->attempts));
        put_text(o, "reply", st->reply);
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
    json_object_set_new(o, "event", json_string(info != NULL && info->name != NULL ? info->name : ""));
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

static json_t *explain_json(const struct mail *m)
{
    struct explain_entry e;
    json_t *list = json_array();
    int64_t clock = 0;
    size_t at = 0;

    while (explain_next(explain_data(&m->explain), &at, &clock, &e) == 1)
        json_array_append_new(list, explain_entry_json(&e));
    return list;
}

int queue_view_message(struct spool *s, uint64_t id, json_t **message_r)
{
    struct view v;
    int rc = view_open(&v, s, id);

    if (rc == 0) {
        json_t *o = summary(&v.loaded.info, &v, 0);

        json_object_set_new(o, "session", v.mail.session != NULL ? session_json(v.mail.session) : json_null());
        json_object_set_new(o, "recipients", recipients_json(&v.mail));
        json_object_set_new(o, "units", units_json(&v));
        json_object_set_new(o, "vars", vars_json(&v.mail.vars));
        json_object_set_new(o, "explain", explain_json(&v.mail));
        json_object_set_new(o, "header", json_text(v.loaded.header));
        *message_r = o;
    }
    view_close(&v);
    return rc;
}
