/*
 * message/downgrade_header.c: the header block of one part: type, boundary, transfer encoding, and where they stand.
 *
 * Not header.c: there a line ends in CRLF only, as the message's own header has it from SMTP. The header of a part in a BINARYMIME
 * body may have been written otherwise, and its receiver reads it all the same.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "message/downgrade_int.h"

#define PIECES_FIRST 8
#define FIELDS_SIZE  128 /* holds all that put_fields writes */

int pieces_add(struct pieces *list, const barid_mem *mem, uint64_t from, enum transfer_act act,
               struct err *err)
{
    if (list->n == DOWNGRADE_PIECES_MAX)
        return err_set(err, BARID_ELIMIT, "a message of more than %d pieces",
                       DOWNGRADE_PIECES_MAX);
    if (list->n == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : PIECES_FIRST;
        struct piece *p = mem_realloc(mem, list->p, cap * sizeof(*p));

        if (p == NULL)
            return BARID_ENOMEM;
        list->p = p;
        list->cap = cap;
    }
    list->p[list->n++] = (struct piece){.from = from, .act = (uint8_t)act};
    return 0;
}

/* Octets of the first line of s with its end. */
static size_t line_length(barid_slice s)
{
    size_t n = slice_find(s, '\n');

    return n < s.n ? n + 1 : s.n;
}

/* The first field of s, folding and all. */
static barid_slice first_field(barid_slice s)
{
    size_t n = line_length(s);

    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n += line_length(slice_from(s, n));
    return slice_head(s, n);
}

/* White space, folding and comments (RFC 5322 3.2.2). */
static barid_slice skip_space(barid_slice s)
{
    size_t depth = 0, i;

    for (i = 0; i < s.n; i++) {
        if (depth > 0 && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '(')
            depth++;
        else if (depth > 0 && s.p[i] == ')')
            depth--;
        else if (depth == 0 && strchr(" \t\r\n", s.p[i]) == NULL)
            break;
        else if (depth == 0 && s.p[i] == '\0')
            break;
    }
    return slice_from(s, i);
}

/* Up to one of the octets of ends, or the end. */
static barid_slice cut_word(barid_slice *s, const char *ends)
{
    size_t n = 0;
    barid_slice word;

    while (n < s->n && (s->p[n] == '\0' || strchr(ends, s->p[n]) == NULL))
        n++;
    word = slice_head(*s, n);
    *s = slice_from(*s, n);
    return word;
}

/* A parameter's value at the start of *s, unquoted into out as far as it has room; its length. */
static size_t cut_value(barid_slice *s, char *out, size_t size)
{
    size_t n = 0, i = 1;

    if (s->n == 0 || s->p[0] != '"') {
        barid_slice word = cut_word(s, "; \t\r\n");

        if (word.n > 0)
            memcpy(out, word.p, word.n < size ? word.n : size);
        return word.n;
    }
    for (; i < s->n && s->p[i] != '"'; i++) {
        if (s->p[i] == '\r' || s->p[i] == '\n')
            continue;
        if (s->p[i] == '\\' && i + 1 < s->n)
            i++;
        if (n < size)
            out[n] = s->p[i];
        n++;
    }
    *s = slice_from(*s, i + 1);
    return n;
}

static int read_boundary(struct part *part, barid_slice parameters, struct err *err)
{
    char value[DOWNGRADE_BOUNDARY_MAX + 1];

    while (parameters.n > 0) {
        barid_slice name;
        size_t n;

        cut_word(&parameters, ";");
        parameters = skip_space(slice_from(parameters, 1));
        name = slice_trim(cut_word(&parameters, "=;"));
        if (parameters.n == 0 || parameters.p[0] == ';')
            continue;
        parameters = skip_space(slice_from(parameters, 1));
        n = cut_value(&parameters, value, sizeof(value));
        if (!slice_eq_nocase(name, BARID_S("boundary")))
            continue;
        if (n > DOWNGRADE_BOUNDARY_MAX)
            return err_set(err, BARID_ELIMIT,
                           "a multipart with a boundary of more than %d octets",
                           DOWNGRADE_BOUNDARY_MAX);
        while (n > 0 && (value[n - 1] == ' ' || value[n - 1] == '\t'))
            n--; /* the end of a line may lose it */
        memcpy(part->boundary, value, n);
        part->n_boundary = n;
        return 0;
    }
    return 0;
}

static int read_type(struct part *part, barid_slice value, struct err *err)
{
    barid_slice rest = skip_space(value);
    barid_slice type = cut_word(&rest, "/; \t\r\n("), subtype = {NULL, 0};

    rest = skip_space(rest);
    if (rest.n > 0 && rest.p[0] == '/') {
        rest = skip_space(slice_from(rest, 1));
        subtype = cut_word(&rest, "; \t\r\n(");
    }
    part->has_type = subtype.n > 0; /* else it is read as text/plain (RFC 2045 5.2) */
    if (subtype.n == 0 || slice_eq_nocase(type, BARID_S("text")))
        return 0;
    part->content = PART_OTHER;
    if (slice_eq_nocase(type, BARID_S("message")))
        part->content = slice_eq_nocase(subtype, BARID_S("rfc822")) ? PART_MESSAGE : PART_TEXT;
    if (slice_eq_nocase(type, BARID_S("message")) &&
        slice_eq_nocase(subtype, BARID_S("global")))
        part->content =
            PART_OTHER; /* may be encoded whole (RFC 6532 3.7), and keeps its UTF-8 then */
    if (!slice_eq_nocase(type, BARID_S("multipart")))
        return 0;
    part->is_digest = slice_eq_nocase(subtype, BARID_S("digest"));
    /* Without a boundary nothing can be found in it: octets that are there to be read. */
    part->content = PART_TEXT;
    if (read_boundary(part, rest, err) < 0)
        return BARID_ELIMIT;
    if (part->n_boundary > 0)
        part->content = PART_MULTIPART;
    return 0;
}

