/*
 * daemon/daemon.c: the life of the process: what is made, in which order, and how it ends.
 *
 * Start: everything that can be wrong is looked at before anything on the disk changes: configuration, certificates, users,
 * policy, ports. Then privileges are dropped, the sandbox is entered, the first threads are started, the spool is opened, the
 * rest is made.
 *
 * Stop, all on the main loop:
 *   serving --signal or control--> stopping: workers drain (bounded), the queue records what runs
 *           --all workers ended and queue stopped--> stopped: everything is closed in reverse order
 *           --second signal--> exit at once: what was acknowledged is on stable storage
 *   stopped: signals change nothing any more (signals.c)
 */
#include "daemon/daemon_int.h"
#include "daemon/queue_policy.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "daemon/exit.h"
#include "daemon/notify.h"
#include "daemon/outgoing.h"
#include "daemon/seeded.h"
#include "delivery/archive_open.h"
#include "delivery/maildir_open.h"
#include "history/history.h"
#include "io/listener.h"
#include "message/mime.h"
#include "policy/policy_lua.h"
#include "spool/spool_open.h"

static int fail(int code, const char *fmt, ...) BARID_PRINTF(2, 3);
static int fail(int code, const char *fmt, ...)
{
    va_list args;

    fputs("barid: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return code;
}

static void stderr_line(void *user, bool is_error, const char *text)
{
    (void)user;
    (void)is_error;
    fprintf(stderr, "%s\n", text);
}

/* --- what can be wrong, before anything is touched ----------------------------------------------- */

static int check_declarations(const struct config *c)
{
    if (c->n_listen == 0)
        return fail(EX_CONFIG, "%s: nothing to listen on: add a line such as  listen { \"127.0.0.1:2525\" }", c->file);
    if (c->spool_dir == NULL)
        return fail(EX_CONFIG, "%s: no spool: add a line such as  spool { dir = \"/var/spool/barid\" }", c->file);
    return EX_OK;
}

int daemon_try_policy(struct loop *loop, struct pool *pool, struct shared *shared, const struct generation *v, struct err *err)
{
    struct policy_services services = {.loop = loop, .pool = pool, .shared = shared, .config = v->config};
    struct policy *p = NULL;
    int rc = policy_lua_new(&p, &services, v->config->text, v->number, err);

    policy_unref(&p);
    return rc < 0 ? EX_CONFIG : EX_OK;
}

static int make_shared(struct shared **s_r, const struct clock *clock, const struct rng *rng)
{
    uint64_t seed[2] = {rng_u64(rng), rng_u64(rng)};

    return shared_new(s_r, clock, SHARED_MAX_BYTES, seed);
}

int daemon_check(const char *config_file)
{
    const struct generation_report report = {.line = stderr_line};
    struct shared *shared = NULL;
    struct loop *loop = NULL;
    struct pool *pool = NULL;
    struct generation *v = NULL;
    struct err err = {0};
    int code = generation_load(&v, config_file, 1, &report);

    if (code != EX_OK)
        return code;
    code = check_declarations(v->config);
    if (code == EX_OK && (loop_new(&loop, NULL, NULL, &err) < 0 || pool_new(&pool, 1, 1, &err) < 0 ||
                          make_shared(&shared, &clock_system, &rng_system) < 0))
        code = fail(EX_OSERR, "%s", err.text);
    if (code == EX_OK && (code = daemon_try_policy(loop, pool, shared, v, &err)) != EX_OK)
        fprintf(stderr, "%s\n", err.text);
    pool_del(&pool);
    shared_del(&shared);
    loop_del(&loop);
    generation_unref(&v);
    return code;
}

/* --- start ------------------------------------------------------------------------------------------ */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int init_process(struct daemon *d)
{
    const struct daemon_options *o = d->options;
    struct err err = {0};

    signal(SIGPIPE, SIG_IGN);
    umask(027);
    raise_descriptor_limit();
    /* libuv's own threads are not used for mail: one is enough for what it may do by itself. */
    setenv("UV_THREADPOOL_SIZE", "1", 0);
    d->clock = &clock_system;
    d->rng = &rng_system;
    if (o->clock_file != NULL) {
        if (clock_file_new(&d->clock_file, o->clock_file, &err) < 0)
            return fail(EX_NOINPUT, "%s", err.text);
        d->clock = clock_file_clock(d->clock_file);
    }
    if (o->seeded) {
        d->seeded = seeded_rng_new(o->seed);
        d->rng = seeded_rng(d->seeded);
    }
    log_sink_new(&d->sink, d->clock);
    d->log = log_sink_log(d->sink);
    if (loop_new(&d->loop, d->clock, d->log, &err) < 0)
        return fail(EX_OSERR, "%s", err.text);
    mime_library_init();
    return EX_OK;
}

static int load(struct daemon *d)
{
    const struct generation_report report = {.line = stderr_line};
    int code = generation_load(&d->version, d->options->config_file, ++d->last_number, &report);
    struct err err = {0};

    if (code == EX_OK)
        code = check_declarations(d->version->config);
    if (code != EX_OK)
        return code;
    if (make_shared(&d->shared, d->clock, d->rng) < 0)
        return fail(EX_OSERR, "out of memory");
    /* No pool yet: a policy uses it in hooks only, and there must be no thread before the sandbox. */
    code = daemon_try_policy(d->loop, NULL, d->shared, d->version, &err);
    if (code != EX_OK)
        fprintf(stderr, "%s\n", err.text);
    return code;
}

static size_t worker_count(const struct config *c)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    size_t n = c->workers > 0 ? c->workers : cpus > 0 ? (size_t)cpus : 1;

    return n < DAEMON_WORKERS_MAX ? n : DAEMON_WORKERS_MAX;
}

