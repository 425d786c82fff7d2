/* delivery/relay_source.c: the octets of a message as one server gets them. */
#include "base/slice.h"
#include "delivery/relay_int.h"

static const barid_slice blank = {"\r\n", 2};

void relay_source_init(struct relay_source *s, struct consignment *c, const barid_mem *mem)
{
    s->c = c;
    buf_init(&s->piece, mem, RELAY_CHUNK_MAX);
}

void relay_source_deinit(struct relay_source *s)
{
    buf_deinit(&s->piece);
}

static uint64_t head_size(const struct relay_source *s)
{
    return s->c->header.n + (s->c->mail->has_blank_line ? blank.n : 0);
}

uint64_t relay_source_size(const struct relay_source *s)
{
    return head_size(s) + s->c->body_size;
}

/* --- what a server gets --- */

static bool takes(uint32_t extensions, enum barid_body_type body)
{
    const uint32_t binary = BARID_EXT_BINARYMIME | BARID_EXT_CHUNKING;

    if (body == BARID_BODY_BINARYMIME)
        return (extensions & binary) == binary;
    return body != BARID_BODY_8BITMIME || (extensions & BARID_EXT_8BITMIME) != 0;
}

int relay_source_choose(struct relay_source *s, uint32_t extensions, barid_client_mail *mail,
                        char refusal[COURIER_TEXT_SIZE])
{
    (void)refusal;
    /* Here a body that the server does not take is converted, where the hop says so. What is not, the client session refuses
     * with 5.6.3. */
    if (!takes(extensions, s->c->mail->params.body) && s->c->hop->downgrade == HOP_CONVERT)
        return 1;
    relay_params(&mail->params, s->c, relay_source_size(s));
    return 1;
}

/* --- octets --- */

/* From offset on: what is left of the header, the blank line, and as much of the body as is there and fits: a small message is one
 * piece, one chunk, one packet. */
static int read_head(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r)
{
    uint64_t head = head_size(s);
    barid_slice header = slice_from(s->c->header, (size_t)offset), body = {0};
    int rc = 0;

    buf_clear(&s->piece);
    rc = buf_append(&s->piece, slice_head(header, n));
    if (rc == 0 && head > s->c->header.n && s->piece.len < n) {
        barid_slice rest =
            slice_from(blank, offset > s->c->header.n ? (size_t)(offset - s->c->header.n) : 0);

        rc = buf_append(&s->piece, slice_head(rest, n - s->piece.len));
    }
    if (rc == 0 && offset + s->piece.len == head && s->c->body_size > 0 && s->piece.len < n) {
        rc = s->c->body(s->c, 0, n - s->piece.len, &body);
        if (rc > 0)
            rc = buf_append(&s->piece, body);
    }
    *p_r = buf_slice(&s->piece);
    return rc < 0 ? rc : 1;
}

int relay_source_read(struct relay_source *s, uint64_t offset, size_t n, barid_slice *p_r,
                      bool *last_r)
{
    uint64_t head = head_size(s), size = relay_source_size(s);
    int rc = 1;

    *p_r = (barid_slice){0};
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
