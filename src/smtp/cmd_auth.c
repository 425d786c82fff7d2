/*
 * smtp/cmd_auth.c: AUTH (RFC 4954): lines and base64 around an exchange of sasl_server.h.
 *
 *   AUTH -> challenge, line, ... -> `auth` event -> [challenge, line, ...] -> 235, 535, ...
 *
 * An exchange is one command: it ends with one reply that is not 334. Decoded messages are
 * wiped as soon as the exchange has taken them.
 */
#include "base/encode.h"
#include "smtp/acts.h"
#include "smtp/sasl_server.h"
#include "smtp/steps.h"
#include "smtp/verbs.h"

static void end(struct barid_session *s)
{
    sasl_server_del(&s->sasl);
    session_enter(s, PHASE_COMMAND);
}

static void end_with(struct barid_session *s, enum barid_reply_id row)
{
    end(s);
    reply(s, row);
}

static void challenge(struct barid_session *s)
{
    struct buf text;

    buf_init(&text, s->mem, 0); /* bounded by what a challenge holds */
    if (base64_encode(&text, sasl_server_challenge(s->sasl)) < 0) {
        end_with(s, BARID_REPLY_AUTH_TEMPFAIL);
    } else {
        reply_challenge(s, buf_slice(&text));
        session_enter(s, PHASE_AUTH);
    }
    buf_deinit(&text);
}

static void ask(struct barid_session *s)
{
    const struct sasl_identity *who = sasl_server_identity(s->sasl);
    barid_event *event = session_ask(s, BARID_EVENT_AUTH);

    event->mechanism = (enum barid_auth_mechanism)s->mechanism_tried;
    event->authcid = who->authcid;
    event->authzid = who->authzid;
    event->password = who->password;
}

/* v: the words of a success or failure; NULL = the catalogue's. */
static void succeed(struct barid_session *s, const barid_verdict *v)
{
    s->mechanism = s->mechanism_tried;
    s->authenticated = true;
    end(s);
    if (v != NULL)
        reply_accepted(s, v, BARID_REPLY_AUTH_OK);
    else
        reply(s, BARID_REPLY_AUTH_OK);
}

static void fail(struct barid_session *s, const barid_verdict *v)
{
    int why = sasl_server_error(s->sasl);

    end(s);
    if (why == BARID_ENOMEM) {
        reply(s, BARID_REPLY_AUTH_TEMPFAIL);
    } else if (why == BARID_ESYNTAX) {
        reply_syntax(s, "malformed authentication response");
    } else if (why == BARID_ELIMIT) {
        reply(s, BARID_REPLY_AUTH_LINE_TOO_LONG);
    } else {
        s->auth_failures++;
        if (v != NULL && v->kind == BARID_REJECT)
            reply_verdict(s, v, BARID_REPLY_AUTH_FAILED);
        else
            reply(s, BARID_REPLY_AUTH_FAILED);
    }
}

static void proceed(struct barid_session *s, enum sasl_state state, const barid_verdict *v)
{
    if (state == SASL_CHALLENGE)
        challenge(s);
    else if (state == SASL_CREDENTIAL)
        ask(s);
    else if (state == SASL_SUCCESS)
        succeed(s, v);
    else
        fail(s, v);
}

/* A message of the client: base64, where "=" alone stands for an empty one in the command line.
 */
static void take_message(struct barid_session *s, barid_slice base64, bool initial)
{
    bool empty = initial && slice_eq(base64, BARID_S("="));
    struct buf message;
    barid_slice text;
    int rc;

    buf_init(&message, s->mem, SASL_MESSAGE_MAX);
    rc = empty ? 0 : base64_decode(&message, base64);
    text = buf_slice(&message);
    if (rc == BARID_ENOMEM)
        end_with(s, BARID_REPLY_AUTH_TEMPFAIL);
    else if (rc == BARID_ELIMIT)
        end_with(s, BARID_REPLY_AUTH_LINE_TOO_LONG);
    else if (rc < 0)
        end_with(s, BARID_REPLY_AUTH_BAD_BASE64);
    else if (initial)
        proceed(s, sasl_server_start(s->sasl, &text), NULL);
    else
        proceed(s, sasl_server_step(s->sasl, text), NULL);
    buf_wipe(&message);
}