/* control_new would say it, too, but after the spool was made. */
static int control_address_check(const char *text, struct err *err)
{
    static const uint8_t loopback6[16] = {[15] = 1};
    struct listen_address a;
    int rc = listen_address_parse(slice_str(text), &a, err);

    if (rc < 0 || a.endpoint.family == BARID_FAMILY_UNIX)
        return rc;
    if (!a.any && (a.endpoint.family == BARID_FAMILY_IPV4 ? a.endpoint.addr[0] == 127
                                                          : memcmp(a.endpoint.addr, loopback6, 16) == 0))
        return 0;
    return err_set(err, BARID_EINVALID, "control.listen = \"%s\": only a unix socket or a loopback address is safe: "
                                        "whoever reaches it owns the server", text);
}

static int bind_exit(int rc)
{
    return rc == BARID_EEXISTS ? EX_UNAVAILABLE : rc == BARID_ESYNTAX ? EX_CONFIG : EX_OSERR;
}

static int bind_all(struct daemon *d)
{
    const struct config *c = d->version->config;
    struct err err = {0};
    int rc;

    d->n_workers = worker_count(c);
    rc = c->control_listen != NULL ? control_address_check(c->control_listen, &err) : 0;
    if (rc < 0)
        return fail(EX_CONFIG, "%s: %s", c->file, err.text);
    rc = sockets_bind(&d->sockets, c, NULL, d->n_workers, &err);
    if (rc == 0 && c->control_listen != NULL) {
        /* 0600: whoever reaches it owns the server. */
        rc = sockets_bind_one(c->control_listen, 0600, &err);
        d->control_fd = rc;
        d->control_bound = rc >= 0;
    }
    return rc < 0 ? fail(bind_exit(rc), "%s", err.text) : EX_OK;
}

static int spool_exit(int rc)
{
    switch (rc) {
    case BARID_ELOCKED:
        return EX_TEMPFAIL;
    case BARID_EVERSION:
    case BARID_ECORRUPT:
        return EX_DATAERR;
    case BARID_EINVALID: /* the directory holds something else */
        return EX_CONFIG;
    default:
        return EX_IOERR;
    }
}

/* While this is the only thread: the rules hold for those that it makes. */
static int enter_sandbox(struct daemon *d)
{
    const struct config *c = d->version->config;
    struct err err = {0};
    int rc = c->sandbox == SANDBOX_OFF ? 0 : sandbox_start(&d->sandbox, c, &err);

    return rc < 0 ? fail(spool_exit(rc), "%s", err.text) : EX_OK;
}

static int start_threads(struct daemon *d)
{
    const unsigned n = d->version->config->pool_threads;
    struct err err = {0};

    signals_hold();
    if (log_sink_start(d->sink, &err) < 0 || pool_new(&d->logins, n, DAEMON_POOL_QUEUE, &err) < 0 ||
        pool_new(&d->deliveries, n, DAEMON_POOL_QUEUE, &err) < 0)
        return fail(EX_OSERR, "%s", err.text);
    return EX_OK;
}

