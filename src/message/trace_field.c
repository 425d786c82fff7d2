/*
 * message/trace_field.c: the fields that a mail server writes itself. Knows the mail, not the
 * session.
 *
 * Invariant: whatever a client or a policy put into the facts, what is appended is exactly one
 * field: every text from outside is cleaned of control octets, and within comments of
 * parentheses and backslashes, before it is written.
 */
#include "message/trace_field.h"

#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/slice.h"

#define FOLD_AT 76 /* RFC 5322 2.1.1 asks for 78; two octets of grace for what follows a word  \
                    */
#define TOKEN_MAX 255 /* octets of one text from outside: a domain's length; longer is cut */

/* A field under construction: words are put on lines. */
struct field {
    struct buf *out;
    size_t start; /* out->len before the field */
    size_t column;
    int rc;
};

static void put(struct field *f, barid_slice s)
{
    if (f->rc == 0)
        f->rc = buf_append(f->out, s);
    f->column += s.n;
}

/* A word that is not broken: on this line after a space, or on the next. */
static void word(struct field *f, barid_slice s)
{
    if (f->column + 1 + s.n > FOLD_AT && f->column > 1) {
        put(f, BARID_S("\r\n\t"));
        f->column = 8;
    } else {
        put(f, BARID_S(" "));
    }
    put(f, s);
}

static void begin(struct field *f, struct buf *out, barid_slice name)
{
    *f = (struct field){.out = out, .start = out->len};
    put(f, name);
    put(f, BARID_S(":"));
}

/* All or nothing. */
static int end(struct field *f)
{
    put(f, BARID_S("\r\n"));
    if (f->rc < 0)
        f->out->len = f->start;
    return f->rc;
}

/* Text from outside into scratch: nothing that ends a line, a word or a comment. */
static barid_slice clean(barid_slice s, char *scratch)
{
    bool utf8 = utf8_valid(s);
    size_t n = s.n < TOKEN_MAX ? s.n : TOKEN_MAX;

    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)s.p[i];
        bool bad =
            c <= ' ' || c == 127 || (c > 127 && !utf8) || strchr("()<>\\\";,", c) != NULL;

        scratch[i] = bad ? '?' : (char)c;
    }
    while (utf8 && n < s.n && n > 0 && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--; /* not half a character */
    return slice_of(scratch, n);
}

/* "(name [ip])" of RFC 5321 TCP-info; a name is only there when something verified it. */
static void put_from(struct field *f, const struct session_facts *s)
{
    char scratch[TOKEN_MAX], ip[ENDPOINT_TEXT_SIZE], text[TOKEN_MAX + ENDPOINT_TEXT_SIZE + 16];
    struct buf b = {.p = text, .cap = sizeof(text), .max = sizeof(text)};
    barid_slice helo = clean(s->helo, scratch);

    endpoint_text(&s->client, ip);
    word(f, BARID_S("from"));
    word(f, helo.n > 0 ? helo : BARID_S("unknown"));
    if (s->client.family != BARID_FAMILY_IPV4 && s->client.family != BARID_FAMILY_IPV6) {
        word(f, BARID_S("(local)"));
        return;
    }
    buf_str(&b, "(");
    if (s->client_name.n > 0) {
        buf_append(&b, clean(s->client_name, scratch));
        word(f, buf_slice(&b));
        buf_clear(&b);
    }
    buf_str(&b, s->client.family == BARID_FAMILY_IPV6 ? "[IPv6:" : "[");
    buf_str(&b, ip);
    buf_str(&b, "])");
    word(f, buf_slice(&b));
}

static void put_tls(struct field *f, const struct session_facts *s)
{
    char scratch[TOKEN_MAX], bits[32];
    struct buf b = {.p = bits, .cap = sizeof(bits), .max = sizeof(bits)};

    if (!s->tls)
        return;
    word(f, BARID_S("(using"));
    word(f, clean(s->tls_version, scratch));
    word(f, BARID_S("with cipher"));
    word(f, clean(s->tls_cipher, scratch));
    if (buf_fmt(&b, "(%u bits))", s->tls_bits) == 0)
        word(f, buf_slice(&b));
}

/* An address that was parsed has no octet that ends a line; one that a policy made up is
 * checked here again. */
static void put_address(struct field *f, const char *before, barid_slice address,
                        const char *after)
{
    char text[BARID_LOCAL_PART_MAX + BARID_DOMAIN_MAX + 8];
    struct buf b = {.p = text, .cap = sizeof(text), .max = sizeof(text)};

    buf_str(&b, before);
    for (size_t i = 0; i < address.n && b.len < sizeof(text) - 1; i++) {
        uint8_t c = (uint8_t)address.p[i];

        buf_byte(&b, c < ' ' || c == 127 ? '?' : (char)c);
    }
    buf_str(&b, after);
    word(f, buf_slice(&b));
}

int trace_received(struct buf *out, const struct mail *m, barid_slice hostname)
{
    const struct session_facts *s = m->session;
    char id[MAIL_ID_TEXT_SIZE], date[CLOCK_RFC5322_SIZE];
    struct field f;

    begin(&f, out, BARID_S("Received"));
    put_from(&f, s);
    word(&f, BARID_S("by"));
    word(&f, hostname);
    word(&f, BARID_S("(Barid)"));
    word(&f, BARID_S("with"));
    word(&f, slice_str(facts_with_protocol(s, m->params.smtputf8)));
    put_tls(&f, s);
    if (m->id != 0) {
        mail_id_text(m->id, id);
        word(&f, BARID_S("id"));
        word(&f, slice_str(id));
    }
    /* With several the field would tell each of them about the others (RFC 5321 7.2). */
    if (m->n_rcpts == 1 && m->rcpts[0]->original.n > 0) {
        word(&f, BARID_S("for"));
        put_address(&f, "<", m->rcpts[0]->original, ">");
    }
    put(&f, BARID_S(";"));
    clock_rfc5322(m->received_us, date);
    word(&f, slice_str(date));
    return end(&f);
}

int trace_return_path(struct buf *out, const struct mail *m)
{
    struct field f;

    begin(&f, out, BARID_S("Return-Path"));
    put_address(&f, "<", m->sender.address, ">");
    return end(&f);
}

int trace_delivered_to(struct buf *out, const struct rcpt *r)
{
    struct field f;

    begin(&f, out, BARID_S("Delivered-To"));
    put_address(&f, "", r->box.address, "");
    return end(&f);
}

int trace_date(struct buf *out, int64_t now_us)
{
    char date[CLOCK_RFC5322_SIZE];
    struct field f;

    clock_rfc5322(now_us, date);
    begin(&f, out, BARID_S("Date"));
    word(&f, slice_str(date));
    return end(&f);
}

int trace_message_id(struct buf *out, uint64_t id_seed, int64_t now_us, barid_slice hostname)
{
    char left[2 * MAIL_ID_TEXT_SIZE], text[2 * MAIL_ID_TEXT_SIZE + TOKEN_MAX + 8],
        scratch[TOKEN_MAX];
    struct buf b = {.p = text, .cap = sizeof(text), .max = sizeof(text)};
    struct field f;

    mail_id_text((uint64_t)now_us, left);
    left[MAIL_ID_TEXT_SIZE - 1] = '.';
    mail_id_text(id_seed, left + MAIL_ID_TEXT_SIZE);
    buf_str(&b, "<");
    buf_str(&b, left);
    buf_str(&b, "@");
    buf_append(&b, clean(hostname, scratch));
    buf_str(&b, ">");
    begin(&f, out, BARID_S("Message-ID"));
    word(&f, buf_slice(&b));
    return end(&f);
}
