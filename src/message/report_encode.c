/*
 * message/report_encode.c: text as 7-bit mail: quoted-printable lines, encoded words.
 */
#include "base/encode.h"
#include "base/slice.h"
#include "message/report_int.h"
#include "message/transfer.h"

#define WORD_OCTETS                                                                            \
    45 /* make 60 of base64, and 72 with "=?utf-8?B?" and "?=": RFC 2047 2 allows 75 */

void report_put_quoted(struct report_out *o, barid_slice text)
{
    struct transfer t = {.out = o->buf, .rc = o->rc};

    transfer_octets(&t, TRANSFER_QUOTED, text.p, text.n);
    transfer_end(&t, TRANSFER_QUOTED, false);
    o->rc = t.rc;
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
