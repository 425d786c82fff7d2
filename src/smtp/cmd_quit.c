/* smtp/cmd_quit.c: QUIT (RFC 5321 4.1.1.10): the one command that is always carried out. */
#include "smtp/acts.h"
#include "smtp/verbs.h"

static const barid_verdict no_opinion = {.kind = BARID_CONTINUE};

/* Out of memory nobody can be asked, but the client goes all the same. */
void cmd_quit(struct barid_session *s, const struct command *c)
{
    if (session_try_ask_command(s, BARID_EVENT_QUIT, c) == NULL)
        act_quit(s, &no_opinion);
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
