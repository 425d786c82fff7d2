/*
 * message/downgrade_test.c: messages that need 8BITMIME or BINARYMIME, made to fit less: the exact octets, what a MIME parser reads in
 * them (mime.h, before and after), every way the body may come.
 */
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
#include "message/downgrade_testing.h"
#include "message/mime.h"

/* However it comes and is asked for: the same. */
static void check_cuts(barid_slice text, enum barid_body_type target, barid_slice want,
                       uint64_t seed)
{
    static const size_t asked[] = {SIZE_MAX, 1, 7, 4096};
    struct rng_seeded rng;

    rng_seeded_init(&rng, seed);
    for (size_t i = 0; i < 12; i++) {
        struct source s = {.piece = i % 3 == 0   ? SIZE_MAX
                                    : i % 3 == 1 ? 1
                                                 : 0,
                           .is_late = i >= 6,
                           .rng = &rng.rng};
        struct buf out;

        buf_init(&out, NULL, 0);
        assert_int_equal(convert(text, target, &s, asked[i % 4], NULL, &out, NULL), 0);
        assert_true(slice_eq(buf_slice(&out), want));
        buf_deinit(&out);
    }
}

/* --- exact octets --- */

struct row {
    const char *name;
    enum barid_body_type target;
    barid_slice in, out;
};

#define ROW(name, target, in, out)                                                             \
    {                                                                                          \
        name, BARID_BODY_##target, {in, sizeof(in) - 1},                                       \
        {                                                                                      \
            out, sizeof(out) - 1                                                               \
        }                                                                                      \
    }
#define SAME(name, target, in) ROW(name, target, in, in)

#define X10  "xxxxxxxxxx"
#define X70  X10 X10 X10 X10 X10 X10 X10
#define X100 X70 X10 X10 X10
#define X900 X100 X100 X100 X100 X100 X100 X100 X100 X100

