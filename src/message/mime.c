/*
 * message/mime.c: the MIME tree. The only file, with mime_utf8.c, that knows GMime.
 *
 * mime_scan bounds the message before GMime sees it; the tree of our own parts is then made top
 * down and bounded again, exactly, so the recursion below is at most MIME_DEPTH_MAX deep
 * whatever GMime found. GMime reads the caller's octets in place (they stay borrowed) and makes
 * streams over them; text is copied out into our arena as valid UTF-8.
 */
#include "message/mime.h"

#include <assert.h>
#include <gmime/gmime.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/slice.h"
#include "message/mime_scan.h"
#include "message/mime_utf8.h"

struct mime_header {
    barid_slice name, value;
    gint64 offset;
};

struct mime_part {
    struct mime *owner;
    GMimeObject *object;   /* of the part itself; owned by the message */
    GMimeMessage *message; /* the message whose root it is, else NULL */
    barid_slice type, charset, file_name, disposition, encoding, content_id;
    struct mime_part **children;
    size_t n_children;
    struct mime_header *headers;
    size_t n_headers;
    bool has_data, has_text; /* cached: */
    barid_slice data, text;
};

struct mime {
    const barid_mem *mem;
    struct arena arena;
    GByteArray view; /* the caller's octets: GMime reads data and len, and as it does not own
                        them changes nothing */
    GMimeMessage *message;
    struct mime_part *root;
    size_t n_parts;
};

void mime_library_init(void)
{
    g_mime_init();
}

/* --- text out of GMime ------------------------------------------------------------------ */

static int copy_text(struct mime *m, const char *text, barid_slice *copy_r)
{
    struct buf out;
    int rc;

    if (text == NULL)
        return 0;
    buf_init(&out, m->mem, 0);
    rc = mime_utf8_clean(&out, slice_str(text));
    if (rc == 0)
        rc = arena_slice(&m->arena, buf_slice(&out), copy_r);
    buf_deinit(&out);
    return rc < 0 ? BARID_ENOMEM : 0;
}

static int copy_lower(struct mime *m, const char *text, barid_slice *copy_r)
{
    char *lower = text != NULL ? g_ascii_strdown(text, -1) : NULL;
    int rc = copy_text(m, lower, copy_r);

    g_free(lower);
    return rc;
}

static int set_type(struct mime_part *p)
{
    GMimeContentType *ct = g_mime_object_get_content_type(p->object);
    char *type = ct != NULL ? g_mime_content_type_get_mime_type(ct) : NULL;
    int rc = copy_lower(p->owner, type != NULL ? type : "text/plain", &p->type);

    g_free(type);
    if (rc == 0 && ct != NULL)
        rc = copy_text(p->owner, g_mime_content_type_get_parameter(ct, "charset"), &p->charset);
    return rc;
}

static int set_facts(struct mime_part *p)
{
    struct mime *m = p->owner;
    const char *name = g_mime_object_get_content_disposition_parameter(p->object, "filename");
    int rc = set_type(p);

    if (name == NULL)
        name = g_mime_object_get_content_type_parameter(p->object, "name");
    if (rc == 0)
        rc = copy_text(m, name, &p->file_name);
    if (rc == 0)
        rc = copy_lower(m, g_mime_object_get_disposition(p->object), &p->disposition);
    if (rc == 0)
        rc = copy_text(m, g_mime_object_get_content_id(p->object), &p->content_id);
    if (rc == 0 && GMIME_IS_PART(p->object))
        rc = copy_text(m,
                       g_mime_content_encoding_to_string(
                           g_mime_part_get_content_encoding(GMIME_PART(p->object))),
                       &p->encoding);
    return rc;
}

static int add_headers(struct mime_part *p, GMimeObject *object)
{
    GMimeHeaderList *list = g_mime_object_get_header_list(object);
    int n = g_mime_header_list_get_count(list), rc = 0;

    for (int i = 0; rc == 0 && i < n; i++) {
        GMimeHeader *header = g_mime_header_list_get_header_at(list, i);
        struct mime_header *h = &p->headers[p->n_headers];

        h->offset = g_mime_header_get_offset(header);
        rc = copy_text(p->owner, g_mime_header_get_name(header), &h->name);
        if (rc == 0)
            rc = copy_text(p->owner, g_mime_header_get_value(header), &h->value);
        p->n_headers++;
    }
    return rc;
}

