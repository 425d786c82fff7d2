/* delivery/relay_conversion_test.c: mail that a server does not take as it is: what it gets instead, what the next one gets, who is
 * refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/encode.h"
#include "delivery/relay_conversion_testing.h"

static void lines_decode(struct buf *out, barid_slice in)
{
    struct buf line;

    buf_init(&line, NULL, 0);
    for (size_t i = 0; i < in.n; i++)
        if (in.p[i] != '\r' && in.p[i] != '\n')
            buf_byte(&line, in.p[i]);
    assert_int_equal(base64_decode(out, buf_slice(&line)), 0);
    buf_deinit(&line);
}

/* --- one server --- */

static void test_eightbit(void **state)
{
    static const struct {
        const char *offers;
        size_t chunk;
    } rows[] = {{"250 mx", 0}, {PLAIN, 0}, {PLAIN, 7}, {CHUNKS, 0}, {CHUNKS, 1}, {CHUNKS, 50}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct post p;
        struct parcel *parcel;

        begin(&p, BARID_BODY_8BITMIME);
        post_server(&p, 0, R({"EHLO", rows[i].offers}), true);
        parcel = parcel_of(&p, TEXT, slice_str(umlauts), 1);
        parcel->hop.chunk = rows[i].chunk;
        assert_string_equal(deliver(parcel), "done mx1.test final 250 ok");
        assert_true(server_saw(&p.servers[0], "MAIL FROM:<s@us.test>|")); /* no SIZE, no BODY */
        expect_quoted(&p.servers[0], slice_str(umlauts), i < 3);
        post_end(&p);
    }
}

/* For one that takes 8BITMIME but not BINARYMIME, and for one that takes neither. */
static void test_binary(void **state)
{
    static const char octets[] = "\0\r\n\n\xff\r.\r\nMAIL FROM:<evil@x.test>\r\n\x80";
    static const char head[] = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello " A
                               "\r\n--b\r\nContent-Type: application/octet-stream\r\n"
                               "Content-Transfer-Encoding: binary\r\n\r\n";
    static const char mark[] = "Encoding: base64\r\n\r\n";
    struct buf body;

    (void)state;
    buf_init(&body, NULL, 0);
    buf_str(&body, head);
    buf_append(&body, slice_of(octets, sizeof(octets) - 1));
    buf_str(&body, "\r\n--b--\r\n");
    for (int i = 0; i < 2; i++) {
        struct post p;
        struct buf got, decoded;
        const char *from, *to;

        buf_init(&got, NULL, 0);
        buf_init(&decoded, NULL, 0);
        begin(&p, BARID_BODY_BINARYMIME);
        post_server(&p, 0, R({"EHLO", i == 0 ? EIGHT : PLAIN}), true);
        assert_string_equal(deliver(parcel_of(&p, MIXED, buf_slice(&body), 1)),
                            "done mx1.test final 250 ok");
        assert_true(
            server_saw(&p.servers[0], i == 0 ? "<s@us.test> BODY=8BITMIME|" : "<s@us.test>|"));
        assert_int_equal(message_has(&p.servers[0], A), i == 0);
        assert_int_equal(message_has(&p.servers[0], "=C3=A4"), i == 1);
        assert_false(server_saw(&p.servers[0], "evil"));
        arrived_body(&p.servers[0], &got, true);
        from = memmem(got.p, got.len, mark, sizeof(mark) - 1);
        assert_non_null(from);
        from += sizeof(mark) - 1;
        to = memmem(from, got.len - (size_t)(from - got.p), "--b--", 5);
        assert_non_null(to);
        lines_decode(&decoded, slice_of(from, (size_t)(to - from)));
        assert_true(slice_eq(buf_slice(&decoded), slice_of(octets, sizeof(octets) - 1)));
        buf_deinit(&got);
        buf_deinit(&decoded);
        post_end(&p);
    }
    buf_deinit(&body);
}

