/*
 * control/events.h: GET /v1/queue/events: answers that do not end, one line of JSON for each entry of the history, a ping now and then.
 * On the loop of the control object.
 */
#ifndef CONTROL_EVENTS_H
#define CONTROL_EVENTS_H

#include "control/control.h"

/* A client that went away while nothing happened is noticed when something is sent. */
#define EVENTS_PING_MS 10000

struct events;
struct MHD_Response;
struct MHD_Connection;

/* turn: the HTTP library has something to do. Aborts without memory: start-up. */
struct events *events_new(struct loop *loop, struct history *history, void (*turn)(void *user),
                          void *user);
/* Nothing wakes any more, and no connection is suspended: then the HTTP library may be stopped. */
void events_end(struct events *e);
void events_del(struct events **e); /* after the HTTP library stopped; accepts NULL */
/* 0 and the answer for this connection, to be queued and given up; BARID_EUNSUPPORTED (there is no history), BARID_ELIMIT (too many
 * listen already), BARID_ENOMEM. */
int events_listen(struct events *e, struct MHD_Connection *connection,
                  struct MHD_Response **response_r);

#endif
