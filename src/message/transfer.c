/*
 * message/transfer.c: octets as quoted-printable, base64, or mended.
 *
 * No line may become a delimiter here that was none: what a sender wrote as text would be a part. So no line of quoted-printable begins
 * with "--" ("-=2D"), a line that is folded goes on with a space, and what "*" stands in for is on a line with "-" in front, where no
 * boundary has a "*" (plan.is_odd). A line of base64 has no "-".
 */
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/slice.h"
#include "message/body_scan.h"
#include "message/transfer.h"

#define QUOTED_LINE (TRANSFER_LINE_MAX - 1) /* before the "=" of a soft line break */
#define MENDED_LINE (BODY_LINE_MAX - 16)

static void put(struct transfer *t, const char *p, size_t n)
{
    if (t->rc == 0)
        t->rc = buf_append(t->out, slice_of(p, n));
    if (t->column == 0 && n > 0)
        t->first = p[0];
    t->column += n;
}

static void put_break(struct transfer *t, const char *text)
{
    put(t, text, strlen(text));
    t->column = 0;
}

/* One octet as it is or as "=XX", on a line of at most `limit` and a soft break. */
static void put_quoted(struct transfer *t, char c, bool escape, size_t limit)
{
    char text[4] = {c};

    escape = escape || (c == '-' && t->column == 1 && t->first == '-');
    if (t->column + (escape ? 3 : 1) > limit)
        put_break(t, "=\r\n");
    if (escape)
        snprintf(text, sizeof(text), "=%02X", (unsigned)(uint8_t)c);
    put(t, text, escape ? 3 : 1);
}

/* --- quoted-printable --- */

static void put_space(struct transfer *t, bool ends_line)
{
    char space = t->space;

    t->space = 0;
    if (space != 0)
        put_quoted(t, space, ends_line, QUOTED_LINE);
}

static void quote_octet(struct transfer *t, char c)
{
    bool after_cr = t->after_cr;

    t->after_cr = c == '\r';
    if (after_cr && c == '\n') {
        put_space(t, true);
        put_break(t, "\r\n");
        return;
    }
    if (c == '\r' && !after_cr)
        return; /* the space before it may end the line */
    put_space(t, false);
    if (after_cr)
        put_quoted(t, '\r', true, QUOTED_LINE);
    if (c == ' ' || c == '\t')
        t->space = c;
    else if (c != '\r')
        put_quoted(t, c, c == '=' || c < ' ' || c > 126, QUOTED_LINE);
}

static void quote_end(struct transfer *t, bool is_last)
{
    put_space(t, true);
    if (t->after_cr)
        put_quoted(t, '\r', true, QUOTED_LINE);
    if (is_last && t->column > 0) /* SMTP ends every line: this one does not count */
        put_break(t, "=\r\n");
}

/* --- base64 --- */

static void put_line(struct transfer *t)
{
    if (t->column > 0)
        put_break(t, "\r\n");
    if (t->rc == 0)
        t->rc = base64_encode(t->out, slice_of(t->line, t->n_line));
    t->column = 1;
    t->n_line = 0;
}

static void base64_octets(struct transfer *t, const char *p, size_t n)
{
    while (n > 0) {
        size_t k = sizeof(t->line) - t->n_line < n ? sizeof(t->line) - t->n_line : n;

        memcpy(t->line + t->n_line, p, k);
        t->n_line += k;
        p += k;
        n -= k;
        if (t->n_line == sizeof(t->line))
            put_line(t);
    }
}

static void base64_end(struct transfer *t, bool is_last)
{
    if (t->n_line > 0)
        put_line(t);
    if (is_last && t->column > 0)
        put_break(t, "\r\n");
}

/* --- mended --- */

static void mend_line(struct transfer *t)
{
    put_break(t, "\r\n");
    t->since_equal = SIZE_MAX / 2;
}

static void mend_plain(struct transfer *t, char c)
{
    if (c == '\0' || ((uint8_t)c > 127 && !t->keep_high)) {
        c = t->column > 0 && t->first == '-' ? '*' : '?';
        t->lost++;
    }
    if (t->column == BODY_LINE_MAX) {
        put_break(t, "\r\n");
        put(t, " ", 1);
    }
    put(t, c == '\r' ? " " : &c, 1);
}

/* What is well-formed is kept, so an "=XX" is not cut in two as long as there is any other place. */
static void mend_quoted(struct transfer *t, char c)
{
    bool escape = c == '\0' || c == '\r' || ((uint8_t)c > 127 && !t->keep_high);
    bool whole = t->since_equal >= 2 || t->column > MENDED_LINE + 8;

    put_quoted(t, c, escape, whole ? MENDED_LINE : SIZE_MAX);
    t->since_equal = c == '=' ? 0 : t->since_equal + 1;
}

static void mend_octet(struct transfer *t, char c, bool is_quoted)
{
    void (*mend)(struct transfer *, char) = is_quoted ? mend_quoted : mend_plain;
    bool after_cr = t->after_cr;

    t->after_cr = c == '\r';
    if (c == '\n') {
        mend_line(t);
        return;
    }
    if (after_cr)
        mend(t, '\r');
    if (c != '\r')
        mend(t, c);
}

static void mend_end(struct transfer *t, bool is_quoted)
{
    if (t->after_cr && is_quoted)
        mend_quoted(t, '\r');
    else if (t->after_cr)
        mend_plain(t, '\r');
}

/* --- all --- */

void transfer_octets(struct transfer *t, enum transfer_act act, const char *p, size_t n)
{
    switch (act) {
    case TRANSFER_KEEP:
        put(t, p, n);
        break;
    case TRANSFER_BASE64:
        base64_octets(t, p, n);
        break;
    case TRANSFER_QUOTED:
        for (size_t i = 0; i < n; i++)
            quote_octet(t, p[i]);
        break;
    case TRANSFER_MEND:
    case TRANSFER_MEND_QUOTED:
        for (size_t i = 0; i < n; i++)
            mend_octet(t, p[i], act == TRANSFER_MEND_QUOTED);
        break;
    case TRANSFER_DROP:
        break;
    }
}

void transfer_end(struct transfer *t, enum transfer_act act, bool is_last)
{
    if (act == TRANSFER_QUOTED)
        quote_end(t, is_last);
    else if (act == TRANSFER_BASE64)
        base64_end(t, is_last);
    else if (act == TRANSFER_MEND || act == TRANSFER_MEND_QUOTED)
        mend_end(t, act == TRANSFER_MEND_QUOTED);
    else if (act == TRANSFER_KEEP)
        t->column = 0; /* a line break follows, or nothing */
    t->after_cr = false;
    t->since_equal = SIZE_MAX / 2;
}
