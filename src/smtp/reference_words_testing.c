/* smtp/reference_words_testing.c: arguments and messages of the reference; see
 * reference_testing.h. */
#include "smtp/reference_words_testing.h"

#include <string.h>

#include "base/slice.h"

/* `body` is raised for so many octets; when they are there and one more comes, as the last chunk
 * is told from the others. */
#define BODY_CHUNK 65536

/* --- policy and notes --- */

enum barid_verdict_kind reference_policy(enum barid_event_id id, barid_slice text)
{
    char c = '\0';

    if (text.n > 0)
        c = text.p[0];
    if (id == BARID_EVENT_MAIL || id == BARID_EVENT_RCPT || id == BARID_EVENT_AUTH)
        return c == 'x' ? BARID_REJECT : c == 'y' ? BARID_TEMPFAIL : BARID_ACCEPT;
    if (id == BARID_EVENT_RECIPIENT)
        return c == 'p' ? BARID_REJECT : c == 't' ? BARID_TEMPFAIL : BARID_ACCEPT;
    if (id == BARID_EVENT_COMMIT)
        return c == 'K' ? BARID_REJECT : c == 'L' ? BARID_TEMPFAIL : BARID_ACCEPT;
    if (id == BARID_EVENT_HEADERS)
        return c == 'H' ? BARID_REJECT : BARID_CONTINUE;
    if (id == BARID_EVENT_BODY)
        return c == 'B' ? BARID_TEMPFAIL : BARID_CONTINUE;
    return BARID_CONTINUE;
}

void reference_note_envelope(struct buf *out, const char *role, barid_slice address)
{
    buf_fmt(out, "%s <%.*s>\n", role, (int)address.n, address.n > 0 ? address.p : "");
}

void reference_note_content(struct buf *out, barid_slice content, enum barid_verdict_kind kind)
{
    buf_fmt(out, "commit %s, %zu octets:\n", kind == BARID_ACCEPT ? "accepted" : "refused",
            content.n);
    buf_append(out, content);
    buf_str(out, "\n");
}

/* --- arguments --- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool reference_all_of(barid_slice s, const char *extra)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || strchr(extra, s.p[i]) == NULL))
            return false;
    return true;
}

bool reference_number(barid_slice text, uint64_t max, uint64_t *value_r)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.p[i] - '0');
        if (value > max) /* max is far below overflow */
            return false;
    }
    *value_r = value;
    return text.n > 0;
}

/* Words parted by single dots; the words of a domain neither begin nor end with "-" and have
 * nothing but it beside letters and digits. */
static bool dotted(barid_slice s, bool domain)
{
    bool more = true;

    while (more) {
        size_t n = slice_find(s, '.');
        barid_slice word = slice_head(s, n);

        more = n < s.n;
        s = slice_from(s, n + 1);
        if (word.n == 0)
            return false;
        if (domain && (word.n > 63 || word.p[0] == '-' || word.p[word.n - 1] == '-' ||
                       !reference_all_of(word, "-")))
            return false;
    }
    return true;
}

bool reference_is_host(struct server *s, barid_slice name)
{
    if (!reference_all_of(name, ".-") && !slice_eq(name, BARID_S("[192.0.2.1]")))
        reference_give_up(s);
    return name.p[0] == '[' || dotted(name, true);
}

/* The one local part that is not plain. */
static bool is_utf8(barid_slice address)
{
    return slice_eq(slice_head(address, slice_find(address, '@')), BARID_S("\xc3\xbc"));
}

static bool is_address(const struct server *s, barid_slice text, bool recipient)
{
    size_t n = slice_find(text, '@');
    barid_slice local = slice_head(text, n), domain = slice_from(text, n + 1);

    if (local.n > 64 || domain.n > 255 || text.n > 254 || !dotted(local, false))
        return false;
    if (n < text.n)
        return dotted(domain, true);
    return s->o->protocol != BARID_SMTP || (recipient && !s->o->no_null_rcpt_postmaster &&
                                            slice_eq_nocase(text, BARID_S("postmaster")));
}

