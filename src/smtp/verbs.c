/*
 * smtp/verbs.c: from command lines to verbs. Knows which verb is legal where, not what it does.
 *
 * Each command gets exactly one reply (LMTP's and PRDR's final ones apart), in order. The
 * limits on commands, errors and idle commands are met by the first command over them, which
 * gets 421 in place of its own reply; QUIT is always heard.
 */
#include "smtp/verbs.h"

#include "smtp/steps.h"

enum verb_flags {
    VERB_SMTP = 1,
    VERB_LMTP = 2,
    VERB_BOTH = 3,
    VERB_IDLE = 4,   /* does nothing for the mail: counted in a row */
    VERB_ALWAYS = 8, /* also after a refused connection, and over every limit */
    VERB_OCTETS = 16 /* octets follow: it must see its argument even where it is refused */
};

struct verb {
    const char *name;
    unsigned flags;
    void (*run)(struct barid_session *s, const struct command *c);
    /* The detail of 503 in each state; NULL = the verb is legal there. */
    const char *illegal[VERB_STATES];
};

#define HELLO  "HELO first"
#define NESTED "a transaction is under way"
#define NOMAIL "MAIL first"
#define CHUNKS "BDAT has begun"
#define BROKEN "a chunk failed, RSET first"

/* In each row: NEW, READY, MAIL, RCPT, CHUNKS, BROKEN (RFC 5321 4.1.4, RFC 3030 2). */
static const struct verb verbs[] = {
    {"MAIL", VERB_BOTH, cmd_mail, {HELLO, NULL, NESTED, NESTED, NESTED, NESTED}},
    {"RCPT", VERB_BOTH, cmd_rcpt, {HELLO, NOMAIL, NULL, NULL, CHUNKS, BROKEN}},
    {"DATA", VERB_BOTH, cmd_data, {HELLO, NOMAIL, NULL, NULL, CHUNKS, BROKEN}},
    {"BDAT", VERB_BOTH | VERB_OCTETS, cmd_bdat, {0}}, /* decides after its octets */
    {"EHLO", VERB_SMTP | VERB_IDLE, cmd_ehlo, {0}},
    {"HELO", VERB_SMTP | VERB_IDLE, cmd_helo, {0}},
    {"LHLO", VERB_LMTP | VERB_IDLE, cmd_ehlo, {0}},
    {"RSET", VERB_BOTH | VERB_IDLE, cmd_rset, {0}},
    {"NOOP", VERB_BOTH | VERB_IDLE, cmd_noop, {0}},
    {"QUIT", VERB_BOTH | VERB_ALWAYS, cmd_quit, {0}},
    {"VRFY", VERB_BOTH | VERB_IDLE, cmd_vrfy, {0}},
    {"EXPN", VERB_BOTH | VERB_IDLE, cmd_expn, {0}},
    {"HELP", VERB_BOTH | VERB_IDLE, cmd_help, {0}},
    {"AUTH", VERB_BOTH, cmd_auth, {NULL, NULL, NESTED, NESTED, NESTED, NESTED}},
    {"STARTTLS", VERB_BOTH, cmd_starttls, {NULL, NULL, NESTED, NESTED, NESTED, NESTED}},
    {"XCLIENT", VERB_BOTH, cmd_xclient, {NULL, NULL, NESTED, NESTED, NESTED, NESTED}},
};

#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

enum verb_state verb_state(const struct barid_session *s)
{
    if (s->tx == NULL)
        return s->greeted || s->config->switches.no_helo_needed ? STATE_READY : STATE_NEW;
    if (s->tx->broken)
        return STATE_BROKEN;
    if (s->tx->bdat)
        return STATE_CHUNKS;
    return s->tx->count > 0 ? STATE_RCPT : STATE_MAIL;
}

static const struct verb *find(barid_slice name)
{
    for (size_t i = 0; i < VERBS; i++) {
        if (slice_eq_nocase(slice_str(verbs[i].name), name))
            return &verbs[i];
    }
    return NULL;
}

