/*
 * message/header.c: the header block as a list of fields. Knows lines, not what a field means.
 *
 * A line that starts with white space belongs to the field before it; a line that is neither
 * that nor "ftext:" is kept as a nameless entry, so that what was not understood is written
 * back as it came. Trailing white space between name and colon (RFC 5322 4.5 obsolete syntax)
 * is not part of the name. Only the first line of a block can begin with white space and belong
 * to nothing; see detach_first.
 *
 * Invariants: the raw slices of fields with an offset, in list order, never overlap and cover
 * the block; n <= cap; n <= HEADER_FIELDS_MAX; edited is set by the first change and never
 * cleared.
 */
#include "message/header.h"

#include <string.h>

#include "base/slice.h"

#define HEADER_FIRST    32  /* slots of a first array: an ordinary mail has about 20 fields */
#define HEADER_FOLD_AT  78  /* RFC 5322 2.1.1: should, without CRLF */
#define HEADER_LINE_MAX 998 /* RFC 5322 2.1.1: must, without CRLF */

static bool is_ftext(char c)
{
    return c > ' ' && c < 127 && c != ':';
}

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* Room for extra more fields: after it insert() cannot fail. */
static int reserve(struct header_list *h, size_t extra)
{
    size_t cap = h->cap > 0 ? h->cap * 2 : HEADER_FIRST;
    struct header_field *f;

    if (extra > HEADER_FIELDS_MAX - h->n)
        return BARID_ELIMIT;
    if (extra <= h->cap - h->n)
        return 0;
    while (cap < h->n + extra)
        cap *= 2;
    f = arena_alloc(h->arena, cap * sizeof(*f));
    if (f == NULL)
        return BARID_ENOMEM;
    if (h->n > 0)
        memcpy(f, h->f, h->n * sizeof(*f));
    h->f = f;
    h->cap = cap;
    return 0;
}

/* Octets of the line at the start of s with its CRLF. A bare LF ends no line (RFC 5321 2.3.8).
 */
static size_t line_length(barid_slice s)
{
    size_t at = 0;

    while (at < s.n) {
        const char *lf = memchr(s.p + at, '\n', s.n - at);

        if (lf == NULL)
            return s.n;
        at = (size_t)(lf - s.p) + 1;
        if (at >= 2 && s.p[at - 2] == '\r')
            return at;
    }
    return s.n;
}

static size_t field_length(barid_slice s)
{
    size_t n = line_length(s);

    while (n < s.n && is_wsp(s.p[n]))
        n += line_length(slice_from(s, n));
    return n;
}

static barid_slice without_crlf(barid_slice s)
{
    if (s.n >= 2 && s.p[s.n - 1] == '\n' && s.p[s.n - 2] == '\r')
        s.n -= 2;
    return s;
}

static struct header_field split(barid_slice raw, size_t offset)
{
    struct header_field f = {.raw = raw, .offset = offset};
    size_t n = 0, colon;

    while (n < raw.n && is_ftext(raw.p[n]))
        n++;
    for (colon = n; colon < raw.n && is_wsp(raw.p[colon]); colon++)
        ;
    if (n > 0 && colon < raw.n && raw.p[colon] == ':') {
        f.name = slice_head(raw, n);
        f.value = without_crlf(slice_from(raw, colon + 1));
    }
    return f;
}

int header_parse(struct header_list *h, struct arena *arena, barid_slice block)
{
    *h = (struct header_list){.arena = arena, .block = block};
    for (size_t at = 0; at < block.n;) {
        size_t n = field_length(slice_from(block, at));
        int rc = reserve(h, 1);

        if (rc < 0)
            return rc;
        h->f[h->n++] = split(slice_of(block.p + at, n), at);
        at += n;
    }
    return 0;
}

static bool is_field(const struct header_field *f, barid_slice name)
{
    return !f->deleted && f->name.n > 0 && slice_eq_nocase(f->name, name);
}

size_t header_find(const struct header_list *h, barid_slice name, size_t n)
{
    for (size_t i = 0; i < h->n; i++)
        if (is_field(&h->f[i], name) && n-- == 0)
            return i;
    return SIZE_MAX;
}

size_t header_count(const struct header_list *h, barid_slice name)
{
    size_t count = 0;

    for (size_t i = 0; i < h->n; i++)
        count += is_field(&h->f[i], name);
    return count;
}

