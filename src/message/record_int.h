/*
 * message/record_int.h: how record.c and record_fields.c divide the work: this one the octets,
 * that one the tables.
 */
#ifndef MESSAGE_RECORD_INT_H
#define MESSAGE_RECORD_INT_H

#include "message/mail.h"

enum record_type {
    RECORD_UINT,  /* bool, enum, unsigned of size octets: varint; at most max */
    RECORD_INT,   /* int64_t: varint, zigzag */
    RECORD_TEXT,  /* barid_slice */
    RECORD_BYTES, /* array of size octets */
    RECORD_GROUP, /* a struct with a table of its own */
    RECORD_LIST   /* several elements of one tag */
};

struct record_fields;
struct record_field {
    uint8_t tag; /* never used again for anything else */
    uint8_t type;
    uint16_t offset, size;
    uint64_t max;
    const struct record_fields *group;
    /* LIST: list is the address of the struct that holds array and count. put writes all
     * elements, get takes one. */
    int (*put)(struct buf *out, uint8_t tag, const void *list);
    int (*get)(struct arena *arena, barid_slice value, void *list);
};
struct record_fields {
    const struct record_field *f;
    size_t n;
};

/* What a record holds, in one struct, so that offsets reach everything. */
struct record_root {
    struct mail mail;
    struct session_facts facts;
    barid_slice explain;
    const struct unit *units; /* all of them; equals units_made when decoding */
    struct unit *units_made;
    size_t n_units, cap_units;
};
extern const struct record_fields record_root_fields;

int record_put(struct buf *out, uint8_t tag, barid_slice value);
int record_put_fields(struct buf *out, const struct record_fields *fields, const void *object);
int record_put_group(struct buf *out, uint8_t tag, const struct record_fields *fields,
                     const void *object, bool always);
/* 1 = an element, 0 = end, BARID_ECORRUPT. */
int record_next(barid_slice in, size_t *at, uint8_t *tag_r, barid_slice *value_r);
int record_get_fields(struct arena *arena, const struct record_fields *fields, barid_slice in,
                      void *object);

#endif
