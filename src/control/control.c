/*
 * control/control.c: libmicrohttpd inside our loop: its epoll descriptor is watched, its timeouts are a timer of ours. It has
 * no thread of its own.
 *
 * A request: first call of on_request: checked, routed, its arguments copied -> last call: the route runs on the loop and
 * is answered at once; or it runs on the pool while the connection is suspended, and `done` resumes it, whereupon on_request
 * is called again and finds the body.
 *
 * Invariant: c->busy holds the requests whose job is with the pool. control_del orphans them: the job then has nobody to
 * answer and frees the request itself.
 */
#include "control/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"
#include "base/slice.h"
#include "control/events.h"
#include "control/request.h"
#include "io/timer.h"
#include "io/watch.h"

/* For administrators and their tools, not for the public: what a desk full of scripts opens at once. */
#define CONTROL_CONNECTIONS_MAX  64
#define CONTROL_IDLE_S           30
#define CONTROL_CONNECTION_BYTES 32768 /* request line and header fields of one connection */

struct control {
    struct control_options o;
    struct MHD_Daemon *mhd;
    struct watch *watch;
    struct timer *timer;
    struct list busy;
    struct events *events;
    bool is_tcp;
    bool running; /* inside MHD_run: it must not be entered again */
};

struct job {
    struct request r;
    struct control_options options; /* a copy: on the pool a request may outlive the control object */
    struct pool_job pool;
    struct list node;
    struct control *c; /* NULL = orphaned */
    struct MHD_Connection *connection;
    bool started, finished;
};

static void run_mhd(struct control *c);

/* --- what may come in --------------------------------------------------------------------------------- */

/* "127.0.0.1", "localhost:8025", "[::1]:8025": the names by which a browser or tool on this machine means this machine. */
static bool host_is_loopback(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; host != NULL && i < sizeof(names) / sizeof(names[0]); i++) {
        size_t n = strlen(names[i]);

        if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || host[n] == ':'))
            return true;
    }
    return false;
}

/*
 * A web page in a browser on this machine can send requests to loopback ports, under a name that its own DNS points here. Such
 * a request has a foreign Host, or an Origin; a tool's has neither.
 */
