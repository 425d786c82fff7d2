/* control/routes_filter.h: the arguments by which requests say which messages they mean. */
#ifndef CONTROL_ROUTES_FILTER_H
#define CONTROL_ROUTES_FILTER_H

#include "control/queue_view.h"
#include "control/request.h"

/* False: the request has its error. */
bool request_filter(struct request *r, uint64_t limit_max, struct queue_filter *f);
/* Any of them but after and limit was given. */
bool request_has_filter(const struct request *r);

#endif
