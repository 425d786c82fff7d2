/*
 * smtp/reference_testing.c: commands and replies of the reference; see reference_testing.h.
 * Addresses, parameters and the octets of messages: reference_words_testing.c; AUTH:
 * reference_auth_testing.c.
 */
#include "smtp/reference_testing.h"

#include <string.h>

#include "base/slice.h"
#include "smtp/reference_words_testing.h"

void reference_say(struct server *s, unsigned code)
{
    if (s->r->n_replies == REFERENCE_REPLIES)
        reference_give_up(s);
    if (s->r->unsure)
        return;
    s->r->reply[s->r->n_replies].code = code;
    s->r->reply[s->r->n_replies++].at = s->at;
    s->errors += code >= 500 && s->o->fault != FAULT_ERRORS_FREE;
}

void reference_give_up(struct server *s)
{
    s->r->unsure = s->over = true;
}

static void end(struct server *s, enum barid_close_reason reason)
{
    s->r->reason = reason;
    s->over = true;
}

void reference_hang_up(struct server *s)
{
    if (s->o->fault != FAULT_LIMIT_SILENT)
        reference_say(s, 421);
    end(s, BARID_CLOSE_ERRORS);
}

static bool is_lmtp(const struct server *s)
{
    return s->o->protocol == BARID_LMTP;
}

static bool is_ready(const struct server *s)
{
    return s->greeted || s->o->no_helo_needed;
}

static void forget_mail(struct server *s)
{
    s->mail = s->tried = s->bdat = s->broken = false;
    s->n_rcpts = 0;
    buf_clear(&s->content);
}

/* --- the end of a message --- */

static unsigned code_of(enum barid_verdict_kind kind)
{
    return kind == BARID_REJECT ? 550 : kind == BARID_TEMPFAIL ? 451 : 250;
}

static enum barid_verdict_kind commit(struct server *s)
{
    enum barid_verdict_kind kind = BARID_ACCEPT;

    if (s->o->policy)
        kind = reference_policy(BARID_EVENT_COMMIT, buf_slice(&s->content));
    reference_note_envelope(&s->r->mails, "from", s->sender);
    for (size_t i = s->o->fault == FAULT_RECIPIENT_LOST; i < s->n_rcpts; i++)
        if (s->rcpt[i].kind == BARID_ACCEPT)
            reference_note_envelope(&s->r->mails, "to", s->rcpt[i].address);
    reference_note_content(&s->r->mails, buf_slice(&s->content), kind);
    s->r->before[s->r->n_mails++] = s->r->n_replies;
    return s->o->fault == FAULT_COMMIT_IGNORED ? BARID_ACCEPT : kind;
}

static void say_each(struct server *s, unsigned common, bool refused)
{
    for (size_t i = 0; i < s->n_rcpts; i++) {
        if (refused || s->rcpt[i].kind == BARID_ACCEPT)
            reference_say(s, common);
        else
            reference_say(s, code_of(s->rcpt[i].kind));
        if (s->o->fault == FAULT_LMTP_ONE_REPLY)
            return;
    }
}

/* The strongest refusal of all recipients, or 250 when one accepts. */
static unsigned verdict_of_all(const struct server *s, bool *mixed_r)
{
    size_t accepted = 0, rejected = 0;

    for (size_t i = 0; i < s->n_rcpts; i++) {
        accepted += s->rcpt[i].kind == BARID_ACCEPT;
        rejected += s->rcpt[i].kind == BARID_REJECT;
    }
    *mixed_r = accepted > 0 && accepted < s->n_rcpts;
    return accepted > 0 ? 250 : rejected > 0 ? 550 : 451;
}