static bool request_allowed(struct control *c, struct MHD_Connection *connection)
{
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") != NULL)
        return false;
    return !c->is_tcp || host_is_loopback(MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host"));
}

static enum MHD_Result copy_argument(void *user, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct request *r = user;
    size_t i = r->n_arguments;

    (void)kind;
    if (i == REQUEST_ARGUMENTS_MAX || strlen(key) > REQUEST_TEXT_MAX ||
        (value != NULL && strlen(value) > REQUEST_TEXT_MAX)) {
        request_error(r, 400, "bad_argument", "too many or too long arguments");
        return MHD_NO;
    }
    r->n_arguments++;
    r->arguments[i].name = mem_strdup(NULL, slice_str(key));
    r->arguments[i].value = mem_strdup(NULL, slice_str(value));
    if (r->arguments[i].name != NULL && r->arguments[i].value != NULL)
        return MHD_YES;
    request_error(r, 503, "no_memory", "out of memory: try again");
    return MHD_NO;
}

/* Fills r->route, or r->status and r->body with an error. */
static void take_request(struct control *c, struct job *j, const char *url, const char *method)
{
    struct request *r = &j->r;

    r->status = 200;
    j->options = c->o;
    r->control = &j->options;
    if (!request_allowed(c, j->connection)) {
        request_error(r, 403, "foreign", "requests of web pages, or for another host name, are not answered here");
        return;
    }
    r->route = routes_find(method, url, r->id, &r->status);
    if (r->route == NULL) {
        request_error(r, r->status, r->status == 405 ? "bad_method" : "no_such_path",
                      "%s %s: see GET /v1/routes", method, url);
        return;
    }
    r->status = 200;
    MHD_get_connection_values(j->connection, MHD_GET_ARGUMENT_KIND, copy_argument, r);
    if (r->status == 200)
        request_check_arguments(r);
}

static void job_free(struct job *j)
{
    for (size_t i = 0; i < j->r.n_arguments; i++) {
        mem_free(NULL, j->r.arguments[i].name);
        mem_free(NULL, j->r.arguments[i].value);
    }
    json_decref(j->r.body);
    mem_free(NULL, j);
}

/* --- answering ------------------------------------------------------------------------------------------ */

static void free_text(void *p)
{
    free(p);
}

static enum MHD_Result queue_response(struct job *j, struct MHD_Response *response, const char *type)
{
    enum MHD_Result rc;

    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    rc = MHD_queue_response(j->connection, j->r.status, response);
    MHD_destroy_response(response);
    return rc;
}

static enum MHD_Result respond(struct job *j)
{
    char *text = j->r.body != NULL ? json_dumps(j->r.body, JSON_COMPACT) : NULL;
    struct MHD_Response *response;

    if (text == NULL) { /* out of memory: a fixed answer needs none of ours */
        static char sorry[] = "{\"error\":{\"code\":\"no_memory\",\"text\":\"out of memory\"}}";

        response = MHD_create_response_from_buffer(sizeof(sorry) - 1, sorry, MHD_RESPMEM_PERSISTENT);
        j->r.status = 500;
    } else {
        response = MHD_create_response_from_buffer_with_free_callback(strlen(text), text, free_text);
        if (response == NULL)
            free(text);
    }
    return response != NULL ? queue_response(j, response, "application/json") : MHD_NO;
}

static enum MHD_Result respond_for_ever(struct control *c, struct job *j)
{
    struct MHD_Response *response;
    int rc = events_listen(c->events, j->connection, &response);

    if (rc == 0)
        return queue_response(j, response, "application/x-ndjson");
    if (rc == BARID_EUNSUPPORTED)
        request_error(&j->r, 503, "no_history", "this daemon keeps no history: there are no events");
    else if (rc == BARID_ELIMIT)
        request_error(&j->r, 503, "busy", "%d clients listen already", HISTORY_FEEDS_MAX);
    else
        request_error(&j->r, 503, "no_memory", "out of memory: try again");
    return respond(j);
}

static void pool_run(struct pool_job *pool) /* pool thread */
{
    struct job *j = LIST_ENTRY(pool, struct job, pool);

    j->r.route->run(&j->r);
}

static void pool_done(struct pool_job *pool)
{
    struct job *j = LIST_ENTRY(pool, struct job, pool);
    struct control *c = j->c;

    if (c == NULL) {
        job_free(j);
        return;
    }
    list_remove(&j->node);
    j->finished = true;
    MHD_resume_connection(j->connection);
    run_mhd(c);
}

static enum MHD_Result start(struct control *c, struct job *j)
{
    if (j->r.route->place == ON_STREAM)
        return respond_for_ever(c, j);
    if (j->r.route->place == ON_LOOP) {
        j->r.route->run(&j->r);
        return respond(j);
    }
    j->pool.run = pool_run;
    j->pool.done = pool_done;
    if (pool_start(c->o.pool, c->o.loop, &j->pool) < 0) {
        request_error(&j->r, 503, "busy", "too many jobs are waiting: try again");
        return respond(j);
    }
    j->started = true;
    list_append(&c->busy, &j->node);
    MHD_suspend_connection(j->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct control *c = user;
    struct job *j = *state;

    (void)version;
    (void)upload;
    if (j == NULL) { /* the header is in, the body is not: an answer now would break keep-alive */
        j = mem_zalloc(NULL, sizeof(*j));
        if (j == NULL)
            return MHD_NO; /* closes the connection */
        j->c = c;
        j->connection = connection;
        list_init(&j->node);
        *state = j;
        take_request(c, j, url, method);
        return MHD_YES;
    }
    if (*upload_size > 0) { /* no route takes a body: it is read and dropped */
        *upload_size = 0;
        return MHD_YES;
    }
    if (j->finished || j->r.status != 200) /* a refusal may have no body: out of memory */
        return respond(j);
    return j->started ? MHD_YES : start(c, j);
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code)
{
    struct job *j = *state;

    (void)user;
    (void)connection;
    (void)code;
    *state = NULL;
    if (j == NULL)
        return;
    if (j->started && !j->finished) /* only from control_del: a suspended connection is not looked at */
        j->c = NULL;
    else
        job_free(j);
}

/* --- in the loop ------------------------------------------------------------------------------------------ */

static void run_mhd(struct control *c)
{
    MHD_UNSIGNED_LONG_LONG ms;

    if (c->running)
        return;
    c->running = true;
    MHD_run(c->mhd);
    c->running = false;
    timer_set(c->timer, MHD_get_timeout(c->mhd, &ms) == MHD_YES ? loop_now_ms(c->o.loop) + ms : UINT64_MAX);
}

static void on_ready(void *user)
{
    run_mhd(user);
}

BARID_PRINTF(2, 0)
static void on_library_log(void *user, const char *fmt, va_list args)
{
    struct control *c = user;
    char text[256];

    vsnprintf(text, sizeof(text), fmt, args);
    log_record(c->o.log, LOG_LEVEL_DEBUG, "control", "http", LOG_STR("text", slice_trim(slice_str(text))));
}

/* Is fd a unix socket or a loopback address? */
static int check_address(struct control *c, int fd, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);

    memset(&sa, 0, sizeof(sa));
    if (getsockname(fd, (struct sockaddr *)&sa, &n) != 0)
        return err_errno(err, BARID_EIO, errno, "control: not a socket");
    c->is_tcp = sa.ss_family != AF_UNIX;
    if (sa.ss_family == AF_INET && ntohl(((struct sockaddr_in *)&sa)->sin_addr.s_addr) >> 24 == 127)
        return 0;
    if (sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&sa)->sin6_addr))
        return 0;
    return c->is_tcp ? err_set(err, BARID_EINVALID, "control: only a unix socket or a loopback address is safe here: whoever "
                                                    "reaches it owns the server")
                     : 0;
}

