/*
 * barid/event.h: the events of events.def as C values.
 */
#ifndef BARID_EVENT_H
#define BARID_EVENT_H

#include "barid/address.h"
#include "barid/endpoint.h"
#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum barid_event_id {
    BARID_EVENT_NONE = 0,
#define X(NAME, name, KIND, SCOPE, VERDICTS, REPLY, DOC) BARID_EVENT_##NAME,
#include "barid/events.def"
    BARID_EVENTS
};

#define BARID_EVENT_BIT(id) (UINT64_C(1) << (id))

enum barid_event_kind { BARID_KIND_DECIDE, BARID_KIND_OBSERVE, BARID_KIND_HOST };
enum barid_event_scope {
    BARID_SCOPE_SESSION, BARID_SCOPE_TRANSACTION, BARID_SCOPE_RECIPIENT, BARID_SCOPE_MESSAGE, BARID_SCOPE_DELIVERY
};

/* The row of events.def. Static. */
typedef struct barid_event_info {
    const char *name;
    enum barid_event_kind kind;
    enum barid_event_scope scope;
    unsigned verdicts; /* BARID_CAN_... */
    const char *doc;
} barid_event_info;
BARID_API const barid_event_info *barid_event_info_get(enum barid_event_id id);
/* BARID_EVENT_NONE when there is no such event. */
BARID_API enum barid_event_id barid_event_by_name(barid_slice name);

/* Names an unanswered decide or host event; never 0. */
typedef uint64_t barid_token;

enum barid_auth_mechanism {
    BARID_AUTH_NONE = 0, BARID_AUTH_PLAIN, BARID_AUTH_LOGIN, BARID_AUTH_CRAM_MD5,
    BARID_AUTH_SCRAM_SHA_1, BARID_AUTH_SCRAM_SHA_256
};
/* "PLAIN", "SCRAM-SHA-256", ...; "" for NONE. */
BARID_API const char *barid_auth_mechanism_name(enum barid_auth_mechanism mechanism);

/* Why a session ended. */
enum barid_close_reason {
    BARID_CLOSE_NONE = 0,
    BARID_CLOSE_QUIT,     /* the client said QUIT */
    BARID_CLOSE_PEER,     /* the client closed or reset without QUIT */
    BARID_CLOSE_TIMEOUT,  /* a deadline passed */
    BARID_CLOSE_ERRORS,   /* a limit on errors or commands */
    BARID_CLOSE_POLICY,   /* a disconnect or connect-tempfail verdict */
    BARID_CLOSE_TLS,      /* the handshake failed */
    BARID_CLOSE_PROXY,    /* no valid PROXY header */
    BARID_CLOSE_SHUTDOWN, /* the server is stopping */
    BARID_CLOSE_NOMEM
};
BARID_API const char *barid_close_reason_name(enum barid_close_reason reason);

/*
 * One event of a server session. Which fields are set depends on id; the rest are zero. Slices
 * and pointers are valid until the event is answered (observe: until the next call on the session).
 */
typedef struct barid_event {
    enum barid_event_id id;
    barid_token token; /* 0 for observe events: nothing to answer */

    barid_slice verb;     /* as sent, e.g. "EHLO" or "ehlo": helo and the verb events */
    barid_slice argument; /* helo: the name; mail, rcpt, vrfy, ...: the raw argument; unknown: the line */

    const barid_path *path;                /* mail: reverse-path; rcpt, recipient: forward-path */
    const barid_mail_params *mail_params;  /* mail */
    const barid_rcpt_params *rcpt_params;  /* rcpt, recipient */
    size_t rcpt_index;                     /* rcpt, recipient: index among accepted recipients, RCPT order */

    barid_slice data;     /* headers: header block without the blank line; body: the chunk */
    uint64_t size;        /* message, commit: octets of the message (header, blank line and body) */
    bool last;            /* body: this is the last chunk; a message with an empty body has none */
    bool bdat;            /* data: by BDAT */
    bool has_blank_line;  /* headers: a blank line separated header and body */

    enum barid_auth_mechanism mechanism; /* auth */
    barid_slice authcid, authzid;        /* auth */
    barid_slice password;                /* auth, PLAIN and LOGIN only; wiped after the answer */

    enum barid_close_reason reason; /* disconnect */
} barid_event;

#ifdef __cplusplus
}
#endif
#endif
