/* message/mime_test.c: the pre-scan's limits and the tree: parts, names, charsets, headers, odd
 * messages. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"
#include "message/mime.h"
#include "message/mime_scan.h"

#define MIXED                                                                                  \
    "From: =?utf-8?q?J=C3=B6rg?= <j@example.com>\r\nContent-Type: multipart/mixed;\r\n "       \
    "boundary=\"b 1\"\r\n"                                                                     \
    "Subject: =?iso-8859-1?q?gr=FC=DFe?=\r\n folded\r\nMIME-Version: 1.0\r\n\r\nprologue\r\n"  \
    "--b 1\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "     \
    "quoted-printable\r\n\r\n"                                                                 \
    "gr=FC=DFe\r\n--b 1\r\nContent-Type: TEXT/HTML; "                                          \
    "charset=no-such-charset\r\n\r\n<p>\xff</p>\r\n"                                           \
    "--b 1\r\nContent-Type: application/octet-stream\r\nContent-Disposition: Attachment;\r\n"  \
    " filename*0*=utf-8''a%C3%A4;\r\n filename*1=\"b.bin\"\r\nContent-ID: <id1@x>\r\n"         \
    "Content-Transfer-Encoding: base64\r\n\r\nAAEC/w==\r\n"                                    \
    "--b 1\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: "            \
    "text/plain\r\n\r\nhello\r\n"                                                              \
    "--b 1--\r\nepilogue\r\n"

static struct mime *parse(const char *text)
{
    struct mime *m = NULL;
    struct err err;

    assert_int_equal(mime_parse(&m, slice_str(text), &err), 0);
    return m;
}

static void assert_text(barid_slice s, const char *want)
{
    if (!test_slice_is(s, want))
        print_error("got %.*s, want %s\n", (int)s.n, s.p, want);
    assert_true(test_slice_is(s, want));
}

static void assert_data(const struct mime_part *p, bool as_utf8, const char *want, size_t n)
{
    barid_slice data, again;

    assert_int_equal(mime_data(p, as_utf8, &data), 0);
    assert_int_equal(data.n, n);
    if (n > 0)
        assert_memory_equal(data.p, want, n);
    assert_int_equal(mime_data(p, as_utf8, &again), 0);
    assert_ptr_equal(data.p, again.p); /* cached */
}

static void test_tree(void **state)
{
    struct mime *m = parse(MIXED);
    const struct mime_part *root = mime_root(m), *p;
    barid_slice name, value;

    (void)state;
    assert_text(mime_type(root), "multipart/mixed");
    assert_int_equal(mime_children(root), 4);
    assert_null(mime_child(root, 4));
    assert_text(mime_header_get(root, BARID_S("subject")), "gr\xc3\xbc\xc3\x9f"
                                                           "e folded");
    assert_text(mime_header_get(root, BARID_S("FROM")), "J\xc3\xb6rg <j@example.com>");
    assert_int_equal(mime_header_get(root, BARID_S("To")).n, 0);
    assert_int_equal(mime_header_count(root), 4);
    mime_header(root, 1, &name, &value);
    assert_text(name, "Content-Type"); /* in the order of the message */
    mime_header(root, 4, &name, &value);
    assert_int_equal(name.n + value.n, 0);
    assert_data(root, true, "", 0);

    p = mime_child(root, 0);
    assert_text(mime_type(p), "text/plain");
    assert_text(mime_charset(p), "iso-8859-1");
    assert_text(mime_encoding(p), "quoted-printable");
    assert_data(p, false,
                "gr\xfc\xdf"
                "e",
                5);
    assert_data(p, true,
                "gr\xc3\xbc\xc3\x9f"
                "e",
                7);

    p = mime_child(root, 1);
    assert_text(mime_type(p), "text/html");
    assert_data(p, true, "<p>\xef\xbf\xbd</p>", 10);

    p = mime_child(root, 2);
    assert_text(mime_file_name(p), "a\xc3\xa4"
                                   "b.bin");
    assert_text(mime_disposition(p), "attachment");
    assert_text(mime_content_id(p), "id1@x");
    assert_text(mime_encoding(p), "base64");
    assert_data(p, true, "\0\1\2\xff", 4); /* no text: octets stay */

    p = mime_child(root, 3);
    assert_text(mime_type(p), "message/rfc822");
    assert_int_equal(mime_children(p), 1);
    assert_text(mime_header_get(mime_child(p, 0), BARID_S("Subject")), "inner");
    assert_data(mime_child(p, 0), true, "hello", 5);
    mime_del(&m);
    assert_null(m);
    mime_del(&m);
}

