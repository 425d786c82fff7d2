/*
 * message/body_scan.h: what a body needs of a server: nothing, 8BITMIME or BINARYMIME (RFC 6152, RFC 3030), found in its octets
 * and not in its labels. Streaming, pure; a copy of the struct is what was known at that octet.
 */
#ifndef MESSAGE_BODY_SCAN_H
#define MESSAGE_BODY_SCAN_H

#include "barid/address.h"

#define BODY_LINE_MAX                                                                          \
    998 /* octets of a line without its CRLF (RFC 5322 2.1.1): what is longer is binary */

struct body_scan {
    uint64_t octets;
    uint64_t high; /* octets above 127 */
    uint64_t nuls;
    uint64_t bare;       /* CR without LF, LF without CR; not yet one that is the last octet */
    uint64_t long_lines; /* once for each BODY_LINE_MAX */
    size_t column;       /* octets of the line so far */
    bool after_cr;       /* the last octet was one */
};

/* Zero it before the first call. */
void body_scan_feed(struct body_scan *s, const char *p, size_t n);
/* What came after `then`, a copy made at the start of a line. */
struct body_scan body_scan_since(const struct body_scan *now, const struct body_scan *then);
/* BARID_BODY_7BIT, _8BITMIME or _BINARYMIME: the least that carries what was fed. A CR at the end is one without LF. */
enum barid_body_type body_scan_type(const struct body_scan *s);

#endif
