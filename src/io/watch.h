/*
 * io/watch.h: a foreign descriptor on our loop: libraries that bring an epoll descriptor of their own (libmicrohttpd) run when it
 * becomes readable. The descriptor stays the library's.
 */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include "io/loop.h"

struct watch;

/* ready runs on the loop each time fd is readable (level-triggered). 0, BARID_ENOMEM, BARID_EIO with *err. */
int watch_new(struct watch **w_r, struct loop *loop, int fd, void (*ready)(void *user), void *user, struct err *err);
void watch_del(struct watch **w); /* before fd is closed; accepts NULL; allowed from within ready */

#endif
