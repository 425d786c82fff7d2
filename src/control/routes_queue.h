/* control/routes_queue.h: the routes of what is in the spool, and of what became of it; on a pool thread. */
#ifndef CONTROL_ROUTES_QUEUE_H
#define CONTROL_ROUTES_QUEUE_H

#include "control/request.h"

#define FILTER_ARGUMENTS "state sender recipient next_hop older younger after limit"
/* "ID,ID,...": what fits into an argument. */
#define CHANGE_ARGUMENTS "id all " FILTER_ARGUMENTS

void route_list(struct request *r);
void route_count(struct request *r);
void route_show(struct request *r);
void route_trace(struct request *r);

void route_hold(struct request *r);
void route_release(struct request *r);
void route_retry(struct request *r);
void route_remove(struct request *r);
void route_recover(struct request *r);
void route_bounce(struct request *r);

#endif
