/*
 * smtp/session_int.h: the inside of a server session, for the files that make it up: session.c
 * (API), session_run.c (phases), session_close.c, session_time.c, session_facts.c, greeting.c,
 * message.c and the verbs. Nobody else includes it.
 */
#ifndef SMTP_SESSION_INT_H
#define SMTP_SESSION_INT_H

#include "base/buf.h"
#include "base/slice.h"
#include "barid/session.h"
#include "smtp/line.h"
#include "smtp/outcome.h"
#include "smtp/reply_out.h"
#include "smtp/transaction.h"
#include "smtp/verdict.h"

struct sasl_server;
struct tls_facts;

/* What the next input octets are. One step function each (session_run.c). */
enum session_phase {
    PHASE_PROXY,   /* a PROXY header */
    PHASE_CONNECT, /* nothing yet: `connect` is to be raised */
    PHASE_TLS,     /* a handshake, which the embedder carries out */
    PHASE_COMMAND, /* command lines */
    PHASE_AUTH,    /* a line of an AUTH exchange */
    PHASE_DATA,    /* a dot-stuffed message */
    PHASE_CHUNK,   /* octets of a BDAT chunk */
    PHASE_SKIP,    /* octets of a BDAT chunk that was refused */
    PHASE_MESSAGE, /* none: a message is complete, its events are raised */
    PHASE_CLOSED,
    SESSION_PHASES
};

/* The one event that can wait for an answer. */
enum session_asked {
    ASKED_NONE,
    ASKED_SELF,  /* not in config.events: the session answers CONTINUE itself */
    ASKED_READY, /* for the next barid_session_next */
    ASKED_TAKEN  /* the embedder has it */
};

/* Why a session answers everything but QUIT with a refusal. */
enum session_shut { SHUT_NOT, SHUT_CONNECT, SHUT_TLS };

struct session_held { /* a reply that has to wait for a handshake, or be repeated */
    struct arena arena;
    struct outcome outcome;
};

struct barid_session {
    const barid_session_config *config;
    const barid_mem *mem;
    struct transaction *tx;   /* NULL = none */
    struct sasl_server *sasl; /* PHASE_AUTH, or while `auth` is unanswered */
    struct session_held *held;
    char *line; /* copy of the command line that an event shows */

    /* Input. The octets not yet parsed are in fed while feed runs on the caller's memory, else
     * in in.p[in_pos..in.len); never in both. */
    struct buf in;
    size_t in_pos;
    barid_slice fed;
    struct line_reader reader;

    struct buf out; /* replies; the first out_pos octets are sent */
    size_t out_pos;

    barid_event event;
    uint64_t tokens;         /* the last one given */
    uint8_t asked;           /* enum session_asked */
    uint8_t phase;           /* enum session_phase */
    uint8_t shut;            /* enum session_shut */
    uint8_t reason;          /* enum barid_close_reason, in PHASE_CLOSED */
    uint8_t due_reason;      /* close with it as soon as no event is unanswered */
    uint8_t mechanism;       /* of user */
    uint8_t mechanism_tried; /* of sasl */
    uint16_t due_row;        /* the reply that goes with it */
    uint16_t skip_row;       /* PHASE_SKIP: the reply after the chunk */
    const char *skip_detail;
    size_t skip_count;  /* how many times */
    uint64_t skip_left; /* octets */

    bool mute;         /* no reply gets out any more: one was lost */
    bool wrong_answer; /* the verdict under way stands for one that did not fit */
    bool eof;
    bool stopping;       /* barid_session_stop without force */
    bool disconnect_due; /* `disconnect` is to be raised */
    bool greeted, esmtp; /* HELO; EHLO or LHLO */
    bool greeting_sent;
    bool authenticated; /* user is more than a claim */

    /* Facts. Strings are owned. */
    barid_endpoint peer;
    barid_endpoint *proxy_dest;
    barid_slice peer_name, helo, user;
    struct tls_facts *tls;
    uint32_t hidden; /* extensions that the `helo` verdict hides */
    /* What they were before the greeting that is asked about: a refusal changes nothing. */
    struct {
        barid_slice helo;
        bool esmtp;
        uint32_t hidden;
    } before;

    uint32_t commands, errors, idle_commands, transactions, auth_failures;

    uint64_t now, started; /* ms, as the embedder says */
    uint64_t wait_start;   /* of the line, header, handshake or silence being waited for */
    uint64_t window_start, window_octets; /* minimum rate of message octets */
    bool rewait;                          /* something was completed: the wait begins anew */
};

/* A command line, cut. */
struct command {
    barid_slice line, verb, arg;
};

extern const barid_limits session_limits;
/* A limit of the configuration, or its default. */
#define SESSION_LIMIT(s, field)                                                                \
    ((s)->config->limits.field != 0 ? (s)->config->limits.field : session_limits.field)

static inline bool is_lmtp(const struct barid_session *s)
{
    return s->config->protocol == BARID_LMTP;
}

/* --- events (session_event.c) --- */

/* A zeroed event to fill in; it is raised when the caller has returned to the step loop. */
barid_event *session_ask(struct barid_session *s, enum barid_event_id id);
/* The same with verb and argument of a command, copied when somebody will see them. NULL: out
 * of memory, and a reply says so. */
barid_event *session_ask_command(struct barid_session *s, enum barid_event_id id,
                                 const struct command *c);
/* The same without the reply. */
barid_event *session_try_ask_command(struct barid_session *s, enum barid_event_id id,
                                     const struct command *c);
/* Acts on the answer to s->event. */
void session_act(struct barid_session *s, const barid_verdict *v);
/* A verdict against the command: replies and returns true. disconnect closes. */
bool session_refused(struct barid_session *s, const barid_verdict *v);
/* The row that the refusal v gets: of events.def, TEMPFAILED, or POLICY_FAILED. */
enum barid_reply_id session_refusal_row(const struct barid_session *s, const barid_verdict *v);

/* --- the step loop (session_run.c) --- */

void session_run(struct barid_session *s);
barid_slice session_input(const struct barid_session *s);
void session_take(struct barid_session *s, size_t n);
void session_discard_input(struct barid_session *s);
/* Octets taken before that may hold a secret: not left behind in the session's memory. */
void session_wipe(struct barid_session *s, barid_slice taken);
void session_enter(struct barid_session *s, enum session_phase phase);

/* --- ending (session_close.c) --- */

/* Close as soon as no event is unanswered, with the reply unless it is NONE. The first reason
 * wins. */
void session_close(struct barid_session *s, enum barid_close_reason reason,
                   enum barid_reply_id row);
void session_close_now(struct barid_session *s); /* what session_close announced */
/* A disconnect verdict: its reply, then close. */
void session_disconnect(struct barid_session *s, const struct outcome *o);

/* --- time (session_time.c) --- */

/* The time as of this call. False: a deadline had passed, and the session closes. */
bool session_time_is(struct barid_session *s, uint64_t now_ms);
void session_wait_begins(struct barid_session *s);
void session_octets_came(struct barid_session *s, size_t n);

/* --- facts (session_facts.c) --- */

/* Replaces a fact with a copy. 0 or BARID_ENOMEM (then nothing changed). */
int session_set_fact(struct barid_session *s, barid_slice *fact, barid_slice value);
int session_set_tls(struct barid_session *s, const barid_tls_info *info);
void session_forget_greeting(struct barid_session *s); /* HELO, AUTH, transaction */
void session_free_facts(struct barid_session *s);
/* Extensions that may be used now; mechanisms that may be used now. */
uint32_t session_extensions(const struct barid_session *s);
uint32_t session_mechanisms(const struct barid_session *s);

#endif
