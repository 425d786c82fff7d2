/*
 * smtp/cmd_starttls.c: STARTTLS (RFC 3207). After 220 everything said in clear text is
 * forgotten: what was pipelined behind the command (it could have been injected), HELO, AUTH.
 */
#include "smtp/verbs.h"

void cmd_starttls(struct barid_session *s, const struct command *c)
{
    if (c->arg.n > 0) {
        reply_syntax(s, "STARTTLS has no argument");
    } else if (s->tls != NULL) {
        reply_sequence(s, "TLS is on already");
    } else if ((session_extensions(s) & BARID_EXT_STARTTLS) == 0) {
        reply(s, BARID_REPLY_NOT_IMPLEMENTED);
    } else {
        reply(s, BARID_REPLY_TLS_GO);
        session_forget_greeting(s);
        session_discard_input(s);
        session_enter(s, PHASE_TLS);
    }
}