/* Nothing to convert: what fits whatever its label says, and what has no label. */
static void test_as_it_is(void **state)
{
    static const struct {
        enum barid_body_type label;
        const char *body, *offers, *label_said;
    } rows[] = {
        {BARID_BODY_8BITMIME, "hello\r\n", PLAIN, ""},
        {BARID_BODY_BINARYMIME, "h" A "\r\n", EIGHT, " BODY=8BITMIME"},
        {BARID_BODY_BINARYMIME, "hello\r\n", BINARY, " BODY=BINARYMIME"},
        {BARID_BODY_8BITMIME, "h" A "\r\n", EIGHT, " BODY=8BITMIME"},
        {BARID_BODY_DEFAULT, "h" A "\r\n", PLAIN, ""},
        {BARID_BODY_7BIT, "h" A "\r\n", EIGHT, " BODY=7BIT"},
        {BARID_BODY_8BITMIME, "", PLAIN, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct post p;
        barid_slice body = slice_str(rows[i].body);
        char mail[80];

        begin(&p, rows[i].label);
        post_server(&p, 0, R({"EHLO", rows[i].offers}), true);
        assert_string_equal(deliver(parcel_of(&p, TEXT, body, 1)),
                            "done mx1.test final 250 ok");
        snprintf(mail, sizeof(mail), "<s@us.test> SIZE=%zu%s|", strlen(TEXT) + 2 + body.n,
                 rows[i].label_said);
        assert_true(server_saw(&p.servers[0], mail));
        assert_int_equal(p.servers[0].message.len, strlen(TEXT) + 2 + body.n);
        assert_true(message_has(&p.servers[0], TEXT "\r\n"));
        post_end(&p);
    }
}

/* --- several servers --- */

/* The mail is only for the last: those before say 450. Each gets what it takes, whoever was asked before. */
static void send_to_three(const char *const offers[3])
{
    struct rule rules[3][3];
    char as_it_is[80];
    struct post p;
    struct parcel *parcel;

    begin(&p, BARID_BODY_8BITMIME);
    for (size_t i = 0; i < 3; i++) {
        memcpy(rules[i],
               R({"EHLO", offers[i], 0}, {i < 2 ? "DATA" : "never", "450 4.2.1 later", 0}),
               sizeof(rules[i]));
        post_server(&p, i, rules[i], true);
    }
    parcel = parcel_of(&p, TEXT, slice_str(umlauts), 2);
    assert_string_equal(deliver(parcel), "done mx3.test final 250 ok");
    snprintf(as_it_is, sizeof(as_it_is), "<s@us.test> SIZE=%zu BODY=8BITMIME|",
             strlen(TEXT) + 2 + strlen(umlauts));
    for (size_t i = 0; i < 3; i++) {
        bool takes = strcmp(offers[i], EIGHT) == 0;

        assert_true(server_saw(&p.servers[i], takes ? as_it_is : "<s@us.test>|"));
    }
    if (strcmp(offers[2], EIGHT) == 0)
        assert_true(message_has(&p.servers[2], TEXT "\r\n"));
    else
        expect_quoted(&p.servers[2], slice_str(umlauts), true);
    post_end(&p);
}

static void test_next_server(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 8; bits++) {
        const char *offers[3];

        for (size_t i = 0; i < 3; i++)
            offers[i] = (bits >> i & 1) != 0 ? EIGHT : PLAIN;
        send_to_three(offers);
    }
    printf("# proof: relay converts for each of three servers by itself: 8 orders\n");
}

/* Who must not be converted for is asked only when it takes the mail as it is. */
static void test_refuse(void **state)
{
    struct post p;
    struct parcel *parcel;

    (void)state;
    begin(&p, BARID_BODY_8BITMIME);
    post_server(&p, 0, plain, true);
    post_server(&p, 1, eight, true);
    parcel = parcel_of(&p, TEXT, slice_str(umlauts), 2);
    parcel->hop.downgrade = HOP_REFUSE;
    assert_string_equal(deliver(parcel), "done mx2.test final 250 ok");
    assert_false(server_saw(&p.servers[0], "MAIL"));
    assert_true(message_has(&p.servers[1], A));
    post_end(&p);

    begin(&p, BARID_BODY_8BITMIME);
    for (size_t i = 0; i < 3; i++)
        post_server(&p, i, plain, true);
    parcel = parcel_of(&p, TEXT, slice_str(umlauts), 2);
    parcel->hop.downgrade = HOP_REFUSE;
    assert_string_equal(deliver(parcel),
                        "failed mx3.test local 554 5.6.3 the server does not offer 8BITMIME");
    post_end(&p);
}

/* A boundary that is too long to follow. */
static void test_inconvertible(void **state)
{
    char header[600];

    (void)state;
    snprintf(header, sizeof(header), MIME "Content-Type: multipart/mixed; boundary=%0300d\r\n",
             1);
    for (int i = 0; i < 2; i++) {
        struct post p;

        begin(&p, BARID_BODY_8BITMIME);
        for (size_t j = 0; j < 3; j++)
            post_server(&p, j, i == 1 && j == 2 ? eight : plain, true);
        deliver(parcel_of(&p, header, slice_str(umlauts), 2));
        if (i == 0)
            assert_int_equal(strncmp(p.parcels[0].log[1],
                                     "failed mx3.test local 554 5.6.3 cannot be converted for "
                                     "this server: ",
                                     69),
                             0);
        else
            assert_string_equal(p.parcels[0].log[1], "done mx3.test final 250 ok");
        assert_false(server_saw(&p.servers[0], "MAIL"));
        assert_false(server_saw(&p.servers[1], "MAIL"));
        post_end(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eightbit), cmocka_unit_test(test_binary),
        cmocka_unit_test(test_as_it_is), cmocka_unit_test(test_next_server),
        cmocka_unit_test(test_refuse),   cmocka_unit_test(test_inconvertible),
    };

    alarm(120);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
