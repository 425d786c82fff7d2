/* delivery/relay_source.c: the octets of a message as one server gets them. */
#include <stdio.h>

#include "base/slice.h"
#include "delivery/relay_int.h"

static const barid_slice blank = {"\r\n", 2};

void relay_source_init(struct relay_source *s, struct consignment *c, struct loop *loop,
                       const barid_mem *mem, void (*on_ready)(void *user), void *user)
{
    *s = (struct relay_source){
        .c = c, .loop = loop, .mem = mem, .on_ready = on_ready, .user = user};
    buf_init(&s->piece, mem, RELAY_CHUNK_MAX);
}

void relay_source_deinit(struct relay_source *s)
{
    relay_conversion_del(&s->conversion);
    buf_deinit(&s->piece);
}

static barid_slice header_of(const struct relay_source *s)
{
    return s->converted != NULL ? downgrade_header(s->converted) : s->c->header;
}

static uint64_t head_size(const struct relay_source *s)
{
    return header_of(s).n + (s->c->mail->has_blank_line ? blank.n : 0);
}

uint64_t relay_source_size(const struct relay_source *s)
{
    return s->c->header.n + (s->c->mail->has_blank_line ? blank.n : 0) + s->c->body_size;
}

/* --- what a server gets --- */

static int read_body(void *user, uint64_t offset, size_t n, barid_slice *p_r)
{
    struct relay_source *s = user;

    return s->c->body(s->c, offset, n, p_r);
}

/* The one for the server before will do if it is for the same. */
static int make_conversion(struct relay_source *s, enum barid_body_type target)
{
    struct relay_conversion_options o = {.loop = s->loop,
                                         .downgrade = {.target = target,
                                                       .header = s->c->header,
                                                       .body_size = s->c->body_size,
                                                       .body = read_body,
                                                       .user = s,
                                                       .mem = s->mem},
                                         .on_ready = s->on_ready,
                                         .user = s->user};

    if (s->conversion != NULL && relay_conversion_target(s->conversion) == target)
        return 0;
    relay_conversion_del(&s->conversion);
    return relay_conversion_new(&s->conversion, &o);
}

/* As courier_ops.on_server says it. */
static int refuse(int rc, const struct err *err, char refusal[COURIER_TEXT_SIZE])
{
    if (rc == BARID_ELIMIT) {
        snprintf(refusal, COURIER_TEXT_SIZE,
                 "554 5.6.3 cannot be converted for this server: %.200s", err->text);
        return BARID_EUNSUPPORTED;
    }
    if (rc == BARID_ENOMEM)
        snprintf(refusal, COURIER_TEXT_SIZE, "451 4.3.0 out of memory");
    else
        snprintf(refusal, COURIER_TEXT_SIZE, "451 4.3.0 the message cannot be read: %s",
                 barid_strerror(rc));
    return rc;
}

static int convert(struct relay_source *s, enum barid_body_type target, barid_client_mail *mail,
                   char refusal[COURIER_TEXT_SIZE])
{
    struct err err = {0};
    int rc = make_conversion(s, target);

    if (rc == 0)
        rc = relay_conversion_prepare(s->conversion, &err);
    s->waits = rc == 0;
    if (rc == 0 || rc == BARID_EAGAIN)
        return 0;
    if (rc < 0)
        return refuse(rc, &err, refusal);
    /* Its octets may need less than its label says. */
    if (downgrade_changed(relay_conversion_result(s->conversion)))
        s->converted = relay_conversion_result(s->conversion);
    mail->params.body = target;
    mail->params.size_given = s->converted == NULL; /* nobody knows it before it is made */
    return 1;
}

int relay_source_choose(struct relay_source *s, uint32_t extensions, barid_client_mail *mail,
                        char refusal[COURIER_TEXT_SIZE])
{
    enum barid_body_type target = downgrade_target((extensions & BARID_EXT_8BITMIME) != 0,
                                                   (extensions & BARID_EXT_BINARYMIME) != 0,
                                                   (extensions & BARID_EXT_CHUNKING) != 0);

    s->converted = NULL;
    s->waits = false;
    relay_params(&mail->params, s->c, relay_source_size(s));
    /* What must not be converted the client session refuses with 5.6.3. */
    if (s->c->hop->downgrade != HOP_CONVERT ||
        !downgrade_needed(s->c->mail->params.body, target))
        return 1;
    return convert(s, target, mail, refusal);
}

/* --- octets --- */

/* What is left of the header and the blank line from offset on, at most n, into the piece. */
static int put_head(struct relay_source *s, uint64_t offset, size_t n)
{
    barid_slice header = header_of(s);
    uint64_t size = header.n;
    int rc;

    if (offset >= head_size(s))
        return 0;
    rc = buf_append(&s->piece, slice_head(slice_from(header, (size_t)offset), n));
    if (rc == 0 && head_size(s) > size && s->piece.len < n) {
        barid_slice rest = slice_from(blank, offset > size ? (size_t)(offset - size) : 0);

        rc = buf_append(&s->piece, slice_head(rest, n - s->piece.len));
    }
    return rc;
}

/* From offset on: what is left of the header, the blank line, and as much of the body as is there and fits: a small message is one
 * piece, one chunk, one packet. */
static int read_head(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r)
{
    barid_slice body = {0};
    int rc;

    buf_clear(&s->piece);
    rc = put_head(s, offset, n);
    if (rc == 0 && offset + s->piece.len == head_size(s) && s->c->body_size > 0 &&
        s->piece.len < n) {
        rc = s->c->body(s->c, 0, n - s->piece.len, &body);
        if (rc > 0)
            rc = buf_append(&s->piece, body);
    }
    *p_r = buf_slice(&s->piece);
    return rc < 0 ? rc : 1;
}

/* What was converted comes in small pieces: a chunk is made of many. */
static int read_converted(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r,
                          bool *last_r)
{
    uint64_t head = head_size(s);
    int rc;

    buf_clear(&s->piece);
    rc = put_head(s, offset, n);
    rc = rc == 0 ? 1 : rc;
    while (rc == 1 && !*last_r && s->piece.len < n) {
        barid_slice text;

        rc = downgrade_body(s->converted, offset + s->piece.len - head, n - s->piece.len, &text,
                            last_r);
        if (rc == 1 && buf_append(&s->piece, text) != 0)
            rc = BARID_ENOMEM;
    }
    *p_r = buf_slice(&s->piece);
    return rc < 0 ? rc : p_r->n > 0 || *last_r;
}

int relay_source_read(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r,
                      bool *last_r)
{
    uint64_t head = head_size(s), size = relay_source_size(s);
    int rc = 1;

    *p_r = (barid_slice){0};
    *last_r = false;
    if (s->converted != NULL)
        return read_converted(s, offset, n, p_r, last_r);
    if (offset < head) {
        rc = read_head(s, offset, n, p_r);
    } else if (offset < size) {
        buf_deinit(&s->piece);
        rc = s->c->body(s->c, offset - head, n, p_r);
    }
    *last_r = rc > 0 && offset + p_r->n >= size;
    /* More than there is would be more than SIZE said. */
    return rc > 0 && offset + p_r->n > size ? BARID_ECORRUPT : rc;
}
