/*
 * daemon/worker.c: a worker thread and the versions it serves.
 *
 * Invariants:
 *  - w->versions holds every version that has sessions, or is current; w->current is the first of them.
 *  - A version leaves the list when the server has released it, in a deferred task: what released it may still be on the
 *    stack, with a script of that very policy.
 *  - w->lock guards the list and `current` against the reader of statistics; only the worker's thread changes them.
 */
#include "daemon/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/slice.h"
#include "io/dns.h"
#include "policy/policy_lua.h"

struct worker_version {
    struct list node;
    struct worker *w;
    struct generation *v;
    struct dns *dns;
    struct policy *policy;
    bool released;
};

struct reload_task {
    struct loop_task task;
    struct worker *w;
    struct worker_reload reload;
    char **removed;
};

struct worker {
    size_t index;
    struct worker_services services;
    struct loop *loop;
    struct server *server;
    struct worker_version *current;
    struct list versions;
    pthread_mutex_t lock;
    pthread_t thread;
    bool started, joined;
    struct loop_task stop_task, wake_task, drop_task;
    bool drop_queued;
    atomic_bool wake_posted;
    uint32_t drain_ms;
    void (*ended)(void *user, struct worker *w);
    void *ended_user;
};

static void version_free(struct worker_version *wv)
{
    policy_unref(&wv->policy);
    dns_del(&wv->dns);
    generation_unref(&wv->v);
    mem_free(NULL, wv);
}

static void run_drop(struct loop_task *task)
{
    struct worker *w = LIST_ENTRY(task, struct worker, drop_task);

    w->drop_queued = false;
    LIST_EACH_SAFE(it, next, &w->versions) {
        struct worker_version *wv = LIST_ENTRY(it, struct worker_version, node);

        if (!wv->released)
            continue;
        pthread_mutex_lock(&w->lock);
        list_remove(&wv->node);
        pthread_mutex_unlock(&w->lock);
        log_record(w->services.log, LOG_LEVEL_DEBUG, "worker", "configuration version is no longer used",
                   LOG_INT("worker", w->index), LOG_INT("version", wv->v->number));
        version_free(wv);
    }
}

static void drop_later(struct worker *w)
{
    if (w->drop_queued)
        return;
    w->drop_queued = true;
    loop_defer(w->loop, &w->drop_task);
}

static void on_released(void *user)
{
    struct worker_version *wv = user;

    wv->released = true;
    if (wv != wv->w->current) /* the current one goes when another is adopted, or with the worker */
        drop_later(wv->w);
}

/* Make what v means to this worker. */
static int version_make(struct worker *w, struct generation *v, struct worker_version **wv_r, struct err *err)
{
    const struct config *c = v->config;
    struct worker_version *wv = xalloc(sizeof(*wv));
    struct dns_options dns = {.servers = c->dns_servers, .n_servers = c->n_dns_servers, .trust_ad = c->dns_trust_ad};
    struct policy_services ps = {.loop = w->loop, .pool = w->services.pool, .shared = w->services.shared,
                                 .log = w->services.log, .config = c};
    int rc;

    wv->w = w;
    wv->v = generation_ref(v);
    list_init(&wv->node);
    rc = dns_new(&wv->dns, w->loop, &dns, err);
    ps.dns = wv->dns;
    if (rc == 0)
        rc = policy_lua_new(&wv->policy, &ps, c->text, v->number, err);
    if (rc < 0) {
        version_free(wv);
        return rc;
    }
    *wv_r = wv;
    return 0;
}

static struct server_version server_version_of(struct worker_version *wv)
{
    return (struct server_version){.config = wv->v->config, .policy = wv->policy, .tls = wv->v->tls,
                                   .users = wv->v->users, .routing = &wv->v->routing, .released = on_released, .user = wv};
}

static void adopt(struct worker *w, struct worker_version *wv)
{
    const struct worker_version *old = w->current;

    pthread_mutex_lock(&w->lock);
    list_append(&w->versions, &wv->node);
    w->current = wv;
    pthread_mutex_unlock(&w->lock);
    if (old != NULL && old->released) /* no session had it */
        drop_later(w);
}

static int server_make(struct worker *w, struct generation *v, struct err *err)
{
    const struct worker_services *s = &w->services;
    struct server_options options = {.loop = w->loop, .pool = s->pool, .spool = s->spool, .history = s->history, .admission = s->admission,
                                     .clock = s->clock, .rng = s->rng, .log = s->log, .auth_seed = s->auth_seed};
    struct worker_version *wv;
    struct server_version sv;
    int rc = version_make(w, v, &wv, err);

    if (rc < 0)
        return rc;
    sv = server_version_of(wv);
    rc = server_new(&w->server, &options, &sv, err);
    if (rc < 0) {
        version_free(wv);
        return rc;
    }
    adopt(w, wv);
    return 0;
}

int worker_new(struct worker **w_r, size_t index, const struct worker_services *services, struct generation *v,
               struct err *err)
{
    struct worker *w = xalloc(sizeof(*w));
    int rc;

