/*
 * daemon/reload.c: a new version of the configuration beside the old one.
 *
 * Everything that can be wrong (file, certificates, users, policy, new ports) is found out on the main thread before any worker
 * hears of it, so that what does not load changes nothing. Then each worker makes its own policy and uses it for new
 * sessions; sessions that run keep the version they began with. One reload runs at a time; asked for meanwhile, another follows.
 */
#include "daemon/daemon_int.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "daemon/exit.h"
#include "daemon/notify.h"
#include "daemon/outgoing.h"
#include "daemon/queue_policy.h"

struct first_line {
    const struct log *log;
    const struct sandbox *sandbox;
    struct err *err;
};

static void report_line(void *user, bool is_error, const char *text)
{
    struct first_line *f = user;

    log_record(f->log, is_error ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "reload", "configuration", LOG_CSTR("line", text));
    if (is_error && f->err->code == 0)
        err_set(f->err, BARID_ESYNTAX, "%s", text);
}

static int check_sandbox(void *user, const struct config *c, struct err *err)
{
    const struct first_line *f = user;

    return f->sandbox != NULL ? sandbox_check_config(f->sandbox, c, err) : 0;
}

static const char *why_unreadable(void *user, const char *path)
{
    const struct first_line *f = user;

    return sandbox_why(f->sandbox, path);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What is made once per process. */
static void warn_needs_restart(const struct daemon *d, const struct config *new)
{
    const struct config *old = d->version->config;
    const struct {
        const char *name;
        bool changed;
    } table[] = {
        {"spool", !same(old->spool_dir, new->spool_dir) || old->spool_segment != new->spool_segment},
        {"maildir", !same(old->maildir_root, new->maildir_root)},
        {"archive", !same(old->archive_root, new->archive_root)},
        {"history", !same(old->history_dir, new->history_dir) || old->history_days != new->history_days},
        {"history", !same(old->history_dir, new->history_dir) || old->history_days != new->history_days},
        {"control", !same(old->control_listen, new->control_listen)},
        {"user", !same(old->user, new->user) || !same(old->group, new->group)},
        {"workers", old->workers != new->workers},
        {"pool_threads", old->pool_threads != new->pool_threads},
        {"sandbox", old->sandbox != new->sandbox},
        {"relay.idle_timeout", old->relay.idle_s != new->relay.idle_s},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (table[i].changed)
            log_record(d->log, LOG_LEVEL_WARN, "reload", "this declaration changed, but is read at start only: restart for it",
                       LOG_CSTR("declaration", table[i].name), LOG_CSTR("config", new->file));
}

static int prepare(struct daemon *d, struct generation **v_r, struct sockets *added_r, struct err *err)
{
    struct first_line first = {.log = d->log, .sandbox = d->sandbox, .err = err};
    struct generation_report report = {.line = report_line, .check = check_sandbox, .why = why_unreadable, .user = &first};
    int rc;

    if (generation_load(v_r, d->options->config_file, d->last_number + 1, &report) != EX_OK)
        return err->code != 0 ? err->code : BARID_EIO;
    if (daemon_try_policy(d->loop, d->logins, d->shared, *v_r, err) != EX_OK)
        rc = err->code;
    else if ((*v_r)->config->n_listen == 0)
        rc = err_set(err, BARID_ESYNTAX, "%s: nothing to listen on", (*v_r)->config->file);
    else
        rc = sockets_bind(added_r, (*v_r)->config, &d->sockets, d->n_workers, err);
    if (rc < 0) {
        log_record(d->log, LOG_LEVEL_ERROR, "reload", "configuration", LOG_CSTR("line", err->text));
        generation_unref(v_r);
    }
    return rc;
}

static bool still_declared(const struct config *c, const char *address)
{
    for (size_t i = 0; i < c->n_listen; i++)
        if (strcmp(c->listen[i].address, address) == 0)
            return true;
    return false;
}

/* Addresses that v has no more; NULL-terminated; the strings stay d's. */
static const char **removed_addresses(const struct daemon *d, const struct generation *v)
{
    const char **list = xalloc((d->sockets.n + 1) * sizeof(*list));
    size_t n = 0;

    for (size_t i = 0; i < d->sockets.n; i++)
        if (!still_declared(v->config, d->sockets.v[i].address))
            list[n++] = d->sockets.v[i].address;
    return list;
}

struct answer_task {
    struct loop_task task;
    struct daemon *d;
    bool failed;
};

static void finish(struct daemon *d);

static void run_answer(struct loop_task *task)
{
    struct answer_task *t = LIST_ENTRY(task, struct answer_task, task);
    struct daemon *d = t->d;

    d->round.failed |= t->failed;
    mem_free(NULL, t);
    if (--d->round.waiting == 0)
        finish(d);
}

static void on_used(void *user, struct worker *w, const struct err *err) /* the worker's thread */
{
    struct answer_task *t = xalloc(sizeof(*t));

    (void)w;
    t->task.run = run_answer;
    t->d = user;
    t->failed = err != NULL;
    if (err != NULL)
        log_record(t->d->log, LOG_LEVEL_ERROR, "reload", "a worker could not take the new configuration, it keeps the old one",
                   LOG_CSTR("error", err->text));
    loop_post(t->d->loop, &t->task);
}

/* The open listeners are those that were and still are, and the added ones. */
static void merge_sockets(struct daemon *d, struct sockets *added)
{
    struct sockets all = {.v = xalloc((d->sockets.n + added->n + 1) * sizeof(*all.v))};
    struct sockets *const from[] = {&d->sockets, added};

    for (size_t k = 0; k < 2; k++) {
        struct sockets rest = {.v = xalloc((from[k]->n + 1) * sizeof(*rest.v))};

        for (size_t i = 0; i < from[k]->n; i++) {
            bool keep = still_declared(d->round.v->config, from[k]->v[i].address);

            if (keep)
                all.v[all.n++] = from[k]->v[i];
            else
                rest.v[rest.n++] = from[k]->v[i];
        }
        mem_free(NULL, from[k]->v);
        sockets_close(&rest);
    }
    d->sockets = all;
    *added = (struct sockets){0};
}

/* Questions under way end with the version they were asked of. */
static void give_queue_its_policy(struct daemon *d)
{
    struct policy *p;
    struct err err = {0};

    if (queue_policy_new(&p, d, d->round.v, &err) < 0) {
        log_record(d->log, LOG_LEVEL_ERROR, "reload", "the queue keeps the old policy",
                   LOG_CSTR("error", err.text));
        return;
    }
    queue_set_policy(d->queue, p);
    policy_unref(&p);
}

static void finish(struct daemon *d)
{
    const struct config *c = d->round.v->config;
    struct queue_retry retry = daemon_retry(c);
    struct err err = {0};

    merge_sockets(d, &d->round.added);
    if (log_sink_configure(d->sink, c->log_file, c->log_format == LOG_FORMAT_JSON, (enum log_level)c->log_level, &err) < 0)
        log_record(d->log, LOG_LEVEL_ERROR, "reload", "log file", LOG_CSTR("error", err.text));
    queue_set_retry(d->queue, &retry);
    queue_set_max_works(d->queue, c->relay.max_messages);
    queue_set_routing(d->queue, &d->round.v->routing, c->hostname);
    if (outgoing_use(d->outgoing, d->round.v, &err) < 0)
        log_record(d->log, LOG_LEVEL_ERROR, "reload", "mail to other servers is sent as before", LOG_CSTR("error", err.text));
    give_queue_its_policy(d);
    generation_unref(&d->version);
    d->version = d->round.v;
    d->round.v = NULL;
    d->reloads++;
    d->reloads_failed += d->round.failed;
    log_record(d->log, LOG_LEVEL_INFO, "reload", "serving the new configuration", LOG_CSTR("config", c->file),
               LOG_INT("version", d->version->number), LOG_INT("listeners", d->sockets.n));
    notify_supervisor("READY=1");
    if (d->round.again && !d->stopping) {
        d->round.again = false;
        daemon_reload(d, &err);
    }
}

int daemon_reload(struct daemon *d, struct err *err)
{
    struct worker_reload reload = {.done = on_used, .user = d};
    const char **removed;
    int rc;

    if (d->stopping)
        return err_set(err, BARID_EAGAIN, "stopping");
    if (d->round.v != NULL) {
        d->round.again = true;
        return 0;
    }
    d->round = (struct reload_round){.waiting = d->n_workers};
    notify_reloading();
    rc = prepare(d, &d->round.v, &d->round.added, err);
    if (rc < 0) {
        d->reloads_failed++;
        log_write(d->log, LOG_LEVEL_ERROR, "reload", "the configuration does not load: the old one keeps serving", NULL);
        notify_supervisor("READY=1");
        return rc;
    }
    d->last_number = d->round.v->number;
    warn_needs_restart(d, d->round.v->config);
    removed = removed_addresses(d, d->round.v);
    reload.v = d->round.v;
    reload.added = &d->round.added;
    reload.removed = removed;
    for (size_t i = 0; i < d->n_workers; i++)
        worker_use(d->workers[i], &reload);
    mem_free(NULL, removed);
    return 0;
}
