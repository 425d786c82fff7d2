/*
 * daemon/daemon_int.h: the daemon's state, for the files of src/daemon only. Used on the main thread alone, except where
 * noted.
 */
#ifndef DAEMON_DAEMON_INT_H
#define DAEMON_DAEMON_INT_H

#include "base/rng.h"
#include "control/control.h"
#include "daemon/clock_file.h"
#include "daemon/daemon.h"
#include "daemon/log_sink.h"
#include "daemon/privileges.h"
#include "daemon/sandbox_config.h"
#include "daemon/worker.h"
#include "queue/queue.h"

/* Jobs waiting for a pool: above it logins are asked to come back and deliveries wait for their next turn. */
#define DAEMON_POOL_QUEUE 4096
#define DAEMON_WORKERS_MAX 256

struct reload_round { /* one reload on its way through the workers */
    struct generation *v;
    struct sockets added;
    size_t waiting;  /* workers that have not answered */
    bool failed;
    bool again;      /* another one was asked for meanwhile */
};

struct daemon {
    const struct daemon_options *options;
    struct clock_file *clock_file; /* NULL = the system's */
    const struct clock *clock;
    const struct rng *rng;
    struct seeded_rng *seeded;
    struct log_sink *sink;
    const struct log *log;

    struct sandbox *sandbox; /* NULL = declared off */
    struct loop *loop;
    struct pool *logins, *deliveries; /* two, so that neither waits behind thousands of the other */
    struct spool *spool;
    struct history *history;
    struct admission *admission;
    struct shared *shared;
    struct queue *queue;
    struct outgoing *outgoing; /* what the relay among the transports needs */
    struct transport *transports[4];
    size_t n_transports;
    struct control *control;
    int control_fd;            /* bound, not yet handed over; -1 */
    bool control_bound;

    struct generation *version;   /* current */
    uint64_t last_number;
    struct sockets sockets;    /* the listeners that are open, descriptors handed over */
    uint8_t auth_seed[32];     /* of this process: salts that unknown users are shown */
    struct worker **workers;
    size_t n_workers, n_ended;

    struct reload_round round;
    uint64_t reloads, reloads_failed;
    bool stopping, queue_stopped;
    bool stopped;              /* all that is left is to close */
    int64_t started_us;
    int exit_code;
};

/* reload.c. Start one: 0, or a barid_err with one line in *err and nothing changed. */
int daemon_reload(struct daemon *d, struct err *err);
/* signals.c. Held from before the first thread, so that no other takes one, until the main loop runs, and again from its end. */
void signals_hold(void);
void signals_let(void);
int signals_watch(struct daemon *d, struct err *err); /* on the main loop */
/* status.c */
json_t *daemon_status(void *user);
/* daemon.c */
struct queue_retry daemon_retry(const struct config *c);
void daemon_stop(struct daemon *d, const char *why);
/* Whatever a policy would complain about when it is loaded. 0 or an exit code; one line in *err. */
int daemon_try_policy(struct loop *loop, struct pool *pool, struct shared *shared, const struct generation *v, struct err *err);

#endif