/* "<address>" at the start of *text, which keeps what follows. 250, a refusal, or 0: unsure. */
static unsigned take_path(struct server *s, barid_slice keyword, bool recipient,
                          barid_slice *text, barid_slice *address_r)
{
    size_t n;

    if (!slice_starts_nocase(*text, keyword))
        return 501;
    *text = slice_trim(slice_from(*text, keyword.n));
    if (text->n < 2 || text->p[0] != '<')
        return 553;
    n = slice_find(*text, '>');
    *address_r = slice_head(slice_from(*text, 1), n - 1);
    if ((!reference_all_of(*address_r, ".+_-@") && !is_utf8(*address_r)) ||
        (address_r->n > 0 && address_r->p[0] == '@')) {
        reference_give_up(s);
        return 0;
    }
    if (n == text->n)
        return 553;
    *text = slice_from(*text, n + 1);
    if (address_r->n == 0 ? recipient : !is_address(s, *address_r, recipient))
        return 553;
    return text->n > 0 && text->p[0] != ' ' ? 553 : 250;
}

struct word {
    barid_slice key, value;
    bool given;
};

static bool is_word(const struct word *w)
{
    if (w->key.n == 0 || w->key.p[0] == '-' || !reference_all_of(w->key, "-"))
        return false;
    if (w->given && w->value.n == 0)
        return false;
    for (size_t i = 0; i < w->value.n; i++) {
        unsigned char c = (unsigned char)w->value.p[i];

        if (c < 33 || c == 127 || c == '=')
            return false;
    }
    return true;
}

static unsigned size_code(struct server *s, const struct word *w)
{
    uint64_t size = 0;

    if (!w->given || w->value.n > 20)
        return 501;
    for (size_t i = 0; i < w->value.n; i++)
        if (w->value.p[i] < '0' || w->value.p[i] > '9')
            return 501;
    if (!reference_number(w->value, UINT64_C(1) << 59, &size) || size > s->o->message)
        s->refusal = 552; /* when nothing else is wrong */
    return 250;
}

static unsigned body_code(struct server *s, const struct word *w)
{
    s->binary = slice_eq_nocase(w->value, BARID_S("BINARYMIME"));
    if (!w->given)
        return 501;
    return s->binary || slice_eq_nocase(w->value, BARID_S("7BIT")) ||
                   slice_eq_nocase(w->value, BARID_S("8BITMIME"))
               ? 250
               : 504;
}

static unsigned ret_code(struct server *s, const struct word *w)
{
    (void)s;
    return slice_eq_nocase(w->value, BARID_S("FULL")) ||
                   slice_eq_nocase(w->value, BARID_S("HDRS"))
               ? 250
               : 501;
}

static unsigned flag_code(struct server *s, const struct word *w)
{
    s->prdr = s->prdr || slice_eq_nocase(w->key, BARID_S("PRDR"));
    s->smtputf8 = s->smtputf8 || slice_eq_nocase(w->key, BARID_S("SMTPUTF8"));
    return w->given ? 501 : 250;
}

/* What xtext and address types are is not known here: only what is right for certain. */
static unsigned text_code(struct server *s, const struct word *w)
{
    barid_slice rest, type = slice_cut(w->value, ';', &rest);
    bool typed = slice_eq_nocase(w->key, BARID_S("ORCPT"));
    barid_slice text = typed ? rest : w->value;

    if (!w->given)
        return 501;
    if (text.n > 0 && text.n < 90 && reference_all_of(text, typed ? "@." : "") &&
        (!typed || slice_eq(type, BARID_S("rfc822"))))
        return 250;
    reference_give_up(s);
    return 0;
}

