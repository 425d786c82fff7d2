/*
 * daemon/worker.h: one worker: a thread with its loop, its server, and for each configuration version a policy (one Lua
 * state) and a DNS client of its own.
 *
 * States: made -> started -> stopping -> ended. Until it is started everything runs on the caller's thread; then only the
 * functions below marked "any thread" may be called, until `ended` was reported and worker_join returned.
 */
#ifndef DAEMON_WORKER_H
#define DAEMON_WORKER_H

#include "daemon/sockets.h"
#include "daemon/generation.h"
#include "io/pool.h"
#include "policy/shared.h"
#include "server/server.h"

struct worker;

/* What all workers share; borrowed. */
struct worker_services {
    struct pool *pool;
    struct spool *spool;
    struct history *history; /* NULL = nobody keeps one */
    struct admission *admission;
    struct shared *shared;
    const struct clock *clock;
    const struct rng *rng;
    const struct log *log;
    const uint8_t *auth_seed; /* 32 random octets: what an unknown user is shown must be the same by every worker, and unknown */
};

/* 0 or a barid_err. The policy of v is made here, so its mistakes come out here. */
int worker_new(struct worker **w_r, size_t index, const struct worker_services *services, struct generation *v,
               struct err *err);
/* Takes descriptor [index] of each group: the server owns it then. */
int worker_listen(struct worker *w, struct sockets *s, struct err *err);
/* ended runs on the worker's thread as its last act. */
int worker_start(struct worker *w, void (*ended)(void *user, struct worker *w), void *user, struct err *err);

/* Any thread: serve new sessions by v, open the sockets in `added` (the worker's own share is taken from them), close the
 * listeners in `removed` (NULL-terminated, copied). done runs on the worker's thread, err NULL = success. */
struct worker_reload {
    struct generation *v;
    struct sockets *added;
    const char *const *removed;
    void (*done)(void *user, struct worker *w, const struct err *err);
    void *user;
};
void worker_use(struct worker *w, const struct worker_reload *reload);
/* Any thread, once: graceful within drain_ms. */
void worker_stop(struct worker *w, uint32_t drain_ms);
/* Any thread: look at the clock again. */
void worker_wake(struct worker *w);

/* Any thread while the worker exists. */
void worker_server_stats(const struct worker *w, struct server_stats *stats_r);
void worker_policy_stats(struct worker *w, struct policy_stats *stats_r); /* of the current version */
size_t worker_versions(struct worker *w);                                 /* with sessions, the current one included */

void worker_join(struct worker *w);
void worker_del(struct worker **w); /* after join, or never started; accepts NULL */

#endif
