/*
 * message/mail.h: one mail on its way in: envelope, header, facts, variables, dispositions, the trace of what policy did.
 *
 * Built by the server while a transaction runs; read and changed by policy; written into the spool by message/record.h;
 * decoded again for delivery. The body is not here: it goes to the spool as it arrives and is read from there; policy
 * reaches it through body_ops.
 *
 * Lifetime: all slices live in mail.arena. Nothing here does I/O.
 */
#ifndef MESSAGE_MAIL_H
#define MESSAGE_MAIL_H

#include "base/arena.h"
#include "message/disposition.h"
#include "message/explain.h"
#include "message/facts.h"
#include "message/header.h"
#include "message/vars.h"

#define MAIL_ID_TEXT_SIZE 14 /* 13 characters and NUL */

/* An address as policy and delivery see it. */
struct mailbox {
    barid_slice address; /* "user+tag@Example.com" as given; empty for <> */
    barid_slice local;   /* local part, quoting undone */
    barid_slice domain;  /* lower case, as given otherwise; empty for <> and <postmaster> */
    barid_slice user;    /* local without the subaddress tag, lower case; equals local where no separator is declared */
    barid_slice tag;     /* subaddress, "" when none */
    bool null, quoted, literal, utf8;
};

enum rcpt_verdict { /* of the `recipient` event, merged with that of `message` */
    RCPT_PENDING = 0, RCPT_ACCEPTED, RCPT_REJECTED, RCPT_TEMPFAILED, RCPT_DISCARDED, RCPT_QUARANTINED, RCPT_HELD
};

struct rcpt {
    size_t index;
    struct mailbox box;       /* after aliases and policy's edits: where it goes */
    barid_slice original;     /* forward-path as the client gave it, without <>: Original-Recipient */
    bool is_local;            /* the domain is ours */
    bool relayed;             /* it is not, and the relay check let it in: sent by default where no row serves it */
    bool alias_of_previous;   /* expanded from the same RCPT command as the one before: no reply of its own */
    unsigned notify;          /* RFC 3461 */
    barid_slice orcpt;
    enum rcpt_verdict verdict;
    barid_slice reply;        /* "550 5.1.1 text" that refused it, else empty */
    struct vars vars;
};

/* Where the body's octets are while policy looks at it. offset counts from the first octet after the blank line. */
struct body_ops {
    uint64_t (*size)(void *user);
    /* Bytes copied (0 at the end), or a barid_err. */
    int64_t (*read)(void *user, uint64_t offset, void *p, size_t n);
    /* Replace the whole body (before commit only). 0 or a barid_err. */
    int (*replace)(void *user, barid_slice body);
    void *user;
};

/* A schedule of its own: what is 0 is the configuration's. */
struct mail_retry {
    bool set;
    uint32_t first_s, max_s;
    uint32_t tries;
    uint32_t notice; /* a delay notice after that many failures; 0 = none, if notice_set */
    bool notice_set;
};

struct mail {
    struct arena *arena;
    struct session_facts *session; /* borrowed while the session lives; an own copy in decoded records */
    uint64_t id;                   /* 0 until the content begins to arrive */
    int64_t received_us;

    struct mailbox sender;
    barid_slice sender_original;   /* reverse-path as the client gave it, without <> */
    barid_mail_params params;      /* slices copied into arena */

    struct rcpt **rcpts;           /* accepted at RCPT, in order; rcpts[i]->index == i */
    size_t n_rcpts, cap_rcpts;

    struct header_list header;
    bool has_header;               /* the header block is in */
    bool has_blank_line;
    uint64_t body_size;            /* octets after the blank line, so far */
    struct body_ops body;          /* valid from `message` on */
    unsigned hops;                 /* Received fields in the header as it came */

    struct disposition *rows;
    size_t n_rows, cap_rows;
    struct exclusion { enum disposition_kind kind; barid_slice target; } *excluded;
    size_t n_excluded, cap_excluded;

    enum mail_state { MAIL_ACTIVE = 0, MAIL_HELD, MAIL_REMOVED, MAIL_QUARANTINED, MAIL_DISCARDED } state;
    barid_slice state_reason;      /* why it is held, quarantined or discarded */
    int64_t delay_until_us;        /* first attempt not before; 0 = now */
    struct mail_retry retry;       /* of its own */
    bool relay_allowed;            /* policy let it relay: the only way past the relay check */
    bool frozen;                   /* header, body and envelope are stored: edits have no effect any more */
    bool decided;                  /* so are the dispositions */
    uint64_t policy_version;