    w->index = index;
    w->services = *services;
    list_init(&w->versions);
    w->drop_task.run = run_drop;
    pthread_mutex_init(&w->lock, NULL);
    rc = loop_new(&w->loop, services->clock, services->log, err);
    if (rc == 0)
        rc = server_make(w, v, err);
    if (rc < 0)
        worker_del(&w);
    *w_r = w;
    return rc;
}

int worker_listen(struct worker *w, struct sockets *s, struct err *err)
{
    for (size_t i = 0; i < s->n; i++) {
        struct socket_group *g = &s->v[i];
        int fd = g->fds[w->index], rc;

        g->fds[w->index] = -1;
        rc = server_listen(w->server, g->listen_index, fd, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void *worker_thread(void *user)
{
    struct worker *w = user;

    loop_run(w->loop);
    w->ended(w->ended_user, w);
    return NULL;
}

int worker_start(struct worker *w, void (*ended)(void *user, struct worker *w), void *user, struct err *err)
{
    char name[16];
    int rc;

    w->ended = ended;
    w->ended_user = user;
    rc = pthread_create(&w->thread, NULL, worker_thread, w);
    if (rc != 0)
        return err_errno(err, BARID_EIO, rc, "cannot start a worker thread");
    w->started = true;
    snprintf(name, sizeof(name), "worker %u", (unsigned)w->index % 1000);
    pthread_setname_np(w->thread, name);
    return 0;
}

static int use(struct worker *w, const struct reload_task *t, struct err *err)
{
    struct worker_version *wv;
    struct server_version sv;
    int rc = version_make(w, t->reload.v, &wv, err);

    if (rc < 0)
        return rc;
    /* Before the new version, which has no entry for them. */
    for (char **address = t->removed; *address != NULL; address++)
        server_unlisten(w->server, *address);
    sv = server_version_of(wv);
    rc = server_use(w->server, &sv, err);
    if (rc < 0) {
        version_free(wv);
        return rc;
    }
    adopt(w, wv);
    return worker_listen(w, t->reload.added, err);
}

static void run_reload(struct loop_task *task)
{
    struct reload_task *t = LIST_ENTRY(task, struct reload_task, task);
    struct err err = {0};
    int rc = use(t->w, t, &err);

    t->reload.done(t->reload.user, t->w, rc < 0 ? &err : NULL);
    for (char **address = t->removed; *address != NULL; address++)
        mem_free(NULL, *address);
    mem_free(NULL, t->removed);
    mem_free(NULL, t);
}

void worker_use(struct worker *w, const struct worker_reload *reload)
{
    struct reload_task *t = xalloc(sizeof(*t));
    size_t n = 0;

    while (reload->removed[n] != NULL)
        n++;
    t->task.run = run_reload;
    t->w = w;
    t->reload = *reload;
    t->removed = xalloc((n + 1) * sizeof(*t->removed));
    for (size_t i = 0; i < n; i++)
        t->removed[i] = xstrdup(slice_str(reload->removed[i]));
    loop_post(w->loop, &t->task);
}

static void on_stopped(void *user)
{
    struct worker *w = user;

    loop_stop(w->loop);
}

static void run_stop(struct loop_task *task)
{
    struct worker *w = LIST_ENTRY(task, struct worker, stop_task);

    server_stop(w->server, w->drain_ms, on_stopped, w);
}

void worker_stop(struct worker *w, uint32_t drain_ms)
{
    w->drain_ms = drain_ms;
    w->stop_task.run = run_stop;
    loop_post(w->loop, &w->stop_task);
}

static void run_wake(struct loop_task *task)
{
    struct worker *w = LIST_ENTRY(task, struct worker, wake_task);

    atomic_store(&w->wake_posted, false); /* timers are looked at in this turn */
}

void worker_wake(struct worker *w)
{
    bool posted = false;

    if (!atomic_compare_exchange_strong(&w->wake_posted, &posted, true))
        return; /* the task is queued already */
    w->wake_task.run = run_wake;
    loop_post(w->loop, &w->wake_task);
}

void worker_server_stats(const struct worker *w, struct server_stats *stats_r)
{
    server_stats(w->server, stats_r);
}

void worker_policy_stats(struct worker *w, struct policy_stats *stats_r)
{
    pthread_mutex_lock(&w->lock);
    policy_stats(w->current->policy, stats_r);
    pthread_mutex_unlock(&w->lock);
}

size_t worker_versions(struct worker *w)
{
    size_t n = 0;

    pthread_mutex_lock(&w->lock);
    LIST_EACH(it, &w->versions)
        n++;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void worker_join(struct worker *w)
{
    if (w->started && !w->joined)
        pthread_join(w->thread, NULL);
    w->joined = true;
}

void worker_del(struct worker **w_p)
{
    struct worker *w = *w_p;

    *w_p = NULL;
    if (w == NULL)
        return;
    server_del(&w->server);
    LIST_EACH_SAFE(it, next, &w->versions)
        version_free(LIST_ENTRY(it, struct worker_version, node));
    loop_del(&w->loop);
    pthread_mutex_destroy(&w->lock);
    mem_free(NULL, w);
}
