/*
 * message/record.c: a mail as octets and back. Knows how values are written; record_fields.c
 * says which there are.
 *
 * A record is one version octet (major, minor: four bits each) and then elements: a tag octet,
 * a varint length, that many octets. Elements whose value is zero or empty are left out. Groups
 * hold elements; a tag may come again where it names a list (recipients, variables, units).
 * What a reader does not know it skips, so a minor version only adds tags; a major version
 * changes what is there and is refused by older readers.
 *
 * Decoding trusts nothing: lengths are checked before they are used, counts against the limits
 * of mail.h, and recipient indexes of units against the recipients.
 */
#include "message/record.h"

#include <string.h>

#include "base/slice.h"
#include "message/record_int.h"
#include "message/varint_int.h"

#define RECORD_VERSION 0x10 /* 1.0 */

/* --- numbers of any width in a struct ----------------------------------------------------- */

static uint64_t load_uint(const void *p, size_t size)
{
    uint64_t v = 0;

    /* Little endian only would do with a copy; this works on either. */
    switch (size) {
    case 1: {
        uint8_t x;
        memcpy(&x, p, 1);
        v = x;
        break;
    }
    case 2: {
        uint16_t x;
        memcpy(&x, p, 2);
        v = x;
        break;
    }
    case 4: {
        uint32_t x;
        memcpy(&x, p, 4);
        v = x;
        break;
    }
    default:
        memcpy(&v, p, sizeof(v));
    }
    return v;
}

static void store_uint(void *p, size_t size, uint64_t v)
{
    uint8_t v1 = (uint8_t)v;
    uint16_t v2 = (uint16_t)v;
    uint32_t v4 = (uint32_t)v;

    memcpy(p,
           size == 1   ? (void *)&v1
           : size == 2 ? (void *)&v2
           : size == 4 ? (void *)&v4
                       : (void *)&v,
           size);
}

/* --- encoding ----------------------------------------------------------------------------- */

int record_put(struct buf *out, uint8_t tag, barid_slice value)
{
    char head[1 + VARINT_MAX];
    size_t n = 1;
    int rc;

    head[0] = (char)tag;
    n += varint_put(head + 1, value.n);
    rc = buf_reserve(out, n + value.n);
    if (rc == 0)
        rc = buf_append(out, slice_of(head, n));
    return rc < 0 ? rc : buf_append(out, value);
}

static int put_number(struct buf *out, uint8_t tag, uint64_t v)
{
    char text[VARINT_MAX];

    return v == 0 ? 0 : record_put(out, tag, slice_of(text, varint_put(text, v)));
}

static bool all_zero(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

int record_put_group(struct buf *out, uint8_t tag, const struct record_fields *fields,
                     const void *object, bool always)
{
    struct buf inner;
    int rc;

    buf_init(&inner, out->mem, 0);
    rc = record_put_fields(&inner, fields, object);
    if (rc == 0 && (always || inner.len > 0))
        rc = record_put(out, tag, buf_slice(&inner));
    buf_deinit(&inner);
    return rc;
}

static int put_field(struct buf *out, const struct record_field *f, const void *object)
{
    const char *at = (const char *)object + f->offset;

    switch (f->type) {
    case RECORD_UINT:
        return put_number(out, f->tag, load_uint(at, f->size));
    case RECORD_INT: {
        int64_t v;
        memcpy(&v, at, sizeof(v));
        return put_number(out, f->tag, zigzag(v));
    }
    case RECORD_TEXT: {
        barid_slice s;
        memcpy(&s, at, sizeof(s));
        return s.n == 0 ? 0 : record_put(out, f->tag, s);
    }
    case RECORD_BYTES:
        return all_zero(at, f->size) ? 0 : record_put(out, f->tag, slice_of(at, f->size));
    case RECORD_GROUP:
        return record_put_group(out, f->tag, f->group, at, false);
    case RECORD_LIST:
        return f->put(out, f->tag, at);
    }
    return BARID_EINVALID;
}

int record_put_fields(struct buf *out, const struct record_fields *fields, const void *object)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < fields->n; i++)
        rc = put_field(out, &fields->f[i], object);
    return rc;
}

/* --- decoding ----------------------------------------------------------------------------- */

int record_next(barid_slice in, size_t *at, uint8_t *tag_r, barid_slice *value_r)
{
    uint64_t n;

    if (*at >= in.n)
        return 0;
    *tag_r = (uint8_t)in.p[(*at)++];
    if (!varint_get(in, at, &n) || n > in.n - *at)
        return BARID_ECORRUPT;
    *value_r = slice_of(in.p + *at, (size_t)n);
    *at += (size_t)n;
    return 1;
}