    struct vars vars;
    struct explain explain;
};

const char *mail_state_name(enum mail_state s); /* "active", "held", "removed", "quarantined", "discarded" */

/* arena: borrowed, owns everything of the mail: there is nothing else to free. 0 or BARID_ENOMEM. */
int mail_init(struct mail *m, struct arena *arena, struct session_facts *session, int64_t now_us);
/* The header block is in: copied, parsed, Received fields counted. 0, BARID_ENOMEM, BARID_ELIMIT. */
int mail_set_header(struct mail *m, barid_slice block, bool has_blank_line);
/* Envelope parameters, slices copied. 0 or BARID_ENOMEM. */
int mail_set_params(struct mail *m, const barid_mail_params *params);

/* path -> mailbox, copied into arena; separator 0 = no subaddresses. 0 or BARID_ENOMEM. */
int mailbox_from_path(struct mailbox *box, struct arena *arena, const barid_path *path, char separator);
/* A bare address from policy. 0, BARID_ESYNTAX, BARID_ENOMEM. */
int mailbox_from_text(struct mailbox *box, struct arena *arena, barid_slice text, char separator);
/* Same mailbox: domains without case, local parts exactly (postmaster without case). */
bool mailbox_same(const struct mailbox *a, const struct mailbox *b);

/* The client may send to others: it authenticated or is trusted, or policy said so. */
bool mail_may_relay(const struct mail *m);

#define MAIL_RCPTS_MAX 10000 /* after alias expansion: bounds what one message can fan out to */
int mail_add_rcpt(struct mail *m, const struct mailbox *box, barid_slice original, struct rcpt **rcpt_r);

#define MAIL_ROWS_MAX 20000
/*
 * store, send: scope ONE or REST; archive: MESSAGE. A target named twice is one row. target is copied. 0, ENOMEM, ELIMIT,
 * BARID_EINVALID (a scope that the kind has not, no such recipient), BARID_ESYNTAX (not a template, or an archive
 * target that names a recipient, or of a send no next hop: template_check and hop_list_text say what).
 */
int mail_add_row(struct mail *m, enum disposition_kind kind, enum disposition_scope scope, size_t rcpt_index, barid_slice target);
/* The same for a send that policy is not asked about again (pinned). Named with it and without it, it is pinned. */
int mail_add_pinned(struct mail *m, enum disposition_scope scope, size_t rcpt_index, barid_slice target);
#define MAIL_EXCLUDED_MAX 256 /* each is compared with each delivery */
/* Removes a target whatever the order of calls; a template is expanded per recipient like a row's. As mail_add_row. */
int mail_exclude(struct mail *m, enum disposition_kind kind, barid_slice target);

/* Recipient i has a row of its own, or a mail:store row serves it (exclusions not looked at). For the answer to `recipient`. */
bool mail_rcpt_has_row(const struct mail *m, size_t i);

/*
 * Evaluate, after the last `recipient` answer: rows to units (targets expanded, excluded removed, same targets merged into
 * one unit that serves several recipients, rows whose recipients were all refused dropped). Pure: changes nothing of m, so
 * it may be asked again after verdicts were changed (undecided = "hold"). Arrays live in mail.arena.
 *
 *   rejected, tempfailed, pending   served by nothing
 *   discarded                       served by nothing, never undecided
 *   accepted                        its units; undecided_r[i] when no row is left for it. One that is not local and may be
 *                                   relayed is never undecided for want of a row: it is sent, target ""
 *   held, quarantined               its units, with held set; where it has none, a unit of kind 0, held, so that the mail
 *                                   stays until somebody decides. Held and free recipients never share a unit.
 *
 * Archive rows are dropped only when every recipient was refused. A mail in state MAIL_DISCARDED has no units at all.
 * 0, ENOMEM, BARID_ELIMIT (MAIL_ROWS_MAX units), BARID_ESYNTAX (*err: a target that does not expand).
 */
struct err;
int mail_evaluate(struct mail *m, struct unit **units_r, size_t *n_units_r, bool **undecided_r, struct err *err);

/* Recipients of the envelope that stand in no To, Cc or Resent-To/Cc/Bcc field: "hidden". Array of n_rcpts flags in arena. */
int mail_hidden_rcpts(const struct mail *m, struct arena *arena, bool **hidden_r);

/* Queue ids: 13 characters, base32 (digits and capitals without I L O U), sortable as text in the order of the numbers. */
void mail_id_text(uint64_t id, char out[MAIL_ID_TEXT_SIZE]);
int mail_id_parse(barid_slice text, uint64_t *id_r);

#endif
