/* control/routes.c: the route table, and what the routes of the daemon itself do. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "control/json_text.h"
#include "control/queue_view.h"
#include "control/routes_queue.h"

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

static const struct route table[] = {
    {"GET", "/v1/status", run_status, ON_LOOP, "", "state of the daemon: listeners, workers, policy events, spool"},
    {"GET", "/v1/queue", route_list, ON_POOL, FILTER_ARGUMENTS,
     "messages in the spool, by id; addresses and next hops may be globs, ages are in seconds; go on with after=<next> until next is "
     "null"},
    {"GET", "/v1/queue/count", route_count, ON_LOOP, "", "how many messages there are, by state, and the spool's size"},
    {"GET", "/v1/queue/events", NULL, ON_STREAM, "",
     "what becomes of mail from now on, one JSON object a line, until one side ends it; a client that does not read is cut off"},
    {"POST", "/v1/queue/hold", route_hold, ON_POOL, CHANGE_ARGUMENTS, "no new attempts: id=ID,ID,..., or filters, or all=1"},
    {"POST", "/v1/queue/release", route_release, ON_POOL, CHANGE_ARGUMENTS, "what is held or quarantined goes on"},
    {"POST", "/v1/queue/retry", route_retry, ON_POOL, CHANGE_ARGUMENTS " held interval",
     "the next attempt is now; held=1: what is held and nothing else; interval=S,S,...: seconds to the next ones, before the schedule"},
    {"POST", "/v1/queue/remove", route_remove, ON_POOL, CHANGE_ARGUMENTS, "held mail out of sight; it can be recovered"},
    {"POST", "/v1/queue/recover", route_recover, ON_POOL, CHANGE_ARGUMENTS, "removed or quarantined mail is held again"},
    {"POST", "/v1/queue/bounce", route_bounce, ON_POOL, CHANGE_ARGUMENTS, "who still waits is given up, and the sender is told"},
    {"GET", "/v1/queue/{id}", route_show, ON_POOL, "", "everything known about one message"},
    {"GET", "/v1/trace/{id}", route_trace, ON_POOL, "", "the whole story of one message, also after it is gone"},
    {"POST", "/v1/reload", run_reload, ON_LOOP, "", "load the configuration again, as SIGHUP does"},
    {"POST", "/v1/stop", run_stop, ON_LOOP, "", "stop gracefully, as SIGTERM does"},
    {"GET", "/v1/routes", run_routes, ON_LOOP, "", "this table"},
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
