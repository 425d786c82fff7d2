/* control/routes.c: the route table and what each route does. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "control/json_text.h"
#include "control/queue_view.h"
#include "control/request.h"
#include "message/mail.h"

barid_slice request_argument(const struct request *r, const char *name)
{
    for (size_t i = 0; i < r->n_arguments; i++)
        if (strcmp(r->arguments[i].name, name) == 0)
            return slice_str(r->arguments[i].value);
    return (barid_slice){0};
}

void request_error(struct request *r, unsigned status, const char *code, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    r->status = status;
    json_decref(r->body);
    r->body = json_object();
    json_t *error = json_object();
    json_object_set_new(error, "code", json_string(code));
    json_object_set_new(error, "text", json_text(slice_str(text)));
    json_object_set_new(r->body, "error", error);
}

/* A whole word of the list: "state sender" is two of them and no name. */
static bool argument_known(const char *list, const char *name)
{
    for (size_t n; *list != '\0'; list += n + (list[n] == ' ')) {
        n = strcspn(list, " ");
        if (n == strlen(name) && memcmp(list, name, n) == 0)
            return true;
    }
    return false;
}

void request_check_arguments(struct request *r)
{
    for (size_t i = 0; i < r->n_arguments && r->status == 200; i++)
        if (!argument_known(r->route->arguments, r->arguments[i].name))
            request_error(r, 400, "bad_argument", "%s takes no argument \"%s\"", r->route->pattern, r->arguments[i].name);
}

static void run_status(struct request *r)
{
    r->body = r->control->ops->status(r->control->user);
    if (r->body != NULL)
        json_object_set_new(r->body, "spool", queue_view_count(r->control->spool));
}

static void run_reload(struct request *r)
{
    struct err err = {0};

    if (r->control->ops->reload(r->control->user, &err) < 0)
        request_error(r, 409, "reload_failed", "%s", err.text);
    else
        r->body = json_pack("{s:b}", "reloading", 1);
}

static void run_stop(struct request *r)
{
    r->control->ops->stop(r->control->user);
    r->body = json_pack("{s:b}", "stopping", 1);
}

static void run_routes(struct request *r)
{
    json_t *list = json_array();

    for (const struct route *t = routes_all(); t->method != NULL; t++)
        json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "method", t->method, "path", t->pattern,
                                              "arguments", t->arguments, "doc", t->doc));
    r->body = json_object();
    json_object_set_new(r->body, "routes", list);
}

static void run_count(struct request *r)
{
    r->body = queue_view_count(r->control->spool);
}

/* Each reads one argument into f; false = it was refused. */
static bool filter_state(struct request *r, struct queue_filter *f)
{
    barid_slice s = request_argument(r, "state");

    if (s.n > 0 && (f->state = queue_state_by_name(s)) < 0) {
        request_error(r, 400, "bad_argument", "state must be active, held, removed or quarantined");
        return false;
    }
    return true;
}

static bool filter_number(struct request *r, const char *name, uint64_t max, uint64_t *value_r)
{
    barid_slice s = request_argument(r, name);

    if (s.n > 0 && slice_u64(s, max, value_r) < 0) {
        request_error(r, 400, "bad_argument", "%s must be a number up to %llu", name, (unsigned long long)max);
        return false;
    }
    return true;
}

static bool filter_after(struct request *r, struct queue_filter *f)
{
    barid_slice s = request_argument(r, "after");

    if (s.n > 0 && mail_id_parse(s, &f->after) < 0) {
        request_error(r, 400, "bad_argument", "after must be a queue id");
        return false;
    }
    return true;
}

static void run_list(struct request *r)
{
    struct queue_filter f;
    uint64_t older_s = UINT64_MAX, limit = 0;

    queue_filter_init(&f);
    f.sender = request_argument(r, "sender");
    f.recipient = request_argument(r, "recipient");
    if (!filter_state(r, &f) || !filter_after(r, &f) || !filter_number(r, "limit", QUEUE_VIEW_LIMIT_MAX, &limit) ||
        !filter_number(r, "older", UINT32_MAX, &older_s))
        return;
    f.limit = (size_t)limit;
    if (older_s != UINT64_MAX)
        f.before_us = clock_wall_us(loop_clock(r->control->loop)) - (int64_t)older_s * 1000000;
    r->body = queue_view_list(r->control->spool, &f);
}

static void run_show(struct request *r)
{
    uint64_t id;
    int rc;

    if (mail_id_parse(slice_str(r->id), &id) < 0) {
        request_error(r, 400, "bad_id", "\"%s\" is not a queue id", r->id);
        return;
    }
    rc = queue_view_message(r->control->spool, id, &r->body);
    if (rc == BARID_ENOTFOUND)
        request_error(r, 404, "no_such_message", "there is no message %s in the spool", r->id);
    else if (rc < 0)
        request_error(r, 500, "unreadable", "message %s: %s", r->id, barid_strerror(rc));
}

static const struct route table[] = {
    {"GET", "/v1/status", run_status, false, "", "state of the daemon: listeners, workers, policy events, spool"},
    {"GET", "/v1/queue", run_list, true, "state sender recipient older after limit",
     "messages in the spool, by id; older is in seconds; go on with after=<next> until next is null"},
    {"GET", "/v1/queue/count", run_count, false, "", "how many messages there are, by state, and the spool's size"},
    {"GET", "/v1/queue/{id}", run_show, true, "", "everything known about one message"},
    {"POST", "/v1/reload", run_reload, false, "", "load the configuration again, as SIGHUP does"},
    {"POST", "/v1/stop", run_stop, false, "", "stop gracefully, as SIGTERM does"},
    {"GET", "/v1/routes", run_routes, false, "", "this table"},
    {0},
};

const struct route *routes_all(void)
{
    return table;
}

/* A pattern segment against a path segment; {id} takes any that is not empty. */
static bool pattern_matches(const char *pattern, const char *path, char *id_r)
{
    const char *brace = strchr(pattern, '{');
    size_t prefix = brace != NULL ? (size_t)(brace - pattern) : strlen(pattern);
    size_t n = strlen(path);

    id_r[0] = '\0';
    if (brace == NULL)
        return strcmp(pattern, path) == 0;
    if (n <= prefix || n - prefix >= 32 || strncmp(pattern, path, prefix) != 0 || strchr(path + prefix, '/') != NULL)
        return false;
    memcpy(id_r, path + prefix, n - prefix + 1);
    return true;
}

const struct route *routes_find(const char *method, const char *path, char *id_r, unsigned *status_r)
{
    *status_r = 404;
    for (const struct route *t = table; t->method != NULL; t++) {
        if (!pattern_matches(t->pattern, path, id_r))
            continue;
        if (strcmp(t->method, method) == 0 || (strcmp(method, "HEAD") == 0 && strcmp(t->method, "GET") == 0))
            return t;
        *status_r = 405;
        if (strchr(t->pattern, '{') == NULL)
            break; /* a literal path is not an id */
    }
    return NULL;
}
