/* smtp/final_reply.h: what is said about a message at its end, by the rules of SMTP, LMTP,
 * PRDR. */
#ifndef SMTP_FINAL_REPLY_H
#define SMTP_FINAL_REPLY_H

#include <stdbool.h>

struct barid_session;

/* One reply per recipient: LMTP, or PRDR asked for. */
bool final_is_per_recipient(const struct barid_session *s);
/* tx->refusal, the recipients' outcomes and tx->commit, as replies. */
void final_replies(struct barid_session *s);

#endif
