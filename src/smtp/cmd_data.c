/* smtp/cmd_data.c: DATA (RFC 5321 4.1.1.4): 354, and what may stand against it. */
#include "smtp/acts.h"
#include "smtp/chunks.h"
#include "smtp/verbs.h"

static bool check(struct barid_session *s, const struct command *c)
{
    struct transaction *tx = s->tx;

    if (c->arg.n > 0)
        reply_syntax(s, "DATA has no argument");
    else if (tx->count == 0 && tx->rcpt_tried && !is_lmtp(s))
        reply(s, BARID_REPLY_NO_RECIPIENTS);
    else if (tx->count == 0)
        reply_sequence(s, "RCPT first"); /* also RFC 2033 4.2: 503 where all were refused */
    else if (tx->params.body == BARID_BODY_BINARYMIME)
        reply(s, BARID_REPLY_BINARY_NEEDS_BDAT); /* RFC 3030 3 */
    else
        return true;
    return false;
}

void cmd_data(struct barid_session *s, const struct command *c)
{
    if (check(s, c))
        session_ask(s, BARID_EVENT_DATA);
}

void act_data(struct barid_session *s, const barid_verdict *v)
{
    if (s->event.bdat) {
        act_first_chunk(s, v);
        return;
    }
    if (session_refused(s, v))
        return;
    reply_accepted(s, v, BARID_REPLY_DATA_GO);
    session_enter(s, PHASE_DATA);
}
