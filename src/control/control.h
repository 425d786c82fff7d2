/*
 * control/control.h: the control socket: HTTP with JSON over a unix socket (mode 0600) or loopback TCP, one route table.
 * What routes act on comes in as an operation table, so that this folder knows neither server, queue nor policy.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "interface/history.h"
#include "interface/spool.h"
#include "io/loop.h"
#include "io/pool.h"

#include <jansson.h>

struct control;

struct control_ops {
    /* Fill an object of the daemon's state: version, uptime, workers, listeners, sessions, policy events and errors. New reference or NULL. */
    json_t *(*status)(void *user);
    /* 0, or a barid_err with one line in *err: what SIGHUP does. */
    int (*reload)(void *user, struct err *err);
    void (*stop)(void *user);
};

struct control_options {
    struct loop *loop;
    struct pool *pool;   /* reads of the spool may block: they run there */
    struct spool *spool;
    struct history *history; /* NULL = none: no events, and traces of what is in the spool only */
    const struct control_ops *ops;
    void *user;
    const struct log *log;
};
/* fd: bound and listening; owned from now on, also on error. 0; BARID_EINVALID (a TCP address that is not loopback: whoever
 * reaches this socket owns the server); BARID_EIO. */
int control_new(struct control **c_r, const struct control_options *o, int fd, struct err *err);
/* Before the history goes. Requests whose answer is being made are dropped. Accepts NULL. */
void control_del(struct control **c);

#endif
