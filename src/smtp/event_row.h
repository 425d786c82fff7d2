/* smtp/event_row.h: the column of events.def that only sessions need. */
#ifndef SMTP_EVENT_ROW_H
#define SMTP_EVENT_ROW_H

#include "barid/event.h"
#include "barid/reply.h"

/* The reply of a refusal that brings none of its own. id is a row of events.def. */
enum barid_reply_id event_refusal_row(enum barid_event_id id);

#endif