static int compare_headers(const void *a, const void *b)
{
    const struct mime_header *x = a, *y = b;

    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* GMime splits a message's fields: Content-... belong to the part, the others to the message.
 * Here they are one list. */
static int set_headers(struct mime_part *p)
{
    int n = g_mime_header_list_get_count(g_mime_object_get_header_list(p->object)), rc = 0;

    if (p->message != NULL)
        n += g_mime_header_list_get_count(
            g_mime_object_get_header_list(GMIME_OBJECT(p->message)));
    p->headers = arena_alloc(&p->owner->arena, (size_t)n * sizeof(*p->headers));
    if (p->headers == NULL)
        return BARID_ENOMEM;
    if (p->message != NULL)
        rc = add_headers(p, GMIME_OBJECT(p->message));
    if (rc == 0)
        rc = add_headers(p, p->object);
    if (p->n_headers > 0)
        qsort(p->headers, p->n_headers, sizeof(*p->headers), compare_headers);
    return rc;
}

/* --- the tree ----------------------------------------------------------------------------- */

static int make_part(struct mime *m, GMimeObject *object, GMimeMessage *message, size_t depth,
                     struct mime_part **p_r);

static int make_children(struct mime_part *p, size_t depth)
{
    GMimeMultipart *multipart =
        GMIME_IS_MULTIPART(p->object) ? GMIME_MULTIPART(p->object) : NULL;
    GMimeMessage *inner = GMIME_IS_MESSAGE_PART(p->object)
                              ? g_mime_message_part_get_message(GMIME_MESSAGE_PART(p->object))
                              : NULL;
    GMimeObject *inner_root = inner != NULL ? g_mime_message_get_mime_part(inner) : NULL;
    size_t n =
        multipart != NULL ? (size_t)g_mime_multipart_get_count(multipart) : inner_root != NULL;
    int rc = 0;

    if (n == 0)
        return 0;
    p->children = arena_alloc(&p->owner->arena, n * sizeof(*p->children));
    if (p->children == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        GMimeObject *child =
            multipart != NULL ? g_mime_multipart_get_part(multipart, (int)i) : inner_root;

        rc = make_part(p->owner, child, inner, depth + 1, &p->children[i]);
        p->n_children += rc == 0;
    }
    return rc;
}

static int make_part(struct mime *m, GMimeObject *object, GMimeMessage *message, size_t depth,
                     struct mime_part **p_r)
{
    struct mime_part *p;
    int rc;

    if (depth > MIME_DEPTH_MAX || ++m->n_parts > MIME_PARTS_MAX)
        return BARID_ELIMIT;
    p = arena_alloc(&m->arena, sizeof(*p));
    if (p == NULL)
        return BARID_ENOMEM;
    *p = (struct mime_part){.owner = m, .object = object, .message = message};
    rc = set_facts(p);
    if (rc == 0)
        rc = set_headers(p);
    if (rc == 0)
        rc = make_children(p, depth);
    *p_r = p;
    return rc;
}

/* NULL when GMime finds no message in it. */
static GMimeMessage *parse(struct mime *m)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GMimeParser *parser;
    GMimeMessage *message;

    g_mime_stream_mem_set_byte_array(GMIME_STREAM_MEM(stream), &m->view);
    g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
    parser = g_mime_parser_new_with_stream(stream);
    message = g_mime_parser_construct_message(parser, NULL);
    g_object_unref(parser);
    g_object_unref(stream);
    return message;
}

static int build(struct mime *m, barid_slice message, struct err *err)
{
    GMimeObject *root;
    int rc;

    m->view = (GByteArray){(guint8 *)(uintptr_t)message.p, (guint)message.n};
    m->message = parse(m);
    root = m->message != NULL ? g_mime_message_get_mime_part(m->message) : NULL;
    if (root == NULL)
        return err_set(err, BARID_ESYNTAX, "no message can be read from these octets");
    rc = make_part(m, root, m->message, 1, &m->root);
    if (rc == BARID_ELIMIT)
        return err_set(err, rc, "a message of more than %d parts or more than %d deep",
                       MIME_PARTS_MAX, MIME_DEPTH_MAX);
    return rc < 0 ? err_set(err, rc, "out of memory") : 0;
}

int mime_parse_mem(struct mime **m_r, const barid_mem *mem, barid_slice message,
                   struct err *err)
{
    struct mime_counts counts;
    struct mime *m;
    int rc = mime_scan(message, &counts, err);