static void message_over(struct server *s)
{
    unsigned refusal = reference_content_refusal(s), all;
    bool mixed;

    if (s->r->n_mails == REFERENCE_MAILS) {
        reference_give_up(s);
        return;
    }
    if (refusal != 0) {
        if (is_lmtp(s))
            say_each(s, refusal, true);
        else
            reference_say(s, refusal);
        forget_mail(s);
        return;
    }
    all = verdict_of_all(s, &mixed);
    if (mixed && s->o->strict_mixed && !is_lmtp(s) && !s->prdr)
        all = 451;
    if (all == 250)
        all = code_of(commit(s));
    if (s->prdr)
        reference_say(s, 353);
    if (s->prdr || is_lmtp(s))
        say_each(s, all, false);
    if (!is_lmtp(s))
        reference_say(s, all);
    forget_mail(s);
}

/* --- commands --- */

static void cmd_hello(struct server *s, barid_slice arg, bool esmtp)
{
    size_t n = slice_find(arg, ' ');

    if (n == 0 || n > 255 ||
        (s->o->strict_helo_name && !reference_is_host(s, slice_head(arg, n)))) {
        reference_say(s, 501);
    } else if (s->greeted && s->o->second_helo_refused) {
        reference_say(s, 503);
    } else {
        forget_mail(s);
        s->greeted = true;
        s->esmtp = esmtp;
        reference_say(s, 250);
    }
}

static void cmd_mail(struct server *s, barid_slice arg)
{
    unsigned code;

    if (!is_ready(s) || s->mail) {
        reference_say(s, 503);
        return;
    }
    if (s->o->auth_required && !s->user) {
        reference_say(s, 530);
        return;
    }
    if (s->o->transactions > 0 && s->transactions >= s->o->transactions) {
        reference_hang_up(s);
        return;
    }
    code = reference_mail_argument(s, arg);
    if (code == 0)
        return;
    if (code == 250) {
        s->transactions++;
        if (s->o->policy)
            code = code_of(reference_policy(BARID_EVENT_MAIL, s->sender));
    }
    s->mail = code == 250;
    reference_say(s, code);
}

static void cmd_rcpt(struct server *s, barid_slice arg)
{
    size_t most = s->o->recipients + (s->o->fault == FAULT_ONE_RCPT_MORE);
    barid_slice address = {NULL, 0};
    unsigned code;

    if (!s->mail || s->bdat) {
        reference_say(s, 503);
        return;
    }
    s->tried = true;
    if (s->n_rcpts >= most || s->n_rcpts == REFERENCE_RCPTS) {
        reference_say(s, 452);
        return;
    }
    code = reference_rcpt_argument(s, arg, &address);
    if (code == 0)
        return;
    if (code == 250 && s->o->policy)
        code = code_of(reference_policy(BARID_EVENT_RCPT, address));
    if (code == 250) {
        s->rcpt[s->n_rcpts].address = address;
        s->rcpt[s->n_rcpts].kind = BARID_ACCEPT;
        if (s->o->policy)
            s->rcpt[s->n_rcpts].kind = reference_policy(BARID_EVENT_RECIPIENT, address);
        s->n_rcpts++;
    }
    reference_say(s, code);
}

static void cmd_data(struct server *s, barid_slice arg)
{
    if (!s->mail || s->bdat)
        reference_say(s, 503);
    else if (arg.n > 0)
        reference_say(s, 501);
    else if (s->n_rcpts == 0)
        reference_say(s, s->tried && !is_lmtp(s) ? 554 : 503);
    else if (s->binary)
        reference_say(s, 503);
    else {
        reference_say(s, 354);
        reference_content_begin(s);
        if (reference_take_data(s))
            message_over(s);
    }
}

/* A chunk that nobody asked for: its octets pass, then the reply comes. */
static void skip_chunk(struct server *s, uint64_t size, size_t replies)
{
    if (size > s->o->message) {
        reference_hang_up(s);
    } else if (size > s->input.n - s->at) {
        s->over = true;
    } else {
        s->at += s->o->fault == FAULT_SKIPS_NOTHING ? 0 : (size_t)size;
        for (size_t i = 0; i < replies; i++)
            reference_say(s, 503);
    }
}

