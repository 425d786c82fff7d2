/*
 * bench/hooks_io.h: a client without a socket, for bench/hooks.c.
 */
#ifndef BENCH_HOOKS_IO_H
#define BENCH_HOOKS_IO_H

#include "barid/types.h"
#include "io/loop.h"

struct listener;

#define HOOKS_IO_REPLY_MAX 65536 /* octets of the replies to one piece of input */

extern struct loop *const hooks_io_loop;
void hooks_io_turn(void); /* runs what was posted */

/* The listener that was made last. */
struct listener *hooks_io_listener(void);
/* Opens the one connection; what the server says to that. */
barid_slice hooks_io_connect(struct listener *l);
/* Hands octets to the server as one read; what it says to them. */
barid_slice hooks_io_say(barid_slice text);
bool hooks_io_is_open(void);

#endif
