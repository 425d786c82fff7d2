/*
 * server/transaction.h: one mail transaction of a connection: the mail being built, the put
 * that takes its body, the answers given so far.
 *
 * Born at MAIL; dies when its message was answered, when the next MAIL comes, when the session
 * is idle again, or with the connection.
 */
#ifndef SERVER_TRANSACTION_H
#define SERVER_TRANSACTION_H

#include "server/connection.h"

/* The recipients that one RCPT became (aliases): mail.rcpts[first .. first + n). */
struct rcpt_group {
    size_t first, n;
};

struct transaction {
    struct connection *c;
    struct arena arena;
    struct mail mail;
    struct spool_put *put;     /* NULL before DATA, after commit, and for a discarded mail */
    struct rcpt *candidate;    /* the RCPT being asked about */
    struct rcpt_group *groups; /* by the session's rcpt_index */
    size_t n_groups, cap_groups;
    barid_verdict
        *rcpt_answers; /* by mail recipient: what `recipient` said, texts in the arena */
    size_t cap_answers;
    size_t asking; /* recipient being asked about, in mail.rcpts */
    bool in_loop;  /* ask_recipients runs: answers that come at once return to it */
    bool cut_off;  /* a recipient's hook disconnects: message_answer says how */
    barid_verdict message_answer; /* what `message` said, text in the arena */
    barid_verdict chunk_answer;   /* while a body chunk waits for the disk */

    struct unit *units;
    size_t n_units;
    int commit_err;
    struct loop_task committed; /* posted by the committer */
    struct loop_task drained;   /* posted by the spool's writer */
    int64_t committed_us;
    bool empty_commit; /* nothing to store: every recipient was discarded */
};

/* 0 or BARID_ENOMEM. Replaces one that is over. */
int transaction_new(struct connection *c);
void transaction_del(struct transaction **tx); /* accepts NULL; aborts the put */

/* Copy of a verdict whose texts live in the transaction. 0 or BARID_ENOMEM. */
int transaction_keep(struct transaction *tx, const barid_verdict *v, barid_verdict *copy_r);

/* discard, quarantine and hold decide what the whole mail becomes; a discard stays, the last of
 * the others wins. */
void transaction_note_state(struct transaction *tx, const barid_verdict *v);

/* What the server itself decided, for the explain trace; rcpt SIZE_MAX = the message. */
void transaction_explain(struct transaction *tx, enum barid_event_id event,
                         const barid_verdict *v, size_t rcpt, const char *rule);

/* The body of a mail as policy sees it. */
struct body_ops transaction_body(struct transaction *tx);

/* Adds a unit for each recipient that was refused although the client hears 250 (plain SMTP,
 * mixed; an alias that was accepted in part): one that was put off waits for the queue to ask
 * again, a refused one is given up with its refusal, so that the queue tells the sender. 0 or
 * BARID_ENOMEM. */
int transaction_keep_refused(struct transaction *tx);

/* Put mail and body on stable storage: message/record into the spool. committed (posted to the
 * loop) follows when 0 is returned. */
int transaction_commit(struct transaction *tx);
/* It is stored. Any thread, while the session waits for the commit. */
void transaction_tell_history(const struct transaction *tx);

bool verdict_refuses(const barid_verdict *v); /* reject, tempfail, disconnect */

#endif