static int open_spool_and_log(struct daemon *d)
{
    const struct config *c = d->version->config;
    struct spool_log_options so = {.dir = c->spool_dir, .segment_size = c->spool_segment, .clock = d->clock,
                                   .rng = d->rng, .log = d->log};
    struct err err = {0};
    int rc = spool_log_open(&d->spool, &so, &err);

    if (rc < 0)
        return fail(spool_exit(rc), "%s", err.text);
    if (log_sink_configure(d->sink, c->log_file, c->log_format == LOG_FORMAT_JSON, (enum log_level)c->log_level, &err) < 0)
        return fail(EX_CANTCREAT, "%s", err.text);
    return EX_OK;
}

/* Without a directory there are events all the same. Behind the spool, whose lock makes us the only one. */
static int open_history(struct daemon *d)
{
    const struct config *c = d->version->config;
    const struct history_options o = {.dir = c->history_dir, .days = c->history_days, .clock = d->clock, .log = d->log};
    struct err err = {0};

    return history_open(&d->history, &o, &err) < 0 ? fail(EX_CANTCREAT, "%s", err.text) : EX_OK;
}

static int become_and_open(struct daemon *d)
{
    const struct config *c = d->version->config;
    struct identity id;
    struct err err = {0};
    int code;

    if (identity_find(&id, c->user, c->group, &err) < 0)
        return fail(EX_NOUSER, "%s: %s", c->file, err.text);
    code = bind_all(d);
    if (code == EX_OK && outgoing_new(&d->outgoing, d, &err) < 0)
        code = fail(EX_OSERR, "%s", err.text);
    if (code == EX_OK && privileges_drop(&id, &err) < 0)
        code = fail(EX_NOPERM, "%s", err.text);
    if (code == EX_OK)
        code = enter_sandbox(d);
    if (code == EX_OK)
        code = start_threads(d);
    if (code == EX_OK)
        code = open_spool_and_log(d);
    if (code == EX_OK)
        code = open_history(d);
    identity_deinit(&id);
    return code;
}

struct queue_retry daemon_retry(const struct config *c)
{
    return (struct queue_retry){.first_s = c->retry.first_s, .max_s = c->retry.max_s, .tries = c->retry.tries, .notice = c->retry.notice};
}

/* Of the version that is current when it is asked. */
static bool is_local(void *user, barid_slice domain)
{
    const struct config *c = ((const struct daemon *)user)->version->config;

    for (size_t i = 0; i < c->n_domains; i++)
        if (slice_eq_nocase(domain, slice_str(c->domains[i])))
            return true;
    return false;
}

static int add_relay(struct daemon *d, struct err *err)
{
    int rc = outgoing_open(d->outgoing, d->version, &d->transports[d->n_transports], err);

    d->n_transports += rc == 0;
    return rc;
}

static int make_queue(struct daemon *d)
{
    const struct config *c = d->version->config;
    char inflight[PATH_MAX];
    struct queue_options o = {.loop = d->loop, .pool = d->deliveries, .spool = d->spool, .transports = d->transports,
                              .retry = daemon_retry(c), .routing = d->version->routing, .hostname = c->hostname,
                              .is_local = is_local, .site = d, .subaddress = c->subaddress, .history = d->history, .inflight = inflight, .max_works = c->relay.max_messages,
                              .rng = d->rng, .log = d->log};
    const struct maildir_options maildir = {.root = c->maildir_root, .hostname = slice_str(c->hostname), .log = d->log};
    const struct archive_options archive = {.root = c->archive_root, .log = d->log};
    struct err err = {0};

    if (c->maildir_root != NULL) {
        if (maildir_open(&d->transports[d->n_transports], &maildir, &err) < 0)
            return fail(EX_CANTCREAT, "%s", err.text);
        d->n_transports++;
    }
    if (c->archive_root != NULL) {
        if (archive_open(&d->transports[d->n_transports], &archive, &err) < 0)
            return fail(EX_CANTCREAT, "%s", err.text);
        d->n_transports++;
    }
    if (add_relay(d, &err) < 0)
        return fail(EX_CONFIG, "%s: %s", c->file, err.text);
    o.n_transports = d->n_transports;
    snprintf(inflight, sizeof(inflight), "%s/inflight", c->spool_dir);
    if (queue_policy_new(&o.policy, d, d->version, &err) < 0)
        return fail(EX_CONFIG, "%s", err.text);
    int rc = queue_new(&d->queue, &o, &err);
    policy_unref(&o.policy); /* the queue has its own reference */
    return rc < 0 ? fail(EX_OSERR, "%s", err.text) : EX_OK;
}

