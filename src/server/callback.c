/*
 * server/callback.c: barid/server.h on the driver: one loop, listeners, connections that hand
 * every event to the embedder.
 *
 * A connection lives until its driver is closed; it is in the server's list all that time, so
 * that a stop and a deletion find it.
 */
#include "barid/server.h"

#include <stdatomic.h>
#include <stdio.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "io/listener.h"
#include "server/driver.h"

struct callback_listener {
    struct list node;
    barid_server *server;
    struct listener *listener;
    barid_session_config config;
    struct tls_ctx *tls; /* NULL = none */
};

struct barid_server {
    struct loop *loop;
    struct list listeners, connections;
    barid_server_event on_event;
    barid_server_closed on_closed;
    void *user;
    atomic_bool stop_asked; /* once: the task is in the loop's queue */
    bool stopping;
    uint32_t drain_ms;
    struct timer *drain;
    struct loop_task stop;
};

struct barid_connection {
    struct list node;
    struct driver driver;
    barid_server *server;
    void *data;
};

static int report(const struct err *err, int rc, char *error, size_t error_size)
{
    if (error_size)
        snprintf(error, error_size, "%s", err->code ? err->text : barid_strerror(rc));
    return rc;
}

/* --- connections --- */

static void end_if_stopped(barid_server *s)
{
    if (s->stopping && list_empty(&s->connections))
        loop_stop(s->loop);
}

static barid_connection *connection_of(struct driver *d)
{
    return LIST_ENTRY(d, barid_connection, driver);
}

static void on_event(struct driver *d, const barid_event *ev)
{
    barid_connection *c = connection_of(d);
    c->server->on_event(c, ev, c->server->user);
}

static void connection_del(barid_connection *c)
{
    list_remove(&c->node);
    if (c->server->on_closed)
        c->server->on_closed(c, c->server->user);
    driver_deinit(&c->driver);
    mem_free(NULL, c);
}

static void on_closed(struct driver *d)
{
    barid_connection *c = connection_of(d);
    barid_server *s = c->server;
    connection_del(c);
    end_if_stopped(s);
}

static const struct driver_ops driver_ops = {.on_event = on_event, .on_closed = on_closed};

static void on_accept(void *user, struct stream *stream)
{
    struct callback_listener *l = user;
    barid_connection *c = mem_zalloc(NULL, sizeof *c);
    if (!c ||
        driver_init(&c->driver, l->server->loop, stream, &l->config, l->tls, &driver_ops) < 0) {
        mem_free(NULL,
                 c); /* out of memory: the client sees a closed connection and tries later */
        stream_reset(&stream);
        return;
    }
    c->server = l->server;
    list_append(&l->server->connections, &c->node);
    driver_start(&c->driver);
}

int barid_connection_answer(barid_connection *c, barid_token token,
                            const barid_verdict *verdict)
{
    if (token == 0 || token != c->driver.token)
        return BARID_EINVALID;
    return driver_answer(&c->driver, verdict);
}

const barid_session *barid_connection_session(const barid_connection *c)
{
    return c->driver.session;
}

void barid_connection_set_data(barid_connection *c, void *data)
{
    c->data = data;
}

void *barid_connection_data(const barid_connection *c)
{
    return c->data;
}

/* --- listeners --- */

static void listener_free(struct callback_listener *l)
{
    list_remove(&l->node);
    listener_del(&l->listener);
    tls_unref(&l->tls);
    mem_free(NULL, l);
}

/* A configuration that no session takes would close every connection without a word. */
static int try_config(const barid_session_config *config, struct err *err)
{
    barid_session *session;
    int rc = barid_session_new(&session, config, NULL, NULL, 0);
    barid_session_del(&session);
    return rc == BARID_EINVALID ? err_set(err, rc, "the session configuration is not valid") : rc;
}

static int open_listener(struct callback_listener *l, const char *address,
                         const barid_server_tls *tls, struct err *err)
{
    struct listen_address a;
    int rc = try_config(&l->config, err);
    if (rc == 0)
        rc = listen_address_parse(slice_str(address), &a, err);
    if (rc == 0 && tls) {
        struct tls_server_options o = {.cert_file = tls->cert_file, .key_file = tls->key_file};
        rc = tls_server_new(&l->tls, &o, err);
    }
    int fd = rc == 0 ? listener_bind(&a, 0600, err) : rc;
    return fd < 0 ? fd : listener_new(&l->listener, l->server->loop, fd, on_accept, l, err);
}