int header_value(const struct header_list *h, size_t i, struct arena *arena,
                 barid_slice *value_r)
{
    barid_slice v = slice_trim(h->f[i].value);
    char *out;
    size_t n = 0;

    *value_r = v;
    if (v.n == 0 || memchr(v.p, '\r', v.n) == NULL)
        return 0;
    out = arena_alloc(arena, v.n);
    if (out == NULL)
        return BARID_ENOMEM;
    /* Unfolding takes out the CRLF alone (RFC 5322 2.2.3); the white space behind it stays. */
    for (size_t at = 0; at < v.n; at++) {
        if (v.p[at] == '\r' && at + 2 < v.n && v.p[at + 1] == '\n' && is_wsp(v.p[at + 2]))
            at++;
        else
            out[n++] = v.p[at];
    }
    *value_r = slice_of(out, n);
    return 0;
}

static bool name_ok(barid_slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_ftext(name.p[i]))
            return false;
    return name.n > 0 && name.n < HEADER_FOLD_AT;
}

static bool value_ok(barid_slice v)
{
    return v.n == 0 || (memchr(v.p, '\r', v.n) == NULL && memchr(v.p, '\n', v.n) == NULL &&
                        memchr(v.p, '\0', v.n) == NULL);
}

/*
 * Where the line that starts at `at` is cut; room: octets that still fit. The cut stands before
 * white space, because folding puts CRLF in front of white space that is there already (RFC
 * 5322 2.2.3), and leaves no line of white space only (a run of more than 998 aside). A word
 * longer than the line goes beyond 78; one longer than 998 is cut hard, with a space of ours.
 */
static size_t cut_point(barid_slice v, size_t at, size_t room, size_t hard)
{
    size_t best = 0, seen = at;

    if (v.n - at <= room)
        return v.n;
    while (seen < v.n && is_wsp(v.p[seen]))
        seen++;
    for (size_t i = seen; i < v.n && i - at <= hard; i++) {
        if (!is_wsp(v.p[i]))
            continue;
        if (i - at > room)
            return best > 0 ? best : i;
        best = i;
    }
    if (best > 0)
        return best;
    return v.n - at <= hard ? v.n : at + hard;
}

/* A hard cut must not split a UTF-8 character. */
static size_t back_to_character(barid_slice v, size_t at, size_t cut)
{
    for (size_t back = cut; back > at && back + 4 > cut; back--)
        if (((uint8_t)v.p[back] & 0xc0) != 0x80)
            return back;
    return cut;
}

static int fold(struct buf *out, barid_slice v, size_t column)
{
    for (size_t at = 0; at < v.n;) {
        size_t room = column < HEADER_FOLD_AT ? HEADER_FOLD_AT - column : 0;
        size_t cut = cut_point(v, at, room, HEADER_LINE_MAX - column - 1);
        bool hard = cut < v.n && !is_wsp(v.p[cut]);

        if (hard)
            cut = back_to_character(v, at, cut);
        if (buf_append(out, slice_of(v.p + at, cut - at)) < 0)
            return BARID_ENOMEM;
        if (cut < v.n && buf_str(out, hard ? "\r\n " : "\r\n") < 0)
            return BARID_ENOMEM;
        column = hard ? 1 : 0;
        at = cut;
    }
    return buf_str(out, "\r\n");
}

static int make_field(struct header_list *h, barid_slice name, barid_slice value,
                      struct header_field *f_r)
{
    struct buf text;
    barid_slice raw;
    int rc;

    value = slice_trim(value);
    buf_init(&text, h->arena->mem, 0);
    rc = buf_append(&text, name);
    if (rc == 0)
        rc = buf_str(&text, value.n > 0 ? ": " : ":");
    if (rc == 0)
        rc = fold(&text, value, text.len);
    if (rc == 0)
        rc = arena_slice(h->arena, buf_slice(&text), &raw);
    buf_deinit(&text);
    if (rc == 0)
        *f_r = split(raw, SIZE_MAX);
    return rc;
}

static void insert(struct header_list *h, const struct header_field *f, size_t at)
{
    if (at > h->n)
        at = h->n;
    memmove(h->f + at + 1, h->f + at, (h->n - at) * sizeof(*f));
    h->f[at] = *f;
    h->n++;
    h->edited = true;
}

/* The last line came without CRLF (a header that the end of the message cut off): nothing may
 * be glued to it. */
