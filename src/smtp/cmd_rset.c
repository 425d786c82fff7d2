/* smtp/cmd_rset.c: RSET (RFC 5321 4.1.1.5): ends the transaction. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_rset(struct barid_session *s, const struct command *c)
{
    if (c->arg.n > 0)
        reply_syntax(s, "RSET has no argument");
    else
        session_ask_command(s, BARID_EVENT_RSET, c);
}

void act_rset(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v))
        return;
    tx_del(&s->tx);
    reply_accepted(s, v, BARID_REPLY_OK);
}
