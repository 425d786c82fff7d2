/*
 * smtp/reply_out.c: making replies; see reply_out.h. Knows nothing of verbs.
 *
 * Text comes from three places: the catalogue (trusted, with %h and %s), details that a peer
 * may have written, and verdicts. All of it passes put_text, which lets no octet through that
 * could end a line, so no reply can be split from inside.
 */
#include "smtp/reply_out.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "smtp/session_int.h"

/* RFC 5321 4.5.3.1.5: a reply line with code and CRLF. */
#define REPLY_LINE 512
/* Text of a catalogue row with its details; a host name is at most 255, a detail is cut. */
#define ROW_TEXT   1024
#define DETAIL_MAX 128

struct parts {
    unsigned code;
    barid_slice enhanced, text;
};

static const barid_reply *row_of(const struct barid_session *s, enum barid_reply_id id)
{
    const barid_replies *own = s->config->replies;

    return own != NULL && own->row[id].code != 0 ? &own->row[id] : barid_reply_default(id);
}

static size_t add(char *out, size_t at, size_t size, barid_slice s)
{
    size_t n = s.n < size - at ? s.n : size - at;

    if (n > 0)
        memcpy(out + at, s.p, n);
    return at + n;
}

/* The text of a row with %h and %s replaced, in out. */
static barid_slice expand(const struct barid_session *s, barid_slice text, barid_slice detail,
                          char *out, size_t size)
{
    size_t at = 0;

    while (text.n > 0) {
        size_t n = slice_find(text, '%');

        at = add(out, at, size, slice_head(text, n));
        text = slice_from(text, n);
        if (text.n >= 2 && text.p[1] == 'h')
            at = add(out, at, size, s->config->hostname);
        else if (text.n >= 2 && text.p[1] == 's')
            at = add(out, at, size, slice_head(detail, DETAIL_MAX));
        else
            at = add(out, at, size, slice_head(text, 1));
        text = slice_from(text, text.n >= 2 && strchr("hs", text.p[1]) != NULL ? 2 : 1);
    }
    return slice_of(out, at);
}

/* The octets of the UTF-8 sequence at s, or 0 when it is not one. */
static size_t sequence(barid_slice s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;

    return n <= s.n && utf8_valid(slice_head(s, n)) ? n : 0;
}

static bool is_printable(char c)
{
    return (c >= 0x20 && c < 0x7f) || c == '\t';
}

static void put_octets(struct buf *out, const char *p, size_t n)
{
    memcpy(out->p + out->len, p, n);
    out->len += n;
}

/* Appends one line of text; out has room for it. What is neither printable nor UTF-8 becomes a
 * question mark. */
static void put_text(struct buf *out, barid_slice text)
{
    for (size_t i = 0, run = 0; i < text.n; i += run) {
        size_t n;

        for (run = 0; i + run < text.n && is_printable(text.p[i + run]);)
            run++;
        if (run > 0) {
            put_octets(out, text.p + i, run);
            continue;
        }
        n = (unsigned char)text.p[i] < 0x80 ? 0 : sequence(slice_from(text, i));
        put_octets(out, n > 0 ? text.p + i : "?", n > 0 ? n : 1);
        run = n > 0 ? n : 1;
    }
}

/* Three digits, and what says whether more lines follow (RFC 5321 4.2.1). */
static void put_code(struct buf *out, unsigned code, bool last)
{
    const char text[4] = {(char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10),
                          (char)('0' + code % 10), last ? ' ' : '-'};

    put_octets(out, text, sizeof(text));
}

/* Cuts the next line of at most width octets off *text: at a newline, else at a space, else
 * between two characters. */
static barid_slice next_line(barid_slice *text, size_t width)
{
    size_t n = slice_find(*text, '\n'), skip = 1;
    barid_slice line;

    if (n > width) {
        n = slice_find_last(slice_head(*text, width + 1), ' ');
        if (n == 0 || n > width) {
            n = width;
            while (n > width - 4 && ((unsigned char)text->p[n] & 0xc0) == 0x80)
                n--;
            skip = 0;
        }
    }
    line = slice_head(*text, n);
    *text = slice_from(*text, n + skip);
    return line;
}

static int put_line(struct barid_session *s, const struct parts *r, barid_slice line, bool last)
{
    struct buf *out = &s->out;
    int rc = buf_reserve(out, REPLY_LINE);

    if (rc < 0)
        return rc;
    put_code(out, r->code, last);
    if (r->enhanced.n > 0) {
        put_text(out, r->enhanced);
        if (line.n > 0)
            out->p[out->len++] = ' ';
    }
    put_text(out, line);
    out->p[out->len++] = '\r';
    out->p[out->len++] = '\n';
    return 0;
}