static void take_chunk(struct server *s, uint64_t size, bool last)
{
    if (!s->bdat)
        reference_content_begin(s);
    s->bdat = true;
    for (uint64_t i = 0; i < size && !s->over; i++) {
        if (s->at == s->input.n)
            s->over = true;
        else
            reference_take_octet(s, s->input.p[s->at++]);
    }
    if (s->over)
        return;
    if (last) {
        message_over(s);
    } else {
        s->broken = s->refusal != 0;
        reference_say(s, s->broken ? s->refusal : 250);
    }
}

static void cmd_bdat(struct server *s, barid_slice arg)
{
    barid_slice word, number = slice_cut(arg, ' ', &word);
    uint64_t size;
    bool last;

    word = slice_trim(word);
    last = slice_eq_nocase(word, BARID_S("LAST"));
    if (!reference_number(number, UINT64_C(1) << 62, &size) || (word.n > 0 && !last)) {
        reference_say(s, 501);
        end(s, BARID_CLOSE_ERRORS);
    } else if (s->shut || !s->mail || s->n_rcpts == 0) {
        skip_chunk(s, size, 1);
    } else if (s->broken) {
        skip_chunk(s, size, is_lmtp(s) && last ? s->n_rcpts : 1);
    } else {
        take_chunk(s, size, last);
    }
}

static void cmd_rset(struct server *s, barid_slice arg)
{
    if (arg.n > 0) {
        reference_say(s, 501);
        return;
    }
    if (s->o->fault != FAULT_RSET_KEEPS)
        forget_mail(s);
    reference_say(s, 250);
}

static void cmd_starttls(struct server *s, barid_slice arg)
{
    size_t segment = 0;

    if (s->mail || (s->tls && arg.n == 0)) {
        reference_say(s, 503);
    } else if (arg.n > 0) {
        reference_say(s, 501);
    } else if (!s->o->starttls) {
        reference_say(s, 502);
    } else {
        reference_say(s, 220);
        while (s->ends[segment] < s->at)
            segment++;
        if (s->o->fault != FAULT_TLS_INJECTION)
            s->at = s->ends[segment];
        s->tls = true;
        s->greeted = s->esmtp = s->user = false;
        if (s->o->tls_fails)
            end(s, BARID_CLOSE_TLS);
    }
}

static void cmd_other(struct server *s, barid_slice verb, barid_slice arg)
{
    bool nested = s->mail;

    if (slice_eq_nocase(verb, BARID_S("NOOP")))
        reference_say(s, 250);
    else if (slice_eq_nocase(verb, BARID_S("HELP")))
        reference_say(s, 214);
    else if (slice_eq_nocase(verb, BARID_S("VRFY")))
        reference_say(s, arg.n > 0 ? 252 : 501);
    else if (slice_eq_nocase(verb, BARID_S("EXPN")))
        reference_say(s, arg.n > 0 ? 502 : 501);
    else if (slice_eq_nocase(verb, BARID_S("AUTH")))
        reference_auth(s, arg);
    else if (slice_eq_nocase(verb, BARID_S("XCLIENT")))
        reference_say(s, nested ? 503 : 500);
    else
        reference_say(s, 500);
}

static void command(struct server *s, barid_slice verb, barid_slice arg)
{
    if (slice_eq_nocase(verb, BARID_S("EHLO")) && !is_lmtp(s))
        cmd_hello(s, arg, true);
    else if (slice_eq_nocase(verb, BARID_S("HELO")) && !is_lmtp(s))
        cmd_hello(s, arg, false);
    else if (slice_eq_nocase(verb, BARID_S("LHLO")) && is_lmtp(s))
        cmd_hello(s, arg, true);
    else if (slice_eq_nocase(verb, BARID_S("MAIL")))
        cmd_mail(s, arg);
    else if (slice_eq_nocase(verb, BARID_S("RCPT")))
        cmd_rcpt(s, arg);
    else if (slice_eq_nocase(verb, BARID_S("DATA")))
        cmd_data(s, arg);
    else if (slice_eq_nocase(verb, BARID_S("RSET")))
        cmd_rset(s, arg);
    else if (slice_eq_nocase(verb, BARID_S("STARTTLS")))
        cmd_starttls(s, arg);
    else
        cmd_other(s, verb, arg);
}

