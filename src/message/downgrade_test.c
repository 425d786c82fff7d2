/*
 * message/downgrade_test.c: messages that need 8BITMIME or BINARYMIME, made to fit less: the exact octets, what a MIME parser reads in
 * them (mime.h, before and after), every way the body may come, limits, memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/downgrade.h"
#include "message/downgrade_int.h"
#include "message/mime.h"

#define V  "MIME-Version: 1.0\r\n"
#define CT "Content-Type: "
#define TE "Content-Transfer-Encoding: "
#define M1 CT "multipart/mixed; boundary=b\r\n"
#define AE "\xc3\xa4" /* a umlaut */

/* --- a source --- */

struct source {
    barid_slice body;
    size_t piece;     /* octets at most; 0 = a random number */
    bool is_late;     /* every second call says "not now" */
    size_t fail_from; /* offset from which it fails; 0 = never */
    int failure;
    unsigned calls;
    const struct rng *rng;
    char *copy; /* the last piece, in a block of its size: a sanitizer sees who keeps it */
};

static int read_source(void *user, uint64_t offset, size_t n, barid_slice *p_r)
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

struct message {
    barid_slice header, body;
};

static struct message split(barid_slice text)
{
    for (size_t i = 0; i + 4 <= text.n; i++)
        if (memcmp(text.p + i, "\r\n\r\n", 4) == 0)
            return (struct message){slice_head(text, i + 2), slice_from(text, i + 4)};
    fail();
    return (struct message){text, {NULL, 0}};
}

static int prepare(struct downgrade *d, struct err *err)
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
static int convert(barid_slice text, enum barid_body_type target, struct source *s, size_t n,
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

static void convert_whole(barid_slice text, enum barid_body_type target, struct buf *out)
{
    struct source s = {.piece = SIZE_MAX};
    struct err err;

    buf_init(out, NULL, 0);
    assert_int_equal(convert(text, target, &s, SIZE_MAX, NULL, out, &err), 0);
}

static int convert_to_nothing(barid_slice text, struct err *err)
{
    struct source s = {.piece = SIZE_MAX};
    struct buf out;
    int rc;

    buf_init(&out, NULL, 0);
    rc = convert(text, BARID_BODY_7BIT, &s, SIZE_MAX, NULL, &out, err);
    buf_deinit(&out);
    return rc;
}

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
        cmocka_unit_test(test_exact),    cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_big),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_use),
    };

    mime_library_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
