/*
 * server/server_int.h: what the files of this folder share about one worker's server.
 */
#ifndef SERVER_SERVER_INT_H
#define SERVER_SERVER_INT_H

#include <stdatomic.h>

#include "server/server.h"
#include "server/version.h"

struct server_counters {
    atomic_uint_fast64_t sessions, messages, recipients, bytes_in, refused, tempfailed,
        tls_handshakes, auth_ok, auth_failed;
    atomic_uint_fast64_t connections; /* open now */
};

struct server {
    struct server_options o;
    struct version *version; /* for new sessions */
    struct list connections; /* struct connection, all open */
    struct list listeners;   /* struct server_listener */
    struct server_counters count;
    struct ask *spare_ask;   /* most questions are answered at once: one is enough for them */
    uint64_t next_session_id; /* random start, then counted */

    bool stopping, stop_reported;
    struct timer *drain;
    void (*stopped)(void *user);
    void *stopped_user;
    struct loop_task stopped_task;
};

static inline void server_count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* A connection is gone: ends a stop that waited for it. */
void server_connection_gone(struct server *s);

#endif
