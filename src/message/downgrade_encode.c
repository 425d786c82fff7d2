/*
 * message/downgrade_encode.c: octets of a piece to octets of the result: quoted-printable, base64, or mended.
 *
 * No line may become a delimiter here that was none: what a sender wrote as text would be a part. So no line of quoted-printable begins
 * with "--" ("-=2D"), a line that is folded goes on with a space, and what "*" stands in for is on a line with "-" in front, where no
 * boundary has a "*" (plan.is_odd). A line of base64 has no "-".
 */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/slice.h"
#include "message/downgrade_int.h"

#define QUOTED_LINE                                                                            \
    75 /* octets before the "=" of a soft line break: 76 with it (RFC 2045 6.7) */
#define MENDED_LINE (BODY_LINE_MAX - 16)

static void put(struct encode *e, const char *p, size_t n)
{
    if (e->rc == 0)
        e->rc = buf_append(e->out, slice_of(p, n));
    if (e->column == 0 && n > 0)
        e->first = p[0];
    e->column += n;
}

static void put_break(struct encode *e, const char *text)
{
    put(e, text, strlen(text));
    e->column = 0;
}

/* One octet as it is or as "=XX", on a line of at most `limit` and a soft break. */
static void put_quoted(struct encode *e, char c, bool escape, size_t limit)
{
    char text[4] = {c};

    escape = escape || (c == '-' && e->column == 1 && e->first == '-');
    if (e->column + (escape ? 3 : 1) > limit)
        put_break(e, "=\r\n");
    if (escape)
        snprintf(text, sizeof(text), "=%02X", (unsigned)(uint8_t)c);
    put(e, text, escape ? 3 : 1);
}

/* --- quoted-printable --- */

static void put_space(struct encode *e, bool ends_line)
{
    char space = e->space;

    e->space = 0;
    if (space != 0)
        put_quoted(e, space, ends_line, QUOTED_LINE);
}

static void quote_octet(struct encode *e, char c)
{
    bool after_cr = e->after_cr;

    e->after_cr = c == '\r';
    if (after_cr && c == '\n') {
        put_space(e, true);
        put_break(e, "\r\n");
        return;
    }
    if (c == '\r' && !after_cr)
        return; /* the space before it may end the line */
    put_space(e, false);
    if (after_cr)
        put_quoted(e, '\r', true, QUOTED_LINE);
    if (c == ' ' || c == '\t')
        e->space = c;
    else if (c != '\r')
        put_quoted(e, c, c == '=' || c < ' ' || c > 126, QUOTED_LINE);
}

static void quote_end(struct encode *e, bool is_last)
{
    put_space(e, true);
    if (e->after_cr)
        put_quoted(e, '\r', true, QUOTED_LINE);
    if (is_last && e->column > 0) /* SMTP ends every line: this one does not count */
        put_break(e, "=\r\n");
}

/* --- base64 --- */

static void put_line(struct encode *e)
{
    if (e->column > 0)
        put_break(e, "\r\n");
    if (e->rc == 0)
        e->rc = base64_encode(e->out, slice_of(e->line, e->n_line));
    e->column = 1;
    e->n_line = 0;
}

static void base64_octets(struct encode *e, const char *p, size_t n)
{
    while (n > 0) {
        size_t k = sizeof(e->line) - e->n_line < n ? sizeof(e->line) - e->n_line : n;

        memcpy(e->line + e->n_line, p, k);
        e->n_line += k;
        p += k;
        n -= k;
        if (e->n_line == sizeof(e->line))
            put_line(e);
    }
}

static void base64_end(struct encode *e, bool is_last)
{
    if (e->n_line > 0)
        put_line(e);
    if (is_last && e->column > 0)
        put_break(e, "\r\n");
}

/* --- mended --- */

static void mend_line(struct encode *e)
{
    put_break(e, "\r\n");
    e->since_equal = SIZE_MAX / 2;
}

static void mend_plain(struct encode *e, char c)
{
    if (c == '\0' || ((uint8_t)c > 127 && !e->keep_high)) {
        c = e->column > 0 && e->first == '-' ? '*' : '?';
        e->lost++;
    }
    if (e->column == BODY_LINE_MAX) {
        put_break(e, "\r\n");
        put(e, " ", 1);
    }
    put(e, c == '\r' ? " " : &c, 1);
}

/* What is well-formed is kept, so an "=XX" is not cut in two as long as there is any other place. */
static void mend_quoted(struct encode *e, char c)
{
    bool escape = c == '\0' || c == '\r' || ((uint8_t)c > 127 && !e->keep_high);
    bool whole = e->since_equal >= 2 || e->column > MENDED_LINE + 8;

    put_quoted(e, c, escape, whole ? MENDED_LINE : SIZE_MAX);
    e->since_equal = c == '=' ? 0 : e->since_equal + 1;
}

static void mend_octet(struct encode *e, char c, bool is_quoted)
{
    void (*mend)(struct encode *, char) = is_quoted ? mend_quoted : mend_plain;
    bool after_cr = e->after_cr;

    e->after_cr = c == '\r';
    if (c == '\n') {
        mend_line(e);
        return;
    }
    if (after_cr)
        mend(e, '\r');
    if (c != '\r')
        mend(e, c);
}

static void mend_end(struct encode *e, bool is_quoted)
{
    if (e->after_cr && is_quoted)
        mend_quoted(e, '\r');
    else if (e->after_cr)
        mend_plain(e, '\r');
}

/* --- all --- */

void encode_octets(struct encode *e, enum piece_act act, const char *p, size_t n)
{
    switch (act) {
    case PIECE_KEEP:
        put(e, p, n);
        break;
    case PIECE_BASE64:
        base64_octets(e, p, n);
        break;
    case PIECE_QUOTED:
        for (size_t i = 0; i < n; i++)
            quote_octet(e, p[i]);
        break;
    case PIECE_MEND:
    case PIECE_MEND_QUOTED:
        for (size_t i = 0; i < n; i++)
            mend_octet(e, p[i], act == PIECE_MEND_QUOTED);
        break;
    case PIECE_FIELD:
        break;
    }
}

void encode_end(struct encode *e, enum piece_act act, bool is_last)
{
    if (act == PIECE_QUOTED)
        quote_end(e, is_last);
    else if (act == PIECE_BASE64)
        base64_end(e, is_last);
    else if (act == PIECE_MEND || act == PIECE_MEND_QUOTED)
        mend_end(e, act == PIECE_MEND_QUOTED);
    else if (act == PIECE_KEEP)
        e->column = 0; /* a line break follows, or nothing */
    e->after_cr = false;
    e->since_equal = SIZE_MAX / 2;
}

void encode_fields(struct encode *e, const struct piece *piece)
{
    static const char *const words[] = {
        [PART_7BIT] = "7bit",
        [PART_8BIT] = "8bit",
        [PART_QUOTED] = "quoted-printable",
        [PART_BASE64] = "base64",
    };
    char text[ENCODE_FIELDS_SIZE];
    int n = 0;

    if (piece->add & PIECE_ADD_VERSION)
        n += snprintf(text, sizeof(text), "MIME-Version: 1.0\r\n");
    if (piece->add & PIECE_ADD_TYPE)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "Content-Type: text/plain; charset=unknown-8bit\r\n");
    if (piece->encoding != PART_NO_ENCODING)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Transfer-Encoding: %s\r\n",
                      words[piece->encoding]);
    if (n == 0)
        return;
    if (e->column > 0)
        put_break(e, "\r\n");
    put(e, text, (size_t)n);
    e->column = 0;
}