static int control_reload(void *user, struct err *err)
{
    return daemon_reload(user, err);
}

static void control_stop(void *user)
{
    daemon_stop(user, "control request");
}

static int make_control(struct daemon *d)
{
    static const struct control_ops ops = {.status = daemon_status, .reload = control_reload, .stop = control_stop};
    struct control_options o = {.loop = d->loop, .pool = d->deliveries, .spool = d->spool, .history = d->history, .ops = &ops, .user = d, .log = d->log};
    struct err err = {0};
    int fd = d->control_fd;

    if (fd < 0)
        return EX_OK;
    d->control_fd = -1;
    return control_new(&d->control, &o, fd, &err) < 0 ? fail(EX_OSERR, "%s", err.text) : EX_OK;
}

static int make_workers(struct daemon *d)
{
    const struct worker_services services = {.pool = d->logins, .spool = d->spool, .history = d->history, .admission = d->admission,
                                             .shared = d->shared, .clock = d->clock, .rng = d->rng, .log = d->log,
                                             .auth_seed = d->auth_seed};
    struct err err = {0};

    d->rng->fill(d->rng->user, d->auth_seed, sizeof(d->auth_seed));
    d->workers = xalloc(d->n_workers * sizeof(struct worker *));
    for (size_t i = 0; i < d->n_workers; i++)
        if (worker_new(&d->workers[i], i, &services, d->version, &err) < 0 ||
            worker_listen(d->workers[i], &d->sockets, &err) < 0)
            return fail(EX_OSERR, "%s", err.text);
    return EX_OK;
}

/* --- serving ---------------------------------------------------------------------------------------- */

struct ended_task {
    struct loop_task task;
    struct daemon *d;
    struct worker *w;
};

static void end_when_done(struct daemon *d)
{
    if (d->stopping && d->queue_stopped && d->n_ended == d->n_workers)
        loop_stop(d->loop);
}

static void run_ended(struct loop_task *task)
{
    struct ended_task *t = LIST_ENTRY(task, struct ended_task, task);
    struct daemon *d = t->d;

    worker_join(t->w);
    mem_free(NULL, t);
    d->n_ended++;
    end_when_done(d);
}

static void on_ended(void *user, struct worker *w) /* the worker's thread */
{
    struct ended_task *t = xalloc(sizeof(*t));

    t->task.run = run_ended;
    t->d = user;
    t->w = w;
    loop_post(t->d->loop, &t->task);
}

static void on_queue_stopped(void *user)
{
    struct daemon *d = user;

    d->queue_stopped = true;
    end_when_done(d);
}

void daemon_stop(struct daemon *d, const char *why)
{
    uint32_t drain_ms = d->version->config->limits.drain_ms;

    if (d->stopping)
        return;
    d->stopping = true;
    notify_supervisor("STOPPING=1");
    log_record(d->log, LOG_LEVEL_INFO, "daemon", "stopping", LOG_CSTR("why", why), LOG_INT("drain_ms", drain_ms));
    for (size_t i = 0; i < d->n_workers; i++)
        worker_stop(d->workers[i], drain_ms);
    queue_stop(d->queue, on_queue_stopped, d);
}

static void run_nothing(struct loop_task *task)
{
    mem_free(NULL, task);
}

static void on_clock_changed(void *user) /* the clock's thread */
{
    struct daemon *d = user;
    struct loop_task *task = xalloc(sizeof(*task));

    for (size_t i = 0; i < d->n_workers; i++)
        worker_wake(d->workers[i]);
    task->run = run_nothing; /* the turn of the loop is all that is wanted */
    loop_post(d->loop, task);
}