static const struct row rows[] = {
    SAME("7bit", 7BIT, V CT "text/plain\r\n" TE "8bit\r\n\r\nhello\r\n"),
    SAME("7bit from nothing", 7BIT, "Subject: " AE "\r\n\r\n"),
    SAME("8bit for 8bit", 8BITMIME,
         V M1 TE "8bit\r\n\r\n" AE "\r\n--b\r\n\r\n" AE "\r\n--b--\r\n"),
    ROW("text", 7BIT,
        V CT "text/plain; charset=utf-8\r\n" TE "8bit\r\nSubject: " AE "\r\n\r\nk" AE
             "se = 1 \r\n.\t\r\nend\r\n",
        V CT "text/plain; charset=utf-8\r\n" TE "quoted-printable\r\nSubject: " AE
             "\r\n\r\nk=C3=A4se =3D 1=20\r\n.=09\r\nend\r\n"),
    ROW("no MIME", 7BIT, "Subject: a\r\n\r\nhello w" AE "rld, hello\r\n",
        "Subject: a\r\n" V CT "text/plain; charset=unknown-8bit\r\n" TE
        "quoted-printable\r\n\r\nhello w=C3=A4rld, hello\r\n"),
    ROW("no MIME-Version", 7BIT, CT "text/plain\r\n\r\nhello w" AE "rld, hello\r\n",
        CT "text/plain\r\n" V TE "quoted-printable\r\n\r\nhello w=C3=A4rld, hello\r\n"),
    ROW("much", 7BIT, V CT "text/plain\r\n" TE "8bit\r\n\r\n" AE AE AE "\r\n",
        V CT "text/plain\r\n" TE "base64\r\n\r\nw6TDpMOkDQo=\r\n"),
    ROW("no last line end", 7BIT, V CT "text/plain\r\n\r\nhello w" AE "rld hello",
        V CT "text/plain\r\n" TE "quoted-printable\r\n\r\nhello w=C3=A4rld hello=\r\n"),
    ROW("soft break", 7BIT,
        V CT "text/plain\r\n\r\n" X70 "xxxx" AE "x\r\n" X70 "xxxxx--b\r\n" X70 "xxxxxx\r\n",
        V CT "text/plain\r\n" TE "quoted-printable\r\n\r\n" X70 "xxxx=\r\n=C3=A4x\r\n" X70
             "xxxxx=\r\n-=2Db\r\n" X70 "xxxxx=\r\nx\r\n"),
    ROW("binary text", 7BIT, V CT "text/plain\r\n" TE "binary\r\n\r\na\nb",
        V CT "text/plain\r\n" TE "base64\r\n\r\nYQpi\r\n"),
    ROW("binary for 8bit", 8BITMIME, V CT "image/png\r\n" TE "binary\r\n\r\n\x89\n\0",
        V CT "image/png\r\n" TE "base64\r\n\r\niQoA\r\n"),
    ROW("NUL in text", 8BITMIME, V CT "text/plain\r\n\r\nhello\0" AE " world, hello\r\n",
        V CT "text/plain\r\n" TE "quoted-printable\r\n\r\nhello=00=C3=A4 world, hello\r\n"),
    ROW("base64 lines", 7BIT,
        V CT "image/png\r\n\r\n" X10 X10 X10 X10 X10 "xxxxx" AE X10 "\xff",
        V CT "image/png\r\n" TE "base64\r\n\r\n"
             "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eMOk\r\ne"
             "Hh4eHh4eHh4eP8=\r\n"),
    ROW("multipart", 7BIT,
        V M1 TE "8BIT (x)\r\n\r\npre" AE "\r\n--b\r\n" CT "text/plain\r\n" TE "8bit\r\nX: " AE
                "\r\n\r\nhello w" AE "rld hello\r\n--b \r\n" CT "image/png\r\n" TE
                "binary\r\n" TE "8bit\r\n\r\n\x89\x89\r\n\r\n--b\r\n" TE
                "8bit\r\n\r\nplain\r\n--b--\r\nepi" AE "\r\n",
        V M1 TE "7bit\r\n\r\npre??\r\n--b\r\n" CT "text/plain\r\n" TE
                "quoted-printable\r\nX: ??\r\n\r\nhello w=C3=A4rld hello\r\n--b \r\n" CT
                "image/png\r\n" TE "base64\r\n\r\niYkNCg==\r\n--b\r\n" TE
                "7bit\r\n\r\nplain\r\n--b--\r\nepi??\r\n"),
    ROW("part without type", 7BIT, V M1 "\r\n--b\r\n\r\nhello hello " AE "\r\n--b--\r\n",
        V M1 "\r\n--b\r\n" CT "text/plain; charset=unknown-8bit\r\n" TE
             "quoted-printable\r\n\r\nhello hello =C3=A4\r\n--b--\r\n"),
    ROW("binary multipart for 8bit", 8BITMIME,
        V M1 TE "binary\r\n\r\npre" AE "\r\n--b\r\n" CT "image/png\r\n" TE
                "binary\r\n\r\na\nb\r\n--b\r\n" TE "binary\r\n\r\n" AE "\r\n--b--\r\n",
        V M1 TE "8bit\r\n\r\npre" AE "\r\n--b\r\n" CT "image/png\r\n" TE
                "base64\r\n\r\nYQpi\r\n--b\r\n" TE "8bit\r\n\r\n" AE "\r\n--b--\r\n"),
    ROW("embedded", 7BIT,
        V CT "message/rfc822\r\n" TE "8bit\r\n\r\nSubject: " AE "\r\n\r\nhello w" AE
             "rld hello\r\n",
        V CT "message/rfc822\r\n" TE "7bit\r\n\r\nSubject: ??\r\n" V CT
             "text/plain; charset=unknown-8bit\r\n" TE
             "quoted-printable\r\n\r\nhello w=C3=A4rld hello\r\n"),
    ROW("digest", 7BIT,
        V CT "multipart/digest; boundary=\"b c\"\r\n\r\n--b c\r\n\r\n" V CT
             "image/png\r\n\r\n\xff\r\n--b c--\r\n",
        V CT "multipart/digest; boundary=\"b c\"\r\n\r\n--b c\r\n\r\n" V CT "image/png\r\n" TE
             "base64\r\n\r\n/w==\r\n--b c--\r\n"),
    ROW("quoted already", 7BIT,
        V CT "text/plain\r\n" TE "Quoted-Printable\r\n\r\n=C3=A4" AE "=\r\n \r\n",
        V CT "text/plain\r\n" TE "Quoted-Printable\r\n\r\n=C3=A4=C3=A4=\r\n \r\n"),
    ROW("base64 already", 7BIT, V CT "image/png\r\n" TE "base64\r\n\r\nAA\xff=\n=\r",
        V CT "image/png\r\n" TE "base64\r\n\r\nAA?=\r\n= "),
    ROW("signed", 7BIT,
        V CT "multipart/signed; protocol=\"x/y\"; boundary=b\r\n\r\n--b\r\n" CT
             "text/plain\r\n" TE "8bit\r\n\r\nhello w" AE "rld hello\r\n--b\r\n" CT
             "x/y\r\n\r\nsig\r\n--b--\r\n",
        V CT "multipart/signed; protocol=\"x/y\"; boundary=b\r\n\r\n--b\r\n" CT
             "text/plain\r\n" TE "quoted-printable\r\n\r\nhello w=C3=A4rld hello\r\n--b\r\n" CT
             "x/y\r\n\r\nsig\r\n--b--\r\n"),
    ROW("partial", 7BIT, V CT "message/partial; id=a\r\n\r\nhello w" AE "rld hello\r\n",
        V CT "message/partial; id=a\r\n" TE
             "quoted-printable\r\n\r\nhello w=C3=A4rld hello\r\n"),
    ROW("global", 7BIT, V CT "message/global\r\n\r\nTo: " AE "\r\n",
        V CT "message/global\r\n" TE "base64\r\n\r\nVG86IMOkDQo=\r\n"),
    ROW("no last boundary", 7BIT, V M1 "\r\n--b\r\n" CT "image/png\r\n\r\n\xff\r\n",
        V M1 "\r\n--b\r\n" CT "image/png\r\n" TE "base64\r\n\r\n/w0K\r\n"),
    ROW("header cut by a boundary", 7BIT,
        V M1 "\r\n--b\r\n" CT "image/png\r\n--b\r\n\r\nhello w" AE "rld hello\r\n--b--",
        V M1 "\r\n--b\r\n" CT "image/png\r\n--b\r\n" CT
             "text/plain; charset=unknown-8bit\r\n" TE
             "quoted-printable\r\n\r\nhello w=C3=A4rld hello\r\n--b--"),
    ROW("empty parts", 7BIT, V M1 "\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n",
        V M1 "\r\n--b\r\n\r\n--b\r\n\r\n\r\n--b\r\n" CT
             "text/plain; charset=unknown-8bit\r\n" TE "base64\r\n\r\n/w==\r\n--b--\r\n"),
    ROW("lines end in LF", 7BIT,
        V M1 "\r\n--b\n" CT "image/png\n" TE "binary\n\n\xff\n--b\n\nplain\n--b--\n",
        V M1 "\r\n--b\r\n" CT "image/png\r\n" TE
             "base64\r\n\r\n/w==\r\n--b\r\n\r\nplain\r\n--b--\r\n"),
    ROW("boundaries alike", 7BIT,
        V CT "multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" M1 "\r\n--b\r\n" CT
             "x/y\r\n\r\n\xff\r\n--bb\r\n" CT "x/y\r\n\r\n--b\r\n\xfe\r\n--bb--\r\n",
        V CT "multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" M1 "\r\n--b\r\n" CT "x/y\r\n" TE
             "base64\r\n\r\n/w==\r\n--bb\r\n" CT "x/y\r\n" TE
             "base64\r\n\r\nLS1iDQr+\r\n--bb--\r\n"),
    ROW("odd parameters", 7BIT,
        V CT "Multipart /(c;\\)) mixed; x=\"a;b\\\"c\"; Boundary=\"b\\b\";y\r\n\r\n--bb\r\n" CT
             "x/y\r\n\r\n\xff\r\n--bb--\r\n",
        V CT "Multipart /(c;\\)) mixed; x=\"a;b\\\"c\"; Boundary=\"b\\b\";y\r\n\r\n--bb\r\n" CT
             "x/y\r\n" TE "base64\r\n\r\n/w==\r\n--bb--\r\n"),
    ROW("multipart without boundary", 7BIT,
        V CT "multipart/mixed\r\n\r\nhello w" AE "rld hello\r\n",
        V CT "multipart/mixed\r\n" TE "quoted-printable\r\n\r\nhello w=C3=A4rld hello\r\n"),
    ROW("no new delimiters", 7BIT,
        V CT
        "multipart/mixed; boundary=\"b=E4\"\r\n\r\n--b\r=E4\r\n--b\xe4\r\n--b=E4\r\n\r\nhello "
        "w\xe4rld\r\n--b\xe4\r\n- x\r\n-- \r\n" TE "x\r\n--b=E4--\r\n--b=\xe4--\r\n",
        V CT "multipart/mixed; boundary=\"b=E4\"\r\n\r\n--b =E4\r\n--b*\r\n--b=E4\r\n" CT
             "text/plain; charset=unknown-8bit\r\n" TE
             "quoted-printable\r\n\r\nhello w=E4rld\r\n-=2Db=E4\r\n- x\r\n-=2D=20\r\n" TE
             "x\r\n--b=E4--\r\n--b=*--\r\n"),
    ROW("preamble", 7BIT,
        V M1 "\r\na\rb\0c\n" X900 X70 X10 X10 "xxxxxxxx-\r\n--b\r\n\r\nx\r\n--b--\r\n",
        V M1 "\r\na b?c\r\n" X900 X70 X10 X10 "xxxxxxxx\r\n -\r\n--b\r\n\r\nx\r\n--b--\r\n"),
};

