/*
 * daemon/log_format.h: one log record as one line of text or JSON. Pure. Whatever a peer put into a field, the line stays one
 * line of printable characters.
 *
 *   2026-11-20T11:21:39.123456Z warn spool: segment set aside file=a.seg offset=4096
 *   {"time":"2026-11-20T11:21:39.123456Z","level":"warn","area":"spool","what":"segment set aside","file":"a.seg","offset":4096}
 */
#ifndef DAEMON_LOG_FORMAT_H
#define DAEMON_LOG_FORMAT_H

#include "base/buf.h"
#include "base/log.h"

#define LOG_LINE_MAX  8192 /* a longer record is cut at a field: what a peer sends must not fill the disk line by line */
#define LOG_VALUE_MAX 2048 /* octets of one field's value; longer is cut and marked "..." */

const char *log_level_name(enum log_level level); /* "error", "warn", "info", "debug" */

/* Append the line with its '\n'. 0, or BARID_ENOMEM: then nothing was appended. */
int log_format_text(struct buf *out, int64_t wall_us, enum log_level level, const char *area, const char *what,
                    const struct log_field *fields);
int log_format_json(struct buf *out, int64_t wall_us, enum log_level level, const char *area, const char *what,
                    const struct log_field *fields);

#endif
