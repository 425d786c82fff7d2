/*
 * server/server.c: one worker's listeners and the list of its connections; versions; the
 * graceful stop.
 */
#include "io/listener.h"
#include "io/timer.h"
#include "base/mem.h"
#include "base/slice.h"
#include "server/ask.h"
#include "server/connection.h"

struct server_listener {
    struct list node;
    struct server *server;
    struct listener *listener;
    char *address; /* as configured: finds the entry in the version of each new session */
};

int server_new(struct server **s_r, const struct server_options *o,
               const struct server_version *v, struct err *err)
{
    struct server *s = mem_zalloc(NULL, sizeof *s);
    if (!s)
        return err_set(err, BARID_ENOMEM, "server: out of memory");
    s->o = *o;
    list_init(&s->connections);
    list_init(&s->listeners);
    s->next_session_id = rng_u64(o->rng);
    int rc = server_use(s, v, err);
    if (rc < 0) {
        mem_free(NULL, s);
        return rc;
    }
    *s_r = s;
    return 0;
}

int server_use(struct server *s, const struct server_version *v, struct err *err)
{
    struct version *fresh;
    if (version_new(&fresh, v, &s->o) < 0)
        return err_set(err, BARID_ENOMEM,
                       "server: out of memory for a new version of the configuration");
    version_unref(&s->version);
    s->version = fresh;
    return 0;
}

/* --- listeners --- */

static void on_accept(void *user, struct stream *stream)
{
    struct server_listener *l = user;
    size_t index = version_find_listen(l->server->version, l->address);
    if (index == SIZE_MAX) /* reloaded away between two turns */
        stream_del(&stream);
    else
        connection_accept(l->server, index, stream);
}

static void listener_close(struct server_listener *l)
{
    list_remove(&l->node);
    listener_del(&l->listener);
    mem_free(NULL, l->address);
    mem_free(NULL, l);
}

int server_listen(struct server *s, size_t listen_index, int fd, struct err *err)
{
    const char *address = s->version->config->listen[listen_index].address;
    struct server_listener *l = mem_zalloc(NULL, sizeof *l);
    if (!l || !(l->address = mem_strdup(NULL, slice_str(address)))) {
        mem_free(NULL, l);
        return err_set(err, BARID_ENOMEM, "listen %s: out of memory", address);
    }
    l->server = s;
    int rc = listener_new(&l->listener, s->o.loop, fd, on_accept, l, err);
    if (rc < 0) {
        mem_free(NULL, l->address);
        mem_free(NULL, l);
        return rc;
    }
    list_append(&s->listeners, &l->node);
    return 0;
}

void server_unlisten(struct server *s, const char *address)
{
    LIST_EACH_SAFE(it, tmp, &s->listeners)
    {
        struct server_listener *l = LIST_ENTRY(it, struct server_listener, node);
        if (!address || strcmp(l->address, address) == 0)
            listener_close(l);
    }
}

/* --- the end --- */

static void run_stopped(struct loop_task *task)
{
    struct server *s = LIST_ENTRY(task, struct server, stopped_task);
    s->stopped(s->stopped_user);
}

static void end_stop(struct server *s)
{
    if (!s->stopping || !s->stopped || s->stop_reported || !list_empty(&s->connections))
        return;
    s->stop_reported = true;
    timer_del(&s->drain);
    s->stopped_task.run = run_stopped; /* not from within a connection's own callback */
    loop_post(s->o.loop, &s->stopped_task);
}

void server_connection_gone(struct server *s)
{
    end_stop(s);
}

static void stop_connections(struct server *s, bool force)
{
    LIST_EACH_SAFE(it, tmp, &s->connections)
    {
        connection_stop(LIST_ENTRY(it, struct connection, node), force);
    }
}

static void on_drain_over(void *user)
{
    stop_connections(user, true);
}

void server_stop(struct server *s, uint32_t drain_ms, void (*done)(void *user), void *user)
{
    uint64_t over = loop_now_ms(s->o.loop) + drain_ms; /* from before anybody can see it */
    s->stopping = true;
    s->stopped = done;
    s->stopped_user = user;
    server_unlisten(s, NULL);
    s->drain = timer_new(s->o.loop, on_drain_over, s);
    if (s->drain)
        timer_set(s->drain, over);
    stop_connections(s, !s->drain);
    end_stop(s);
}

void server_del(struct server **s)
{
    struct server *x = *s;
    if (!x)
        return;
    *s = NULL;
    server_unlisten(x, NULL);
    timer_del(&x->drain);
    version_unref(&x->version);
    ask_forget_spare(x);
    mem_free(NULL, x);
}

void server_stats(const struct server *s, struct server_stats *r)
{
    const struct server_counters *n = &s->count;
    *r = (struct server_stats){
        .connections = atomic_load_explicit(&n->connections, memory_order_relaxed),
        .sessions = atomic_load_explicit(&n->sessions, memory_order_relaxed),
        .messages = atomic_load_explicit(&n->messages, memory_order_relaxed),
        .recipients = atomic_load_explicit(&n->recipients, memory_order_relaxed),
        .bytes_in = atomic_load_explicit(&n->bytes_in, memory_order_relaxed),
        .refused = atomic_load_explicit(&n->refused, memory_order_relaxed),
        .tempfailed = atomic_load_explicit(&n->tempfailed, memory_order_relaxed),
        .tls_handshakes = atomic_load_explicit(&n->tls_handshakes, memory_order_relaxed),
        .auth_ok = atomic_load_explicit(&n->auth_ok, memory_order_relaxed),
        .auth_failed = atomic_load_explicit(&n->auth_failed, memory_order_relaxed),
    };
}