/* --- lines --- */

static bool is_idle(barid_slice verb)
{
    static const char *const names[] = {"EHLO", "HELO", "LHLO", "RSET",
                                        "NOOP", "VRFY", "EXPN", "HELP"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_eq_nocase(verb, slice_str(names[i])))
            return true;
    return false;
}

/* false: there were too many, and that was said. */
static bool count_command(struct server *s, barid_slice verb)
{
    s->r->commands++;
    s->idle = is_idle(verb) ? s->idle + 1 : 0;
    if (slice_eq_nocase(verb, BARID_S("QUIT")))
        return true;
    if (s->errors < s->o->errors && s->r->commands <= s->o->commands && s->idle <= s->o->noops)
        return true;
    reference_hang_up(s);
    return false;
}

static void good_line(struct server *s, barid_slice line)
{
    size_t n = 0;
    barid_slice verb, arg;

    while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
        n++;
    verb = slice_head(line, n);
    arg = slice_trim(slice_from(line, n));
    if (!count_command(s, verb))
        return;
    if (slice_eq_nocase(verb, BARID_S("QUIT"))) {
        reference_say(s, 221);
        end(s, BARID_CLOSE_QUIT);
    } else if (slice_eq_nocase(verb, BARID_S("BDAT"))) {
        cmd_bdat(s, arg);
    } else if (s->shut) {
        reference_say(s, 503);
    } else {
        command(s, verb, arg);
    }
}

/* Octets may follow a BDAT that cannot be read: it is the last command. */
static void bad_line(struct server *s, barid_slice line, unsigned code)
{
    if (!count_command(s, (barid_slice){NULL, 0}))
        return;
    reference_say(s, s->shut ? 503 : code);
    if (slice_starts_nocase(line, BARID_S("BDAT")))
        end(s, BARID_CLOSE_ERRORS);
}

static void take_line(struct server *s)
{
    barid_slice rest = slice_from(s->input, s->at), line;
    const char *crlf = rest.n > 0 ? memmem(rest.p, rest.n, "\r\n", 2) : NULL;
    bool wide = slice_starts_nocase(rest, BARID_S("AUTH "));

    if (crlf == NULL) {
        s->over = true;
        return;
    }
    line = slice_head(rest, (size_t)(crlf - rest.p));
    s->at += line.n + 2;
    if (line.n + 2 > (wide ? REFERENCE_AUTH_LINE : s->o->line))
        bad_line(s, line, 500);
    else if (slice_find(line, '\r') < line.n || slice_find(line, '\n') < line.n)
        bad_line(s, line, 500);
    else if (slice_find(line, '\0') < line.n)
        bad_line(s, line, 501);
    else
        good_line(s, line);
}

void reference_run(struct reference *r, const struct reference_options *o, barid_slice input,
                   const size_t *ends, size_t n_ends)
{
    struct server s = {.o = o, .r = r, .input = input, .ends = ends, .n_ends = n_ends};

    r->n_replies = r->commands = r->n_mails = 0;
    r->unsure = false;
    r->reason = BARID_CLOSE_PEER; /* unless something else ends it */
    buf_init(&r->mails, NULL, 0);
    buf_init(&s.content, NULL, 0);
    s.shut = o->policy && o->refuse_connect;
    reference_say(&s, s.shut ? 554 : 220);
    while (!s.over)
        take_line(&s);
    r->at = s.at;
    buf_deinit(&s.content);
}

void reference_deinit(struct reference *r)
{
    buf_deinit(&r->mails);
}