static void check_fits(barid_slice text, enum barid_body_type target)
{
    struct body_scan scan = {.octets = 0};
    barid_slice body = split(text).body;

    body_scan_feed(&scan, body.p, body.n);
    assert_false(downgrade_needed(body_scan_type(&scan), target));
}

static void test_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct buf out;

        convert_whole(rows[i].in, rows[i].target, &out);
        if (!slice_eq(buf_slice(&out), rows[i].out))
            print_error("%s: got\n%.*s\n", rows[i].name, (int)out.len, out.p);
        assert_true(slice_eq(buf_slice(&out), rows[i].out));
        check_fits(rows[i].out, rows[i].target);
        check_cuts(rows[i].in, rows[i].target, rows[i].out, i);
        buf_deinit(&out);
    }
    printf("# proof: downgrade: %zu messages, each in 12 cuts, read twice\n",
           sizeof(rows) / sizeof(*rows));
}

/* --- what a parser reads --- */

static void assert_same_tree(const struct mime_part *a, const struct mime_part *b)
{
    barid_slice x, y;

    assert_true(slice_eq(mime_type(a), mime_type(b)));
    assert_int_equal(mime_children(a), mime_children(b));
    for (size_t i = 0; i < mime_children(a); i++)
        assert_same_tree(mime_child(a, i), mime_child(b, i));
    if (mime_children(a) > 0)
        return;
    assert_int_equal(mime_data(a, false, &x), 0);
    assert_int_equal(mime_data(b, false, &y), 0);
    assert_true(slice_eq(x, y));
}

