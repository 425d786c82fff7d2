/* smtp/cmd_rcpt.c: RCPT TO (RFC 5321 4.1.1.3) with its parameters. */
#include "smtp/acts.h"
#include "smtp/envelope.h"
#include "smtp/verbs.h"

static bool parse_path(struct barid_session *s, struct recipient *rcpt, barid_slice *rest_r)
{
    unsigned flags = envelope_path_flags(s);

    if (!s->config->switches.no_null_rcpt_postmaster)
        flags |= BARID_PATH_POSTMASTER_OK;
    if (!envelope_path(s, &envelope_recipient, flags, &rcpt->path, rest_r))
        return false;
    if (rcpt->path.utf8 && !s->tx->params.smtputf8) { /* RFC 6531 3.4 */
        reply(s, BARID_REPLY_UTF8_NEEDED_RCPT);
        return false;
    }
    return true;
}

static bool parse_params(struct barid_session *s, struct recipient *rcpt, barid_slice rest)
{
    barid_slice bad = {NULL, 0};
    int rc;

    if (!envelope_params_allowed(s, rest))
        return false;
    rc = barid_rcpt_params_parse(rest, session_extensions(s), &rcpt->params, &bad);
    return envelope_params_ok(s, rc, bad);
}

void cmd_rcpt(struct barid_session *s, const struct command *c)
{
    struct transaction *tx = s->tx;
    struct recipient *rcpt;
    barid_slice arg, rest;
    barid_event *event;

    tx->rcpt_tried = true;
    if (tx->count >= SESSION_LIMIT(s, recipients)) { /* RFC 5321 4.5.3.1.10 */
        reply(s, BARID_REPLY_TOO_MANY_RECIPIENTS);
        return;
    }
    rcpt = tx_candidate(tx, c->arg);
    if (rcpt == NULL) {
        reply(s, BARID_REPLY_LOCAL_ERROR);
        return;
    }
    arg = rest = slice_of(rcpt->text, c->arg.n);
    if (!parse_path(s, rcpt, &rest) || !parse_params(s, rcpt, rest))
        return;
    event = session_ask(s, BARID_EVENT_RCPT);
    event->argument = arg;
    event->path = &rcpt->path;
    event->rcpt_params = &rcpt->params;
    event->rcpt_index = tx->count;
}

void act_rcpt(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v))
        return;
    tx_accept_recipient(s->tx);
    reply_accepted(s, v, BARID_REPLY_RCPT_OK);
}
