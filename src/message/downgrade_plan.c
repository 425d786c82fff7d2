/*
 * message/downgrade_plan.c: the structure of a body, and what is done with each piece of it.
 *
 * States: HEADER (after a delimiter, and after the header of an embedded message), LEAF, and BETWEEN (preambles, epilogues). One scan
 * runs over everything; what a leaf holds is the difference between two copies of it. The line break before a delimiter is not of the
 * part (RFC 2046 5.1.1), so a copy is made before every line break: `end` is the one before the last break.
 *
 * Invariants: state LEAF: body.p[leaf] is the last piece. Else the last piece is MEND. In HEADER, header has the octets from
 * header_at on. line_at is the offset of this line; n_line counts only while may_delimit.
 */
#include "message/downgrade_int.h"

#include <string.h>

#include "base/mem.h"
#include "base/slice.h"

void plan_init(struct plan *p, const barid_mem *mem, enum barid_body_type target)
{
    memset(p, 0, sizeof(*p));
    p->mem = mem;
    p->target = target;
    buf_init(&p->header, mem, DOWNGRADE_HEADER_MAX);
}

void plan_deinit(struct plan *p)
{
    mem_free(p->mem, p->head.p);
    mem_free(p->mem, p->body.p);
    p->head = p->body = (struct pieces){NULL, 0, 0};
    buf_deinit(&p->header);
}

static int add_piece(struct plan *p, uint64_t from, enum transfer_act act, struct err *err)
{
    return pieces_add(&p->body, p->mem, from, act, err);
}

static enum part_encoding fitting_label(const struct plan *p, enum barid_body_type has)
{
    return p->target == BARID_BODY_7BIT || has == BARID_BODY_7BIT ? PART_7BIT : PART_8BIT;
}

/* Does the label promise more than the target carries? */
static bool is_over(const struct plan *p, enum part_encoding label)
{
    return label == PART_BINARY || (label == PART_8BIT && p->target == BARID_BODY_7BIT);
}

static bool is_identity(enum part_encoding label)
{
    return label != PART_QUOTED && label != PART_BASE64 && label != PART_UNKNOWN;
}

/* A leaf with these octets, which do not fit. */
static enum transfer_act choose(const struct part *part, const struct body_scan *has)
{
    if (part->encoding == PART_QUOTED)
        return TRANSFER_MEND_QUOTED;
    if (!is_identity(part->encoding))
        return TRANSFER_MEND;
    /* A line break of quoted-printable is a CRLF; and three octets for one are dearer than four for three. */
    if (part->content == PART_OTHER || part->content == PART_MULTIPART || has->bare > 0 ||
        has->after_cr || (has->high + has->nuls) * 4 > has->octets)
        return TRANSFER_BASE64;
    return TRANSFER_QUOTED;
}

static void end_leaf(struct plan *p, const struct body_scan *end)
{
    struct body_scan has = body_scan_since(end, &p->start);
    enum barid_body_type type = body_scan_type(&has);
    enum transfer_act act = TRANSFER_KEEP;

    if (downgrade_needed(type, p->target))
        act = choose(&p->part, &has);
    p->body.p[p->leaf].act = (uint8_t)act;
    if (act == TRANSFER_QUOTED || act == TRANSFER_BASE64)
        part_label(&p->part, act == TRANSFER_QUOTED ? PART_QUOTED : PART_BASE64, has.high > 0);
    else if (act == TRANSFER_KEEP && is_over(p, p->part.encoding))
        part_label(&p->part, fitting_label(p, type), false);
}

static int push_level(struct plan *p, struct err *err)
{
    struct level *level = &p->level[p->n_levels];

    if (p->n_levels == MIME_DEPTH_MAX)
        return err_set(err, BARID_ELIMIT, "a message with parts more than %d deep",
                       MIME_DEPTH_MAX);
    memcpy(level->boundary, p->part.boundary, p->part.n_boundary);
    level->n_boundary = p->part.n_boundary;
    level->is_digest = p->part.is_digest;
    p->n_levels++;
    for (size_t i = 0; i < level->n_boundary; i++)
        if (level->boundary[i] < ' ' || level->boundary[i] > 126 || level->boundary[i] == '*')
            p->is_odd = true;
    return 0;
}

static void start_header(struct plan *p, bool is_message)
{
    p->state = PLAN_HEADER;
    p->header_at = p->scan.octets;
    buf_clear(&p->header);
    p->part.is_message = is_message;
}

/* The header of a part was read, its body begins here. */
static int start_body(struct plan *p, struct err *err)
{
    enum part_content content = p->part.content;

    if (content == PART_MULTIPART || (content == PART_MESSAGE && is_identity(p->part.encoding)))
        part_label(&p->part,
                   is_over(p, p->part.encoding) ? fitting_label(p, BARID_BODY_8BITMIME)
                                                : PART_NO_ENCODING,
                   false);
    if (content == PART_MULTIPART) {
        p->state = PLAN_BETWEEN;
        return push_level(p, err);
    }
    if (content == PART_MESSAGE && is_identity(p->part.encoding)) {
        start_header(p, true);
        return 0;
    }
    p->state = PLAN_LEAF;
    p->start = p->end = p->line_end = p->scan;
    p->leaf = p->body.n;
    return add_piece(p, p->scan.octets, TRANSFER_KEEP, err);
}

