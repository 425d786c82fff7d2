/* smtp/proxy_test.c: PROXY headers and XCLIENT attributes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/encode.h"
#include "base/slice.h"
#include "smtp/proxy.h"
#include "smtp/smtp_testing.h"
#include "smtp/xclient.h"

#define SIG   "\r\n\r\n\0\r\nQUIT\n"
#define V4    "\xc0\x00\x02\x01\x7f\x00\x00\x01\x12\x34\x00\x19"
#define ADDR6 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define MAPPED "\0\0\0\0\0\0\0\0\0\0\xff\xff"
#define LIT(lit)                                                                               \
    {                                                                                          \
        "" lit, sizeof(lit) - 1                                                                \
    }
#define Z108                                                                                   \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                 \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"                 \
    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct proxy_row {
    const char *what;
    barid_slice in;
    int result;
    unsigned version;
    bool local;
    enum barid_family family;
    uint8_t first, last; /* octets of the source address */
    uint16_t src_port, dest_port;
} rows[] = {
    {"v1 tcp4", LIT("PROXY TCP4 192.0.2.1 127.0.0.1 4660 25\r\n"), 0, 1, false,
     BARID_FAMILY_IPV4, 192, 1, 4660, 25},
    {"v1 tcp6", LIT("PROXY TCP6 2001:db8::1 ::1 4660 25\r\n"), 0, 1, false, BARID_FAMILY_IPV6,
     0x20, 1, 4660, 25},
    {"v1 mapped", LIT("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:127.0.0.1 4660 25\r\n"), 0, 1, false,
     BARID_FAMILY_IPV4, 192, 1, 4660, 25},
    {"v2 mapped",
     LIT(SIG "\x21\x21\0\x24" MAPPED "\xc0\0\x02\x01" MAPPED "\x7f\0\0\x01\x12\x34\0\x19"), 0, 2,
     false, BARID_FAMILY_IPV4, 192, 1, 4660, 25},
    {"v1 unknown", LIT("PROXY UNKNOWN\r\n"), 0, 1, true, BARID_FAMILY_NONE, 0, 0, 0, 0},
    {"v1 unknown with junk", LIT("PROXY UNKNOWN ffff::1 what ever\r\n"), 0, 1, true,
     BARID_FAMILY_NONE, 0, 0, 0, 0},
    {"v1 family", LIT("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"), .result = BARID_ESYNTAX},
    {"v1 port", LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), .result = BARID_ESYNTAX},
    {"v1 port zero", LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 01\r\n"), .result = BARID_ESYNTAX},
    {"v1 six words", LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"), .result = BARID_ESYNTAX},
    {"v1 few words", LIT("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), .result = BARID_ESYNTAX},
    {"v1 mixed", LIT("PROXY TCP4 ::1 1.2.3.4 1 2\r\n"), .result = BARID_ESYNTAX},
    {"v1 bare lf", LIT("PROXY UNKNOWN\n"), .result = BARID_ESYNTAX},
    {"v1 bare cr", LIT("PROXY UNKNOWN\r "), .result = BARID_ESYNTAX},
    {"v1 long", LIT("PROXY UNKNOWN " X50 X50 "\r\n"), .result = BARID_ELIMIT},
    {"v1 lower case", LIT("proxy UNKNOWN\r\n"), .result = BARID_ESYNTAX},
    {"smtp", LIT("EHLO x\r\n"), .result = BARID_ESYNTAX},
    {"near", LIT("PROXX"), .result = BARID_ESYNTAX},
    {"v2 tcp4", LIT(SIG "\x21\x11\0\x0c" V4), 0, 2, false, BARID_FAMILY_IPV4, 192, 1, 4660, 25},
    {"v2 tcp6", LIT(SIG "\x21\x21\0\x24" ADDR6 ADDR6 "\x12\x34\0\x19"), 0, 2, false,
     BARID_FAMILY_IPV6, 0x20, 1, 4660, 25},
    {"v2 unix", LIT(SIG "\x21\x31\0\xd8" Z108 Z108), 0, 2, false, BARID_FAMILY_UNIX, 0, 0, 0,
     0},
    {"v2 local",
     LIT(SIG "\x20\x00\0\x03"
             "abc"),
     0, 2, true, BARID_FAMILY_NONE, 0, 0, 0, 0},
    {"v2 unspec", LIT(SIG "\x21\x00\0\0"), 0, 2, true, BARID_FAMILY_NONE, 0, 0, 0, 0},
    {"v2 udp", LIT(SIG "\x21\x12\0\x0c" V4), 0, 2, true, BARID_FAMILY_NONE, 0, 0, 0, 0},
    {"v2 tlvs",
     LIT(SIG "\x21\x11\0\x15" V4 "\x04\0\0\x05\0\x03"
             "abc"),
     0, 2, false, BARID_FAMILY_IPV4, 192, 1, 4660, 25},
    {"v2 tlv cut",
     LIT(SIG "\x21\x11\0\x10" V4 "\x04\0\x02"
             "a"),
     .result = BARID_ESYNTAX},
    {"v2 tlv head cut", LIT(SIG "\x21\x11\0\x0e" V4 "\x04\0"), .result = BARID_ESYNTAX},
    {"v2 short", LIT(SIG "\x21\x11\0\x0b" V4), .result = BARID_ESYNTAX},
    {"v2 crc",
     LIT(SIG "\x21\x11\0\x13" V4 "\x03\0\x04"
             "abcd"),
     .result = BARID_ESYNTAX},
    {"v2 crc length",
     LIT(SIG "\x21\x11\0\x12" V4 "\x03\0\x03"
             "abc"),
     .result = BARID_ESYNTAX},
    {"v2 version", LIT(SIG "\x11"), .result = BARID_ESYNTAX},
    {"v2 command", LIT(SIG "\x22"), .result = BARID_ESYNTAX},
    {"v2 family", LIT(SIG "\x21\x41\0\0"), .result = BARID_ESYNTAX},
    {"v2 long", LIT(SIG "\x21\x11\x10\x01"), .result = BARID_ELIMIT},
};

static void check_row(const struct proxy_row *row, barid_slice in, size_t want_used)
{
    struct proxy_header h;
    size_t used;
    int r = proxy_parse(in, &h, &used);

    if (r != row->result)
        fail_msg("%s: %d, want %d", row->what, r, row->result);
    if (r < 0)
        return;
    assert_int_equal(used, want_used);
    assert_int_equal(h.version, row->version);
    assert_int_equal(h.local, row->local);
    assert_int_equal(h.src.family, row->family);
    assert_int_equal(h.dest.family, row->family);
    assert_int_equal(h.src.addr[0], row->first);
    assert_int_equal(h.src.addr[row->family == BARID_FAMILY_IPV6 ? 15 : 3], row->last);
    assert_int_equal(h.src.port, row->src_port);
    assert_int_equal(h.dest.port, row->dest_port);
}

/* Whole, with the session's first bytes behind, and every prefix: partial, or refused early
 * with the result of the whole. */
static void test_proxy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct buf more;
        struct exact e = exact_of(rows[i].in);

        check_row(&rows[i], e.s, e.s.n);
        exact_free(&e);
        for (size_t n = 0; n < rows[i].in.n; n++) {
            struct proxy_header h;
            size_t used;
            int r;

            e = exact_of(slice_head(rows[i].in, n));
            r = proxy_parse(e.s, &h, &used);
            exact_free(&e);
            if (r != BARID_EAGAIN && (r != rows[i].result || r == 0))
                fail_msg("%s: %zu octets: %d", rows[i].what, n, r);
        }
        if (rows[i].result != 0)
            continue;
        buf_init(&more, NULL, 0);
        buf_append(&more, rows[i].in);
        buf_str(&more, "EHLO x\r\n");
        check_row(&rows[i], buf_slice(&more), rows[i].in.n);
        buf_deinit(&more);
    }
}

static void test_proxy_checksum(void **state)
{
    char header[] = SIG "\x21\x11\0\x16" V4 "\x03\0\x04\0\0\0\0\x04\0\0";
    size_t n = sizeof(header) - 1, used;
    struct proxy_header h;
    uint32_t crc = crc32c(0, header, n);

    (void)state;
    for (int i = 0; i < 4; i++)
        header[16 + 12 + 3 + i] = (char)(crc >> (24 - 8 * i));
    assert_int_equal(proxy_parse(slice_of(header, n), &h, &used), 0);
    assert_int_equal(used, n);
    header[20] ^= 1;
    assert_int_equal(proxy_parse(slice_of(header, n), &h, &used), BARID_ESYNTAX);
    assert_int_equal(used, 0);
    assert_int_equal(h.version, 0);
}

static void test_xclient(void **state)
{
    static const struct {
        const char *args;
        int result;
        const char *bad;
    } row[] = {
        {"NAME=spike.example ADDR=192.0.2.1 PORT=99", 0, NULL},
        {"name=[UNAVAILABLE] addr=[tempunavail]", 0, NULL},
        {"ADDR=IPV6:2001:db8::1 DESTADDR=IPV6:::1 DESTPORT=25", 0, NULL},
        {"PROTO=ESMTP HELO=a+2Bb LOGIN=joe", 0, NULL},
        {"LOGIN=", 0, NULL},
        {"", BARID_ESYNTAX, NULL},
        {"  ", BARID_ESYNTAX, NULL},
        {"NAME", BARID_ESYNTAX, "NAME"},
        {"=x", BARID_ESYNTAX, "=x"},
        {"NAME=a NAME=b", BARID_ESYNTAX, "NAME=b"},
        {"NAME=[UNAVAILABLE] NAME=b", BARID_ESYNTAX, "NAME=b"},
        {"REVERSE_NAME=x", BARID_ENOTFOUND, "REVERSE_NAME=x"},
        {"ADDR=1.2.3", BARID_ESYNTAX, "ADDR=1.2.3"},
        {"ADDR=::1", BARID_ESYNTAX, "ADDR=::1"},
        {"ADDR=IPV6:1.2.3.4", BARID_ESYNTAX, "ADDR=IPV6:1.2.3.4"},
        {"ADDR=", BARID_ESYNTAX, "ADDR="},
        {"PORT=65536", BARID_ESYNTAX, "PORT=65536"},
        {"PORT=x", BARID_ESYNTAX, "PORT=x"},
        {"PROTO=HTTP", BARID_ESYNTAX, "PROTO=HTTP"},
        {"HELO=a+0Ab", BARID_ESYNTAX, "HELO=a+0Ab"},
        {"HELO=a+20b", BARID_ESYNTAX, "HELO=a+20b"},
        {"HELO=+C3", BARID_ESYNTAX, "HELO=+C3"},
        {"HELO=a+2", BARID_ESYNTAX, "HELO=a+2"},
        {"HELO=" X50 X50 X50 X50 X50 X50, BARID_ESYNTAX, "HELO=" X50 X50 X50 X50 X50 X50},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct exact e = exact_of(slice_str(row[i].args)), scratch = exact_of(e.s);
        struct xclient x;
        barid_slice bad;
        int r = xclient_parse(e.s, scratch.p, &x, &bad);

        if (r != row[i].result || !slice_eq(bad, slice_str(row[i].bad)))
            fail_msg("\"%s\": %d, bad \"%.*s\"", row[i].args, r, (int)bad.n, bad.p);
        exact_free(&e);
        exact_free(&scratch);
    }
}

static void test_xclient_values(void **state)
{
    const char *args = "NAME=spike.example ADDR=IPV6:2001:db8::1 PORT=99 PROTO=SMTP HELO=a+2Bb "
                       "LOGIN= DESTADDR=[UNAVAILABLE] DESTPORT=[TEMPUNAVAIL]";
    char scratch[256];
    struct xclient x;
    barid_slice bad;

    (void)state;
    assert_int_equal(xclient_parse(slice_str(args), scratch, &x, &bad), 0);
    assert_true(slice_eq(x.value[XCLIENT_NAME], BARID_S("spike.example")));
    assert_true(slice_eq(x.value[XCLIENT_HELO], BARID_S("a+b")));
    assert_int_equal(x.state[XCLIENT_LOGIN], XCLIENT_VALUE);
    assert_int_equal(x.value[XCLIENT_LOGIN].n, 0);
    assert_int_equal(x.state[XCLIENT_DESTADDR], XCLIENT_UNAVAILABLE);
    assert_int_equal(x.state[XCLIENT_DESTPORT], XCLIENT_TEMPUNAVAIL);
    assert_int_equal(x.addr.family, BARID_FAMILY_IPV6);
    assert_int_equal(x.addr.addr[15], 1);
    assert_int_equal(x.addr.port, 99);
    assert_int_equal(x.dest.family, BARID_FAMILY_NONE);
    assert_false(x.esmtp);
    assert_int_equal(xclient_parse(BARID_S("PROTO=ESMTP"), scratch, &x, &bad), 0);
    assert_true(x.esmtp);
    assert_int_equal(x.state[XCLIENT_NAME], XCLIENT_ABSENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_proxy_checksum),
        cmocka_unit_test(test_xclient),
        cmocka_unit_test(test_xclient_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
