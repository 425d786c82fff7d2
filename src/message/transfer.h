/*
 * message/transfer.h: content transfer encodings, octets in pieces of any size (RFC 2045 6.7, 6.8); and octets mended to be lines that
 * every server takes. No line of the result is a delimiter that the sender did not write as one (transfer.c says how).
 */
#ifndef MESSAGE_TRANSFER_H
#define MESSAGE_TRANSFER_H

#include "base/buf.h"

#define TRANSFER_LINE_MAX                                                                      \
    76 /* octets of a line of quoted-printable or base64 (RFC 2045 6.7 (5), 6.8) */
#define TRANSFER_BASE64_OCTETS 57 /* make one of base64 */

enum transfer_act {
    TRANSFER_KEEP,        /* it fits */
    TRANSFER_MEND,        /* lines that are not encoded: downgrade.h says what is mended */
    TRANSFER_MEND_QUOTED, /* quoted-printable with octets in it that do not belong there */
    TRANSFER_QUOTED,      /* lines of text: a CRLF is a line break */
    TRANSFER_BASE64,
    TRANSFER_DROP
};

/* Zero but for out and keep_high. */
struct transfer {
    struct buf *out;
    bool keep_high; /* mended: octets above 127 stay */
    size_t column;
    char first;    /* octet of this line, where column is not 0 */
    bool after_cr; /* a CR that is not written yet */
    char
        space; /* white space that is not written yet, as the line may end behind it; 0 = none */
    size_t since_equal; /* octets behind the last "=" of quoted-printable that is kept */
    char line[TRANSFER_BASE64_OCTETS];
    size_t n_line;
    uint64_t lost; /* octets that became "?" or "*" */
    int rc;        /* the first failure of out, 0 so far */
};

void transfer_octets(struct transfer *t, enum transfer_act act, const char *p, size_t n);
/* What was of this act ends; is_last: so does the message, which SMTP will end with a line break. */
void transfer_end(struct transfer *t, enum transfer_act act, bool is_last);

#endif
