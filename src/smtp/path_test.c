/* smtp/path_test.c: paths, mailboxes, domains, literals, and the isemail collection. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "barid/address.h"
#include "base/slice.h"
#include "smtp/smtp_testing.h"

#define LOCAL64 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijkl"
#define LABEL63 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk"
#define ALL_FLAGS                                                                              \
    (BARID_PATH_NULL_OK | BARID_PATH_POSTMASTER_OK | BARID_PATH_UTF8_OK | BARID_PATH_LENIENT | \
     BARID_PATH_LOCAL_OK)

static const struct path_row {
    const char *text;
    unsigned flags;
    int result;
    size_t used; /* 0 = all of text */
    const char *raw, *local, *domain, *route;
    bool null, quoted, literal, utf8;
} paths[] = {
    {.text = "<a@b>", .raw = "a@b", .local = "a", .domain = "b"},
    {.text = "<a@b> SIZE=1", .used = 5, .raw = "a@b", .local = "a", .domain = "b"},
    {.text = "<>", .flags = BARID_PATH_NULL_OK, .null = true},
    {.text = "<>", .result = BARID_ESYNTAX},
    {.text = "< >", .flags = BARID_PATH_NULL_OK, .result = BARID_ESYNTAX},
    {.text = "<", .result = BARID_ESYNTAX},
    {.text = "", .result = BARID_ESYNTAX},
    {.text = "a@b", .result = BARID_ESYNTAX},
    {.text = "<a@b", .result = BARID_ESYNTAX},
    {.text = "<a@b.>", .result = BARID_ESYNTAX},
    {.text = "<a@>", .result = BARID_ESYNTAX},
    {.text = "<a@b>>", .used = 5, .raw = "a@b", .local = "a", .domain = "b"},
    {.text = "<a b@c>", .result = BARID_ESYNTAX},
    {.text = "<@x,@y.z:a@b>", .raw = "a@b", .local = "a", .domain = "b", .route = "@x,@y.z"},
    {.text = "<@x:a@b>", .raw = "a@b", .local = "a", .domain = "b", .route = "@x"},
    {.text = "<@x@y:a@b>", .result = BARID_ESYNTAX},
    {.text = "<@x,:a@b>", .result = BARID_ESYNTAX},
    {.text = "<@x>", .result = BARID_ESYNTAX},
    {.text = "<@[1.2.3.4]:a@b>", .result = BARID_ESYNTAX},
    {.text = "<postmaster>", .result = BARID_ESYNTAX},
    {.text = "<PostMaster>",
     .flags = BARID_PATH_POSTMASTER_OK,
     .raw = "PostMaster",
     .local = "PostMaster"},
    {.text = "<postmaste>", .flags = BARID_PATH_POSTMASTER_OK, .result = BARID_ESYNTAX},
    {.text = "<joe>", .flags = BARID_PATH_LOCAL_OK, .raw = "joe", .local = "joe"},
    {.text = "<\"a b\">",
     .flags = BARID_PATH_LOCAL_OK,
     .raw = "\"a b\"",
     .local = "\"a b\"",
     .quoted = true},
    {.text = "<\"a\\ b\\\"\"@c>",
     .raw = "\"a\\ b\\\"\"@c",
     .local = "\"a\\ b\\\"\"",
     .domain = "c",
     .quoted = true},
    {.text = "<\"\t\"@c>", .result = BARID_ESYNTAX},
    {.text = "<\"a>b@c\"@d>",
     .raw = "\"a>b@c\"@d",
     .local = "\"a>b@c\"",
     .domain = "d",
     .quoted = true},
    {.text = "<a@[IPv6:::1]>",
     .raw = "a@[IPv6:::1]",
     .local = "a",
     .domain = "[IPv6:::1]",
     .literal = true},
    {.text = "<a@[x-new:!~]>", .result = BARID_ESYNTAX},
    {.text = "<a@[1.2.3.4]x>", .result = BARID_ESYNTAX},
    {.text = "<" LOCAL64 "@b>", .raw = LOCAL64 "@b", .local = LOCAL64, .domain = "b"},
    {.text = "<" LOCAL64 "x@b>", .result = BARID_ELIMIT},
    {.text = "<a@" LABEL63 ">", .raw = "a@" LABEL63, .local = "a", .domain = LABEL63},
    {.text = "<a@" LABEL63 "x>", .result = BARID_ESYNTAX},
    /* 256 octets with the brackets, then 257 (RFC 5321 4.5.3.1.3) */
    {.text = "<" LOCAL64 "@" LABEL63 "." LABEL63 "." LABEL63 ".>", .result = BARID_ESYNTAX},
    {.text =
         "<a@" LABEL63 "." LABEL63 "." LABEL63 ".abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"
         "stuvwxyzabcdefgh>",
     .raw = "a@" LABEL63 "." LABEL63 "." LABEL63 ".abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"
            "stuvwxyzabcdefgh",
     .local = "a",
     .domain = LABEL63 "." LABEL63 "." LABEL63 ".abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"
                       "stuvwxyzabcdefgh"},
    {.text =
         "<ab@" LABEL63 "." LABEL63 "." LABEL63 ".abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqr"
         "stuvwxyzabcdefgh>",
     .result = BARID_ELIMIT},
    /* RFC 6531 */
    {.text = "<\xc3\xa4@b>", .result = BARID_EUNSUPPORTED},
    {.text = "<a@\xc3\xa4>", .result = BARID_EUNSUPPORTED},
    {.text = "<\xc3\xa4@\xc3\xa4.de>",
     .flags = BARID_PATH_UTF8_OK,
     .raw = "\xc3\xa4@\xc3\xa4.de",
     .local = "\xc3\xa4",
     .domain = "\xc3\xa4.de",
     .utf8 = true},
    {.text = "<\"\xc3\xa4 \"@b>",
     .flags = BARID_PATH_UTF8_OK,
     .raw = "\"\xc3\xa4 \"@b",
     .local = "\"\xc3\xa4 \"",
     .domain = "b",
     .quoted = true,
     .utf8 = true},
    {.text = "<\"\\\xc3\xa4\"@b>", .flags = BARID_PATH_UTF8_OK, .result = BARID_ESYNTAX},
    {.text = "<\xc3@b>", .flags = BARID_PATH_UTF8_OK, .result = BARID_ESYNTAX},
    {.text = "<\xc0\xaf@b>", .result = BARID_ESYNTAX},
    {.text = "<a@b\xff>", .flags = BARID_PATH_UTF8_OK, .result = BARID_ESYNTAX},
    /* lenient */
    {.text = "a@b", .flags = BARID_PATH_LENIENT, .raw = "a@b", .local = "a", .domain = "b"},
    {.text = " a@b", .flags = BARID_PATH_LENIENT, .raw = "a@b", .local = "a", .domain = "b"},
    {.text = "a@b AUTH=<>",
     .flags = BARID_PATH_LENIENT,
     .used = 3,
     .raw = "a@b",
     .local = "a",
     .domain = "b"},
    {.text = "Mr X <a@b> SIZE=3",
     .flags = BARID_PATH_LENIENT,
     .used = 10,
     .raw = "a@b",
     .local = "a",
     .domain = "b"},
    {.text = "\"X <q>\" <a@b>",
     .flags = BARID_PATH_LENIENT,
     .raw = "a@b",
     .local = "a",
     .domain = "b"},
    {.text = "\"q u\"@b X=1",
     .flags = BARID_PATH_LENIENT,
     .used = 7,
     .raw = "\"q u\"@b",
     .local = "\"q u\"",
     .domain = "b",
     .quoted = true},
    {.text = " <a@b>", .flags = BARID_PATH_LENIENT, .raw = "a@b", .local = "a", .domain = "b"},
    {.text = " <a@b>", .result = BARID_ESYNTAX},
    {.text = "Mr X a@b", .flags = BARID_PATH_LENIENT, .result = BARID_ESYNTAX},
    {.text = "a@b,c@d", .flags = BARID_PATH_LENIENT, .result = BARID_ESYNTAX},
    {.text = "", .flags = BARID_PATH_LENIENT | BARID_PATH_NULL_OK, .result = BARID_ESYNTAX},
    {.text = "Mr X <>", .flags = BARID_PATH_LENIENT | BARID_PATH_NULL_OK, .null = true},
};

