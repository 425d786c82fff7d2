/*
 * smtp/reply_out.h: replies of a session, in the order of its commands. A reply that finds no
 * memory mutes the session and closes it: replies must never come out of step.
 */
#ifndef SMTP_REPLY_OUT_H
#define SMTP_REPLY_OUT_H

#include "barid/reply.h"
#include "barid/types.h"
#include "barid/verdict.h"

struct barid_session;
struct outcome;

/* The row of the session's catalogue, with a detail for its %s. */
void reply(struct barid_session *s, enum barid_reply_id id);
void reply_detail(struct barid_session *s, enum barid_reply_id id, barid_slice detail);
void reply_number(struct barid_session *s, enum barid_reply_id id, uint64_t n);
/* "501 Syntax error: DETAIL" and "503 Bad sequence of commands: DETAIL". */
void reply_syntax(struct barid_session *s, const char *detail);
void reply_sequence(struct barid_session *s, const char *detail);
/* A verdict's code, enhanced code and text, the row for what it leaves out. */
void reply_verdict(struct barid_session *s, const barid_verdict *v, enum barid_reply_id row);
/* Continue and accept: only an accept may change what the row says. */
void reply_accepted(struct barid_session *s, const barid_verdict *v, enum barid_reply_id row);
void reply_outcome(struct barid_session *s, const struct outcome *o);
/* The reply to EHLO and LHLO: no enhanced code; lines separated by '\n'. */
void reply_plain(struct barid_session *s, unsigned code, barid_slice text);
/* The name on the first line of HELLO: "%h" expanded. */
barid_slice reply_hello_text(const struct barid_session *s, char *text, size_t size);
/* "334 CHALLENGE" (RFC 4954 4): never folded. */
void reply_challenge(struct barid_session *s, barid_slice base64);

#endif
