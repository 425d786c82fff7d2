/*
 * message/body_scan.c: counts octets of a body that not every server takes.
 */
#include "message/body_scan.h"

void body_scan_feed(struct body_scan *s, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '\n') {
            s->bare += !s->after_cr;
            s->column = 0;
            s->after_cr = false;
            continue;
        }
        s->bare += s->after_cr;
        s->column += s->after_cr; /* it was one of the line, then */
        s->after_cr = c == '\r';
        s->high += c > 127;
        s->nuls += c == '\0';
        s->column += c != '\r';
        if (s->column > BODY_LINE_MAX) {
            s->long_lines++;
            s->column =
                0; /* so that it counts once for each BODY_LINE_MAX, and not for each octet */
        }
    }
    s->octets += n;
}

struct body_scan body_scan_since(const struct body_scan *now, const struct body_scan *then)
{
    return (struct body_scan){
        .octets = now->octets - then->octets,
        .high = now->high - then->high,
        .bare = now->bare - then->bare,
        .nuls = now->nuls - then->nuls,
        .long_lines = now->long_lines - then->long_lines,
        .column = now->column,
        .after_cr = now->after_cr,
    };
}

enum barid_body_type body_scan_type(const struct body_scan *s)
{
    if (s->bare + s->nuls + s->long_lines > 0 || s->after_cr)
        return BARID_BODY_BINARYMIME;
    return s->high > 0 ? BARID_BODY_8BITMIME : BARID_BODY_7BIT;
}