static void announce(struct daemon *d)
{
    struct buf list;

    buf_init(&list, NULL, 0);
    for (size_t i = 0; i < d->sockets.n; i++)
        buf_fmt(&list, "%s%s", i > 0 ? " " : "", d->sockets.v[i].bound);
    buf_byte(&list, '\0');
    log_record(d->log, LOG_LEVEL_INFO, "daemon", "serving", LOG_CSTR("version", BARID_VERSION_STRING),
               LOG_CSTR("config", d->version->config->file), LOG_CSTR("listen", list.p),
               LOG_CSTR("control", d->version->config->control_listen), LOG_INT("workers", d->n_workers),
               LOG_INT("pid", getpid()));
    sandbox_say(d->sandbox, d->log);
    if (geteuid() == 0)
        log_write(d->log, LOG_LEVEL_WARN, "daemon", "running as root: declare a user to drop privileges", NULL);
    notify_ready_fd(d->options->ready_fd, list.p);
    notify_supervisor("READY=1");
    buf_deinit(&list);
}

static int serve(struct daemon *d)
{
    struct err err = {0};

    for (size_t i = 0; i < d->n_workers; i++)
        if (worker_start(d->workers[i], on_ended, d, &err) < 0)
            _exit(fail(EX_OSERR, "%s", err.text)); /* threads are running: nothing can be taken apart any more */
    if (d->clock_file != NULL && clock_file_watch(d->clock_file, on_clock_changed, d, &err) < 0)
        _exit(fail(EX_OSERR, "%s", err.text));
    d->started_us = clock_wall_us(d->clock);
    announce(d);
    signals_let();
    loop_run(d->loop);
    signals_hold();
    d->stopped = true;
    log_write(d->log, LOG_LEVEL_INFO, "daemon", "stopped", NULL);
    return EX_OK;
}

/* The queue comes last: from then on it waits for the first turn of the loop, which must follow. */
static int make_parts(struct daemon *d)
{
    uint64_t seed[2] = {rng_u64(d->rng), rng_u64(d->rng)};
    struct err err = {0};
    int code;

    if (admission_new(&d->admission, seed) < 0)
        return fail(EX_OSERR, "out of memory");
    code = make_control(d);
    if (code == EX_OK)
        code = make_workers(d);
    if (code == EX_OK && signals_watch(d, &err) < 0)
        code = fail(EX_OSERR, "%s", err.text);
    return code == EX_OK ? make_queue(d) : code;
}

static void run_end(struct loop_task *task)
{
    struct ended_task *t = LIST_ENTRY(task, struct ended_task, task);

    loop_stop(t->d->loop);
}

/* What other threads posted before they ended must find its owner alive. */
static void run_what_was_posted(struct daemon *d)
{
    struct ended_task end = {.task.run = run_end, .d = d};

    loop_post(d->loop, &end.task);
    loop_run(d->loop);
}

/* In reverse order of making; everything accepts what was never made. */
static void clean_up(struct daemon *d)
{
    if (d->clock_file != NULL)
        clock_file_unwatch(d->clock_file);
    for (size_t i = 0; d->workers != NULL && i < d->n_workers; i++)
        worker_del(&d->workers[i]);
    mem_free(NULL, d->workers);
    control_del(&d->control);
    pool_del(&d->logins);
    pool_del(&d->deliveries); /* finishes its jobs, which may still read the spool */
    if (d->queue_stopped)
        run_what_was_posted(d);
    queue_del(&d->queue);
    for (size_t i = 0; i < d->n_transports; i++)
        d->transports[i]->close(d->transports[i]);
    outgoing_del(&d->outgoing);
    if (d->spool != NULL)
        d->spool->ops->close(d->spool);
    history_close(&d->history);
    sockets_close(&d->sockets);
    if (d->control_bound)
        sockets_close_one(d->version->config->control_listen, d->control_fd);
    admission_del(&d->admission);
    shared_del(&d->shared);
    generation_unref(&d->version);
    sandbox_del(&d->sandbox);
    loop_del(&d->loop);
    log_sink_del(&d->sink);
    seeded_rng_del(&d->seeded);
    clock_file_del(&d->clock_file);
}

int daemon_run(const struct daemon_options *options)
{
    struct daemon d = {.options = options, .control_fd = -1};
    int code = init_process(&d);

    if (code == EX_OK)
        code = load(&d);
    if (code == EX_OK)
        code = become_and_open(&d);
    if (code == EX_OK)
        code = make_parts(&d);
    if (code == EX_OK)
        code = serve(&d);
    clean_up(&d);
    return code;
}