static enum barid_auth_mechanism find(barid_slice name)
{
    for (unsigned m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++) {
        barid_slice known = slice_str(barid_auth_mechanism_name((enum barid_auth_mechanism)m));

        if (slice_eq_nocase(known, name))
            return (enum barid_auth_mechanism)m;
    }
    return BARID_AUTH_NONE;
}

/* Whether an exchange may begin; replies when not. */
static bool check(struct barid_session *s, barid_slice name,
                  enum barid_auth_mechanism mechanism)
{
    uint32_t bit = 1u << mechanism;

    if ((session_extensions(s) & BARID_EXT_AUTH) == 0)
        reply(s, BARID_REPLY_NOT_IMPLEMENTED);
    else if (s->authenticated)
        reply_sequence(s, "already authenticated"); /* RFC 4954 4 */
    else if (s->auth_failures >= SESSION_LIMIT(s, auth_failures))
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_TOO_MANY_ERRORS);
    else if (name.n == 0)
        reply_syntax(s, "AUTH mechanism [initial-response]");
    else if (mechanism == BARID_AUTH_NONE || (s->config->mechanisms & bit) == 0)
        reply(s, BARID_REPLY_AUTH_MECHANISM);
    else if ((session_mechanisms(s) & bit) == 0)
        reply(s, BARID_REPLY_AUTH_NEEDS_TLS);
    else
        return true;
    return false;
}

void cmd_auth(struct barid_session *s, const struct command *c)
{
    barid_slice initial, name = slice_cut(c->arg, ' ', &initial);
    enum barid_auth_mechanism mechanism = find(name);
    struct sasl_server_config config = {
        .mechanism = mechanism,
        .hostname = s->config->hostname,
        .auth_seed = s->config->auth_seed,
        .random = s->config->random,
        .random_user = s->config->random_user,
    };

    if (!check(s, name, mechanism))
        return;
    if (sasl_server_new(&s->sasl, &config, s->mem) < 0) {
        reply(s, BARID_REPLY_AUTH_TEMPFAIL);
        return;
    }
    s->mechanism_tried = (uint8_t)mechanism;
    initial = slice_trim(initial);
    if (initial.n > 0)
        take_message(s, initial, true);
    else
        proceed(s, sasl_server_start(s->sasl, NULL), NULL);
}

bool step_auth(struct barid_session *s)
{
    barid_slice in = session_input(s), line = {NULL, 0};
    enum line_result result;
    size_t used;

    if (in.n == 0)
        return false;
    result = line_read(&s->reader, in, SESSION_LIMIT(s, auth_line), &used, &line);
    session_take(s, used);
    if (result == LINE_MORE)
        return false;
    s->rewait = true;
    if (result == LINE_TOO_LONG)
        end_with(s, BARID_REPLY_AUTH_LINE_TOO_LONG);
    else if (result == LINE_BARE)
        end_with(s, BARID_REPLY_BARE_NEWLINE_COMMAND);
    else if (slice_eq(line, BARID_S("*"))) /* RFC 4954 4 */
        end_with(s, BARID_REPLY_AUTH_CANCELLED);
    else
        take_message(s, line, false);
    session_wipe(s, line);
    return true;
}

/* Nothing but an accept lets anybody in. */
static enum sasl_state answer(struct barid_session *s, const barid_verdict *v)
{
    struct sasl_credential credential = {.known = v->kind == BARID_ACCEPT};

    if (credential.known) {
        credential.kind = v->secret_kind;
        credential.secret = v->secret;
    }
    return sasl_server_answer(s->sasl, &credential);
}

static int remember_user(struct barid_session *s, const barid_verdict *v)
{
    const struct sasl_identity *who = sasl_server_identity(s->sasl);
    barid_slice user = v->user;

    if (user.n == 0)
        user = who->authzid.n > 0 ? who->authzid : who->authcid;
    return session_set_fact(s, &s->user, user);
}

void act_auth(struct barid_session *s, const barid_verdict *v)
{
    if (v->kind == BARID_DISCONNECT) {
        end(s);
        session_refused(s, v);
    } else if (v->kind == BARID_TEMPFAIL ||
               (v->kind == BARID_ACCEPT && remember_user(s, v) < 0)) {
        static const barid_verdict plain = {.kind = BARID_TEMPFAIL};

        end(s);
        reply_verdict(s, v->kind == BARID_TEMPFAIL ? v : &plain, BARID_REPLY_AUTH_TEMPFAIL);
    } else {
        proceed(s, answer(s, v), v);
    }
}
