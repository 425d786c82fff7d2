/* control/trace_view.h: the whole story of a mail, while it is in the spool and after. Reads the disk: pool thread or command line. */
#ifndef CONTROL_TRACE_VIEW_H
#define CONTROL_TRACE_VIEW_H

#include <jansson.h>

#include "interface/history.h"
#include "interface/spool.h"

/* Entries of one trace: thousands of recipients that are tried for days; then "cut" is set. */
#define TRACE_ENTRIES_MAX 20000

/* {"id", "message": as queue show or null, "explain": [...], "history": [...]}. spool and history may be NULL. 0, BARID_ENOTFOUND (neither
 * knows it), or why the spool or the history could not be read: BARID_EIO, ECORRUPT, ENOMEM. */
int trace_view(struct spool *spool, struct history *history, uint64_t id, json_t **trace_r);

#endif