static unsigned notify_code(struct server *s, const struct word *w)
{
    static const char *const names[] = {"NEVER", "SUCCESS", "FAILURE", "DELAY"};
    barid_slice rest = w->value;
    bool more = true, never = false, other = false;

    (void)s;
    while (more) {
        size_t n = slice_find(rest, ','), i = 0;

        more = n < rest.n;
        while (i < 4 && !slice_eq_nocase(slice_head(rest, n), slice_str(names[i])))
            i++;
        if (i == 4)
            return 501;
        never = never || i == 0;
        other = other || i > 0;
        rest = slice_from(rest, n + 1);
    }
    return never && other ? 501 : 250;
}

static unsigned auth_code(struct server *s, const struct word *w)
{
    if (!s->o->auth)
        return 555;
    if (!w->given)
        return 501;
    if (slice_eq(w->value, BARID_S("<>")))
        return 250;
    reference_give_up(s);
    return 0;
}

static const struct known {
    const char *key;
    bool recipient;
    unsigned (*code)(struct server *s, const struct word *w);
} known[] = {
    {"SIZE", false, size_code},    {"BODY", false, body_code}, {"SMTPUTF8", false, flag_code},
    {"PRDR", false, flag_code},    {"RET", false, ret_code},   {"ENVID", false, text_code},
    {"NOTIFY", true, notify_code}, {"ORCPT", true, text_code}, {"AUTH", false, auth_code},
};

static unsigned word_code(struct server *s, const struct word *w, bool recipient,
                          unsigned *seen)
{
    if (!is_word(w))
        return 501;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].recipient != recipient ||
            !slice_eq_nocase(w->key, slice_str(known[i].key)))
            continue;
        if (i == 3 && s->o->protocol == BARID_LMTP)
            return 555;
        if ((*seen & 1u << i) != 0)
            return 501;
        *seen |= 1u << i;
        return known[i].code(s, w);
    }
    return 555;
}

static unsigned params_code(struct server *s, barid_slice text, bool recipient)
{
    unsigned code = 250, seen = 0;

    if (slice_trim(text).n > 0 && !s->esmtp)
        return 555;
    while (text.n > 0 && code == 250) {
        barid_slice item = slice_cut(text, ' ', &text);
        size_t n = slice_find(item, '=');
        struct word w = {slice_head(item, n), slice_from(item, n + 1), n < item.n};

        if (item.n > 0)
            code = word_code(s, &w, recipient, &seen);
    }
    return code;
}

unsigned reference_mail_argument(struct server *s, barid_slice arg)
{
    unsigned code = take_path(s, BARID_S("FROM:"), false, &arg, &s->sender);

    s->binary = s->prdr = s->smtputf8 = false;
    s->refusal = 0;
    if (code == 250)
        code = params_code(s, arg, false);
    if (code == 250 && is_utf8(s->sender) && !s->smtputf8)
        return 553;
    return code == 250 && s->refusal != 0 ? s->refusal : code;
}

unsigned reference_rcpt_argument(struct server *s, barid_slice arg, barid_slice *address_r)
{
    unsigned code = take_path(s, BARID_S("TO:"), true, &arg, address_r);

    if (code == 250 && is_utf8(*address_r) && !s->smtputf8)
        return 553;
    return code == 250 ? params_code(s, arg, true) : code;
}

/* --- messages --- */

void reference_content_begin(struct server *s)
{
    buf_clear(&s->content);
    s->in_body = s->cr = false;
    s->chunk_at = s->line_n = 0;
    s->refusal = 0;
    s->dropped = 0;
}

static void refuse(struct server *s, unsigned code)
{
    if (s->refusal == 0)
        s->refusal = code;
}

static void ask_about_body(struct server *s)
{
    barid_slice chunk = slice_from(buf_slice(&s->content), s->chunk_at);

    s->chunk_at += chunk.n < BODY_CHUNK ? chunk.n : BODY_CHUNK;
    if (s->refusal == 0 && s->o->policy && chunk.n > 0 &&
        reference_policy(BARID_EVENT_BODY, chunk) == BARID_TEMPFAIL)
        refuse(s, 451);
}

static void ask_when_full(struct server *s)
{
    if (s->in_body && s->content.len - s->chunk_at >= BODY_CHUNK)
        ask_about_body(s);
}

