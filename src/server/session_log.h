/*
 * server/session_log.h: one log line per session and per message.
 */
#ifndef SERVER_SESSION_LOG_H
#define SERVER_SESSION_LOG_H

#include "server/connection.h"

/* outcome: "active", "held", "quarantined", "discarded", "not stored". */
void session_log_message(struct connection *c, const char *outcome);
void session_log_end(struct connection *c);

#endif
