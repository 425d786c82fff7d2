/*
 * barid/verdict.h: the answer to a decide event.
 */
#ifndef BARID_VERDICT_H
#define BARID_VERDICT_H

#include "barid/event.h"
#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum barid_verdict_kind {
    BARID_CONTINUE = 0, /* no opinion: the default of the event */
    BARID_ACCEPT,       /* ends this event, in favour */
    BARID_REJECT,       /* 5xx */
    BARID_TEMPFAIL,     /* 4xx */
    BARID_DISCARD,      /* accepted to the client, then thrown away, and logged */
    BARID_QUARANTINE,   /* accepted, stored, not delivered, marked as quarantined */
    BARID_HOLD,         /* accepted, stored, not delivered until released */
    BARID_DISCONNECT,   /* close, with a 421 or the given reply unless silent */
    BARID_VERDICT_KINDS
};

/* Bits for the VERDICTS column of events.def. */
#define BARID_CAN_BIT(kind)           (1u << (kind))
#define BARID_CAN_ACCEPT     BARID_CAN_BIT(BARID_ACCEPT)
#define BARID_CAN_REJECT     BARID_CAN_BIT(BARID_REJECT)
#define BARID_CAN_TEMPFAIL   BARID_CAN_BIT(BARID_TEMPFAIL)
#define BARID_CAN_DISCARD    BARID_CAN_BIT(BARID_DISCARD)
#define BARID_CAN_QUARANTINE BARID_CAN_BIT(BARID_QUARANTINE)
#define BARID_CAN_HOLD       BARID_CAN_BIT(BARID_HOLD)
#define BARID_CAN_DISCONNECT BARID_CAN_BIT(BARID_DISCONNECT)

/* What `auth` is answered with for mechanisms that carry no password. */
enum barid_secret_kind {
    BARID_SECRET_NONE = 0,
    BARID_SECRET_PLAIN,   /* the password itself: CRAM-MD5 */
    BARID_SECRET_VERIFIER /* "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey", base64 parts (RFC 5803) */
};

/*
 * Zero-initialise, then set kind and what it needs. The slices are copied by the function
 * that takes the verdict. Text may hold several lines separated by '\n'; a CR, NUL or a byte that
 * is not UTF-8 is replaced by '?', so a reply can never be split by a script.
 */
typedef struct barid_verdict {
    enum barid_verdict_kind kind;
    uint16_t code;        /* 0 = the default; REJECT needs 500-599, TEMPFAIL 400-499 (421 closes), ACCEPT 200-299
                           * (looked at where the default is 250), DISCONNECT 400-599 */
    barid_slice enhanced; /* "5.7.1"; empty = the default */
    barid_slice text;     /* empty = the default */
    bool silent;          /* DISCONNECT: close without a reply */

    /* auth only */
    enum barid_secret_kind secret_kind;
    barid_slice secret; /* wiped by the session after use */
    barid_slice user;   /* the identity that was authenticated; empty = authzid, else authcid */

    /* helo only: BARID_EXT_... bits to leave out of the reply to EHLO; what is hidden is not accepted either */
    uint32_t hide_extensions;

    /* commit only, with accept: the queue id, which goes in for %s of the reply MESSAGE_OK. Text, when set,
     * replaces that reply's text; else the text of an accept at `message` does. The text of a `recipient` accept
     * comes before both where each recipient has a reply. */
    barid_slice id;
} barid_verdict;

/* "accept", "reject", ... Static text; "?" when out of range. */
BARID_API const char *barid_verdict_name(enum barid_verdict_kind kind);

/*
 * May the event be answered so? The kind must be one that events.def allows there (continue always is,
 * but for host events), the code must have the class of the kind, the enhanced code the class of the code
 * (RFC 3463 2). What does not fit is answered with 451 in its place.
 */
BARID_API bool barid_verdict_fits(enum barid_event_id event, const barid_verdict *verdict);

#ifdef __cplusplus
}
#endif
#endif