static void keep(struct server *s, const char *p, size_t n)
{
    uint64_t most = s->o->message + (s->o->fault == FAULT_ONE_OCTET_MORE);

    if (s->content.len + n > most || (!s->in_body && s->content.len + n > s->o->header))
        refuse(s, 552);
    if (s->refusal == 0)
        buf_append(&s->content, slice_of(p, n));
}

static void end_header(struct server *s)
{
    s->in_body = true;
    s->chunk_at = s->content.len;
    if (s->refusal == 0 && s->o->policy &&
        reference_policy(BARID_EVENT_HEADERS, buf_slice(&s->content)) == BARID_REJECT)
        refuse(s, 550);
}

static void end_line(struct server *s)
{
    bool blank = s->line_n == 0;

    s->line_n = 0;
    if (s->in_body || !blank) {
        keep(s, "\r\n", 2);
        return;
    }
    if (s->refusal == 0 && s->content.len + 2 > s->o->message)
        refuse(s, 552);
    end_header(s);
    if (s->refusal == 0)
        buf_append(&s->content, BARID_S("\r\n"));
    s->chunk_at = s->content.len;
}

static void text_octet(struct server *s, char c)
{
    if (++s->line_n > s->o->data_line)
        refuse(s, 552);
    keep(s, &c, 1);
}

static void bare(struct server *s, char c)
{
    if (s->binary || s->o->fault == FAULT_BARE_TAKEN)
        text_octet(s, c);
    else if (s->o->normalise)
        end_line(s);
    else
        refuse(s, 550);
}

/* How many exactly make it hang up is nobody's promise: give up before they can be too many. 4
 * is for the last line end and dots; a bare CR or LF may have become two octets. */
static void count_dropped(struct server *s, char c)
{
    if (s->refusal == 0)
        return;
    s->dropped += (c == '\r' || c == '\n') && s->o->normalise ? 2 : 1;
    if (s->dropped + 4 > s->o->message)
        reference_give_up(s);
}

void reference_take_octet(struct server *s, char c)
{
    count_dropped(s, c);
    ask_when_full(s);
    if (s->binary && s->in_body) {
        keep(s, &c, 1);
        return;
    }
    if (s->cr) {
        s->cr = false;
        if (c == '\n') {
            end_line(s);
            return;
        }
        bare(s, '\r');
        ask_when_full(s);
    }
    if (c == '\r')
        s->cr = true;
    else if (c == '\n')
        bare(s, c);
    else
        text_octet(s, c);
}

/* A line of DATA without its end; at the end of the input what there is of one. */
static barid_slice data_line(struct server *s)
{
    barid_slice rest = slice_from(s->input, s->at);
    const char *end = rest.n > 0 ? memmem(rest.p, rest.n, "\r\n", 2) : NULL;

    s->over = end == NULL;
    s->at += end != NULL ? (size_t)(end - rest.p) + 2 : rest.n;
    return end != NULL ? slice_head(rest, (size_t)(end - rest.p)) : rest;
}

bool reference_take_data(struct server *s)
{
    while (!s->over) {
        barid_slice line = data_line(s);

        if (slice_eq(line, BARID_S(".")) && !s->over)
            break;
        if (s->o->fault == FAULT_LF_DOT_ENDS && slice_ends_nocase(line, BARID_S("\n.")))
            break;
        if (line.n > 0 && line.p[0] == '.' && s->o->fault != FAULT_DOT_KEPT)
            line = slice_from(line, 1);
        for (size_t i = 0; i < line.n; i++)
            reference_take_octet(s, line.p[i]);
        reference_take_octet(s, '\r');
        reference_take_octet(s, '\n');
    }
    return !s->over;
}

unsigned reference_content_refusal(struct server *s)
{
    if (s->cr)
        bare(s, '\r');
    if (!s->in_body)
        end_header(s);
    while (s->chunk_at < s->content.len)
        ask_about_body(s);
    return s->refusal;
}
