/*
 * message/header.h: the header block as a list of fields with offsets, and edits.
 *
 * The block is scanned once; a field points to its octets, folding and all. Edits change the list, never the body. A
 * field that was not edited is written back byte for byte.
 */
#ifndef MESSAGE_HEADER_H
#define MESSAGE_HEADER_H

#include "base/arena.h"
#include "base/buf.h"

#define HEADER_FIELDS_MAX 10000 /* fields in one block: real mail has 30-200; bounds memory at some 500 KB */

struct header_field {
    barid_slice name;   /* without the colon; empty for a line that is not a field (kept as it is) */
    barid_slice raw;    /* the whole field with its CRLFs */
    barid_slice value;  /* after the colon to before the last CRLF, folding included */
    size_t offset;      /* in the original block; SIZE_MAX when added */
    bool deleted;
};
struct header_list {
    struct arena *arena;
    barid_slice block;  /* as parsed: written back in one piece while nothing is edited */
    struct header_field *f;
    size_t n, cap;
    bool edited;
};

/* block stays borrowed. 0, BARID_ENOMEM, BARID_ELIMIT (HEADER_FIELDS_MAX). Anything parses: what is no field is kept. */
int header_parse(struct header_list *h, struct arena *arena, barid_slice block);
/* Index of the n-th (0-based) field of that name not deleted, or SIZE_MAX. */
size_t header_find(const struct header_list *h, barid_slice name, size_t n);
size_t header_count(const struct header_list *h, barid_slice name);
/* Value unfolded and trimmed (not RFC 2047 decoded); points into the field when it has no folding. 0 or BARID_ENOMEM. */
int header_value(const struct header_list *h, size_t i, struct arena *arena, barid_slice *value_r);

/* 0, BARID_ENOMEM, BARID_ELIMIT, or BARID_ESYNTAX. name: RFC 5322 ftext; value: no CR, LF or NUL (folded by us at 78 where possible, hard at 998): BARID_ESYNTAX otherwise.
 * at: position among all fields, SIZE_MAX = end; 0 = top. A first line of the block that begins with white space is made
 * a field "X-Not-A-Field" when something is put above it: it must not continue a field of ours. */
int header_add(struct header_list *h, barid_slice name, barid_slice value, size_t at);
int header_set(struct header_list *h, barid_slice name, barid_slice value); /* replace the first, delete the others, or add */
size_t header_remove(struct header_list *h, barid_slice name);              /* how many */
/* Insert octets that already are one or more complete fields, CRLF-ended, at the top (trace headers). */
int header_prepend_raw(struct header_list *h, barid_slice raw);

/* The block as it is now. 0 or BARID_ENOMEM / ELIMIT. */
int header_write(const struct header_list *h, struct buf *out);

#endif