static enum part_encoding read_encoding(barid_slice value)
{
    static const struct {
        const char *word;
        enum part_encoding encoding;
    } words[] = {{"7bit", PART_7BIT},     {"8bit", PART_8BIT},
                 {"binary", PART_BINARY}, {"quoted-printable", PART_QUOTED},
                 {"base64", PART_BASE64}, {"", PART_NO_ENCODING}};
    barid_slice rest = skip_space(value), word = cut_word(&rest, "; \t\r\n(");

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (slice_eq_nocase(word, slice_str(words[i].word)))
            return words[i].encoding;
    return PART_UNKNOWN;
}

/* The field is a place of its own: it may be replaced. */
static int take_encoding(struct part *part, const barid_mem *mem, barid_slice value,
                         uint64_t from, uint64_t to, struct err *err)
{
    int rc = pieces_add(part->list, mem, from, TRANSFER_MEND, err);

    if (rc == 0)
        rc = pieces_add(part->list, mem, to, TRANSFER_MEND, err);
    if (rc < 0)
        return rc;
    if (part->n_fields++ == 0) {
        part->field = part->list->n - 2;
        part->encoding = read_encoding(value);
    }
    return 0;
}

static int take_field(struct part *part, const barid_mem *mem, barid_slice field, uint64_t at,
                      struct err *err)
{
    barid_slice value, name = slice_trim(slice_cut(field, ':', &value));

    if (slice_eq_nocase(name, BARID_S("MIME-Version")))
        part->has_version = true;
    if (slice_eq_nocase(name, BARID_S("Content-Transfer-Encoding")))
        return take_encoding(part, mem, value, at, at + field.n, err);
    if (slice_eq_nocase(name, BARID_S("Content-Type")) && !part->has_type)
        return read_type(part, value, err);
    return 0;
}

int part_read(struct part *part, const barid_mem *mem, barid_slice block, uint64_t base,
              bool in_digest, struct err *err)
{
    uint64_t end = base + block.n;
    int rc = 0;

    part->n_fields = part->n_boundary = 0;
    part->has_type = part->has_version = part->is_digest = false;
    part->content = PART_TEXT;
    part->encoding = PART_NO_ENCODING;
    while (rc == 0 && block.n > 0) {
        barid_slice field = first_field(block);

        rc = take_field(part, mem, field, end - block.n, err);
        block = slice_from(block, field.n);
    }
    if (!part->has_type && in_digest)
        part->content = PART_MESSAGE;
    part->insert = part->list->n;
    if (rc == 0)
        rc = pieces_add(part->list, mem, end, TRANSFER_DROP, err);
    return rc == 0 ? pieces_add(part->list, mem, end, TRANSFER_MEND, err) : rc;
}

void part_label(const struct part *part, enum part_encoding encoding, bool is_high)
{
    struct piece *insert = &part->list->p[part->insert];
    bool is_structure = part->content == PART_MULTIPART || part->content == PART_MESSAGE;

    if (part->is_message && !part->has_version)
        insert->add |= PIECE_ADD_VERSION;
    if (is_high && !part->has_type && !is_structure)
        insert->add |= PIECE_ADD_TYPE;
    if (encoding == PART_NO_ENCODING)
        return;
    for (size_t i = 0; i < part->n_fields; i++) {
        struct piece *field = &part->list->p[part->field + 2 * i];

        field->act = TRANSFER_DROP;
        field->encoding = i == 0 ? (uint8_t)encoding : PART_NO_ENCODING;
    }
    if (part->n_fields == 0)
        insert->encoding = (uint8_t)encoding;
}

void put_fields(struct transfer *t, const struct piece *piece)
{
    static const char *const words[] = {
        [PART_7BIT] = "7bit",
        [PART_8BIT] = "8bit",
        [PART_QUOTED] = "quoted-printable",
        [PART_BASE64] = "base64",
    };
    char text[FIELDS_SIZE];
    int n = 0;

    if (piece->add & PIECE_ADD_VERSION)
        n += snprintf(text, sizeof(text), "MIME-Version: 1.0\r\n");
    if (piece->add & PIECE_ADD_TYPE)
        n += snprintf(text + n, sizeof(text) - (size_t)n,
                      "Content-Type: text/plain; charset=unknown-8bit\r\n");
    if (piece->encoding != PART_NO_ENCODING)
        n += snprintf(text + n, sizeof(text) - (size_t)n, "Content-Transfer-Encoding: %s\r\n",
                      words[piece->encoding]);
    if (n == 0)
        return;
    transfer_octets(t, TRANSFER_KEEP, "\r\n", t->column > 0 ? 2 : 0);
    transfer_octets(t, TRANSFER_KEEP, text, (size_t)n);
    t->column = 0;
}
