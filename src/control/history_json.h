/* control/history_json.h: entries of the history as JSON: for the stream of events and for traces. */
#ifndef CONTROL_HISTORY_JSON_H
#define CONTROL_HISTORY_JSON_H

#include <jansson.h>

#include "interface/history.h"

/* {"at","event","id", ...}: what is empty is left out, and of SPOOLED its trace. New reference; NULL = no memory. */
json_t *history_entry_json(const struct history_entry *e);

#endif
