/*
 * message/mime_scan.c: the pre-scan that bounds size, lines, depth and number of parts.
 *
 * States: HEADER (at the start, after a delimiter line, and after a message/rfc822 header) and
 * BODY. A blank line ends HEADER: a multipart opens its boundary, an embedded message is a
 * level deeper and starts HEADER again. A line "--boundary" of any open level closes the levels
 * above it and starts HEADER; "--boundary--" closes its level too.
 *
 * It reads like a lenient parser, so that it does not count less than one: lines end in LF with
 * or without CR, a delimiter may be followed by anything, a boundary parameter is looked for in
 * the whole Content-Type field. It need not agree with GMime to the octet: the tree is checked
 * again while it is built (mime.c), and GMime itself stops at 1024 levels. This pass is what
 * keeps a hostile message from costing that much.
 */
#include "message/mime_scan.h"

#include <string.h>

#include "base/slice.h"

struct level {
    barid_slice boundary;
    size_t depth; /* of its parts */
};

struct scan {
    struct mime_counts *counts;
    struct err *err;
    struct level level[MIME_DEPTH_MAX];
    size_t n_levels;
    size_t depth;            /* of the part being read */
    bool in_header, in_type; /* in_type: the line before was of the Content-Type field */
    const char *header;      /* its start */
    barid_slice type;        /* Content-Type field, folding and all; empty = none */
    bool watched;            /* the line before may be (part of) a field */
    size_t colons;           /* in that field so far */
};

static int start_part(struct scan *s, size_t depth, const char *header)
{
    s->depth = depth;
    s->in_header = true;
    s->in_type = false;
    s->header = header;
    s->type = (barid_slice){NULL, 0};
    if (depth > MIME_DEPTH_MAX)
        return err_set(s->err, BARID_ELIMIT, "a message with parts more than %d deep",
                       MIME_DEPTH_MAX);
    if (depth > s->counts->depth)
        s->counts->depth = depth;
    if (++s->counts->parts > MIME_PARTS_MAX)
        return err_set(s->err, BARID_ELIMIT, "a message of more than %d parts", MIME_PARTS_MAX);
    return 0;
}

/* Where needle starts in s, in any case; s.n when nowhere. */
static size_t find_nocase(barid_slice s, barid_slice needle)
{
    for (size_t i = 0; i + needle.n <= s.n; i++)
        if (slice_starts_nocase(slice_from(s, i), needle))
            return i;
    return s.n;
}

/* The boundary parameter of a Content-Type field: quoted or bare. Empty = none. RFC 2046 5.1.1
 * allows 70 octets. */
static barid_slice boundary_of(barid_slice type)
{
    barid_slice rest = slice_from(type, find_nocase(type, BARID_S("boundary")));
    size_t n = 0;

    rest = slice_from(rest, slice_find(rest, '=') + 1);
    rest = slice_trim(rest);
    if (rest.n > 0 && rest.p[0] == '"')
        return slice_head(slice_from(rest, 1), slice_find(slice_from(rest, 1), '"'));
    while (n < rest.n && strchr("; \t\r\n", rest.p[n]) == NULL)
        n++;
    return slice_head(rest, n);
}

/* A blank line ended the header of a part. */
static int end_header(struct scan *s, const char *body)
{
    barid_slice value = slice_trim(slice_from(s->type, slice_find(s->type, ':') + 1));
    barid_slice boundary;

    s->in_header = false;
    if (slice_starts_nocase(value, BARID_S("message/")))
        return start_part(s, s->depth + 1, body);
    if (!slice_starts_nocase(value, BARID_S("multipart/")))
        return 0;
    boundary = boundary_of(s->type);
    if (boundary.n == 0)
        return 0;
    if (s->n_levels == MIME_DEPTH_MAX || s->depth + 1 > MIME_DEPTH_MAX)
        return err_set(s->err, BARID_ELIMIT, "a message with parts more than %d deep",
                       MIME_DEPTH_MAX);
    s->level[s->n_levels++] = (struct level){boundary, s->depth + 1};
    return 0;
}

