/*
 * smtp/message.h: a message between 354 (or BDAT) and its final reply: its events in order, its
 * refusals, its replies.
 */
#ifndef SMTP_MESSAGE_H
#define SMTP_MESSAGE_H

#include "smtp/receiver.h"
#include "smtp/session_int.h"

/* What the receiver said about some octets: raises the event for it. */
void message_received(struct barid_session *s, enum rx_result result);
/* The message as a whole is refused, and nothing more of it is kept. */
void message_refuse(struct barid_session *s, const barid_verdict *v);
/* By a verdict, or by a limit; then tx->refusal says how. */
bool message_is_refused(struct barid_session *s);
/* The final reply or replies; the transaction is over. */
void message_reply(struct barid_session *s);

#endif
