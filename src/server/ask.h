/*
 * server/ask.h: one question of a connection to its policy, answered now or later.
 */
#ifndef SERVER_ASK_H
#define SERVER_ASK_H

#include "server/connection.h"

typedef void (*ask_then)(struct connection *c, const barid_verdict *verdict);

/*
 * Asks the handlers of `event` (ev may be NULL: no fields beyond the transaction's); then
 * exactly once, from within this call or later, unless ask_cancel comes first. Without a
 * handler that is CONTINUE at once. Out of memory is POLICY_FAILED.
 */
void ask(struct connection *c, enum barid_event_id event, const barid_event *ev,
         struct rcpt *rcpt, ask_then then);
void ask_cancel(struct connection *c);
void ask_forget_spare(struct server *s); /* the server ends */

#endif