static int start_mhd(struct control *c, int fd, struct err *err)
{
    const union MHD_DaemonInfo *info;

    c->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, c,
                              MHD_OPTION_EXTERNAL_LOGGER, on_library_log, c, MHD_OPTION_LISTEN_SOCKET, fd,
                              MHD_OPTION_NOTIFY_COMPLETED, on_completed, c, MHD_OPTION_CONNECTION_LIMIT,
                              (unsigned)CONTROL_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONTROL_IDLE_S,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONTROL_CONNECTION_BYTES, MHD_OPTION_END);
    if (c->mhd == NULL) {
        close(fd);
        return err_set(err, BARID_EIO, "control: the HTTP server could not be started");
    }
    info = MHD_get_daemon_info(c->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    return watch_new(&c->watch, c->o.loop, info->epoll_fd, on_ready, c, err);
}

int control_new(struct control **c_r, const struct control_options *o, int fd, struct err *err)
{
    struct control *c = xalloc(sizeof(*c));
    int rc;

    *c_r = NULL;
    c->o = *o;
    list_init(&c->busy);
    c->events = events_new(o->loop, o->history, on_ready, c);
    rc = check_address(c, fd, err);
    if (rc < 0)
        close(fd);
    else
        rc = start_mhd(c, fd, err);
    if (rc == 0 && (c->timer = timer_new(o->loop, on_ready, c)) == NULL)
        rc = err_set(err, BARID_ENOMEM, "control: out of memory");
    if (rc < 0) {
        control_del(&c);
        return rc;
    }
    *c_r = c;
    return 0;
}

void control_del(struct control **c_p)
{
    struct control *c = *c_p;

    if (c == NULL)
        return;
    *c_p = NULL;
    watch_del(&c->watch);
    timer_del(&c->timer);
    /* libmicrohttpd must not be stopped with suspended connections. */
    c->running = true;
    events_end(c->events);
    LIST_EACH_SAFE(it, next, &c->busy) {
        struct job *j = LIST_ENTRY(it, struct job, node);

        list_remove(&j->node);
        MHD_resume_connection(j->connection);
    }
    if (c->mhd != NULL)
        MHD_stop_daemon(c->mhd);
    events_del(&c->events);
    mem_free(NULL, c);
}