static void assert_text(barid_slice got, const char *want, const char *what)
{
    if (!slice_eq(got, slice_str(want)))
        fail_msg("%s: got \"%.*s\", want \"%s\"", what, (int)got.n, got.p, want ? want : "");
}

static void test_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const struct path_row *row = &paths[i];
        struct exact e = exact_of(slice_str(row->text));
        barid_path path;
        size_t used;
        int r = barid_path_parse(e.s, row->flags, &path, &used);

        if (r != row->result)
            fail_msg("%s: result %d, want %d", row->text, r, row->result);
        if (r == 0) {
            assert_int_equal(used, row->used ? row->used : e.s.n);
            assert_text(path.raw, row->raw, row->text);
            assert_text(path.local, row->local, row->text);
            assert_text(path.domain, row->domain, row->text);
            assert_text(path.route, row->route, row->text);
            assert_int_equal(path.null, row->null);
            assert_int_equal(path.quoted, row->quoted);
            assert_int_equal(path.literal, row->literal);
            assert_int_equal(path.utf8, row->utf8);
        }
        exact_free(&e);
    }
}

/* Every prefix and every damaged octet of every row: no read past the end, sane results. */
static void test_damaged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        barid_slice text = slice_str(paths[i].text);

        for (size_t n = 0; n < text.n; n++)
            for (unsigned flags = 0; flags <= ALL_FLAGS; flags += ALL_FLAGS) {
                struct exact e = exact_of(slice_head(text, n + 1));
                barid_path path;
                size_t used;

                e.p[n] = (char)(e.p[n] ^ 0x80);
                if (barid_path_parse(e.s, flags, &path, &used) == 0)
                    assert_true(used <= e.s.n);
                exact_free(&e);
            }
    }
}

