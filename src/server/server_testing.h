/*
 * server/server_testing.h: what the tests of the server share: a server with a memory spool and
 * a policy of C handlers, its loop on a thread of its own; a blocking client on loopback; a
 * spool in between that answers when the test says so. Test code only.
 */
#ifndef SERVER_SERVER_TESTING_H
#define SERVER_SERVER_TESTING_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/testing.h"
#include "policy/dispatch.h"
#include "server/server.h"
#include "spool/spool_open.h"

/* What a test wants its policy to say, per event. */
struct script {
    barid_verdict verdict[BARID_EVENTS];
    bool wait[BARID_EVENTS]; /* answer from a posted task instead of at once */
    bool hold[BARID_EVENTS]; /* answer when the test calls release */
    const char *store;       /* recipient: rcpt:store(this) unless NULL */
    const char *store_for;   /* recipient: rcpt:store for this address alone */
    const char *refuse_rcpt; /* recipient: reject this address, whatever else */
    bool put_off;            /* ... tempfail it instead */
    const char *lose_rcpt;   /* recipient: discard this address */
    const char *remove_rcpt; /* message: take this address off, as mail:remove_recipient does */
    size_t add_rcpts;        /* recipient: so many more, once */
};

/* A spool in front of f->spool. Late: done of a commit, and drained, come when the test says.
 */
struct gate {
    struct spool spool; /* first */
    struct spool_ops ops;
    struct spool *inner;
    bool late;
    atomic_size_t backlog;
    sem_t committed, paused; /* a commit is durable; somebody waits for the drain */
    spool_done done;
    void *done_user;
    int err;
    void (*drained)(void *user);
    void *drained_user;
    atomic_uint aborted;
};

struct fixture {
    struct loop *loop;
    struct pool *pool;
    struct spool *spool; /* the memory store: what is in it is true */
    struct gate gate;    /* what the server sees */
    struct admission *admission;
    struct config *config;
    struct config_listen listen;
    struct policy *policy;
    struct users *users;
    struct history *history; /* NULL unless a test has one */
    struct server *server;
    const struct routing *routing;
    struct script script;
    struct clock_fake time; /* prepare_at: moved by advance */
    struct log_memory log;  /* read it after await_stop only */
    bool quiet;             /* no log: it needs memory itself */
    pthread_t thread;
    uint16_t port;
    int listener;
    bool stopped, joined;
    uint32_t drain_ms;
    uint8_t seed[32];
    const char *domains[1];
    struct loop_task stop_task, resume_task;
    struct policy_call *waiting, *held;
    sem_t holding; /* a handler of script.hold was asked */
    unsigned cancelled;
    unsigned mails, mails_in_session; /* events of a mail, and of the session, that had one */
};

struct fixture *prepare(void);
struct fixture *prepare_at(int64_t wall_us); /* with a clock that stands still */
void start(struct fixture *f);
void begin_stop(struct fixture *f); /* f->drain_ms first; 0 = by force */
void await_stop(struct fixture *f);
void finish(struct fixture *f); /* await_stop unless done; checks that nothing is left */
void stop(struct fixture *f);
void free_fixture(struct fixture *f); /* what finish does in the end, without a server */

/* Runs fn(f) on the loop's thread and waits for it. */
void on_loop(struct fixture *f, void (*fn)(struct fixture *f));
void advance(struct fixture *f, uint64_t ms);
void await_hold(struct fixture *f);
void release(struct fixture *f); /* answers the held call with its script's verdict */
void gate_commit_done(struct fixture *f, int err);
void gate_drained(struct fixture *f);

struct client {
    int fd;
    char in[65536];
    size_t n;
};
void dial(struct client *c, const struct fixture *f);
void say(struct client *c, const char *p, size_t n);
bool fill(struct client *c);                     /* false = the end */
void expect(struct client *c, const char *want); /* one reply, all its lines */
void expect_end(struct client *c);
void exchange(struct client *c, const char *command, const char *want);
void greet(struct client *c, const struct fixture *f);
void envelope(struct client *c, const char *rcpt);
void message(struct client *c, const char *want);
void quit(struct client *c);

size_t spooled(const struct fixture *f, enum spool_state state);
void load_only(const struct fixture *f, struct spool_loaded *l);
void assert_body(const struct fixture *f, uint64_t id, const char *want, size_t n);

#endif
