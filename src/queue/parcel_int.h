/* queue/parcel_int.h: how parcel.c (the way to a lane) and parcel_send.c (from there on) divide the work. */
#ifndef QUEUE_PARCEL_INT_H
#define QUEUE_PARCEL_INT_H

#include "queue/parcel.h"

/* The same for all that no server has answered for. */
void parcel_result(struct parcel *p, enum delivery_status status, const char *reply);
void parcel_end_with_verdict(struct parcel *p, const barid_verdict *v);
void parcel_give_back(struct parcel *p);
/* Its lane is full, or became so while policy was asked. */
void parcel_wait(struct parcel *p, struct lane *l);
void parcel_leave_lane(struct parcel *p);
/* To the next hop of the list at at_hop, or the end. */
void parcel_next_hop(struct parcel *p);
/* It has a slot: relay? and then sent. */
void parcel_relay(struct parcel *p);
/* All results are there. */
void parcel_end(struct parcel *p);

#endif
