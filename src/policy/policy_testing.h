/*
 * policy/policy_testing.h: a world for tests of policies: a loop, timers and DNS that stand
 * still until told, a mail with a body in memory, a log that remembers. Test code only: it
 * takes the place of src/io at link time.
 */
#ifndef POLICY_POLICY_TESTING_H
#define POLICY_POLICY_TESTING_H

#include "base/testing.h"
#include "io/dns.h"
#include "policy/dispatch_int.h"
#include "policy/policy_lua.h"
#include "policy/shared.h"

/* What a hook that could not run answers. */
#define FAILED         "tempfail 451 4.3.0 Local policy error, try again later"
#define FAILED_CONNECT "tempfail 421 4.3.0 Local policy error, try again later"

#define WORLD_NOW 1700000000 /* seconds since 1970 at first */

struct world {
    struct log_memory log;
    bool quiet; /* no log: it needs memory itself */
    struct config *config;
    struct shared *shared;
    struct policy *policy;
    struct session_facts facts;
    struct policy_session *session;
    struct arena arena;
    struct mail mail;
    struct rcpt *rcpt;
    struct buf body;
    struct policy_call call;
    /* What events of delivery are about: as world_init leaves it, a mail to one recipient at hop_text, deferred. */
    const char *hop_text; /* read by world_load */
    struct hop hop, hop_before;
    struct send_result result;
    struct report notice;
    struct report_rcpt notice_rcpt;
    struct policy_route route;
    struct hop base; /* of route */
    struct policy_relay relay;
    struct policy_attempt attempt;
    struct policy_report report;
    unsigned done;    /* how often call.done was called */
    char answer[600]; /* of the last call */
    char effect[1200];
    struct err err;
    const barid_mem *mem;
};

/* A mail from sender@example.org to user+tag@example.com, all of it in: as in `message`. */
void world_init(struct world *w);
/* The policy of that text; 0 or what policy_lua_new gave (w->err). */
int world_load(struct world *w, const char *text);
void world_deinit(struct world *w);
/* Ask; "waiting", or the answer as text: "reject 550 5.1.1 no such user". */
const char *world_ask(struct world *w, enum barid_event_id event);
/* Time passes and questions are answered until it is no longer waiting; then its answer. */
const char *world_settle(struct world *w, const char *answer);
/* The last answer as text. */
const char *world_answer(struct world *w);
/* What an event of delivery left in its part of the call: the next hops and "pinned"; the next hop; seconds from WORLD_NOW and
 * "limited"; the address and the subject of the report. */
const char *world_effect(struct world *w);
bool world_logged(const struct world *w, const char *text);

/* Time goes on; timers that are due run. */
void world_advance(uint64_t ms);
size_t world_timers(void);
/* The oldest open DNS question is answered; NULL name_r allowed. False = there is none. */
bool world_dns_answer(enum dns_status status, const struct dns_record *records, size_t n);
const char *world_dns_question(void); /* "name/type" of the oldest, "" = none */
extern struct clock_fake world_clock;

/* dispatch alone */
extern struct loop *const world_loop;

#endif
