/*
 * interface/policy.h: asking the policy. Implemented by src/policy; used by the server and the queue.
 *
 * A struct policy is the handlers of one version on one loop (one Lua state). Sessions hold a reference to the version they
 * began with; a reload makes a new one beside it.
 *
 * policy_ask runs the handlers of an event in order of priority, then registration, and merges what they say: accept ends the
 * event; the first reject, tempfail, discard, quarantine, hold or disconnect decides; edits of the mail accumulate. A handler
 * that fails, answers something the event does not allow, or does not answer in time gives tempfail 451 4.3.0
 * (POLICY_FAILED), a log line with file and line, and a counter. About failure and delay, and about an attempt that delivered, it gives
 * continue in its place: the report as it would be sent without policy; what is delivered stays so.
 */
#ifndef INTERFACE_POLICY_H
#define INTERFACE_POLICY_H

#include "barid/event.h"
#include "barid/verdict.h"
#include "interface/transport.h"
#include "message/mail.h"
#include "message/report.h"

struct policy;
struct policy_session;

struct policy_credentials {
    enum barid_auth_mechanism mechanism;
    barid_slice authcid, authzid;
    barid_slice password; /* PLAIN, LOGIN; else empty */
};

/* route: where these recipients go. hops is the default at first (of the recipient's domain, the smart host, or what `send` named);
 * ACCEPT with other hops there, in arena, replaces it: as hop_init leaves them but for where they are, so nothing of the default (a
 * password) goes to a place that policy chose. TEMPFAIL: again by the schedule. */
struct policy_route {
    const size_t *rcpts; /* in mail->rcpts */
    size_t n_rcpts;
    uint32_t attempts; /* before this one */
    const struct hop *hops;
    size_t n_hops; /* 1 to HOP_LIST_MAX */
    const struct hop *base; /* how a next hop begins that a handler makes */
    struct arena *arena;
};

/* relay: the connection that will be used; a handler changes *hop. */
struct policy_relay {
    struct hop *hop;
    size_t n_rcpts;
    uint32_t attempts;   /* before this one */
    struct arena *arena; /* of what hop points to */
};

/* attempt: one that ended the same way for these recipients. One that delivered can be answered with CONTINUE and ACCEPT only: nothing takes
 * a delivery back, and nothing repeats it. */
struct policy_attempt {
    const size_t *rcpts;
    size_t n_rcpts;
    const struct hop *hop; /* NULL: a file was written */
    const struct send_result *result;
    uint32_t attempts; /* with this one */
    int64_t next_us;   /* AGAIN: by the schedule; INT64_MAX = no more tries */
    /* Out, with TEMPFAIL: not before again_us (0 = by the schedule); limited: not counted as an attempt. */
    int64_t again_us;
    bool again_limited;
};

/* failure, delay: the report that would be sent; a handler changes its fields of policy (message/report.h), slices in arena. ACCEPT: send
 * it; DISCARD: do not; CONTINUE: as wanted says. */
struct policy_report {
    struct report *report;
    barid_slice to;      /* address it is sent to: the sender; a handler of delay may change it */
    bool wanted;         /* sent unless somebody says otherwise (RFC 3461 4.1; a delay only at the attempt that the configuration names) */
    uint32_t attempts;   /* so far */
    uint32_t tries_left; /* delay */
    int64_t next_us;     /* delay; else 0 */
    struct arena *arena;

    /* The policy's, while it asks: as they were, for when a handler fails. */
    struct report report_before;
    barid_slice to_before;
};

enum policy_outcome { POLICY_WAITING = 0, POLICY_ANSWERED = 1 };

/* One question. Zero-initialise, fill the upper part, keep it in place until answered. */
struct policy_call {
    enum barid_event_id event;
    struct policy_session *session;
    struct mail *mail; /* NULL outside a transaction */
    struct rcpt *rcpt; /* rcpt, recipient */
    barid_slice verb, argument; /* helo name, verb argument, unknown line */
    barid_slice data;           /* body chunk */
    const struct policy_credentials *credentials;
    enum barid_close_reason reason; /* disconnect */
    /* What an event of scope DELIVERY is about: the one of its name (report: failure, delay). session is one without a client. */
    struct policy_route *route;
    struct policy_relay *relay;
    struct policy_attempt *attempt;
    struct policy_report *report;
    void (*done)(struct policy_call *call); /* called later, on the same loop, when policy_ask returned POLICY_WAITING */
    void *user;

    /* The answer. Slices live in the policy's memory until the next policy_ask of the same session. */
    barid_verdict verdict;

    /* Set by a handler beside its verdict, read by the dispatch. */
    bool failed;       /* it could not answer: error says why; the verdict is not looked at */
    barid_slice error; /* one line for the log */
    barid_slice where; /* "policy.lua:17": where the verdict was made, for the explain trace; empty = the handler's place */

    /* Owned by the policy while waiting. */
    size_t at;                        /* the handler that is asked */
    void *waiting;                    /* of that handler: what its answer will arrive by */
    uint32_t hidden;                  /* hide_extensions so far: an edit, so it accumulates */
    uint64_t deadline_ms;
    struct policy_call *prev, *next;  /* in the list of those that wait */
};

/* Bits (BARID_EVENT_BIT) of events that have a handler: others need not be asked. */
uint64_t policy_events(const struct policy *p);
uint64_t policy_version(const struct policy *p);

/* Observe events are asked like the others; their answer is CONTINUE. */
enum policy_outcome policy_ask(struct policy *p, struct policy_call *call);
/* The session went away: done is not called any more. Only for a call that waits. */
void policy_cancel(struct policy *p, struct policy_call *call);

/* What a failed handler gives: TEMPFAIL 451 4.3.0 (421 at connect, where tempfail closes); CONTINUE at failure and delay. */
void policy_failed_verdict(enum barid_event_id event, barid_verdict *verdict_r);

/* A session's share: session.vars and script objects. facts is borrowed and kept up to date by the server. NULL = no memory. */
struct policy_session *policy_session_new(struct policy *p, struct session_facts *facts);
void policy_session_del(struct policy_session **s); /* invalidates what scripts still hold */
/* The transaction is over: what scripts hold of its mail becomes invalid (a clean error when touched). */
void policy_mail_over(struct policy_session *s, struct mail *m);

struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy **p);

struct policy_stats {
    struct { uint64_t asked, errors, timeouts, waited; uint64_t verdicts[BARID_VERDICT_KINDS]; } event[BARID_EVENTS];
};
void policy_stats(const struct policy *p, struct policy_stats *stats_r); /* relaxed: any thread may read */

#endif
