/* message/downgrade_fuzz.c: any message comes out fit for its target or is refused; in other pieces the same; and a second
 * conversion has nothing left to do. The first octet chooses the target and the size of the pieces. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/slice.h"
#include "message/downgrade.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct source {
    barid_slice body;
    size_t piece;
};

static int read_source(void *user, uint64_t offset, size_t n, barid_slice *p_r)
{
    struct source *s = user;

    if (n == 0 || offset + n > s->body.n)
        abort();
    *p_r = slice_of(s->body.p + offset, n < s->piece ? n : s->piece);
    return 1;
}

static bool convert(barid_slice header, barid_slice body, enum barid_body_type target,
                    size_t piece, struct buf *header_r, struct buf *body_r)
{
    struct source s = {body, piece};
    struct downgrade_options o = {.target = target,
                                  .header = header,
                                  .body_size = body.n,
                                  .body = read_source,
                                  .user = &s};
    struct downgrade *d;
    bool last = false;
    int rc;

    buf_init(header_r, NULL, 0);
    buf_init(body_r, NULL, 0);
    if (downgrade_new(&d, &o) < 0)
        abort();
    while ((rc = downgrade_prepare(d, NULL)) == BARID_EAGAIN)
        ;
    if (rc != 1 && rc != BARID_ELIMIT)
        abort();
    if (rc == 1 && buf_append(header_r, downgrade_header(d)) < 0)
        abort();
    while (rc == 1 && !last) {
        barid_slice p;

        if (downgrade_body(d, body_r->len, 1 + piece * 3, &p, &last) != 1 ||
            buf_append(body_r, p) < 0)
            abort();
    }
    downgrade_del(&d);
    return rc == 1;
}

static void must_be(struct buf *header, struct buf *body, const struct buf *want_header,
                    const struct buf *want_body)
{
    if (!slice_eq(buf_slice(header), buf_slice(want_header)) ||
        !slice_eq(buf_slice(body), buf_slice(want_body)))
        abort();
    buf_deinit(header);
    buf_deinit(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum barid_body_type target =
        size > 0 && data[0] & 1 ? BARID_BODY_8BITMIME : BARID_BODY_7BIT;
    size_t piece = size > 0 ? 1 + data[0] / 2 : 1, cut = 0;
    barid_slice text = slice_from(slice_of((const char *)data, size), 1), header, body;
    struct buf h, b, h2, b2;
    struct body_scan scan = {.octets = 0};

    while (cut < text.n && !slice_eq(slice_head(slice_from(text, cut), 4), BARID_S("\r\n\r\n")))
        cut++;
    if (cut == text.n)
        return 0;
    header = slice_head(text, cut + 2);
    body = slice_from(text, cut + 4);
    if (convert(header, body, target, SIZE_MAX / 4, &h, &b)) {
        body_scan_feed(&scan, b.p, b.len);
        if (downgrade_needed(body_scan_type(&scan), target))
            abort();
        scan = (struct body_scan){.octets = 0};
        body_scan_feed(&scan, h.p, h.len);
        if (!slice_eq(buf_slice(&h), header) && body_scan_type(&scan) == BARID_BODY_BINARYMIME)
            abort();
        if (!convert(header, body, target, piece, &h2, &b2))
            abort();
        must_be(&h2, &b2, &h, &b);
        if (convert(buf_slice(&h), buf_slice(&b), target, SIZE_MAX / 4, &h2, &b2))
            must_be(&h2, &b2, &h, &b);
        buf_deinit(&h2);
        buf_deinit(&b2);
    }
    buf_deinit(&h);
    buf_deinit(&b);
    return 0;
}