static size_t pick(const struct rng *rng, size_t n)
{
    return (size_t)(rng_u64(rng) % n);
}

/* Content in lines; binary: any octets. */
static void put_content(struct buf *m, const struct rng *rng, bool is_text, bool is_binary)
{
    static const char *const words[] = {
        "hello", " ",     "\t",    "=",        "--",         "--x",  ".",  "From ",
        "\r\n",  " \r\n", "=\r\n", "\r\n\r\n", "w" AE "rld", "\xff", X100, "=3D"};
    size_t n = pick(rng, 60), column = 0;

    for (size_t i = 0; i < n; i++) {
        const char *word = words[pick(rng, sizeof(words) / sizeof(*words))];

        if (column > 800)
            word = "\r\n";
        column = strchr(word, '\n') != NULL ? 0 : column + strlen(word);
        buf_str(m, word);
        if (is_binary && !is_text)
            buf_byte(m, (char)pick(rng, 256));
    }
    buf_str(m, "x");
}

static void put_part(struct buf *m, const struct rng *rng, size_t depth)
{
    static const char *const types[] = {"text/plain; charset=utf-8", "text/html", "image/png",
                                        "application/octet-stream"};
    static const char *const labels[] = {"", TE "8bit\r\n", TE "binary\r\n", TE "7bit\r\n"};
    size_t kind = depth < 6 ? pick(rng, 8) : 4;
    size_t type = pick(rng, 4), parts = 1 + pick(rng, 3), id = (size_t)rng_u64(rng) % 100000;

    if (kind == 0) {
        buf_fmt(m, CT "message/rfc822\r\n%s\r\n" V, labels[pick(rng, 4)]);
        put_part(m, rng, depth + 1);
        return;
    }
    if (kind > 3) {
        buf_fmt(m, CT "%s\r\n%s\r\n", types[type], labels[pick(rng, 4)]);
        put_content(m, rng, type < 2, pick(rng, 2) == 0);
        return;
    }
    buf_fmt(m, CT "multipart/mixed;\r\n boundary=\"x%zu\"\r\n%s\r\npreamble\r\n", id,
            labels[pick(rng, 3)]);
    for (size_t i = 0; i < parts; i++) {
        buf_fmt(m, "--x%zu\r\n", id);
        put_part(m, rng, depth + 1);
        buf_str(m, "\r\n");
    }
    if (pick(rng, 10) > 0 || depth > 0)
        buf_fmt(m, "--x%zu--\r\nepilogue\r\n", id);
}