    /* GMime registers its types when it starts: without mime_library_init this is a bug of the
     * caller. */
    assert(g_type_from_name("GMimeTextPart") != 0);
    if (rc < 0)
        return rc;
    m = mem_zalloc(mem, sizeof(*m));
    if (m == NULL)
        return err_set(err, BARID_ENOMEM, "out of memory");
    m->mem = mem;
    arena_init(&m->arena, mem, 0);
    rc = build(m, message, err);
    if (rc < 0)
        mime_del(&m);
    else
        *m_r = m;
    return rc;
}

int mime_parse(struct mime **m_r, barid_slice message, struct err *err)
{
    return mime_parse_mem(m_r, NULL, message, err);
}

void mime_del(struct mime **m)
{
    struct mime *old = *m;

    if (old == NULL)
        return;
    *m = NULL;
    if (old->message != NULL)
        g_object_unref(old->message);
    arena_deinit(&old->arena);
    mem_free(old->mem, old);
}

/* --- content ------------------------------------------------------------------------------ */

static void write_content(const struct mime_part *p, GMimeStream *stream)
{
    GMimeMessage *inner = GMIME_IS_MESSAGE_PART(p->object)
                              ? g_mime_message_part_get_message(GMIME_MESSAGE_PART(p->object))
                              : NULL;
    GMimeDataWrapper *content =
        GMIME_IS_PART(p->object) ? g_mime_part_get_content(GMIME_PART(p->object)) : NULL;

    if (inner != NULL)
        g_mime_object_write_to_stream(GMIME_OBJECT(inner), NULL, stream);
    else if (content != NULL)
        g_mime_data_wrapper_write_to_stream(content, stream);
}

static int load_data(struct mime_part *p)
{
    GMimeStream *stream = g_mime_stream_mem_new();
    GByteArray *octets;
    int rc;

    write_content(p, stream);
    octets = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
    rc = arena_slice(&p->owner->arena, slice_of(octets->data, octets->len), &p->data);
    g_object_unref(stream);
    p->has_data = rc == 0;
    return rc;
}

static int load_text(struct mime_part *p)
{
    struct buf out;
    int rc;

    buf_init(&out, p->owner->mem, MIME_TEXT_MAX);
    /* copies into the arena end in NUL: the name can be handed to iconv */
    rc = mime_utf8_convert(&out, p->charset.n > 0 ? p->charset.p : NULL, p->data);
    if (rc == 0)
        rc = arena_slice(&p->owner->arena, buf_slice(&out), &p->text);
    buf_deinit(&out);
    p->has_text = rc == 0;
    return rc;
}

int mime_data(const struct mime_part *part, bool as_utf8, barid_slice *data_r)
{
    struct mime_part *p = (struct mime_part *)(uintptr_t)part; /* only the caches change */
    bool text = as_utf8 && slice_starts_nocase(p->type, BARID_S("text/"));
    int rc = p->has_data ? 0 : load_data(p);

    if (rc == 0 && text && !p->has_text)
        rc = load_text(p);
    if (rc == 0)
        *data_r = text ? p->text : p->data;
    return rc;
}

/* --- looking ---------------------------------------------------------------------------- */

const struct mime_part *mime_root(const struct mime *m)
{
    return m->root;
}

barid_slice mime_type(const struct mime_part *p)
{
    return p->type;
}

barid_slice mime_charset(const struct mime_part *p)
{
    return p->charset;
}

barid_slice mime_file_name(const struct mime_part *p)
{
    return p->file_name;
}

barid_slice mime_disposition(const struct mime_part *p)
{
    return p->disposition;
}

barid_slice mime_encoding(const struct mime_part *p)
{
    return p->encoding;
}

barid_slice mime_content_id(const struct mime_part *p)
{
    return p->content_id;
}

size_t mime_children(const struct mime_part *p)
{
    return p->n_children;
}

const struct mime_part *mime_child(const struct mime_part *p, size_t i)
{
    return i < p->n_children ? p->children[i] : NULL;
}

size_t mime_header_count(const struct mime_part *p)
{
    return p->n_headers;
}

void mime_header(const struct mime_part *p, size_t i, barid_slice *name_r, barid_slice *value_r)
{
    *name_r = i < p->n_headers ? p->headers[i].name : (barid_slice){NULL, 0};
    *value_r = i < p->n_headers ? p->headers[i].value : (barid_slice){NULL, 0};
}

barid_slice mime_header_get(const struct mime_part *p, barid_slice name)
{
    for (size_t i = 0; i < p->n_headers; i++)
        if (slice_eq_nocase(p->headers[i].name, name))
            return p->headers[i].value;
    return (barid_slice){NULL, 0};
}