static void test_mailbox(void **state)
{
    static const struct {
        const char *text;
        unsigned flags;
        int result;
        const char *local, *domain;
    } row[] = {
        {"a@b", 0, 0, "a", "b"},
        {"a@b ", 0, BARID_ESYNTAX, NULL, NULL},
        {"<a@b>", 0, BARID_ESYNTAX, NULL, NULL},
        {"", 0, BARID_ESYNTAX, NULL, NULL},
        {"", BARID_PATH_NULL_OK, 0, "", ""},
        {"joe", BARID_PATH_LOCAL_OK, 0, "joe", ""},
        {"Joe <a@b>", BARID_PATH_LENIENT, 0, "a", "b"},
        {"Joe <a@b> x", BARID_PATH_LENIENT, BARID_ESYNTAX, NULL, NULL},
        {"\xc3\xa4@b", 0, BARID_EUNSUPPORTED, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        barid_path path;

        assert_int_equal(barid_mailbox_parse(slice_str(row[i].text), row[i].flags, &path),
                         row[i].result);
        if (row[i].result == 0) {
            assert_text(path.local, row[i].local, row[i].text);
            assert_text(path.domain, row[i].domain, row[i].text);
        }
    }
}

static void test_unquote(void **state)
{
    static const char *const row[][2] = {
        {"a.b@x", "a.b"},           {"\"a b\"@x", "a b"}, {"\"a\\ b\"@x", "a b"},
        {"\"\\\\\\\"\"@x", "\\\""}, {"\"\"@x", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        barid_path path;
        char *out;

        assert_int_equal(barid_mailbox_parse(slice_str(row[i][0]), 0, &path), 0);
        out = malloc(path.local.n);
        assert_text(slice_of(out, barid_local_unquote(&path, out)), row[i][1], row[i][0]);
        free(out);
    }
}

static void test_domains(void **state)
{
    static const struct {
        const char *text;
        bool utf8, valid;
    } row[] = {
        {"a", false, true},
        {"a-b.c1", false, true},
        {"", false, false},
        {".", false, false},
        {"a.", false, false},
        {".a", false, false},
        {"a..b", false, false},
        {"a_b", false, false},
        {"-a", false, false},
        {"a-", false, false},
        {LABEL63, false, true},
        {LABEL63 "x", false, false},
        {"b\xc3\xbc"
         "cher.de",
         false, false},
        {"b\xc3\xbc"
         "cher.de",
         true, true},
        {"b\xc3\xbc"
         "cher-.de",
         true, false},
        {"b\xc3\xbc ch.de", true, false},
        {"\xe3\x80\x82"
         "a",
         true, false}, /* ideographic full stop */
        {"a\xe2\x80\xae"
         "b",
         true, false},                 /* right-to-left override */
        {"\xed\xa0\x80", true, false}, /* surrogate */
        /* 56 letters and an umlaut: xn-- + 56 + "-" + digits is above 63; 52 are not */
        {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcd\xc3\xbc", true, false},
        {"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\xc3\xbc", true, true},
        /* 59 times the same letter is one digit each after the first: 4 + 59 + 1 > 63 */
        {"\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc", true, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        if (barid_domain_valid(slice_str(row[i].text), row[i].utf8) != row[i].valid)
            fail_msg("%s", row[i].text);
}

static void test_literals(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } row[] = {
        {"[1.2.3.4]", true},
        {"[001.2.3.4]", true},
        {"[1.2.3]", false},
        {"[1.2.3.4.5]", false},
        {"[1.2.3.256]", false},
        {"[1.2..4]", false},
        {"[]", false},
        {"[1.2.3.4", false},
        {"1.2.3.4", false},
        {"[IPv6:::]", true},
        {"[ipv6:1::]", true},
        {"[IPv6:1:2:3:4:5:6:7:8]", true},
        {"[IPv6:1::2::3]", false},
        {"[IPv6:12345::]", false},
        {"[IPv6:]", false},
        {"[IPv6::]", false},
        {"[IPv6:1:2:3:4:5:6:1.2.3.4]", true},
        {"[IPv6:::1.2.3.4]", true},
        {"[IPv6:1.2.3.4]", false},
        {"[IPv6:::1.2.3.4:1]", false},
        {"[IPv6:1:2:3:4:5:6:7::]", false},
        {"[tag:x]", false},
        {"[IPv5:::1]", false},
        {"[dead:beef::1]", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct exact e = exact_of(slice_str(row[i].text));

        if (barid_address_literal_valid(e.s) != row[i].valid)
            fail_msg("%s", row[i].text);
        exact_free(&e);
    }
}

/* --- the isemail collection --------------------------------------------------------------- */

/* The content of <tag> in s; false when there is none. */
static bool xml_element(barid_slice s, const char *tag, barid_slice *content_r)
{
    char open[32], close[32];
    const char *from, *to;

    snprintf(open, sizeof(open), "<%s>", tag);
    snprintf(close, sizeof(close), "</%s>", tag);
    if ((from = memmem(s.p, s.n, open, strlen(open))) == NULL)
        return false;
    from += strlen(open);
    if ((to = memmem(from, (size_t)(s.p + s.n - from), close, strlen(close))) == NULL)
        return false;
    *content_r = slice_of(from, (size_t)(to - from));
    return true;
}

static void put_point(struct buf *out, unsigned long c)
{
    /* "SYMBOL FOR xxx" stands for the control character itself. */
    if (c >= 0x2400 && c < 0x2420)
        c -= 0x2400;
    if (c < 0x80) {
        buf_byte(out, (char)c);
    } else if (c < 0x800) {
        buf_byte(out, (char)(0xc0 | c >> 6));
        buf_byte(out, (char)(0x80 | (c & 63)));
    } else {
        buf_byte(out, (char)(0xe0 | c >> 12));
        buf_byte(out, (char)(0x80 | (c >> 6 & 63)));
        buf_byte(out, (char)(0x80 | (c & 63)));
    }
}

static void xml_decode(barid_slice s, struct buf *out)
{
    static const struct {
        const char *name;
        char c;
    } entity[] = {
        {"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};

    while (s.n > 0) {
        size_t n = 1;

        if (s.n >= 3 && memcmp(s.p, "\xe2\x90", 2) == 0) {
            put_point(out, 0x2400u + ((unsigned char)s.p[2] & 63));
            n = 3;
        } else if (s.p[0] == '&' && s.n > 2 && s.p[1] == '#') {
            bool hex = s.p[2] == 'x';

            put_point(out, strtoul(s.p + (hex ? 3 : 2), NULL, hex ? 16 : 10));
            n = slice_find(s, ';') + 1;
        } else if (s.p[0] == '&') {
            for (size_t i = 0; i < 5; i++)
                if (slice_starts_nocase(s, slice_str(entity[i].name))) {
                    buf_byte(out, entity[i].c);
                    n = strlen(entity[i].name);
                }
        } else {
            buf_byte(out, s.p[0]);
        }
        s = slice_from(s, n);
    }
}

static const char *conformance_dir;

static size_t isemail_case(barid_slice test)
{
    barid_slice address = {0}, category, diagnosis;
    struct buf path_text;
    struct exact e;
    barid_path path;
    size_t used;
    bool want, got;

    xml_element(test, "address", &address);
    assert_true(xml_element(test, "category", &category));
    want = slice_eq(category, BARID_S("ISEMAIL_VALID_CATEGORY")) ||
           slice_eq(category, BARID_S("ISEMAIL_DNSWARN")) ||
           slice_eq(category, BARID_S("ISEMAIL_RFC5321"));
    /* "::" for one group (RFC 5321 4.1.3 asks for two): moved from RFC5321 to DEPREC in 2013 in
     * the newer collection, left as it was in the older. */
    if (xml_element(test, "diagnosis", &diagnosis) &&
        slice_eq(diagnosis, BARID_S("ISEMAIL_RFC5321_IPV6DEPRECATED")))
        want = false;
    buf_init(&path_text, NULL, 0);
    buf_byte(&path_text, '<');
    xml_decode(address, &path_text);
    buf_byte(&path_text, '>');
    e = exact_of(buf_slice(&path_text));
    got = barid_path_parse(e.s, 0, &path, &used) == 0 && used == e.s.n;
    if (got != want)
        printf("# %.*s: %s, want %s (%.*s)\n", (int)e.s.n, e.s.p, got ? "accepted" : "refused",
               want ? "accepted" : "refused", (int)category.n, category.p);
    exact_free(&e);
    buf_deinit(&path_text);
    return got != want;
}

static void run_isemail(const char *name, size_t at_least)
{
    struct buf file;
    barid_slice rest, test;
    size_t cases = 0, wrong = 0;

    buf_init(&file, NULL, 0);
    if (!conformance_read(conformance_dir, name, &file)) {
        buf_deinit(&file);
        return;
    }
    rest = buf_slice(&file);
    for (const char *p; (p = memmem(rest.p, rest.n, "<test id=", 9)) != NULL; cases++) {
        const char *end;

        rest = slice_from(rest, (size_t)(p - rest.p));
        end = memmem(rest.p, rest.n, "</test>", 7);
        assert_non_null(end);
        test = slice_head(rest, (size_t)(end - rest.p));
        wrong += isemail_case(test);
        rest = slice_from(rest, test.n);
    }
    buf_deinit(&file);
    assert_true(cases >= at_least);
    assert_int_equal(wrong, 0);
}

static void test_isemail(void **state)
{
    (void)state;
    run_isemail("address/isemail/tests.xml", 164);
}

static void test_isemail_original(void **state)
{
    (void)state;
    run_isemail("address/isemail/tests-original.xml", 279);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),   cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_mailbox), cmocka_unit_test(test_unquote),
        cmocka_unit_test(test_domains), cmocka_unit_test(test_literals),
        cmocka_unit_test(test_isemail), cmocka_unit_test(test_isemail_original),
    };

    conformance_dir = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
