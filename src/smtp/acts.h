/* smtp/acts.h: what a session does when an event is answered: one function per event, each
 * in the file of its verb or phase. v fits the event; or is a tempfail with s->wrong_answer
 * set. */
#ifndef SMTP_ACTS_H
#define SMTP_ACTS_H

#include "barid/verdict.h"

struct barid_session;

/* greeting.c */
void act_connect(struct barid_session *s, const barid_verdict *v);
void act_tls(struct barid_session *s, const barid_verdict *v);
/* message.c */
void act_block(struct barid_session *s, const barid_verdict *v); /* headers, body */
void act_message(struct barid_session *s, const barid_verdict *v);
void act_recipient(struct barid_session *s, const barid_verdict *v);
void act_commit(struct barid_session *s, const barid_verdict *v);
/* cmd_*.c */
void act_helo(struct barid_session *s, const barid_verdict *v);
void act_auth(struct barid_session *s, const barid_verdict *v);
void act_mail(struct barid_session *s, const barid_verdict *v);
void act_rcpt(struct barid_session *s, const barid_verdict *v);
void act_data(struct barid_session *s, const barid_verdict *v);
void act_noop(struct barid_session *s, const barid_verdict *v);
void act_rset(struct barid_session *s, const barid_verdict *v);
void act_vrfy(struct barid_session *s, const barid_verdict *v);
void act_expn(struct barid_session *s, const barid_verdict *v);
void act_help(struct barid_session *s, const barid_verdict *v);
void act_quit(struct barid_session *s, const barid_verdict *v);
void act_unknown(struct barid_session *s, const barid_verdict *v);

#endif
