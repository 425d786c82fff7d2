/*
 * smtp/reference_testing.h: a mail server as simple as can be, to compare a session with: told
 * again from RFC 5321, 1870, 2033, 2920, 3030, 3207, the PRDR draft and the promises of
 * barid/session.h, without a line of the session's code. It takes everything that the client
 * says at once, goes through it line by line, and notes what must come of it: the code of every
 * reply, and every mail.
 *
 * It knows addresses of plain letters and one that is not, AUTH PLAIN, no XCLIENT, no PROXY. Where it meets what it
 * does not know it says so (unsure) and stops: what was noted before holds.
 *
 * The same policy decides in both: see reference_policy.
 */
#ifndef SMTP_REFERENCE_TESTING_H
#define SMTP_REFERENCE_TESTING_H

#include "base/buf.h"
#include "barid/session.h"

/* Mistakes that the reference makes on request: a comparison that does not find them proves
 * nothing. */
enum reference_fault {
    FAULT_NONE,
    FAULT_DOT_KEPT,       /* a line of DATA keeps the dot that was stuffed */
    FAULT_LF_DOT_ENDS,    /* LF.CRLF ends DATA */
    FAULT_BARE_TAKEN,     /* a bare CR or LF is part of the message */
    FAULT_SKIPS_NOTHING,  /* the octets of a refused BDAT are commands */
    FAULT_RSET_KEEPS,     /* RSET keeps the transaction */
    FAULT_TLS_INJECTION,  /* what follows STARTTLS in clear text is carried out */
    FAULT_LMTP_ONE_REPLY, /* LMTP answers a mail once */
    FAULT_ONE_RCPT_MORE,  /* one recipient over the limit */
    FAULT_ONE_OCTET_MORE, /* one octet over the limit of a message */
    FAULT_COMMIT_IGNORED, /* 250 whatever the commit came to */
    FAULT_ERRORS_FREE,    /* nobody counts refused commands */
    FAULT_RECIPIENT_LOST, /* the first recipient of a mail is not kept */
    FAULT_LIMIT_SILENT,   /* no 421 before closing */
    FAULT_AUTH_TAKES_ALL, /* any password is right */
    FAULTS
};

/* Limits as in barid_limits, none of them 0 but transactions. */
struct reference_options {
    enum barid_protocol protocol;
    bool policy; /* events are raised, and reference_policy answers them */
    bool refuse_connect;
    bool starttls, tls_fails;
    bool normalise, strict_mixed, no_helo_needed, second_helo_refused;
    bool auth, auth_required; /* PLAIN, without TLS too */
    bool strict_helo_name, no_null_rcpt_postmaster, no_enhanced_codes;
    size_t line, data_line, commands, errors, noops, recipients, transactions, header, output;
    uint64_t message;
    enum reference_fault fault;
};

/* More is unsure: no dialogue of a test has so many. */
#define REFERENCE_REPLIES 1024
#define REFERENCE_MAILS   256

struct reference {
    struct {
        unsigned code;
        size_t at; /* due when so many octets of the input were heard */
    } reply[REFERENCE_REPLIES];
    size_t n_replies, commands;
    struct buf mails;               /* as reference_note_* write them */
    size_t before[REFERENCE_MAILS]; /* replies before each commit */
    size_t n_mails;
    enum barid_close_reason reason;
    bool unsure;
    size_t at; /* of the input: where it stopped; all of it unless unsure or closed */
};

/* Segments: the input up to each of the n ends; in the pause after each the handshake that was
 * asked for takes place. The last end is the input's. */
void reference_run(struct reference *r, const struct reference_options *o, barid_slice input,
                   const size_t *ends, size_t n_ends);
void reference_deinit(struct reference *r);

/* Verdict on a text: the local part of an address (MAIL, RCPT, RECIPIENT), a name (AUTH), the header block
 * (HEADERS, COMMIT), the body (BODY). */
enum barid_verdict_kind reference_policy(enum barid_event_id id, barid_slice text);

/* One mail at its commit, in the same words for both sides. */
void reference_note_envelope(struct buf *out, const char *role, barid_slice address);
void reference_note_content(struct buf *out, barid_slice content, enum barid_verdict_kind kind);

#endif
