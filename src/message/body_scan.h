/*
 * message/body_scan.h: what a body needs of a server: 7bit, 8BITMIME or BINARYMIME (RFC 6152, RFC 3030), found in its octets
 * and not in its labels. Streaming, pure; a struct that may be copied: the copy is what was known at that octet.
 */
#ifndef MESSAGE_BODY_SCAN_H
#define MESSAGE_BODY_SCAN_H

#include "barid/address.h"

#define BODY_LINE_MAX 998 /* octets of a line without its CRLF (RFC 5322 2.1.1): longer ones are binary */

struct body_scan {
    uint64_t octets;
    uint64_t high;    /* octets above 127 */
    uint64_t bare;    /* CR without LF, LF without CR; a CR at the end counts in body_scan_type only */
    uint64_t nuls;
    size_t column;    /* octets of the line so far */
    bool long_line;   /* one was over BODY_LINE_MAX */
    bool after_cr;    /* the last octet */
};

/* Zero it before the first call. */
void body_scan_feed(struct body_scan *s, const char *p, size_t n);
/* BARID_BODY_7BIT, _8BITMIME or _BINARYMIME: the least that carries what was fed. */
enum barid_body_type body_scan_type(const struct body_scan *s);

#endif
