/* message/body_scan_test.c: what octets need of a server, however they come. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/body_scan.h"

struct row {
    barid_slice octets;
    enum barid_body_type type;
    uint64_t high, nuls, bare;
};

static const struct row rows[] = {
    {{"", 0}, BARID_BODY_7BIT, 0, 0, 0},
    {{"a\r\n", 3}, BARID_BODY_7BIT, 0, 0, 0},
    {{"a", 1}, BARID_BODY_7BIT, 0, 0, 0},
    {{"\r\n\r\n", 4}, BARID_BODY_7BIT, 0, 0, 0},
    {{"\x7f\x01\x1b", 3}, BARID_BODY_7BIT, 0, 0, 0},
    {{"\x80\xff\r\n", 4}, BARID_BODY_8BITMIME, 2, 0, 0},
    {{"a\0\r\n", 4}, BARID_BODY_BINARYMIME, 0, 1, 0},
    {{"a\nb", 3}, BARID_BODY_BINARYMIME, 0, 0, 1},
    {{"\n", 1}, BARID_BODY_BINARYMIME, 0, 0, 1},
    {{"a\rb", 3}, BARID_BODY_BINARYMIME, 0, 0, 1},
    {{"a\r\r\n", 4}, BARID_BODY_BINARYMIME, 0, 0, 1},
    {{"\r\n\n", 3}, BARID_BODY_BINARYMIME, 0, 0, 1},
    {{"a\r", 2}, BARID_BODY_BINARYMIME, 0, 0, 0}, /* may still become CRLF */
    {{"\xe4\r", 2}, BARID_BODY_BINARYMIME, 1, 0, 0},
};

struct run {
    struct body_scan scan;
    const struct row *row;
};

static void begin(void *user)
{
    ((struct run *)user)->scan = (struct body_scan){.octets = 0};
}

static void feed(void *user, const char *p, size_t n)
{
    body_scan_feed(&((struct run *)user)->scan, p, n);
}

static void end(void *user)
{
    const struct run *r = user;

    assert_int_equal(body_scan_type(&r->scan), r->row->type);
    assert_int_equal(r->scan.octets, r->row->octets.n);
    assert_int_equal(r->scan.high, r->row->high);
    assert_int_equal(r->scan.nuls, r->row->nuls);
    assert_int_equal(r->scan.bare, r->row->bare);
}

static void test_types(void **state)
{
    static const struct cut_ops ops = {begin, feed, end};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct run r = {.row = &rows[i]};

        test_cuts(&ops, &r, rows[i].octets, 5, i);
    }
}

static void test_long_lines(void **state)
{
    static char line[BODY_LINE_MAX + 3];
    struct body_scan s = {.octets = 0};

    (void)state;
    memset(line, 'a', sizeof(line));
    memcpy(line + BODY_LINE_MAX, "\r\n", 2);
    body_scan_feed(&s, line, BODY_LINE_MAX + 2);
    body_scan_feed(&s, line, BODY_LINE_MAX + 2);
    assert_int_equal(body_scan_type(&s), BARID_BODY_7BIT);
    body_scan_feed(&s, "b", 1);
    body_scan_feed(&s, line, BODY_LINE_MAX + 2);
    assert_int_equal(body_scan_type(&s), BARID_BODY_BINARYMIME);
    assert_int_equal(s.long_lines, 1);
}

/* A copy made at a line's start: what came before does not count. */
static void test_since(void **state)
{
    struct body_scan s = {.octets = 0}, then, part;

    (void)state;
    body_scan_feed(&s, "\xff\n\0\r\n", 5);
    then = s;
    body_scan_feed(&s, "a\xe4\r\n", 4);
    part = body_scan_since(&s, &then);
    assert_int_equal(body_scan_type(&part), BARID_BODY_8BITMIME);
    assert_int_equal(part.octets, 4);
    assert_int_equal(part.high, 1);
    body_scan_feed(&s, "\r", 1);
    part = body_scan_since(&s, &then);
    assert_int_equal(body_scan_type(&part), BARID_BODY_BINARYMIME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_long_lines),
        cmocka_unit_test(test_since),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
