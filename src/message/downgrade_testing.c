/* message/downgrade_testing.c: see downgrade_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/downgrade_testing.h"

int read_source(void *user, uint64_t offset, size_t n, barid_slice *p_r)
{
    struct source *s = user;
    size_t piece = s->piece > 0 ? s->piece : 1 + (size_t)(rng_u64(s->rng) % 40);

    assert_true(n > 0 && offset + n <= s->body.n);
    if (s->is_late && ++s->calls % 2 == 1)
        return 0;
    if (s->failure != 0 && offset >= s->fail_from) {
        *p_r = (barid_slice){NULL, 0};
        return s->failure;
    }
    n = piece < n ? piece : n;
    free(s->copy);
    s->copy = malloc(n);
    assert_non_null(s->copy);
    memcpy(s->copy, s->body.p + offset, n);
    *p_r = slice_of(s->copy, n);
    return 1;
}

struct message split(barid_slice text)
{
    for (size_t i = 0; i + 4 <= text.n; i++)
        if (memcmp(text.p + i, "\r\n\r\n", 4) == 0)
            return (struct message){slice_head(text, i + 2), slice_from(text, i + 4)};
    fail();
    return (struct message){text, {NULL, 0}};
}

int prepare(struct downgrade *d, struct err *err)
{
    int rc;

    do
        rc = downgrade_prepare(d, err);
    while (rc == 0 || rc == BARID_EAGAIN);
    return rc;
}

/* All of the body, n octets at once. */
static int read_all(struct downgrade *d, size_t n, struct buf *out)
{
    uint64_t offset = 0;
    bool last = false;

    while (!last) {
        barid_slice p;
        int rc = downgrade_body(d, offset, n, &p, &last);

        if (rc < 0)
            return rc;
        assert_true(p.n <= n && (rc == 1 || (p.n == 0 && !last)));
        assert_true(p.n > 0 || last || rc == 0);
        offset += p.n;
        if (buf_append(out, p) < 0)
            return BARID_ENOMEM;
    }
    return 0;
}

/* Header, blank line and body. */
int convert(barid_slice text, enum barid_body_type target, struct source *s, size_t n,
                   const barid_mem *mem, struct buf *out, struct err *err)
{
    struct message m = split(text);
    struct downgrade_options o = {.target = target,
                                  .header = m.header,
                                  .body_size = m.body.n,
                                  .body = read_source,
                                  .user = s,
                                  .mem = mem};
    struct downgrade *d;
    int rc = downgrade_new(&d, &o);

    s->body = m.body;
    if (rc == 0)
        rc = prepare(d, err);
    if (rc == 1) {
        buf_append(out, downgrade_header(d));
        buf_str(out, "\r\n");
        rc = read_all(d, n, out);
    }
    if (rc == 0) { /* again, for another server */
        struct buf again;

        buf_init(&again, NULL, 0);
        assert_int_equal(read_all(d, 1 + n / 2, &again), 0);
        assert_true(
            slice_eq(buf_slice(&again), slice_from(buf_slice(out), out->len - again.len)));
        buf_deinit(&again);
    }
    downgrade_del(&d);
    free(s->copy);
    s->copy = NULL;
    return rc;
}

int convert_to_nothing(barid_slice text, struct err *err)
{
    struct source s = {.piece = SIZE_MAX};
    struct buf out;
    int rc;

    buf_init(&out, NULL, 0);
    rc = convert(text, BARID_BODY_7BIT, &s, SIZE_MAX, NULL, &out, err);
    buf_deinit(&out);
    return rc;
}

void convert_whole(barid_slice text, enum barid_body_type target, struct buf *out)
{
    struct source s = {.piece = SIZE_MAX};
    struct err err;

    buf_init(out, NULL, 0);
    assert_int_equal(convert(text, target, &s, SIZE_MAX, NULL, out, &err), 0);
}
