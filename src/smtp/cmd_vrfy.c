/* smtp/cmd_vrfy.c: VRFY and EXPN (RFC 5321 3.5): nothing is given away unless a policy does. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_vrfy(struct barid_session *s, const struct command *c)
{
    if (c->arg.n == 0)
        reply_syntax(s, "VRFY name");
    else
        session_ask_command(s, BARID_EVENT_VRFY, c);
}

void act_vrfy(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v))
        return;
    /* RFC 5321 3.5.3: 252 where the server would take the mail to find out. */
    reply_accepted(s, v, v->kind == BARID_ACCEPT ? BARID_REPLY_OK : BARID_REPLY_VRFY_UNSURE);
}

void cmd_expn(struct barid_session *s, const struct command *c)
{
    if (c->arg.n == 0)
        reply_syntax(s, "EXPN list");
    else
        session_ask_command(s, BARID_EVENT_EXPN, c);
}

void act_expn(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v))
        return;
    reply_accepted(s, v,
                   v->kind == BARID_ACCEPT ? BARID_REPLY_OK : BARID_REPLY_NOT_IMPLEMENTED);
}