int barid_server_listen(barid_server *s, const char *address,
                        const barid_session_config *config, const barid_server_tls *tls,
                        char *error, size_t error_size)
{
    struct err err = {0};
    if (config->size < sizeof *config)
        return report(&err, BARID_EINVALID, error, error_size);
    struct callback_listener *l = mem_zalloc(NULL, sizeof *l);
    if (!l)
        return report(&err, BARID_ENOMEM, error, error_size);
    l->server = s;
    l->config = *config;
    if (!tls) {
        l->config.extensions &= ~(uint32_t)BARID_EXT_STARTTLS;
        l->config.implicit_tls = false;
    }
    if (!l->config.random) {
        l->config.random = rng_system.fill;
        l->config.random_user = rng_system.user;
    }
    list_append(&s->listeners, &l->node);
    int rc = open_listener(l, address, tls, &err);
    if (rc < 0)
        listener_free(l);
    return rc < 0 ? report(&err, rc, error, error_size) : 0;
}

uint16_t barid_server_port(const barid_server *s, size_t n)
{
    LIST_EACH(it, &s->listeners)
    {
        barid_endpoint local;
        if (n-- > 0)
            continue;
        listener_local(LIST_ENTRY(it, struct callback_listener, node)->listener, &local);
        return local.port;
    }
    return 0;
}

/* --- the server --- */

static void close_all(barid_server *s, bool force)
{
    LIST_EACH_SAFE(it, tmp, &s->connections)
    {
        driver_stop(&LIST_ENTRY(it, barid_connection, node)->driver, force);
    }
}

static void on_drain_over(void *user)
{
    close_all(user, true);
}

static void run_stop(struct loop_task *task)
{
    barid_server *s = LIST_ENTRY(task, barid_server, stop);
    s->stopping = true;
    LIST_EACH_SAFE(it, tmp, &s->listeners)
    {
        listener_del(&LIST_ENTRY(it, struct callback_listener, node)->listener);
    }
    s->drain = timer_new(s->loop, on_drain_over, s);
    if (s->drain)
        timer_set(s->drain, loop_now_ms(s->loop) + s->drain_ms);
    close_all(s, !s->drain);
    end_if_stopped(s);
}

int barid_server_new(barid_server **s_r, barid_server_event on_event_fn,
                     barid_server_closed on_closed_fn, void *user, char *error,
                     size_t error_size)
{
    struct err err = {0};
    barid_server *s = mem_zalloc(NULL, sizeof *s);
    if (!s)
        return report(&err, BARID_ENOMEM, error, error_size);
    s->on_event = on_event_fn;
    s->on_closed = on_closed_fn;
    s->user = user;
    s->stop.run = run_stop;
    list_init(&s->listeners);
    list_init(&s->connections);
    int rc = loop_new(&s->loop, NULL, NULL, &err);
    if (rc < 0) {
        mem_free(NULL, s);
        return report(&err, rc, error, error_size);
    }
    *s_r = s;
    return 0;
}

void barid_server_run(barid_server *s)
{
    loop_run(s->loop);
}

void barid_server_stop(barid_server *s, uint32_t drain_ms)
{
    if (atomic_exchange(&s->stop_asked, true))
        return;
    s->drain_ms = drain_ms;
    loop_post(s->loop, &s->stop);
}

void barid_server_del(barid_server **s)
{
    barid_server *x = *s;
    if (!x)
        return;
    *s = NULL;
    LIST_EACH_SAFE(it, tmp, &x->connections)
    {
        connection_del(LIST_ENTRY(it, barid_connection, node));
    }
    LIST_EACH_SAFE(it2, tmp2, &x->listeners)
    {
        listener_free(LIST_ENTRY(it2, struct callback_listener, node));
    }
    timer_del(&x->drain);
    loop_del(&x->loop);
    mem_free(NULL, x);
}

struct posted {
    struct loop_task task;
    void (*fn)(void *arg);
    void *arg;
};

static void run_posted(struct loop_task *task)
{
    struct posted *p = LIST_ENTRY(task, struct posted, task);
    void (*fn)(void *) = p->fn;
    void *arg = p->arg;
    mem_free(NULL, p);
    fn(arg);
}

int barid_server_post(barid_server *s, void (*fn)(void *arg), void *arg)
{
    struct posted *p = mem_zalloc(NULL, sizeof *p);
    if (!p)
        return BARID_ENOMEM;
    *p = (struct posted){.task = {.run = run_posted}, .fn = fn, .arg = arg};
    loop_post(s->loop, &p->task);
    return 0;
}
