/* message/downgrade_limits_test.c: conversions that are big, past a limit, without memory or body, or misused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/downgrade_int.h"
#include "message/downgrade_testing.h"

/* --- size and memory --- */

#define BIG          (20u << 20)
#define MEMORY_LIMIT (128u << 10)

struct counted {
    barid_mem mem;
    size_t live, peak;
};

static void *count_realloc(void *old, size_t size, void *user)
{
    struct counted *c = user;
    size_t *p = old == NULL ? NULL : (size_t *)old - 2;

    c->live += size - (p != NULL ? p[0] : 0);
    c->peak = c->live > c->peak ? c->live : c->peak;
    p = realloc(p, size + 2 * sizeof(*p));
    assert_non_null(p);
    p[0] = size;
    return p + 2;
}

static void *count_malloc(size_t size, void *user)
{
    return count_realloc(NULL, size, user);
}

static void count_free(void *old, void *user)
{
    struct counted *c = user;

    if (old != NULL) {
        c->live -= ((size_t *)old - 2)[0];
        free((size_t *)old - 2);
    }
}

/* A multipart of one part: octets that count up, with a head and a tail. */
static int read_big(void *user, uint64_t offset, size_t n, barid_slice *p_r)
{
    static const char head[] = "--b\r\n" CT "image/png\r\n\r\n", tail[] = "\r\n--b--\r\n";
    static char piece[10000];
    size_t start = sizeof(head) - 1;

    (void)user;
    n = n < sizeof(piece) ? n : sizeof(piece);
    for (size_t i = 0; i < n; i++, offset++) {
        if (offset < start)
            piece[i] = head[offset];
        else if (offset < start + BIG)
            piece[i] = (char)((offset - start) % 251);
        else
            piece[i] = tail[offset - start - BIG];
    }
    *p_r = slice_of(piece, n);
    return 1;
}

static void test_big(void **state)
{
    struct counted c = {.mem = {count_malloc, count_realloc, count_free, &c}};
    struct downgrade_options o = {
        .target = BARID_BODY_7BIT,
        .header = BARID_S(V M1),
        .body_size = BIG + sizeof("--b\r\n" CT "image/png\r\n\r\n\r\n--b--\r\n") - 1,
        .body = read_big,
        .mem = &c.mem};
    struct downgrade *d;
    uint64_t offset = 0, want;
    size_t turns = 1;
    bool last = false;

    (void)state;
    assert_int_equal(downgrade_new(&d, &o), 0);
    for (int rc; (rc = downgrade_prepare(d, NULL)) != 1; turns++)
        assert_int_equal(rc, BARID_EAGAIN);
    assert_int_equal(turns, o.body_size / DOWNGRADE_TURN + 1);
    while (!last) {
        barid_slice p;

        assert_int_equal(downgrade_body(d, offset, 65536, &p, &last), 1);
        offset += p.n;
    }
    downgrade_del(&d);
    want = (BIG + 2) / 3 * 4;
    want += (want - 1) / 76 * 2; /* breaks between lines; the last is the delimiter's */
    assert_int_equal(offset, o.body_size - BIG + want + sizeof(TE "base64\r\n") - 1);
    assert_int_equal(c.live, 0);
    assert_true(c.peak < MEMORY_LIMIT);
    printf("# proof: downgrade: a part of %u MiB, %zu octets of memory\n", BIG >> 20, c.peak);
}

static void repeat(struct buf *m, const char *text, size_t n)
{
    while (n-- > 0)
        assert_int_equal(buf_str(m, text), 0);
}

static void assert_limit(struct buf *m, int want, const char *words)
{
    struct err err = {.code = 0};

    assert_int_equal(convert_to_nothing(buf_slice(m), &err), want);
    if (want != 0)
        assert_non_null(strstr(err.text, words));
    buf_deinit(m);
}

static void put_levels(struct buf *m, size_t n)
{
    buf_init(m, NULL, 0);
    for (size_t i = 0; i < n; i++)
        buf_fmt(m, CT "multipart/mixed; boundary=%zu\r\n\r\n--%zu\r\n", i, i);
    buf_str(m, "\r\n\xff\r\n");
}

static void put_boundary(struct buf *m, size_t n, size_t spaces)
{
    buf_init(m, NULL, 0);
    buf_str(m, CT "multipart/mixed; boundary=\"");
    repeat(m, "b", n);
    buf_str(m, "\"\r\n\r\n--");
    repeat(m, "b", n);
    repeat(m, " ", spaces);
    buf_str(m, "\r\n" CT "image/png\r\n\r\n\xff\r\n");
}