/* "--boundary" of an open level. 1 = it was one. */
static int take_delimiter(struct scan *s, barid_slice line, const char *next)
{
    barid_slice rest = slice_from(line, 2);

    if (line.n < 3 || line.p[0] != '-' || line.p[1] != '-')
        return 0;
    for (size_t i = s->n_levels; i > 0; i--) {
        barid_slice boundary = s->level[i - 1].boundary;
        int rc;

        if (rest.n < boundary.n || !slice_eq(slice_head(rest, boundary.n), boundary))
            continue;
        rest = slice_from(rest, boundary.n);
        if (rest.n >= 2 && rest.p[0] == '-' && rest.p[1] == '-') {
            s->n_levels = i - 1;
            s->in_header = false;
            return 1;
        }
        s->n_levels = i;
        rc = start_part(s, s->level[i - 1].depth, next);
        return rc < 0 ? rc : 1;
    }
    return 0;
}

static void take_header_line(struct scan *s, barid_slice line)
{
    bool folded = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

    if (folded && s->in_type)
        s->type.n = (size_t)(line.p + line.n - s->type.p);
    if (folded)
        return;
    s->in_type =
        slice_starts_nocase(line, BARID_S("content-type")) && slice_find(line, ':') < line.n;
    if (s->in_type)
        s->type = line;
}

/* A line that GMime would parse as addresses, should it see a header where we see none. */
static bool names_addresses(barid_slice line)
{
    static const char *const names[] = {"To", "Cc", "Bcc", "From", "Sender", "Reply-To"};

    line = slice_trim(line);
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (slice_starts_nocase(line, slice_str(names[i])))
            return true;
    return false;
}

/* MIME_COLONS_MAX, whatever the state: the stack of the process must not depend on two parsers
 * agreeing. */
static int count_colons(struct scan *s, barid_slice line)
{
    bool folded = line.n > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

    if (!folded || !s->watched) {
        s->watched = s->in_header || names_addresses(line);
        s->colons = 0;
    }
    for (size_t i = 0; s->watched && i < line.n; i++)
        s->colons += line.p[i] == ':';
    if (s->colons > MIME_COLONS_MAX)
        return err_set(s->err, BARID_ELIMIT, "a header field of more than %d groups",
                       MIME_COLONS_MAX);
    return 0;
}

static int take_line(struct scan *s, barid_slice line, const char *next)
{
    barid_slice text =
        line.n > 0 && line.p[line.n - 1] == '\r' ? slice_head(line, line.n - 1) : line;
    int rc = count_colons(s, line);

    if (rc == 0)
        rc = take_delimiter(s, text, next);
    if (rc != 0 || !s->in_header)
        return rc < 0 ? rc : 0;
    if ((size_t)(next - s->header) > MIME_HEADER_MAX)
        return err_set(s->err, BARID_ELIMIT, "a part's header of more than %u octets",
                       MIME_HEADER_MAX);
    if (text.n == 0)
        return end_header(s, next);
    take_header_line(s, text);
    return 0;
}

int mime_scan(barid_slice message, struct mime_counts *counts_r, struct err *err)
{
    struct scan s = {.counts = counts_r, .err = err};
    barid_slice rest = message;
    size_t lines = 0;
    int rc;

    *counts_r = (struct mime_counts){.parts = 0};
    if (message.n > MIME_SIZE_MAX)
        return err_set(err, BARID_ELIMIT, "a message of more than %u octets", MIME_SIZE_MAX);
    rc = start_part(&s, 1, message.p);
    while (rc == 0 && rest.n > 0) {
        size_t n = slice_find(rest, '\n');
        barid_slice line = slice_head(rest, n);

        rest = slice_from(rest, n + 1);
        if (++lines > MIME_LINES_MAX)
            return err_set(err, BARID_ELIMIT, "a message of more than %d lines",
                           MIME_LINES_MAX);
        rc = take_line(&s, line, rest.p);
    }
    return rc;
}
