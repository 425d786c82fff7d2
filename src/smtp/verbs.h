/*
 * smtp/verbs.h: the commands: which verb runs where, and one function per verb, each in its
 * file. A verb's function replies, or asks an event whose act replies.
 */
#ifndef SMTP_VERBS_H
#define SMTP_VERBS_H

#include "smtp/session_int.h"

/* How far a session is, as far as verbs care. */
enum verb_state {
    STATE_NEW,    /* not greeted */
    STATE_READY,  /* greeted, no transaction */
    STATE_MAIL,   /* transaction without accepted recipient */
    STATE_RCPT,   /* transaction with recipients */
    STATE_CHUNKS, /* BDAT has begun */
    STATE_BROKEN, /* a BDAT failed */
    VERB_STATES
};

enum verb_state verb_state(const struct barid_session *s);

void cmd_helo(struct barid_session *s, const struct command *c);
void cmd_ehlo(struct barid_session *s, const struct command *c); /* and LHLO */
void cmd_mail(struct barid_session *s, const struct command *c);
void cmd_rcpt(struct barid_session *s, const struct command *c);
void cmd_data(struct barid_session *s, const struct command *c);
void cmd_bdat(struct barid_session *s, const struct command *c);
void cmd_rset(struct barid_session *s, const struct command *c);
void cmd_noop(struct barid_session *s, const struct command *c);
void cmd_quit(struct barid_session *s, const struct command *c);
void cmd_vrfy(struct barid_session *s, const struct command *c);
void cmd_expn(struct barid_session *s, const struct command *c);
void cmd_help(struct barid_session *s, const struct command *c);
void cmd_auth(struct barid_session *s, const struct command *c);
void cmd_starttls(struct barid_session *s, const struct command *c);
void cmd_xclient(struct barid_session *s, const struct command *c);
void cmd_unknown(struct barid_session *s, const struct command *c);

#endif
