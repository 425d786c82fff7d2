/*
 * smtp/line.h: command lines out of a stream of octets. Only CRLF ends a line (RFC 5321 2.3.8);
 * a CR or LF alone is part of it and makes it bad. Keeps no octets: the caller does.
 */
#ifndef SMTP_LINE_H
#define SMTP_LINE_H

#include "barid/types.h"

enum line_result {
    LINE_MORE,     /* no CRLF yet */
    LINE_OK,       /* a line */
    LINE_BARE,     /* a line with a CR or LF in it */
    LINE_NUL,      /* a line with a NUL in it */
    LINE_TOO_LONG, /* its end was reached at last; its octets are gone */
};

struct line_reader {
    uint32_t scanned; /* octets of the input already searched: byte by byte stays linear */
    bool draining;    /* over the limit: octets are dropped up to the next CRLF */
    bool cr;          /* draining: the last dropped octet was CR */
    bool wide;        /* the line may have the length of an AUTH line */
    bool octets;      /* the line begins like that of a verb after which octets come */
};

/*
 * Look for a line at the start of in, of at most limit octets with its CRLF. *used_r gets the
 * octets to drop: those of the line, or of a part of a line that is too long; else 0. *line_r
 * gets the line without CRLF, except for MORE and TOO_LONG. in must begin with what the last call
 * left, limit must not change within a line.
 */
enum line_result line_read(struct line_reader *r, barid_slice in, size_t limit, size_t *used_r,
                           barid_slice *line_r);

#endif
