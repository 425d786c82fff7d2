/* smtp/cmd_quit.c: QUIT (RFC 5321 4.1.1.10): the one command that is always carried out. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

void cmd_quit(struct barid_session *s, const struct command *c)
{
    session_ask_command(s, BARID_EVENT_QUIT, c);
}

void act_quit(struct barid_session *s, const barid_verdict *v)
{
    if (v->kind == BARID_DISCONNECT) {
        session_refused(s, v);
        return;
    }
    reply_accepted(s, v, BARID_REPLY_CLOSING);
    session_close(s, BARID_CLOSE_QUIT, BARID_REPLY_NONE);
}
