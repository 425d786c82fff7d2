/*
 * message/mime_scan.h: counts what a MIME parser would build, before it builds it. Knows no
 * GMime.
 */
#ifndef MESSAGE_MIME_SCAN_H
#define MESSAGE_MIME_SCAN_H

#include "base/err.h"
#include "message/mime.h"

#define MIME_HEADER_MAX                                                                        \
    (256u                                                                                      \
     << 10) /* octets of one part's header block: parameters are joined in quadratic time */

#define MIME_COLONS_MAX                                                                        \
    1000 /* in one field: GMime reads "a:a:a:" as groups in groups, a call deeper for each */

struct mime_counts {
    size_t parts; /* the message itself, and each part found */
    size_t depth; /* 1: no multipart and no embedded message */
};

/* 0, or BARID_ELIMIT with *err naming the limit; *counts_r is filled as far as it was read. One
 * pass, no allocation. */
int mime_scan(barid_slice message, struct mime_counts *counts_r, struct err *err);

#endif