static void test_round_trip(void **state)
{
    size_t changed = 0, rounds = 600;

    (void)state;
    for (size_t i = 0; i < rounds; i++) {
        enum barid_body_type target = i % 3 == 0 ? BARID_BODY_8BITMIME : BARID_BODY_7BIT;
        struct mime *before = NULL, *after = NULL;
        struct rng_seeded rng;
        struct buf in, out, again;

        rng_seeded_init(&rng, i);
        buf_init(&in, NULL, 0);
        buf_str(&in, V);
        put_part(&in, &rng.rng, 0);
        convert_whole(buf_slice(&in), target, &out);
        check_fits(buf_slice(&out), target);
        changed += !slice_eq(buf_slice(&in), buf_slice(&out));
        assert_int_equal(mime_parse(&before, buf_slice(&in), NULL), 0);
        assert_int_equal(mime_parse(&after, buf_slice(&out), NULL), 0);
        assert_same_tree(mime_root(before), mime_root(after));
        if (i % 20 == 0)
            check_cuts(buf_slice(&in), target, buf_slice(&out), i);
        convert_whole(buf_slice(&out), target, &again); /* nothing is left to do */
        assert_true(slice_eq(buf_slice(&out), buf_slice(&again)));
        mime_del(&before);
        mime_del(&after);
        buf_deinit(&in);
        buf_deinit(&out);
        buf_deinit(&again);
    }
    assert_true(changed > rounds / 2);
    printf("# proof: downgrade: %zu random messages, %zu converted, the same tree and octets "
           "before and after\n",
           rounds, changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_round_trip),
    };

    mime_library_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
