/* smtp/cmd_mail.c: MAIL FROM (RFC 5321 4.1.1.2) with its parameters; makes the transaction. */
#include "smtp/acts.h"
#include "smtp/envelope.h"
#include "smtp/verbs.h"

/* What the session must have done before; replies when it has not. */
static bool check_state(struct barid_session *s)
{
    size_t most = SESSION_LIMIT(s, transactions);

    if (s->config->tls_required && s->tls == NULL)
        reply(s, BARID_REPLY_TLS_REQUIRED);
    else if (s->config->auth_required && !s->authenticated)
        reply(s, BARID_REPLY_AUTH_REQUIRED);
    else if (most > 0 && s->transactions >= most) /* RFC 9422 4.1, MAILMAX */
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_TOO_MANY_COMMANDS);
    else
        return true;
    return false;
}

static bool parse_path(struct barid_session *s, struct transaction *tx, barid_slice *rest_r)
{
    unsigned flags = BARID_PATH_NULL_OK | envelope_path_flags(s);

    return envelope_path(s, &envelope_sender, flags, &tx->path, rest_r);
}

static bool parse_params(struct barid_session *s, struct transaction *tx, barid_slice rest)
{
    barid_slice bad = {NULL, 0};
    int rc;

    if (!envelope_params_allowed(s, rest))
        return false;
    rc = barid_mail_params_parse(rest, session_extensions(s), &tx->params, &bad);
    if (rc == BARID_EUNSUPPORTED) {
        reply(s, BARID_REPLY_BODY_UNSUPPORTED);
        return false;
    }
    if (!envelope_params_ok(s, rc, bad))
        return false;
    if (tx->path.utf8 && !tx->params.smtputf8) { /* RFC 6531 3.5 */
        reply(s, BARID_REPLY_UTF8_NEEDED_SENDER);
        return false;
    }
    if (tx->params.size_given &&
        tx->params.size > SESSION_LIMIT(s, message)) { /* RFC 1870 6.1 */
        reply_number(s, BARID_REPLY_MESSAGE_TOO_BIG, SESSION_LIMIT(s, message));
        return false;
    }
    return true;
}

static void set_receiver(struct barid_session *s, struct transaction *tx)
{
    tx->rx.size_max = SESSION_LIMIT(s, message);
    tx->rx.header_max = SESSION_LIMIT(s, header);
    tx->rx.line_max = SESSION_LIMIT(s, data_line);
    tx->rx.binary = tx->params.body == BARID_BODY_BINARYMIME;
    tx->rx.normalise = s->config->switches.bare_newline == BARID_BARE_NORMALISE;
}

void cmd_mail(struct barid_session *s, const struct command *c)
{
    barid_slice arg, rest;
    barid_event *event;

    if (!check_state(s))
        return;
    s->tx = tx_new(s->mem);
    if (s->tx == NULL || arena_slice(&s->tx->arena, c->arg, &arg) < 0) {
        tx_del(&s->tx);
        reply(s, BARID_REPLY_LOCAL_ERROR);
        return;
    }
    rest = arg;
    if (!parse_path(s, s->tx, &rest) || !parse_params(s, s->tx, rest)) {
        tx_del(&s->tx);
        return;
    }
    s->transactions++;
    set_receiver(s, s->tx);
    event = session_ask(s, BARID_EVENT_MAIL);
    event->argument = arg;
    event->path = &s->tx->path;
    event->mail_params = &s->tx->params;
}

void act_mail(struct barid_session *s, const barid_verdict *v)
{
    if (session_refused(s, v)) {
        tx_del(&s->tx);
        return;
    }
    s->tx->accepted = true;
    reply_accepted(s, v, BARID_REPLY_MAIL_OK);
}
