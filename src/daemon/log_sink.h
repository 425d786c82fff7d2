/*
 * daemon/log_sink.h: where log lines go: a thread of its own writes them to stderr or a file, so that no worker ever waits for
 * a disk, a pipe or a terminal. What does not fit into the buffer is dropped and counted, and the count is logged.
 */
#ifndef DAEMON_LOG_SINK_H
#define DAEMON_LOG_SINK_H

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

/* Lines waiting for the thread: a second or two of a very busy server. */
#define LOG_SINK_BUFFER (1u << 20)
/* Lines gather this long behind one that was just written: what kill -9 may take from the log. */
#define LOG_SINK_NAP_MS 10
/* A stopping daemon waits this long for its last lines. */
#define LOG_SINK_FLUSH_MS 2000

struct log_sink;

/* Lines go to stderr, as text, at level INFO until configured. They wait until the thread is started: that comes after the
 * sandbox, which holds only for threads made in it. */
void log_sink_new(struct log_sink **s_r, const struct clock *clock);
int log_sink_start(struct log_sink *s, struct err *err); /* once; 0 or BARID_EIO */
const struct log *log_sink_log(struct log_sink *s);
/* file NULL = stderr. On error nothing changes. 0 or BARID_EIO. Any thread. */
int log_sink_configure(struct log_sink *s, const char *file, bool json, enum log_level level, struct err *err);
/* The file was renamed by a log rotation: open it again under its name. 0 or BARID_EIO (the old one stays in use). */
int log_sink_reopen(struct log_sink *s, struct err *err);
uint64_t log_sink_dropped(const struct log_sink *s);
void log_sink_flush(struct log_sink *s); /* waits up to LOG_SINK_FLUSH_MS */
void log_sink_del(struct log_sink **s);  /* flushes; nothing may log any more */

#endif
