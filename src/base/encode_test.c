/* base/encode_test.c: base64, hex and UTF-8. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/encode.h"
#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"

typedef int (*coder)(struct buf *out, barid_slice in);

/* Runs fn behind bytes that are there already; those must survive, on error alone. */
static int run(coder fn, barid_slice in, struct buf *out)
{
    int rc;

    buf_init(out, NULL, 0);
    assert_int_equal(buf_str(out, ">"), 0);
    rc = fn(out, in);
    assert_int_equal(out->p[0], '>');
    if (rc < 0)
        assert_int_equal(out->len, 1);
    return rc;
}

static void assert_codes(coder fn, barid_slice in, barid_slice expected)
{
    struct buf out;

    assert_int_equal(run(fn, in, &out), 0);
    assert_true(slice_eq(slice_from(buf_slice(&out), 1), expected));
    buf_deinit(&out);
}

static void assert_refuses(coder fn, barid_slice in)
{
    struct buf out;

    assert_int_equal(run(fn, in, &out), BARID_ESYNTAX);
    buf_deinit(&out);
}

/* RFC 4648 10 */
static void test_base64_vectors(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_codes(base64_encode, slice_str(rows[i][0]), slice_str(rows[i][1]));
        assert_codes(base64_decode, slice_str(rows[i][1]), slice_str(rows[i][0]));
    }
    assert_codes(base64_encode, BARID_S("\0\xff\xfb\xf0"), BARID_S("AP/78A=="));
    assert_codes(base64_decode, BARID_S("AP/78A=="), BARID_S("\0\xff\xfb\xf0"));
}

static void test_base64_refuses(void **state)
{
    static const char *const rows[] = {
        "Z",     "Zg",       "Zg=",      "Zm9",   "=",        "==",       "===",
        "====",  "Z===",     "Zh==",     "Zm9=",  "Zm9v=",    "Zm=v",     "Zg==Zg==",
        " Zg==", "Zg==\r\n", "Zm9v\r\n", "Zm-_",  "Zm9v====", "Zm9\x80",  "Zm9\xff",
        "Z=9v",  "=m9v",     "Zm9vZ===", "Zm\n9", "Zm9vYm==", "Zm9vYg=A",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_refuses(base64_decode, slice_str(rows[i]));
    assert_refuses(base64_decode, BARID_S("Zm\0v"));
}

/* Of all two-byte groups exactly the canonical ones decode, each to its own value. */
static void test_base64_is_canonical(void **state)
{
    size_t accepted = 0;

    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        char text[4] = {(char)(i >> 8), (char)i, '=', '='};
        struct buf out, back;

        if (run(base64_decode, slice_of(text, 4), &out) == 0) {
            accepted++;
            assert_int_equal(run(base64_encode, slice_from(buf_slice(&out), 1), &back), 0);
            assert_true(slice_eq(slice_from(buf_slice(&back), 1), slice_of(text, 4)));
            buf_deinit(&back);
        }
        buf_deinit(&out);
    }
    assert_int_equal(accepted, 256);
}

static void check_round_trip(coder encode, coder decode)
{
    struct rng_seeded r;
    char data[200];

    rng_seeded_init(&r, 9);
    for (size_t n = 0; n <= sizeof(data); n++) {
        struct buf text;

        rng_fill(&r.rng, data, n);
        buf_init(&text, NULL, 0);
        assert_int_equal(encode(&text, slice_of(data, n)), 0);
        assert_codes(decode, buf_slice(&text), slice_of(data, n));
        buf_deinit(&text);
    }
}

static void test_round_trips(void **state)
{
    (void)state;
    check_round_trip(base64_encode, base64_decode);
    check_round_trip(hex_encode, hex_decode);
}

static void test_hex(void **state)
{
    (void)state;
    assert_codes(hex_encode, BARID_S("\0\x1f\xaf"), BARID_S("001faf"));
    assert_codes(hex_decode, BARID_S("001FaF"), BARID_S("\0\x1f\xaf"));
    assert_codes(hex_decode, BARID_S(""), BARID_S(""));
    assert_refuses(hex_decode, BARID_S("0"));
    assert_refuses(hex_decode, BARID_S("0g"));
    assert_refuses(hex_decode, BARID_S("00:0"));
    assert_refuses(hex_decode, BARID_S("0011/0"));
    assert_refuses(hex_decode, BARID_S("@0"));
}