/* A reply never says half of what it has to: on failure it is taken back. */
static void lost(struct barid_session *s, size_t len)
{
    s->out.len = len;
    s->mute = true;
    session_close(s, BARID_CLOSE_NOMEM, BARID_REPLY_NONE);
}

static void put_reply(struct barid_session *s, const struct parts *r)
{
    size_t before = s->out.len, width;
    barid_slice text = r->text;

    if (s->mute)
        return;
    if (r->code >= 500)
        s->errors++;
    while (text.n > 0 && text.p[text.n - 1] == '\n')
        text.n--;
    width = REPLY_LINE - sizeof("250 ") + 1 - 2 - (r->enhanced.n > 0 ? r->enhanced.n + 1 : 0);
    do {
        barid_slice line = next_line(&text, width);

        if (put_line(s, r, line, text.n == 0) < 0) {
            lost(s, before);
            return;
        }
    } while (text.n > 0);
}

/* RFC 2034: enhanced codes as far as they are offered; never on 3yz, and only of the code's
 * class. */
static barid_slice enhanced_for(const struct barid_session *s, unsigned code,
                                barid_slice enhanced)
{
    if (s->config->switches.no_enhanced_codes || code / 100 == 3 || enhanced.n == 0 ||
        (session_extensions(s) & BARID_EXT_ENHANCEDSTATUSCODES) == 0 ||
        enhanced.p[0] != (char)('0' + code / 100))
        return (barid_slice){NULL, 0};
    return enhanced;
}

void reply_detail(struct barid_session *s, enum barid_reply_id id, barid_slice detail)
{
    const barid_reply *row = row_of(s, id);
    char text[ROW_TEXT];
    struct parts r = {
        .code = row->code,
        .enhanced = enhanced_for(s, row->code, row->enhanced),
        .text = expand(s, row->text, detail, text, sizeof(text)),
    };

    put_reply(s, &r);
}

void reply(struct barid_session *s, enum barid_reply_id id)
{
    reply_detail(s, id, (barid_slice){NULL, 0});
}

void reply_number(struct barid_session *s, enum barid_reply_id id, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    reply_detail(s, id, slice_str(text));
}

void reply_syntax(struct barid_session *s, const char *detail)
{
    reply_detail(s, BARID_REPLY_SYNTAX, slice_str(detail));
}

void reply_sequence(struct barid_session *s, const char *detail)
{
    reply_detail(s, BARID_REPLY_BAD_SEQUENCE, slice_str(detail));
}

void reply_outcome(struct barid_session *s, const struct outcome *o)
{
    const barid_reply *row = row_of(s, o->row);
    char text[ROW_TEXT], enhanced[8];
    struct parts r = {
        .code = o->code != 0 ? o->code : row->code,
        .enhanced = o->enhanced.n > 0 ? o->enhanced : row->enhanced,
        .text = o->text.n > 0 ? o->text : expand(s, row->text, o->detail, text, sizeof(text)),
    };

    /* A code of its own without an enhanced code: the row's, moved to the code's class. */
    if (o->enhanced.n == 0 && r.enhanced.n > 0 && r.enhanced.n < sizeof(enhanced)) {
        memcpy(enhanced, r.enhanced.p, r.enhanced.n);
        enhanced[0] = (char)('0' + r.code / 100);
        r.enhanced.p = enhanced;
    }
    r.enhanced = enhanced_for(s, r.code, r.enhanced);
    put_reply(s, &r);
}

void reply_verdict(struct barid_session *s, const barid_verdict *v, enum barid_reply_id row)
{
    struct outcome o = {
        .kind = v->kind,
        .row = row,
        .code = v->code,
        .enhanced = v->enhanced,
        .text = v->text,
    };

    reply_outcome(s, &o);
}

void reply_accepted(struct barid_session *s, const barid_verdict *v, enum barid_reply_id row)
{
    barid_verdict said = *v;

    if (v->kind != BARID_ACCEPT) {
        reply(s, row);
        return;
    }
    /* Codes such as 354 and 235 are part of the protocol's course; only 250 has equals. */
    if (row_of(s, row)->code != 250)
        said.code = 0;
    reply_verdict(s, &said, row);
}

void reply_plain(struct barid_session *s, unsigned code, barid_slice text)
{
    struct parts r = {.code = code, .text = text};

    put_reply(s, &r);
}

barid_slice reply_hello_text(const struct barid_session *s, char *text, size_t size)
{
    return expand(s, row_of(s, BARID_REPLY_HELLO)->text, s->helo, text, size);
}

void reply_challenge(struct barid_session *s, barid_slice base64)
{
    size_t before = s->out.len;

    if (s->mute)
        return;
    if (buf_str(&s->out, "334 ") < 0 || buf_append(&s->out, base64) < 0 ||
        buf_str(&s->out, "\r\n") < 0)
        lost(s, before);
}
