/* message/hidden_test.c: which recipients a header names; hostile headers; each allocation
 * failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"

/* Each row: a header, one recipient, whether the header names it. */
static const struct {
    const char *header;
    const char *rcpt;
    bool named;
} rows[] = {
    {"To: anna@example.com\r\n", "anna@example.com", true},
    {"To: anna@EXAMPLE.COM\r\n", "anna@example.com", true},
    {"To: Anna@example.com\r\n", "anna@example.com", false},
    {"to: bert@example.com\r\n", "anna@example.com", false},
    {"To: Anna <anna@example.com>\r\n", "anna@example.com", true},
    {"To: \"Last, First\" <anna@example.com>\r\n", "anna@example.com", true},
    {"To: \"anna@example.com\" <bert@example.com>\r\n", "anna@example.com", false},
    {"To: anna@example.com <bert@example.com>\r\n", "anna@example.com", false},
    {"To: bert@example.com,\r\n anna@example.com\r\n", "anna@example.com", true},
    {"To: bert@example.com,,, anna@example.com ,\r\n", "anna@example.com", true},
    {"Cc: =?utf-8?q?x?= <anna@example.com>, c@d\r\n", "anna@example.com", true},
    {"Resent-To: anna@example.com\r\n", "anna@example.com", true},
    {"Resent-Cc: anna@example.com\r\n", "anna@example.com", true},
    {"Resent-Bcc: anna@example.com\r\n", "anna@example.com", true},
    {"From: anna@example.com\r\n", "anna@example.com", false},
    {"Subject: anna@example.com\r\n", "anna@example.com", false},
    {"To: friends: anna@example.com, bert@example.com;\r\n", "anna@example.com", true},
    {"To: friends: bert@example.com;, anna@example.com\r\n", "anna@example.com", true},
    {"To: friends:;\r\n", "anna@example.com", false},
    {"To: undisclosed-recipients:;\r\n", "anna@example.com", false},
    {"To: (comment, with anna@example.com) bert@example.com\r\n", "anna@example.com", false},
    {"To: anna(co(m\\)m)ent)@example.com\r\n", "anna@example.com", true},
    {"To: anna @ example . com\r\n", "anna@example.com", true},
    {"To: anna\r\n @example.com\r\n", "anna@example.com", true},
    {"To: <@relay.example.org,@b:anna@example.com>\r\n", "anna@example.com", true},
    {"To: \"anna\"@example.com\r\n", "anna@example.com", true},
    {"To: \"a, b\"@example.com\r\n", "\"a, b\"@example.com", true},
    {"To: \"a \\\" b\"@example.com\r\n", "\"a \\\" b\"@example.com", true},
    {"To: anna@[192.0.2.1]\r\n", "anna@[192.0.2.1]", true},
    {"To: anna@[IPv6:2001:db8::1]\r\n", "anna@[IPv6:2001:db8::1]", true},
    {"To: <anna@[IPv6:2001:db8::1]>\r\n", "anna@[IPv6:2001:db8::1]", true},
    {"To: j\xc3\xb6rg@example.com\r\n", "j\xc3\xb6rg@example.com", true},
    {"To: <anna@example.com\r\n", "anna@example.com", true},
    {"To: anna@example.com>\r\n", "anna@example.com", true},
    {"To: <bert@example.com> anna@example.com\r\n", "anna@example.com", false},
    {"To: \"unfinished anna@example.com\r\n", "anna@example.com", false},
    {"To: (unfinished anna@example.com\r\n", "anna@example.com", false},
    {"To: postMaster@example.com\r\n", "Postmaster@example.com", true},
    {"To:\r\n", "anna@example.com", false},
    {"", "anna@example.com", false},
    {"To: x@y\r\nTo: anna@example.com\r\n", "anna@example.com", true},
    {"To: anna+lists@example.com\r\n", "anna@example.com", false},
    {"not a field anna@example.com\r\n", "anna@example.com", false},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena arena;
        struct mail m;
        bool *hidden = NULL;

        arena_init(&arena, NULL, 0);
        assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
        assert_int_equal(mail_set_header(&m, slice_str(rows[i].header), true), 0);
        assert_non_null(test_rcpt(&m, rows[i].rcpt));
        assert_int_equal(mail_hidden_rcpts(&m, &arena, &hidden), 0);
        if (hidden[0] == rows[i].named)
            print_error("row %zu: %s", i, rows[i].header);
        assert_int_equal(hidden[0], !rows[i].named);
        arena_deinit(&arena);
    }
}

