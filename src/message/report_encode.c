/*
 * message/report_encode.c: text as 7-bit mail: quoted-printable lines, encoded words.
 */
#include <stdio.h>

#include "base/encode.h"
#include "base/slice.h"
#include "message/report_int.h"

#define WORD_OCTETS                                                                            \
    45 /* make 60 of base64, and 72 with "=?utf-8?B?" and "?=": RFC 2047 2 allows 75 */

/* Does the octet at i need "=XX"? White space does at the end of a line. */
static bool is_quoted(barid_slice text, size_t i)
{
    uint8_t c = (uint8_t)text.p[i];
    bool ends = i + 1 == text.n || text.p[i + 1] == '\r';

    return c == '=' || c > 126 || (c < ' ' && c != '\t') || ((c == ' ' || c == '\t') && ends);
}

void report_put_quoted(struct report_out *o, barid_slice text)
{
    size_t column = 0;

    for (size_t i = 0; i < text.n && o->rc == 0; i++) {
        char octet[4] = {text.p[i]};

        if (i + 1 < text.n && text.p[i] == '\r' && text.p[i + 1] == '\n') {
            report_put_str(o, "\r\n");
            column = 0;
            i++;
            continue;
        }
        if (is_quoted(text, i))
            snprintf(octet, sizeof(octet), "=%02X", (unsigned)(uint8_t)text.p[i]);
        if (column + strlen(octet) > REPORT_QUOTED_LINE_MAX - 1) {
            report_put_str(o, "=\r\n");
            column = 0;
        }
        report_put(o, slice_of(octet, strlen(octet)));
        column += strlen(octet);
    }
}

/* As many octets as go into one word: whole characters. */
static size_t word_octets(barid_slice s)
{
    size_t n = s.n < WORD_OCTETS ? s.n : WORD_OCTETS;

    while (n < s.n && n > 1 && ((uint8_t)s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

void report_put_subject(struct report_out *o, barid_slice text)
{
    bool first = true;

    if (ascii_only(text) || !utf8_valid(text)) {
        report_put_line(
            o, slice_head(text, text.n < REPORT_SUBJECT_MAX ? text.n : REPORT_SUBJECT_MAX),
            false);
        return;
    }
    while (text.n > 0 && o->rc == 0) {
        size_t n = word_octets(text);

        report_put_str(o, first ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
        if (o->rc == 0)
            o->rc = base64_encode(o->buf, slice_head(text, n));
        report_put_str(o, "?=");
        text = slice_from(text, n);
        first = false;
    }
}
