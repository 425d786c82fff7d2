/* smtp/cmd_help.c: HELP (RFC 5321 4.1.1.8). */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_help(struct barid_session *s, const struct command *c)
{
    session_ask_command(s, BARID_EVENT_HELP, c);
}

void act_help(struct barid_session *s, const barid_verdict *v)
{
    if (!session_refused(s, v))
        reply_accepted(s, v, BARID_REPLY_HELP_TEXT);
}
