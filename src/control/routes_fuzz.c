/*
 * control/routes_fuzz.c: lines "METHOD", "path", then "name=value" each, as libmicrohttpd hands
 * them over (decoded, ended by NUL). Whatever was asked of an empty spool, the answer is JSON; an
 * argument is one of the route's own or refused.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "control/request.h"
#include "spool/spool_open.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static json_t *status(void *user)
{
    (void)user;
    return json_object();
}

static int reload(void *user, struct err *err)
{
    (void)user;
    return err_set(err, BARID_ESYNTAX, "p.lua:1: no");
}

static void stop(void *user)
{
    (void)user;
}

static const struct control_options *options(void)
{
    static const struct control_ops ops = {status, reload, stop};
    static const struct spool_memory_options memory = {0};
    static struct control_options o;
    struct err err = {0};

    if (o.ops == NULL) {
        must(loop_new(&o.loop, NULL, NULL, &err) == 0);
        must(spool_memory_open(&o.spool, &memory, &err) == 0);
        o.ops = &ops;
    }
    return &o;
}

static void take_arguments(struct request *r, barid_slice in)
{
    while (in.n > 0 && r->n_arguments < REQUEST_ARGUMENTS_MAX) {
        barid_slice value, name = slice_cut(slice_cut(in, '\n', &in), '=', &value);

        r->arguments[r->n_arguments].name = xstrdup(name);
        r->arguments[r->n_arguments++].value = xstrdup(value);
    }
}

static void answer(struct request *r)
{
    char *text;

    request_check_arguments(r);
    for (size_t i = 0; i < r->n_arguments && r->body == NULL; i++) {
        must(strchr(r->arguments[i].name, ' ') == NULL);
        must(strstr(r->route->arguments, r->arguments[i].name) != NULL);
    }
    if (r->body == NULL)
        r->route->run(r);
    must(r->body != NULL && r->status >= 200);
    text = json_dumps(r->body, JSON_COMPACT);
    must(text != NULL);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    struct request r = {.control = options()};
    char *method = xstrdup(slice_cut(in, '\n', &in)), *path = xstrdup(slice_cut(in, '\n', &in));

    r.route = routes_find(method, path, r.id, &r.status);
    if (r.route != NULL && r.route->place == ON_STREAM) {
        must(r.route->run == NULL);
    } else if (r.route != NULL) {
        must(strlen(r.id) < sizeof(r.id) && strchr(r.id, '/') == NULL);
        r.status = 200;
        take_arguments(&r, in);
        answer(&r);
    } else {
        must(r.status == 404 || r.status == 405);
    }
    for (size_t i = 0; i < r.n_arguments; i++) {
        mem_free(NULL, r.arguments[i].name);
        mem_free(NULL, r.arguments[i].value);
    }
    json_decref(r.body);
    mem_free(NULL, method);
    mem_free(NULL, path);
    return 0;
}
