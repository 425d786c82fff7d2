/*
 * daemon/clock_file.h: the system's clock shifted by an offset that a test writes into a file: 8 octets, host order, signed
 * milliseconds. A small thread notices a change, also when the file is replaced by another, and wakes the loops, whose timers then see the new time at once.
 */
#ifndef DAEMON_CLOCK_FILE_H
#define DAEMON_CLOCK_FILE_H

#include "base/clock.h"
#include "base/err.h"

struct clock_file;

int clock_file_new(struct clock_file **c_r, const char *file, struct err *err);
const struct clock *clock_file_clock(struct clock_file *c);
/* changed runs on the thread that watches the file. Once, before any change. 0 or BARID_EIO. */
int clock_file_watch(struct clock_file *c, void (*changed)(void *user), void *user, struct err *err);
void clock_file_unwatch(struct clock_file *c); /* changed is not called any more */
void clock_file_del(struct clock_file **c); /* accepts NULL */

#endif