static int get_number(barid_slice value, uint64_t max, uint64_t *v_r)
{
    size_t at = 0;

    if (!varint_get(value, &at, v_r) || at != value.n || *v_r > max)
        return BARID_ECORRUPT;
    return 0;
}

static int get_field(struct arena *arena, const struct record_field *f, barid_slice value,
                     void *object)
{
    char *at = (char *)object + f->offset;
    uint64_t v = 0;
    int rc;

    switch (f->type) {
    case RECORD_UINT:
        rc = get_number(value, f->max, &v);
        if (rc == 0)
            store_uint(at, f->size, v);
        return rc;
    case RECORD_INT: {
        int64_t num;
        rc = get_number(value, UINT64_MAX, &v);
        num = unzigzag(v);
        memcpy(at, &num, sizeof(num));
        return rc;
    }
    case RECORD_TEXT:
        memcpy(at, &value, sizeof(value));
        return 0;
    case RECORD_BYTES:
        if (value.n != f->size)
            return BARID_ECORRUPT;
        memcpy(at, value.p, value.n);
        return 0;
    case RECORD_GROUP:
        return record_get_fields(arena, f->group, value, at);
    case RECORD_LIST:
        return f->get(arena, value, at);
    }
    return BARID_EINVALID;
}

int record_get_fields(struct arena *arena, const struct record_fields *fields, barid_slice in,
                      void *object)
{
    barid_slice value;
    size_t at = 0;
    uint8_t tag;
    int rc;

    while ((rc = record_next(in, &at, &tag, &value)) == 1) {
        for (size_t i = 0; i < fields->n; i++) {
            if (fields->f[i].tag != tag)
                continue;
            rc = get_field(arena, &fields->f[i], value, object);
            if (rc < 0)
                return rc;
            break;
        }
    }
    return rc;
}

/* --- the whole ---------------------------------------------------------------------------- */

int record_encode(const struct mail *m, const struct unit *units, size_t n_units,
                  struct buf *out)
{
    struct record_root root = {.mail = *m, .units = units, .n_units = n_units};
    size_t start = out->len;
    int rc = buf_byte(out, RECORD_VERSION);

    if (m->session != NULL)
        root.facts = *m->session;
    root.explain = explain_data(&m->explain);
    if (rc == 0)
        rc = record_put_fields(out, &record_root_fields, &root);
    if (rc < 0)
        out->len = start;
    return rc;
}

static int check_units(const struct record_root *root)
{
    for (size_t i = 0; i < root->n_units; i++)
        for (size_t k = 0; k < root->units[i].n_rcpts; k++)
            if (root->units[i].rcpts[k] >= root->mail.n_rcpts)
                return BARID_ECORRUPT;
    return 0;
}

static int take_root(struct mail *m, struct arena *arena, struct record_root *root,
                     barid_slice header)
{
    struct session_facts *facts = arena_alloc(arena, sizeof(*facts));
    bool blank = root->mail.has_blank_line, had = root->mail.has_header;
    unsigned hops = root->mail.hops;
    int rc;

    if (facts == NULL)
        return BARID_ENOMEM;
    *facts = root->facts;
    facts->id[SESSION_ID_SIZE - 1] = '\0';
    *m = root->mail;
    m->session = facts;
    rc = header_parse(&m->header, arena, header);
    m->has_header = had;
    m->has_blank_line = blank;
    m->hops = hops;
    m->explain.p =
        (char *)(uintptr_t)root->explain.p; /* read only: cap says that there is no room */
    m->explain.n = m->explain.cap = root->explain.n;
    m->explain.cut = true; /* nothing is added to a trace that was read back */
    return rc == BARID_ELIMIT ? BARID_ECORRUPT : rc;
}

int record_decode(struct mail *m, struct arena *arena, barid_slice meta, barid_slice header,
                  struct unit **units_r, size_t *n_units_r)
{
    struct record_root root = {.units = NULL};
    int rc;

    if (meta.n == 0)
        return BARID_ECORRUPT;
    if (((uint8_t)meta.p[0] >> 4) != RECORD_VERSION >> 4)
        return (uint8_t)meta.p[0] >> 4 > RECORD_VERSION >> 4 ? BARID_EVERSION : BARID_ECORRUPT;
    rc = mail_init(&root.mail, arena, NULL, 0);
    root.mail.sender.null = false; /* what is not in the record is zero */
    if (rc == 0)
        rc = record_get_fields(arena, &record_root_fields, slice_from(meta, 1), &root);
    if (rc == 0)
        rc = check_units(&root);
    if (rc == 0)
        rc = take_root(m, arena, &root, header);
    if (rc < 0)
        return rc;
    *units_r = root.units_made;
    *n_units_r = root.n_units;
    return 0;
}
