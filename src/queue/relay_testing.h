/*
 * queue/relay_testing.h: a queue that sends: the fixture of queue_testing.h with a next hop for each name that does what the test says,
 * and C handlers as policy. Test code only; include after cmocka.h.
 */
#ifndef QUEUE_RELAY_TESTING_H
#define QUEUE_RELAY_TESTING_H

#include "policy/dispatch.h"
#include "queue/queue_testing.h"

#define SENDS_MAX        4096
#define HOSTS_MAX        16
#define HOOK_WAITING_MAX 64

/* What one next hop does. The first whose name fits; "" = any. Recipients whose address begins with "no" are refused for good, with "later"
 * for now, each for itself. */
struct host {
    const char *name;
    const char *reply; /* to the message; NULL = 250 */
    unsigned times;    /* so often, then the next one that fits; 0 = always */
    bool no_connection, is_suspect, dsn_passed;
    bool holds;     /* waits with its answer for relay_answer, after the final dot */
    bool is_silent; /* waits with everything, before the body */
    bool says_first; /* holds, but for the first recipient */
    int refuses;    /* send itself answers that */
};

/* A mail on its way, or one that was. */
struct sending {
    struct loop_task task;
    struct relay *relay;
    struct consignment *c;
    struct host *host;
    uint64_t read;
    struct sent *sent;
    bool is_waiting, is_over;
    size_t n_said; /* recipients that have a result */
    bool is_posted;
};

struct sent { /* in order of send */
    uint64_t id;
    char hop[64];
    char rcpts[64]; /* local parts, each with a space */
    size_t n_rcpts;
    bool is_final; /* all of it was sent */
};

struct relay {
    struct transport t;
    struct loop *loop;
    struct host hosts[HOSTS_MAX];
    size_t piece;           /* octets asked of the body at a time; 0 = 64 KiB */
    size_t n, now, now_max; /* sent so far; under way */
    size_t n_final, n_cancelled, n_ready;
    uint64_t body_n, body_sum; /* of the last body */
    int body_rc;
    struct sent sent[SENDS_MAX];
    struct sending *way[SENDS_MAX]; /* NULL: over */
};

/* What a handler answers. */
struct hook {
    barid_verdict verdict;
    unsigned asked;
    bool waits;
    struct policy_call *waiting[HOOK_WAITING_MAX]; /* in order, without gaps */
    void (*act)(struct policy_call *call, void *user);
    void *user;
};

struct relaying {
    struct fixture f;
    struct relay relay;
    struct policy *policy;
    struct hook hooks[BARID_EVENTS];
    char inflight[TEST_DIR_SIZE + 16];
};

int relay_setup(void **state);
int relay_teardown(void **state);
#define R(fn) cmocka_unit_test_setup_teardown(fn, relay_setup, relay_teardown)

void relaying_set_up(struct relaying *r);
void relaying_tear_down(struct relaying *r);
/* That event is asked from now on (before start_relaying). */
struct hook *hear(struct relaying *r, enum barid_event_id event);
void start_relaying(struct relaying *r);
/* Those that wait go on: the first whose hop has that name; false: none does. */
bool relay_answer(struct relaying *r, const char *hop);
void relay_answer_all(struct relaying *r);
/* The first question that waits is answered with its verdict. */
void hook_answer(struct relaying *r, enum barid_event_id event);
/* How often a next hop was given mail. */
size_t sent_to(const struct relaying *r, const char *hop);
/* Turns and hours until the store is empty. */
void run_dry(struct relaying *r);
/* Whoever has not answered by then is not waited for. */
void stop_relaying(struct relaying *r);
/* What the store knows of a unit; its reply lives until the next call. */
struct unit_state unit_of(struct relaying *r, uint64_t id, size_t unit);
/* It is in that state, and its reply begins so. */
void expect_reply(struct relaying *r, uint64_t id, size_t unit, enum unit_status status, const char *reply);
/* All of a stored message's header and body, NUL-terminated; to be freed. Its id; 0: there is none behind that id. */
uint64_t read_stored(struct relaying *r, uint64_t after, char **text_r);

#endif