static void cut(barid_slice line, struct command *c_r)
{
    size_t n = 0;

    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
        n++;
    *c_r = (struct command){line, slice_head(line, n), slice_trim(slice_from(line, n))};
}

/* Counts the command; false = it is one too many, and the session closes. */
static bool within_limits(struct barid_session *s, const struct verb *verb)
{
    bool idle = verb != NULL && (verb->flags & VERB_IDLE) != 0;

    s->commands++;
    s->idle_commands = idle ? s->idle_commands + 1 : 0;
    if (verb != NULL && (verb->flags & VERB_ALWAYS) != 0)
        return true;
    if (s->errors >= SESSION_LIMIT(s, errors)) {
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_TOO_MANY_ERRORS);
        return false;
    }
    if (s->commands > SESSION_LIMIT(s, commands) ||
        s->idle_commands > SESSION_LIMIT(s, noops)) {
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_TOO_MANY_COMMANDS);
        return false;
    }
    return true;
}

/* After a refused connection: true when the verb got its answer already. */
static bool is_shut(struct barid_session *s, const struct verb *verb)
{
    if (s->shut == SHUT_NOT ||
        (verb != NULL && (verb->flags & (VERB_ALWAYS | VERB_OCTETS)) != 0))
        return false;
    if (s->shut == SHUT_TLS)
        reply_outcome(s, &s->held->outcome);
    else
        reply(s, BARID_REPLY_NOT_AFTER_REFUSAL);
    return true;
}

static void run(struct barid_session *s, barid_slice line)
{
    struct command c;
    const struct verb *verb;

    cut(line, &c);
    verb = find(c.verb);
    if (!within_limits(s, verb) || is_shut(s, verb))
        return;
    if (verb == NULL) {
        cmd_unknown(s, &c);
    } else if ((verb->flags & (is_lmtp(s) ? VERB_LMTP : VERB_SMTP)) == 0) {
        /* RFC 2033 4.1: HELO and EHLO are not for LMTP, nor LHLO for SMTP. */
        reply(s, BARID_REPLY_COMMAND_UNKNOWN);
    } else if (verb->illegal[verb_state(s)] != NULL) {
        reply_sequence(s, verb->illegal[verb_state(s)]);
    } else {
        verb->run(s, &c);
    }
}

/* A line that is not looked at counts as a command all the same. */
static void refuse_line(struct barid_session *s, enum line_result why)
{
    if (!within_limits(s, NULL))
        return;
    if (is_shut(s, NULL))
        ;
    else if (why == LINE_BARE)
        reply(s, BARID_REPLY_BARE_NEWLINE_COMMAND);
    else if (why == LINE_NUL)
        reply_syntax(s, "NUL in command");
    else
        reply(s, s->reader.wide ? BARID_REPLY_AUTH_LINE_TOO_LONG : BARID_REPLY_LINE_TOO_LONG);
    /* Octets follow it, nobody knows how many: none of them may be taken for a command. */
    if (s->reader.octets)
        session_close(s, BARID_CLOSE_ERRORS, BARID_REPLY_NONE);
}

bool step_command(struct barid_session *s)
{
    barid_slice in = session_input(s), line = {NULL, 0};
    enum line_result result;
    size_t used;

    if (in.n == 0)
        return false;
    /* RFC 4954 4: an initial response makes AUTH longer than other commands may be. */
    if (!s->reader.draining) {
        s->reader.wide = slice_starts_nocase(in, BARID_S("AUTH "));
        s->reader.octets = slice_starts_nocase(in, BARID_S("BDAT"));
    }
    result = line_read(&s->reader, in,
                       s->reader.wide ? SESSION_LIMIT(s, auth_line) : SESSION_LIMIT(s, line),
                       &used, &line);
    session_take(s, used);
    if (result == LINE_MORE)
        return false;
    s->rewait = true;
    if (result == LINE_OK)
        run(s, line);
    else
        refuse_line(s, result);
    if (s->reader.wide)
        session_wipe(s, line);
    return true;
}