static void test_charsets(void **state)
{
    static const struct {
        const char *charset;
        barid_slice in, want;
    } rows[] = {
        {"utf-8", {"\xc3\xa4", 2}, {"\xc3\xa4", 2}},
        {"utf-8", {"a\xc3", 2}, {"a\xef\xbf\xbd", 4}},
        {"utf-8", {"\xed\xa0\x80", 3}, {"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 9}},
        {"us-ascii", {"a\xe4z", 3}, {"a\xef\xbf\xbdz", 5}},
        {"ISO-8859-15", {"\xa4", 1}, {"\xe2\x82\xac", 3}},
        {"windows-1252", {"\x80", 1}, {"\xe2\x82\xac", 3}},
        {"utf-16le", {"a\0b", 3}, {"a\xef\xbf\xbd", 4}},
        {"koi8-r", {"\xc1", 1}, {"\xd0\xb0", 2}},
        {"", {"x\xff", 2}, {"x\xef\xbf\xbd", 4}},
        {"../../etc/passwd", {"x", 1}, {"x", 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf text;
        struct mime *m;
        struct err err;
        barid_slice data;

        buf_init(&text, NULL, 0);
        buf_fmt(&text,
                "Content-Type: text/plain; charset=\"%s\"\r\nContent-Transfer-Encoding: "
                "base64\r\n\r\n",
                rows[i].charset);
        base64_encode(&text, rows[i].in);
        assert_int_equal(mime_parse(&m, buf_slice(&text), &err), 0);
        assert_int_equal(mime_data(mime_root(m), true, &data), 0);
        if (!slice_eq(data, rows[i].want))
            print_error("row %zu\n", i);
        assert_true(slice_eq(data, rows[i].want));
        mime_del(&m);
        buf_deinit(&text);
    }
}

static void test_odd_messages(void **state)
{
    static const char *const texts[] = {
        "",
        "\r\n",
        "body only",
        "A: b\r\n",
        "A: b\r\n\r\n",
        "Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\n",
        "Content-Type: multipart/mixed; boundary=x\r\n\r\nno delimiter\r\n",
        "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n--x--\r\n",
        "Content-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n",
        "Content-Type:\r\n\r\nx",
        "Content-Type: ;;;\r\n\r\nx",
        "Content-Type: message/rfc822\r\n\r\n",
        "Content-Transfer-Encoding: base64\r\n\r\n!!!not base64!!!",
        "Content-Type: text/plain; charset\r\n\r\n\xff",
        "Subject: =?utf-8?b?////?=\r\n\r\n",
        "Subject: \xff\xfe\r\n\r\n",
        "From x\r\nA: b\r\n\r\nx",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        struct mime *m = NULL;
        struct err err;
        barid_slice data;
        int rc = mime_parse(&m, slice_str(texts[i]), &err);

        assert_true(rc == 0 || rc == BARID_ESYNTAX);
        assert_int_equal(rc == 0, m != NULL);
        if (m == NULL)
            continue;
        assert_true(mime_type(mime_root(m)).n > 0);
        assert_int_equal(mime_data(mime_root(m), true, &data), 0);
        for (size_t h = 0; h < mime_header_count(mime_root(m)); h++) {
            barid_slice name, value;

            mime_header(mime_root(m), h, &name, &value);
            assert_true(utf8_valid(value));
        }
        mime_del(&m);
    }
}

static void nested(struct buf *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_fmt(text, "Content-Type: multipart/mixed; boundary=b%zu.\r\n\r\n--b%zu.\r\n", i, i);
    buf_str(text, "\r\nx\r\n");
}

static void embedded(struct buf *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        buf_str(text, "Content-Type: message/rfc822\r\n\r\n");
    buf_str(text, "\r\nx\r\n");
}

static void many(struct buf *text, size_t n)
{
    buf_str(text, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (size_t i = 0; i < n; i++)
        buf_str(text, "--b\r\n\r\nx\r\n");
}

static void header(struct buf *text, size_t n)
{
    buf_str(text, "A: ");
    for (size_t i = 0; i < n; i++)
        buf_str(text, "x");
    buf_str(text, "\r\n\r\n");
}

static void groups(struct buf *text, size_t n)
{
    buf_str(text, "To");
    for (size_t i = 0; i < n; i++)
        buf_str(text, i % 20 ? ":" : ":\r\n a");
    buf_str(text, "\r\n\r\n");
}

/* The scanner sees body where a more lenient parser might see a header. */
static void groups_in_body(struct buf *text, size_t n)
{
    buf_str(text, "A: b\r\n\r\n");
    groups(text, n);
}

static void test_limits(void **state)
{
    static const struct {
        void (*make)(struct buf *text, size_t n);
        size_t n;
        int rc;
        size_t parts, depth; /* where rc is 0 */
    } rows[] = {
        {nested, 0, 0, 1, 1},
        {nested, 1, 0, 2, 2},
        {nested, MIME_DEPTH_MAX - 1, 0, MIME_DEPTH_MAX, MIME_DEPTH_MAX},
        {nested, MIME_DEPTH_MAX, BARID_ELIMIT, 0, 0},
        {nested, 20000, BARID_ELIMIT, 0, 0},
        {embedded, MIME_DEPTH_MAX - 1, 0, MIME_DEPTH_MAX, MIME_DEPTH_MAX},
        {embedded, MIME_DEPTH_MAX, BARID_ELIMIT, 0, 0},
        {many, MIME_PARTS_MAX - 1, 0, MIME_PARTS_MAX, 2},
        {many, MIME_PARTS_MAX, BARID_ELIMIT, 0, 0},
        {header, MIME_HEADER_MAX - 10, 0, 1, 1},
        {header, MIME_HEADER_MAX, BARID_ELIMIT, 0, 0},
        {groups, MIME_COLONS_MAX, 0, 1, 1},
        {groups, MIME_COLONS_MAX + 1, BARID_ELIMIT, 0, 0},
        {groups, 100000, BARID_ELIMIT, 0, 0},
        {groups_in_body, 100000, BARID_ELIMIT, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct mime_counts counts;
        struct mime *m = NULL;
        struct buf text;
        struct err err;

        buf_init(&text, NULL, 0);
        rows[i].make(&text, rows[i].n);
        assert_int_equal(mime_scan(buf_slice(&text), &counts, &err), rows[i].rc);
        assert_int_equal(mime_parse(&m, buf_slice(&text), &err), rows[i].rc);
        if (rows[i].rc == 0) {
            assert_int_equal(counts.parts, rows[i].parts);
            assert_int_equal(counts.depth, rows[i].depth);
        } else {
            assert_true(err.text[0] != '\0');
        }
        mime_del(&m);
        buf_deinit(&text);
    }
}

static void test_too_large(void **state)
{
    size_t n = (size_t)MIME_SIZE_MAX + 1;
    char *text = calloc(1, n);
    struct mime *m = NULL;
    struct err err;

    (void)state;
    assert_non_null(text);
    assert_int_equal(mime_parse(&m, slice_of(text, n), &err), BARID_ELIMIT);
    assert_null(m);
    free(text);
}

/* Short lines cost the most time for their octets. */
static void test_many_lines(void **state)
{
    const size_t n = 3, size = 1 + MIME_LINES_MAX * n; /* the first line ends the header */
    char *text = malloc(size);
    struct mime *m = NULL;
    struct err err = {0};

    (void)state;
    assert_non_null(text);
    text[0] = '\n';
    for (size_t at = 1; at < size; at += n)
        memcpy(text + at, "--\n", n);
    assert_int_equal(mime_parse(&m, slice_of(text, size - n), &err), 0);
    mime_del(&m);
    assert_int_equal(mime_parse(&m, slice_of(text, size), &err), BARID_ELIMIT);
    assert_string_equal(err.text, "a message of more than 2000000 lines");
    assert_null(m);
    free(text);
}

#if !defined(__SANITIZE_THREAD__) /* minutes for it, and there is but one thread */
/* A charset of one octet a character that UTF-8 needs three for. */
static void test_text_grows(void **state)
{
    static const char header[] = "Content-Type: text/plain; charset=windows-1252\n\n";
    const size_t size = (size_t)MIME_TEXT_MAX / 3 + 200000;
    char *text = malloc(size);
    struct mime *m = NULL;
    barid_slice data;

    (void)state;
    assert_non_null(text);
    memset(text, 0x80, size); /* the euro sign */
    memcpy(text, header, sizeof(header) - 1);
    for (size_t i = sizeof(header) + 1000; i < size; i += 1000)
        text[i] = '\n';
    assert_int_equal(mime_parse(&m, slice_of(text, size), NULL), 0);
    assert_int_equal(mime_data(mime_root(m), true, &data), BARID_ELIMIT);
    assert_int_equal(mime_data(mime_root(m), false, &data), 0);
    assert_int_equal(data.n, size - (sizeof(header) - 1));
    mime_del(&m);
    free(text);
}
#endif

static void test_scan_follows_the_structure(void **state)
{
    static const struct {
        const char *text;
        size_t parts, depth;
    } rows[] = {
        {"", 1, 1},
        {MIXED, 6, 3},
        {"A: b\r\n\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n", 1,
         1},                                                                  /* in the body */
        {"content-type:multipart/x;boundary=x\n\n--x\n\n--x--\n--x\n", 2, 2}, /* LF, closed */
        {"Content-Type: multipart/x; BOUNDARY = \"a\"\r\n\r\n--a\r\nContent-Type: multipart/y; "
         "boundary=aa\r\n\r\n"
         "--aa\r\n\r\n--a\r\n",
         4, 3},
        {"Content-Type: text/plain; boundary=x\r\n\r\n--x\r\n", 1, 1},
        {"Content-Type: multipart/x;\r\n\tboundary=x\r\n\r\n--x\r\n--x\r\n", 3, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct mime_counts counts;

        assert_int_equal(mime_scan(slice_str(rows[i].text), &counts, NULL), 0);
        if (counts.parts != rows[i].parts || counts.depth != rows[i].depth)
            print_error("row %zu: %zu %zu\n", i, counts.parts, counts.depth);
        assert_int_equal(counts.parts, rows[i].parts);
        assert_int_equal(counts.depth, rows[i].depth);
    }
}

/* Our share of the memory failing; GLib's ends the process by its own rule. */
static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct mime *m = NULL;
        struct err err;
        barid_slice data;
        int rc;

        rc = mime_parse_mem(&m, &f.mem, slice_str(MIXED), &err);
        assert_true(rc == 0 || rc == BARID_ENOMEM);
        assert_int_equal(rc == 0, m != NULL);
        for (size_t i = 0; m != NULL && i < 4; i++)
            if (mime_data(mime_child(mime_root(m), i), true, &data) == 0)
                assert_true(data.n > 0);
        mime_del(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#if !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_text_grows),
#endif
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_charsets),
        cmocka_unit_test(test_odd_messages),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_many_lines),
        cmocka_unit_test(test_scan_follows_the_structure),
        cmocka_unit_test(test_no_memory),
    };

    mime_library_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