/* Named is what was given to RCPT, even when an alias sends it elsewhere; duplicates are named
 * twice. */
static void test_original_and_duplicates(void **state)
{
    struct arena arena;
    struct mail m;
    struct rcpt *alias;
    bool *hidden = NULL;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_int_equal(
        mail_set_header(&m, BARID_S("To: info@example.com, b@example.com\r\n"), true), 0);
    alias = test_rcpt(&m, "anna@example.com");
    alias->original = BARID_S("info@example.com");
    assert_non_null(test_rcpt(&m, "b@example.com"));
    assert_non_null(test_rcpt(&m, "b@example.com"));
    assert_non_null(test_rcpt(&m, "c@example.com"));
    assert_int_equal(mail_hidden_rcpts(&m, &arena, &hidden), 0);
    assert_false(hidden[0]);
    assert_false(hidden[1]);
    assert_false(hidden[2]);
    assert_true(hidden[3]);
    arena_deinit(&arena);
}

static void test_no_recipients(void **state)
{
    struct arena arena;
    struct mail m;
    bool *hidden = NULL;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_int_equal(mail_set_header(&m, BARID_S("To: a@b\r\n"), true), 0);
    assert_int_equal(mail_hidden_rcpts(&m, &arena, &hidden), 0);
    assert_non_null(hidden);
    arena_deinit(&arena);
}

/* Hostile values end, read nothing beyond their end (a sanitizer sees it) and name nobody by
 * accident. */
static void test_random(void **state)
{
    static const char octets[] = "a@b.c<>()\",;:\\ \r\n\t[]";
    struct rng_seeded rng;

    (void)state;
    rng_seeded_init(&rng, 5);
    for (int i = 0; i < 5000; i++) {
        struct arena arena;
        struct mail m;
        char block[48] = "To:";
        size_t n = 3 + rng_u64(&rng.rng) % (sizeof(block) - 3);
        bool *hidden = NULL;

        for (size_t k = 3; k < n; k++)
            block[k] = octets[rng_u64(&rng.rng) % (sizeof(octets) - 1)];
        arena_init(&arena, NULL, 0);
        assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
        assert_int_equal(mail_set_header(&m, slice_of(block, n), true), 0);
        assert_non_null(test_rcpt(&m, "not.there@example.com"));
        assert_int_equal(mail_hidden_rcpts(&m, &arena, &hidden), 0);
        assert_true(hidden[0]);
        arena_deinit(&arena);
    }
}

/* A hundred comments in one another are passed over; behind more of them nothing is read. */
static void test_nesting(void **state)
{
    (void)state;
    for (size_t depth = 100; depth <= 101; depth++) {
        struct arena arena;
        struct mail m;
        char block[300] = "To: ";
        bool *hidden = NULL;

        memset(block + 4, '(', depth);
        memset(block + 4 + depth, ')', depth);
        memcpy(block + 4 + 2 * depth, " a@b\r\n", 6);
        arena_init(&arena, NULL, 0);
        assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
        assert_int_equal(mail_set_header(&m, slice_of(block, 4 + 2 * depth + 6), true), 0);
        assert_non_null(test_rcpt(&m, "a@b"));
        assert_int_equal(mail_hidden_rcpts(&m, &arena, &hidden), 0);
        assert_int_equal(hidden[0], depth > 100);
        arena_deinit(&arena);
    }
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        struct arena arena;
        struct mail m;
        bool *hidden = NULL;

        arena_init(&arena, &f.mem, 0);
        if (mail_init(&m, &arena, NULL, 0) == 0 &&
            mail_set_header(&m, BARID_S("To: a@b, c@d\r\n"), true) == 0 &&
            test_rcpt(&m, "a@b") != NULL && test_rcpt(&m, "x@y") != NULL) {
            int rc = mail_hidden_rcpts(&m, &arena, &hidden);

            assert_true(rc == 0 || rc == BARID_ENOMEM);
            assert_int_equal(rc == 0, hidden != NULL);
            assert_true(rc < 0 || (!hidden[0] && hidden[1]));
        }
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_original_and_duplicates),
        cmocka_unit_test(test_no_recipients), cmocka_unit_test(test_random),
        cmocka_unit_test(test_nesting),       cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