int plan_header(struct plan *p, barid_slice block, struct err *err)
{
    int rc;

    p->part.list = &p->head;
    p->part.is_message = true;
    rc = pieces_add(&p->head, p->mem, 0, TRANSFER_MEND, err);
    if (rc == 0)
        rc = part_read(&p->part, p->mem, block, 0, false, err);
    if (rc == 0)
        rc = add_piece(p, 0, TRANSFER_MEND, err);
    return rc == 0 ? start_body(p, err) : rc;
}

/* At a blank line, which is the last thing in p->header. */
static int end_header(struct plan *p, struct err *err)
{
    size_t n = (size_t)(p->line_at - p->header_at);
    int rc;

    p->part.list = &p->body;
    rc = part_read(
        &p->part, p->mem, slice_head(buf_slice(&p->header), n), p->header_at,
        !p->part.is_message && p->n_levels > 0 && p->level[p->n_levels - 1].is_digest, err);
    return rc == 0 ? start_body(p, err) : rc;
}

/* Is this line, as far as it was kept, "--boundary" (1) or "--boundary--" (2) of *level? 0 = neither. */
static int delimits(const struct level *level, barid_slice text)
{
    if (!slice_eq(slice_head(text, level->n_boundary),
                  slice_of(level->boundary, level->n_boundary)))
        return 0;
    text = slice_from(text, level->n_boundary);
    if (text.n == 0)
        return 1;
    return slice_eq(text, BARID_S("--")) ? 2 : 0;
}

/* 1 = the line was a delimiter. */
static int take_delimiter(struct plan *p, struct err *err)
{
    barid_slice text = slice_of(p->line, p->n_line);
    int kind = 0, rc = 0;
    size_t i;

    while (text.n > 0 && strchr(" \t\r\n", text.p[text.n - 1]) != NULL &&
           text.p[text.n - 1] != '\0')
        text.n--;
    if (text.n < 3 || text.p[0] != '-' || text.p[1] != '-')
        return 0;
    for (i = p->n_levels; i > 0 && kind == 0; i--)
        kind = delimits(&p->level[i - 1], slice_from(text, 2));
    if (kind == 0)
        return 0;
    p->n_levels = kind == 1 ? i + 1 : i;
    if (p->state == PLAN_LEAF) {
        end_leaf(p, &p->end);
        rc = add_piece(p, p->end.octets, TRANSFER_MEND, err);
    }
    p->state = PLAN_BETWEEN;
    if (kind == 1)
        start_header(p, false);
    return rc < 0 ? rc : 1;
}

/* Scans a piece of one line, with a copy made before its line break. */
static void scan_line(struct plan *p, const char *octets, size_t n, bool ends)
{
    size_t text = n;

    if (ends)
        text -= n >= 2 && octets[n - 2] == '\r' ? 2 : 1;
    else
        text -= octets[n - 1] == '\r';
    body_scan_feed(&p->scan, octets, text);
    if (!(ends && n == 1 && p->scan.after_cr)) /* else it was made before that CR */
        p->line_end = p->scan;
    body_scan_feed(&p->scan, octets + text, n - text);
}

/* Keeps the start of a line that may be a delimiter. */
static void keep_line(struct plan *p, const char *octets, size_t n)
{
    if (n > sizeof(p->line) - p->n_line) {
        p->may_delimit = false;
        return;
    }
    memcpy(p->line + p->n_line, octets, n);
    p->n_line += n;
    p->may_delimit = p->line[0] == '-' && (p->n_line < 2 || p->line[1] == '-');
}

static bool is_blank(const struct plan *p)
{
    uint64_t n = p->scan.octets - p->line_at;

    return n == 1 || (n == 2 && p->first == '\r');
}

static int end_line(struct plan *p, struct err *err)
{
    int rc = p->may_delimit ? take_delimiter(p, err) : 0;

    if (rc == 0 && p->state == PLAN_HEADER && is_blank(p))
        rc = end_header(p, err);
    else
        p->end = p->line_end;
    return rc < 0 ? rc : 0;
}

/* n octets of one line; ends: with its LF. */
static int take_line(struct plan *p, const char *octets, size_t n, bool ends, struct err *err)
{
    if (p->scan.octets == p->line_at) {
        p->first = octets[0];
        p->n_line = 0;
        p->may_delimit = p->n_levels > 0;
    }
    if (p->may_delimit)
        keep_line(p, octets, n);
    if (p->state == PLAN_HEADER) {
        int rc = buf_append(&p->header, slice_of(octets, n));

        if (rc < 0)
            return rc == BARID_ELIMIT
                       ? err_set(err, rc, "a part with a header of more than %u octets",
                                 DOWNGRADE_HEADER_MAX)
                       : rc;
    }
    scan_line(p, octets, n, ends);
    if (ends) {
        int rc = end_line(p, err);

        p->line_at = p->scan.octets;
        return rc;
    }
    return 0;
}

int plan_body(struct plan *p, const char *octets, size_t n, struct err *err)
{
    int rc = 0;

    while (rc == 0 && n > 0) {
        const char *lf = memchr(octets, '\n', n);
        size_t k = lf != NULL ? (size_t)(lf - octets) + 1 : n;

        rc = take_line(p, octets, k, lf != NULL, err);
        octets += k;
        n -= k;
    }
    return rc;
}

int plan_end(struct plan *p, struct err *err)
{
    int rc = 0;

    if (p->scan.octets > p->line_at && p->may_delimit) /* a last delimiter without its CRLF */
        rc = take_delimiter(p, err);
    if (rc == 0 && p->state == PLAN_LEAF)
        end_leaf(p, &p->scan);
    return rc < 0 ? rc : 0;
}