static void test_limits(void **state)
{
    struct buf m, out;

    (void)state;
    put_levels(&m, MIME_DEPTH_MAX);
    assert_limit(&m, 0, "");
    put_levels(&m, MIME_DEPTH_MAX + 1);
    assert_limit(&m, BARID_ELIMIT, "more than 50 deep");

    /* A limit is none for what fits already. */
    put_levels(&m, MIME_DEPTH_MAX + 1);
    m.p[m.len - 3] = 'a';
    assert_limit(&m, 0, "");
    buf_init(&m, NULL, 0);
    buf_str(&m, CT "multipart/mixed; boundary=a*\r\n\r\n\xff\r\n");
    assert_limit(&m, BARID_ELIMIT, "boundary that is not ASCII");

    put_boundary(&m, DOWNGRADE_BOUNDARY_MAX, 3);
    assert_limit(&m, 0, "");
    put_boundary(&m, DOWNGRADE_BOUNDARY_MAX + 1, 0);
    assert_limit(&m, BARID_ELIMIT, "boundary of more than 250");

    /* A line that is too long for a delimiter is none. */
    put_boundary(&m, 1, PLAN_LINE_MAX - 5);
    convert_whole(buf_slice(&m), BARID_BODY_7BIT, &out);
    assert_true(slice_ends_nocase(buf_slice(&out), BARID_S("/w0K\r\n")));
    buf_deinit(&m);
    buf_deinit(&out);
    put_boundary(&m, 1, PLAN_LINE_MAX - 4);
    convert_whole(buf_slice(&m), BARID_BODY_7BIT, &out);
    assert_true(slice_ends_nocase(buf_slice(&out), BARID_S("\r\n\r\n?\r\n")));
    buf_deinit(&m);
    buf_deinit(&out);

    for (int over = 0; over <= 1; over++) {
        buf_init(&m, NULL, 0);
        buf_str(&m, M1 "\r\n--b\r\nX: ");
        repeat(&m, "x", DOWNGRADE_HEADER_MAX - 7 + (size_t)over);
        buf_str(&m, "\r\n\r\n\xff\r\n");
        assert_limit(&m, over ? BARID_ELIMIT : 0, "header of more than 65536");
    }
    for (size_t parts = DOWNGRADE_PIECES_MAX / 4, over = 0; over <= 1; over++) {
        buf_init(&m, NULL, 0);
        buf_str(&m, M1 "\r\n");
        repeat(&m, "--b\r\n\r\n\xff\r\n", parts + over);
        assert_limit(&m, over ? BARID_ELIMIT : 0, "more than 32768 pieces");
    }
}

/* --- what goes wrong --- */

static void test_failures(void **state)
{
    barid_slice text =
        BARID_S(V M1 TE "8bit\r\n\r\n--b\r\n" CT "message/rfc822\r\n\r\n\r\nhello w" AE
                        "rld hello\r\n--b--\r\n");
    struct fail_mem f = {.count = 0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct source s = {.piece = 3};
        struct buf out;
        int rc;

        buf_init(&out, NULL, 0);
        rc = convert(text, BARID_BODY_7BIT, &s, 5, &f.mem, &out, NULL);
        assert_int_equal(rc, f.failed ? BARID_ENOMEM : 0);
        buf_deinit(&out);
    }
    for (size_t from = 0; from < split(text).body.n; from += 7) {
        static const int failures[][2] = {{BARID_EIO, BARID_EIO}, {1, BARID_ECORRUPT}};

        for (size_t i = 0; i < 2; i++) {
            struct source s = {.piece = 2, .fail_from = from, .failure = failures[i][0]};
            struct buf out;

            /* An empty slice before the end is a body that is shorter than was said. */
            buf_init(&out, NULL, 0);
            assert_int_equal(convert(text, BARID_BODY_7BIT, &s, 5, NULL, &out, NULL),
                             failures[i][1] == BARID_EIO ? BARID_EIO : BARID_ECORRUPT);
            buf_deinit(&out);
        }
    }
}

static void test_use(void **state)
{
    struct message m = split(BARID_S(V M1 "\r\npre" AE "\r\n--b--\r\n"));
    struct source s = {.piece = SIZE_MAX, .body = m.body};
    struct downgrade_options o = {.target = BARID_BODY_BINARYMIME,
                                  .header = m.header,
                                  .body_size = m.body.n,
                                  .body = read_source,
                                  .user = &s};
    struct downgrade *d;
    barid_slice p;
    bool last;

    (void)state;
    assert_int_equal(downgrade_new(&d, &o), BARID_EINVALID);
    assert_null(d);
    downgrade_del(&d);
    o.target = BARID_BODY_7BIT;
    assert_int_equal(downgrade_new(&d, &o), 0);
    assert_int_equal(downgrade_body(d, 0, 1, &p, &last), BARID_EINVALID); /* not prepared */
    assert_int_equal(prepare(d, NULL), 1);
    assert_int_equal(downgrade_prepare(d, NULL), 1);
    assert_true(downgrade_changed(d));
    assert_int_equal(downgrade_body(d, 1, 1, &p, &last), BARID_EINVALID);
    assert_int_equal(downgrade_body(d, 0, 0, &p, &last), BARID_EINVALID);
    assert_int_equal(downgrade_body(d, 0, 4, &p, &last), 1);
    assert_true(slice_eq(p, BARID_S("pre?")));
    assert_int_equal(downgrade_body(d, 0, 4, &p, &last), 1); /* again */
    assert_true(slice_eq(p, BARID_S("pre?")));
    assert_int_equal(downgrade_body(d, 4, 100, &p, &last), 1);
    assert_true(last);
    assert_int_equal(downgrade_lost(d), 2);
    assert_int_equal(downgrade_body(d, 4 + p.n, 100, &p, &last), 1);
    assert_true(last && p.n == 0);
    downgrade_del(&d);
    free(s.copy);

    assert_int_equal(downgrade_target(false, false, true), BARID_BODY_7BIT);
    assert_int_equal(downgrade_target(true, true, false), BARID_BODY_8BITMIME);
    assert_int_equal(downgrade_target(false, true, true), BARID_BODY_BINARYMIME);
    assert_false(downgrade_needed(BARID_BODY_DEFAULT, BARID_BODY_7BIT));
    assert_true(downgrade_needed(BARID_BODY_8BITMIME, BARID_BODY_DEFAULT));
    assert_true(downgrade_needed(BARID_BODY_BINARYMIME, BARID_BODY_8BITMIME));
    assert_false(downgrade_needed(BARID_BODY_8BITMIME, BARID_BODY_BINARYMIME));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_big),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
