/*
 * control/request.h: one request as routes see it, without the HTTP library.
 *
 * A route runs on the loop, or on a pool thread where it reads the spool (ON_POOL): then it may touch only the request, whose options
 * are its own, the spool and the history. Or it has no end (ON_STREAM, control/events.h).
 */
#ifndef CONTROL_REQUEST_H
#define CONTROL_REQUEST_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "control/control.h"

#define REQUEST_ARGUMENTS_MAX 16
#define REQUEST_TEXT_MAX      1024 /* path, and each argument's value */

struct request {
    const struct control_options *control;
    const struct route *route;
    char id[32];                  /* what stands for {id} in the path */
    struct {
        char *name, *value;
    } arguments[REQUEST_ARGUMENTS_MAX];
    size_t n_arguments;

    unsigned status;              /* 200 unless a route says else */
    json_t *body;                 /* the answer; owned */
};

/* Empty when it was not given. */
barid_slice request_argument(const struct request *r, const char *name);
/* Makes an error of the first argument that the route does not list. */
void request_check_arguments(struct request *r);
/* {"error":{"code":..., "text":...}} with that HTTP status. */
void request_error(struct request *r, unsigned status, const char *code, const char *fmt, ...) BARID_PRINTF(4, 5);

struct route {
    const char *method;
    const char *pattern;  /* "/v1/queue/{id}": {id} stands for one path segment */
    void (*run)(struct request *r); /* NULL: ON_STREAM */
    enum { ON_LOOP, ON_POOL, ON_STREAM } place;
    const char *arguments; /* names, separated by spaces: others are refused */
    const char *doc;
};
/* The table. Static; ends with a NULL method. */
const struct route *routes_all(void);
/* The route, or NULL: then *status_r is 404 or 405. id_r (size 32) gets the {id}. */
const struct route *routes_find(const char *method, const char *path, char *id_r, unsigned *status_r);

#endif
