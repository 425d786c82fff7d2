/*
 * server/server.h: the mail server of one worker: listeners and streams (io) joined to sessions
 * (barid/session.h), policy and spool. It drives the protocol through the public session API
 * like any other embedder.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "interface/history.h"
#include "interface/policy.h"
#include "interface/spool.h"
#include "io/loop.h"
#include "io/pool.h"
#include "io/tls.h"
#include "message/hop.h"
#include "policy/config.h"
#include "server/admission.h"
#include "server/users.h"

struct server;

/* What one version of the configuration gives to a worker. Sessions keep the version they began
 * with (counted). */
struct server_version {
    const struct config *config;
    struct policy *policy; /* this worker's; the server takes a reference */
    struct tls_ctx **tls;  /* one per config->listen entry, NULL = no TLS there; referenced */
    struct users *users;   /* NULL = no users file; referenced */
    const struct routing *routing; /* where mail goes by default; NULL = to the recipient's domain */
    void (*released)(void *user); /* the last session of this version is gone (called on the
                                     loop); may be NULL */
    void *user;
};

struct server_options {
    struct loop *loop;
    struct pool *pool;
    struct spool *spool;
    struct history *history;     /* what was stored is told it; NULL = nobody */
    struct admission *admission; /* shared by all workers */
    const struct clock *clock;
    const struct rng *rng;
    const struct log *log;
    const uint8_t *
        auth_seed; /* 32 random octets, the same for all workers: fake salts of unknown users */
};

int server_new(struct server **s_r, const struct server_options *o,
               const struct server_version *v, struct err *err);
/* fd: bound and listening; the server owns it. listen_index: into config->listen of the current
 * version. */
int server_listen(struct server *s, size_t listen_index, int fd, struct err *err);
/* New sessions use it from now on. Listeners that the new version has not are closed by the
 * daemon (server_unlisten). */
int server_use(struct server *s, const struct server_version *v, struct err *err);
void server_unlisten(struct server *s, const char *address);
/* Graceful: listeners close, idle sessions get 421, running transactions finish within
 * drain_ms, then the rest is closed. done once. */
void server_stop(struct server *s, uint32_t drain_ms, void (*done)(void *user), void *user);
void server_del(struct server **s);

struct server_stats { /* relaxed atomics: any thread may read */
    uint64_t connections, sessions, messages, recipients, bytes_in, refused, tempfailed,
        tls_handshakes, auth_ok, auth_failed;
};
void server_stats(const struct server *s, struct server_stats *stats_r);

#endif
