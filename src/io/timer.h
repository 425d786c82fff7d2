/*
 * io/timer.h: a deadline that moves often and fires seldom. Moving it later costs a store: the
 * underlying timer is re-armed only when it fires early. Embedded; no heap per move.
 */
#ifndef IO_TIMER_H
#define IO_TIMER_H

#include "io/loop.h"

struct timer;

/* fn runs on the loop when mono time reaches the deadline, once per timer_set. NULL when out of
 * memory. */
struct timer *timer_new(struct loop *loop, void (*fn)(void *user), void *user);
void timer_set(struct timer *t, uint64_t deadline_ms); /* UINT64_MAX = never */
void timer_del(struct timer **t); /* accepts NULL; fn is not called any more */

#endif
