/* smtp/cmd_noop.c: NOOP (RFC 5321 4.1.1.9), with any argument. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_noop(struct barid_session *s, const struct command *c)
{
    session_ask_command(s, BARID_EVENT_NOOP, c);
}

void act_noop(struct barid_session *s, const barid_verdict *v)
{
    if (!session_refused(s, v))
        reply_accepted(s, v, BARID_REPLY_OK);
}
