/* daemon/status.c: the daemon's state as one JSON object, for GET /v1/status. */
#include "daemon/daemon_int.h"

#include <unistd.h>

#include "base/mem.h"
#include "history/history.h"

static void set_int(json_t *o, const char *key, uint64_t value)
{
    json_object_set_new(o, key, json_integer((json_int_t)value));
}

static json_t *server_json(const struct server_stats *s)
{
    json_t *o = json_object();

    set_int(o, "connections", s->connections);
    set_int(o, "sessions", s->sessions);
    set_int(o, "messages", s->messages);
    set_int(o, "recipients", s->recipients);
    set_int(o, "bytes_in", s->bytes_in);
    set_int(o, "refused", s->refused);
    set_int(o, "tempfailed", s->tempfailed);
    set_int(o, "tls_handshakes", s->tls_handshakes);
    set_int(o, "auth_ok", s->auth_ok);
    set_int(o, "auth_failed", s->auth_failed);
    return o;
}

static void add_server(struct server_stats *sum, const struct server_stats *s)
{
    sum->connections += s->connections;
    sum->sessions += s->sessions;
    sum->messages += s->messages;
    sum->recipients += s->recipients;
    sum->bytes_in += s->bytes_in;
    sum->refused += s->refused;
    sum->tempfailed += s->tempfailed;
    sum->tls_handshakes += s->tls_handshakes;
    sum->auth_ok += s->auth_ok;
    sum->auth_failed += s->auth_failed;
}

static void put_workers(struct daemon *d, json_t *o)
{
    json_t *list = json_array();
    struct server_stats sum = {0};

    for (size_t i = 0; i < d->n_workers; i++) {
        struct server_stats s;
        json_t *w;

        worker_server_stats(d->workers[i], &s);
        add_server(&sum, &s);
        w = server_json(&s);
        set_int(w, "versions", worker_versions(d->workers[i]));
        json_array_append_new(list, w);
    }
    json_object_set_new(o, "server", server_json(&sum));
    json_object_set_new(o, "workers", list);
}

static void add_policy(struct policy_stats *sum, const struct policy_stats *s)
{
    for (size_t e = 0; e < BARID_EVENTS; e++) {
        sum->event[e].asked += s->event[e].asked;
        sum->event[e].errors += s->event[e].errors;
        sum->event[e].timeouts += s->event[e].timeouts;
        sum->event[e].waited += s->event[e].waited;
        for (size_t k = 0; k < BARID_VERDICT_KINDS; k++)
            sum->event[e].verdicts[k] += s->event[e].verdicts[k];
    }
}

static json_t *event_json(const struct policy_stats *s, size_t e)
{
    json_t *o = json_object(), *verdicts = json_object();

    set_int(o, "asked", s->event[e].asked);
    set_int(o, "errors", s->event[e].errors);
    set_int(o, "timeouts", s->event[e].timeouts);
    set_int(o, "waited", s->event[e].waited);
    for (size_t k = 0; k < BARID_VERDICT_KINDS; k++)
        if (s->event[e].verdicts[k] > 0)
            set_int(verdicts, barid_verdict_name((enum barid_verdict_kind)k), s->event[e].verdicts[k]);
    json_object_set_new(o, "verdicts", verdicts);
    return o;
}

/* Only events that were asked for: the others say nothing. */
static void put_policy(struct daemon *d, json_t *o)
{
    struct policy_stats *sum = xalloc(sizeof(*sum)), *one = xalloc(sizeof(*one));
    json_t *events = json_object();

    for (size_t i = 0; i < d->n_workers; i++) {
        worker_policy_stats(d->workers[i], one);
        add_policy(sum, one);
    }
    for (size_t e = 1; e < BARID_EVENTS; e++)
        if (sum->event[e].asked > 0)
            json_object_set_new(events, barid_event_info_get((enum barid_event_id)e)->name, event_json(sum, e));
    json_object_set_new(o, "policy", events);
    mem_free(NULL, sum);
    mem_free(NULL, one);
}

static void put_queue(struct daemon *d, json_t *o)
{
    struct queue_stats s;
    json_t *q = json_object();

    queue_stats(d->queue, &s);
    set_int(q, "delivered", s.delivered);
    set_int(q, "deferred", s.deferred);
    set_int(q, "held", s.held);
    set_int(q, "failed", s.failed);
    set_int(q, "reported", s.reported);
    set_int(q, "running", s.running);
    json_object_set_new(o, "queue", q);
}

static void put_history(struct daemon *d, json_t *o)
{
    struct history_stats s;
    json_t *h = json_object();

    history_stats(d->history, &s);
    set_int(h, "noted", s.noted);
    set_int(h, "written", s.written);
    set_int(h, "dropped", s.dropped);
    json_object_set_new(o, "history", h);
}

static void put_listeners(struct daemon *d, json_t *o)
{
    json_t *list = json_array();

    for (size_t i = 0; i < d->sockets.n; i++)
        json_array_append_new(list, json_string(d->sockets.v[i].bound));
    json_object_set_new(o, "listen", list);
}

json_t *daemon_status(void *user)
{
    struct daemon *d = user;
    json_t *o = json_object();

    json_object_set_new(o, "version", json_string(BARID_VERSION_STRING));
    set_int(o, "pid", (uint64_t)getpid());
    set_int(o, "uptime_s", (uint64_t)((clock_wall_us(d->clock) - d->started_us) / 1000000));
    json_object_set_new(o, "state", json_string(d->stopping ? "stopping" : "serving"));
    json_object_set_new(o, "config", json_string(d->version->config->file));
    set_int(o, "config_version", d->version->number);
    set_int(o, "reloads", d->reloads);
    set_int(o, "reloads_failed", d->reloads_failed);
    set_int(o, "log_dropped", log_sink_dropped(d->sink));
    set_int(o, "connections_open", admission_total(d->admission));
    put_listeners(d, o);
    put_workers(d, o);
    put_policy(d, o);
    put_queue(d, o);
    put_history(d, o);
    return o;
}
