/*
 * spool/log_dir.h: the directory of a log: what makes it one, and who owns it.
 *
 *   LOCK      flock(2); holds the owner's pid, for the message
 *   FORMAT    version, segment size; written once
 *   seg/      segments, sidecars, spares      big/  large bodies      damaged/  what was set
 * aside
 */
#ifndef SPOOL_LOG_DIR_H
#define SPOOL_LOG_DIR_H

#include "spool/log_int.h"

/* Opens s->dir and the folders below, owns the lock, and takes the segment size over. */
int log_dir_open(struct store *s, struct err *e);
void log_dir_close(struct store *s);

#endif
