/* smtp/cmd_unknown.c: verbs that are none; a policy may invent one. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_unknown(struct barid_session *s, const struct command *c)
{
    struct command whole = {c->line, c->verb, c->line};

    session_ask_command(s, BARID_EVENT_UNKNOWN, &whole);
}

void act_unknown(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v))
        return;
    reply_accepted(s, v,
                   v->kind == BARID_ACCEPT ? BARID_REPLY_OK : BARID_REPLY_COMMAND_UNKNOWN);
}