static void test_limits(void **state)
{
    static const coder coders[] = {base64_encode, hex_encode};
    static const coder decoders[] = {base64_decode, hex_decode};
    struct buf out;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        buf_init(&out, NULL, 7);
        assert_int_equal(coders[i](&out, BARID_S("abcd")), BARID_ELIMIT);
        assert_int_equal(out.len, 0);
        assert_int_equal(coders[i](&out, slice_of("", SIZE_MAX)), BARID_ELIMIT);
        assert_int_equal(coders[i](&out, BARID_S("abc")), 0);
        buf_deinit(&out);
        buf_init(&out, NULL, 1);
        assert_int_equal(decoders[i](&out, BARID_S("0011")), BARID_ELIMIT);
        assert_int_equal(out.len, 0);
        buf_deinit(&out);
    }
    /* Padding is not charged: what comes out fits. */
    buf_init(&out, NULL, 1);
    assert_int_equal(base64_decode(&out, BARID_S("Zg==")), 0);
    buf_deinit(&out);
}

static void test_failing_allocations(void **state)
{
    static const coder coders[] = {base64_encode, base64_decode, hex_encode, hex_decode};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct fail_mem f = {0};
        struct buf out;

        while (fail_mem_next(&f)) {
            int rc;

            buf_init(&out, &f.mem, 0);
            rc = coders[i](&out, BARID_S("0011aabb"));
            assert_int_equal(rc, f.failed ? BARID_ENOMEM : 0);
            assert_true((out.len > 0) == (rc == 0));
            buf_deinit(&out);
        }
        assert_int_equal(f.injected, 1);
    }
}

static bool is_utf8(const char *text)
{
    return utf8_valid(slice_str(text));
}

static void test_utf8_edges(void **state)
{
    static const char *const good[] = {
        "",
        "ascii",
        "\x7f",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "eight by\xc3\xa9te",
        "12345678\xe2\x82\xac",
    };
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x20",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe2\x82",
        "\xe2\x28\xac",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "\xfe",
        "\xf0\x90\x80",
        "12345678\xff",
        "1234567\xc3",
        "\xc3\xa9\xa9",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(is_utf8(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(is_utf8(bad[i]));
    assert_true(utf8_valid(BARID_S("\0")));
    assert_true(utf8_valid(slice_of(NULL, 0)));
}

/* Every code point, encoded here by the definition; and nothing is read past the slice. */
static void test_utf8_all_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c <= 0x110fff; c++) {
        bool wide = c >= 0x10000, three = c >= 0x800;
        char text[4];
        size_t n = 0;

        if (wide)
            text[n++] = (char)(0xf0 | c >> 18);
        if (three)
            text[n++] = (char)(wide ? 0x80 | (c >> 12 & 63) : 0xe0 | c >> 12);
        text[n++] = (char)(three ? 0x80 | (c >> 6 & 63) : 0xc0 | c >> 6);
        text[n++] = (char)(0x80 | (c & 63));
        assert_true(utf8_valid(slice_of(text, n)) ==
                    (c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)));
        assert_false(utf8_valid(slice_of(text, n - 1)));
    }
}

static void test_ascii(void **state)
{
    char text[20];

    (void)state;
    assert_true(ascii_only(slice_of(NULL, 0)));
    memset(text, 0x7f, sizeof(text));
    for (size_t n = 0; n < sizeof(text); n++) {
        assert_true(ascii_only(slice_of(text, n)));
        text[n] = (char)0x80;
        assert_true(ascii_only(slice_of(text, n)));
        assert_false(ascii_only(slice_of(text, n + 1)));
        assert_false(ascii_only(slice_of(text, sizeof(text))));
        text[n] = 0;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64_vectors),
        cmocka_unit_test(test_base64_refuses),
        cmocka_unit_test(test_base64_is_canonical),
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_hex),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_utf8_edges),
        cmocka_unit_test(test_utf8_all_code_points),
        cmocka_unit_test(test_ascii),
    };

    return cmocka_run_group_tests_name("encode", tests, NULL, NULL);
}
