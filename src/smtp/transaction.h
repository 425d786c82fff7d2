/*
 * smtp/transaction.h: one mail transaction: made by MAIL, gone after the final reply, RSET, a
 * new greeting or the end of the session. Owns everything that is said about one message.
 */
#ifndef SMTP_TRANSACTION_H
#define SMTP_TRANSACTION_H

#include "base/arena.h"
#include "barid/address.h"
#include "smtp/outcome.h"
#include "smtp/receiver.h"

struct recipient {
    struct recipient *next;
    char *text;               /* the argument of RCPT, in the arena */
    size_t text_size;         /* memory behind text */
    barid_path path;          /* into text */
    barid_rcpt_params params; /* into text */
    struct outcome outcome;   /* of the `recipient` event */
};

/* How far a message that was received completely has come. */
enum tx_stage { TX_CONTENT, TX_MESSAGE, TX_RECIPIENTS, TX_COMMIT, TX_REPLY, TX_STAGES };

struct transaction {
    const barid_mem *mem;
    struct arena arena;
    barid_path path;
    barid_mail_params params;

    bool accepted;   /* MAIL was answered 250 */
    bool rcpt_tried; /* a RCPT was seen, accepted or not */
    bool bdat;       /* a BDAT was accepted: DATA is not possible any more */
    bool broken;     /* a BDAT failed: only RSET helps (RFC 3030 2) */
    bool chunk_last; /* BDAT LAST */
    uint64_t chunk_size, chunk_left;

    struct recipient *first, **end; /* accepted ones in RCPT order */
    size_t count;
    struct recipient *candidate; /* of the last RCPT, unless it was accepted */

    struct receiver rx;
    uint8_t stage;            /* enum tx_stage */
    struct recipient *cursor; /* TX_RECIPIENTS: the one to ask about */
    size_t index;             /* of cursor */
    struct outcome refusal;   /* of the whole message; kind continue = none */
    struct outcome message;   /* of `message`: the text of an accept */
    struct outcome commit;
};

struct transaction *tx_new(const barid_mem *mem); /* NULL: out of memory */
void tx_del(struct transaction **tx);             /* accepts NULL */

/* A candidate with a copy of arg, else zeroed. One that was refused is used again, so that
 * refused RCPTs do not pile up. NULL: out of memory. */
struct recipient *tx_candidate(struct transaction *tx, barid_slice arg);
/* The candidate becomes a recipient. */
void tx_accept_recipient(struct transaction *tx);

/* Of the recipients asked about: how many are accepted, and the strongest refusal (5xx before
 * 4xx, then the first), or NULL. */
size_t tx_accepted(const struct transaction *tx);
const struct outcome *tx_strongest_refusal(const struct transaction *tx);

#endif