static int end_last_line(struct header_list *h)
{
    struct header_field *last = h->n > 0 ? &h->f[h->n - 1] : NULL;
    char *p;

    if (last == NULL || without_crlf(last->raw).n < last->raw.n)
        return 0;
    p = arena_alloc(h->arena, last->raw.n + 2);
    if (p == NULL)
        return BARID_ENOMEM;
    memcpy(p, last->raw.p, last->raw.n);
    memcpy(p + last->raw.n, "\r\n", 2);
    last->raw = slice_of(p, last->raw.n + 2);
    h->edited = true;
    return 0;
}

/*
 * A block whose first line begins with white space: written behind a field of ours that line
 * would become its continuation, and a client could put words into our Received. It becomes a
 * field of its own instead.
 */
static int detach_first(struct header_list *h)
{
    static const char name[] = "X-Not-A-Field:";
    struct header_field *first = h->n > 0 ? &h->f[0] : NULL;
    char *p;

    if (first == NULL || first->raw.n == 0 || !is_wsp(first->raw.p[0]))
        return 0;
    p = arena_alloc(h->arena, sizeof(name) - 1 + first->raw.n);
    if (p == NULL)
        return BARID_ENOMEM;
    memcpy(p, name, sizeof(name) - 1);
    memcpy(p + sizeof(name) - 1, first->raw.p, first->raw.n);
    *first = split(slice_of(p, sizeof(name) - 1 + first->raw.n), first->offset);
    h->edited = true;
    return 0;
}

/* All that can fail before a field is put in. */
static int make_room(struct header_list *h, size_t extra, bool at_top)
{
    int rc = reserve(h, extra);

    if (rc == 0)
        rc = end_last_line(h);
    return rc == 0 && at_top ? detach_first(h) : rc;
}

int header_add(struct header_list *h, barid_slice name, barid_slice value, size_t at)
{
    struct header_field f;
    int rc;

    if (!name_ok(name) || !value_ok(value))
        return BARID_ESYNTAX;
    rc = make_field(h, name, value, &f);
    if (rc == 0)
        rc = make_room(h, 1, at == 0);
    if (rc == 0)
        insert(h, &f, at);
    return rc;
}

int header_set(struct header_list *h, barid_slice name, barid_slice value)
{
    size_t first = header_find(h, name, 0);
    struct header_field f;
    int rc;

    if (first == SIZE_MAX)
        return header_add(h, name, value, SIZE_MAX);
    if (!name_ok(name) || !value_ok(value))
        return BARID_ESYNTAX;
    rc = make_field(h, name, value, &f);
    if (rc < 0)
        return rc;
    header_remove(h, name);
    h->f[first] = f;
    return 0;
}

size_t header_remove(struct header_list *h, barid_slice name)
{
    size_t count = 0;

    for (size_t i = 0; i < h->n; i++) {
        if (!is_field(&h->f[i], name))
            continue;
        h->f[i].deleted = true;
        h->edited = true;
        count++;
    }
    return count;
}

int header_prepend_raw(struct header_list *h, barid_slice raw)
{
    struct header_list fields;
    barid_slice copy;
    int rc;

    if (raw.n < 2 || without_crlf(raw).n == raw.n || is_wsp(raw.p[0]))
        return BARID_ESYNTAX;
    rc = arena_slice(h->arena, raw, &copy);
    if (rc == 0)
        rc = header_parse(&fields, h->arena, copy);
    for (size_t i = 0; rc == 0 && i < fields.n; i++)
        if (fields.f[i].name.n == 0)
            rc = BARID_ESYNTAX;
    if (rc == 0)
        rc = make_room(h, fields.n, true);
    for (size_t i = fields.n; rc == 0 && i > 0; i--) {
        fields.f[i - 1].offset = SIZE_MAX;
        insert(h, &fields.f[i - 1], 0);
    }
    return rc;
}

int header_write(const struct header_list *h, struct buf *out)
{
    size_t total = 0;
    int rc;

    if (!h->edited)
        return buf_append(out, h->block);
    for (size_t i = 0; i < h->n; i++)
        total += h->f[i].deleted ? 0 : h->f[i].raw.n;
    rc = buf_reserve(out, total); /* all or nothing, and one allocation */
    for (size_t i = 0; rc == 0 && i < h->n; i++)
        if (!h->f[i].deleted)
            rc = buf_append(out, h->f[i].raw);
    return rc;
}
