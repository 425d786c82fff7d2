/* message/mail_test.c: mailboxes, queue ids, recipients, rows; each allocation failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"

static void test_mailbox(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *local, *domain, *user, *tag;
        enum { PLAIN = 0, EMPTY = 1, QUOTED = 2, LITERAL = 4, UTF8 = 8 } is;
    } rows[] = {
        {"", 0, "", "", "", "", EMPTY},
        {"<>", 0, "", "", "", "", EMPTY},
        {"Anna@Example.COM", 0, "Anna", "example.com", "anna", "", PLAIN},
        {"Anna+Lists+x@Example.COM", 0, "Anna+Lists+x", "example.com", "anna", "Lists+x",
         PLAIN},
        {"+tag@example.com", 0, "+tag", "example.com", "+tag", "", PLAIN},
        {"anna+@example.com", 0, "anna+", "example.com", "anna", "", PLAIN},
        {"\"a b\"@example.com", 0, "a b", "example.com", "a b", "", QUOTED},
        {"\"a\\\"b\"@example.com", 0, "a\"b", "example.com", "a\"b", "", QUOTED},
        {"anna@[192.0.2.1]", 0, "anna", "[192.0.2.1]", "anna", "", LITERAL},
        {"j\xc3\xb6rg@EXAMPLE.com", 0, "j\xc3\xb6rg", "example.com", "j\xc3\xb6rg", "", UTF8},
        {"Postmaster", 0, "Postmaster", "", "postmaster", "", PLAIN},
        {"anna", BARID_ESYNTAX, NULL, NULL, NULL, NULL, PLAIN},
        {"anna@", BARID_ESYNTAX, NULL, NULL, NULL, NULL, PLAIN},
        {"a@b\r\nX: y", BARID_ESYNTAX, NULL, NULL, NULL, NULL, PLAIN},
        {"a@b c@d", BARID_ESYNTAX, NULL, NULL, NULL, NULL, PLAIN},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct mailbox box;

        assert_int_equal(mailbox_from_text(&box, &arena, slice_str(rows[i].text), '+'),
                         rows[i].rc);
        if (rows[i].rc < 0)
            continue;
        assert_true(test_slice_is(box.local, rows[i].local));
        assert_true(test_slice_is(box.domain, rows[i].domain));
        assert_true(test_slice_is(box.user, rows[i].user));
        assert_true(test_slice_is(box.tag, rows[i].tag));
        assert_true(test_slice_is(box.address, rows[i].is == EMPTY ? "" : rows[i].text));
        assert_int_equal(box.null, rows[i].is == EMPTY);
        assert_int_equal(box.quoted, rows[i].is == QUOTED);
        assert_int_equal(box.literal, rows[i].is == LITERAL);
        assert_int_equal(box.utf8, rows[i].is == UTF8);
    }
    arena_deinit(&arena);
}

static void test_no_separator(void **state)
{
    struct arena arena;
    struct mailbox box;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mailbox_from_text(&box, &arena, BARID_S("a+b@example.com"), '\0'), 0);
    assert_true(test_slice_is(box.user, "a+b"));
    assert_int_equal(box.tag.n, 0);
    assert_int_equal(mailbox_from_text(&box, &arena, BARID_S("a-b@example.com"), '-'), 0);
    assert_true(test_slice_is(box.tag, "b"));
    arena_deinit(&arena);
}

static void test_same(void **state)
{
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"anna@example.com", "anna@EXAMPLE.com", true},
        {"anna@example.com", "Anna@example.com", false},
        {"\"anna\"@example.com", "anna@example.com", true},
        {"Postmaster@example.com", "POSTMASTER@example.com", true},
        {"postmaster", "Postmaster", true},
        {"postmaster", "postmaster@example.com", false},
        {"<>", "<>", true},
        {"<>", "postmaster", false},
        {"anna@example.com", "anna@example.org", false},
    };
    struct arena arena;

    (void)state;
    arena_init(&arena, NULL, 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct mailbox a, b;

        assert_int_equal(mailbox_from_text(&a, &arena, slice_str(rows[i].a), '+'), 0);
        assert_int_equal(mailbox_from_text(&b, &arena, slice_str(rows[i].b), '+'), 0);
        assert_int_equal(mailbox_same(&a, &b), rows[i].same);
        assert_int_equal(mailbox_same(&b, &a), rows[i].same);
    }
    arena_deinit(&arena);
}

static void test_ids(void **state)
{
    static const struct {
        uint64_t id;
        const char *text;
    } rows[] = {
        {0, "0000000000000"},          {1, "0000000000001"},
        {31, "000000000000Z"},         {32, "0000000000010"},
        {UINT64_MAX, "FZZZZZZZZZZZZ"}, {UINT64_C(1) << 60, "1000000000000"},
    };
    static const char *const bad[] = {"",
                                      "0",
                                      "00000000000000",
                                      "000000000000U",
                                      "000000000000I",
                                      "G000000000000",
                                      "ZZZZZZZZZZZZZ",
                                      "00000000000 0"};
    char a[MAIL_ID_TEXT_SIZE], b[MAIL_ID_TEXT_SIZE];
    uint64_t id;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        mail_id_text(rows[i].id, a);
        assert_string_equal(a, rows[i].text);
        assert_int_equal(mail_id_parse(slice_str(a), &id), 0);
        assert_true(id == rows[i].id);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_int_equal(mail_id_parse(slice_str(bad[i]), &id), BARID_ESYNTAX);
    assert_int_equal(mail_id_parse(BARID_S("fzzzzzzzzzzzz"), &id), 0);
    assert_true(id == UINT64_MAX);
    for (uint64_t n = 1; n < UINT64_MAX / 3; n = n * 3 + 1) {
        mail_id_text(n, a);
        mail_id_text(n * 3 + 1, b);
        assert_true(strcmp(a, b) < 0);
    }
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(mail_state_name(MAIL_QUARANTINED), "quarantined");
    assert_string_equal(mail_state_name((enum mail_state)99), "?");
    assert_string_equal(disposition_kind_name(DISPOSITION_ARCHIVE), "archive");
    assert_string_equal(disposition_kind_name((enum disposition_kind)0), "none");
    assert_string_equal(disposition_kind_name((enum disposition_kind)99), "?");
}

static void test_header_in(void **state)
{
    struct arena arena;
    struct mail m;
    char block[] = "Received: a\r\nReceived: b\r\nTo: c@d\r\n";

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 5), 0);
    assert_false(m.has_header);
    assert_int_equal(mail_set_header(&m, slice_str(block), true), 0);
    memset(block, 'x', sizeof(block)); /* the mail keeps its own copy */
    assert_int_equal(m.hops, 2);
    assert_true(m.has_header && m.has_blank_line);
    assert_int_equal(header_count(&m.header, BARID_S("To")), 1);
    arena_deinit(&arena);
}

static void test_rows(void **state)
{
    struct arena arena;
    struct mail m;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_non_null(test_rcpt(&m, "a@example.com"));
    assert_non_null(test_rcpt(&m, "b@example.com"));
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 0, BARID_S("x")), 0);
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 0, BARID_S("x")), 0);
    assert_int_equal(m.n_rows, 1);
    assert_true(mail_rcpt_has_row(&m, 0));
    assert_false(mail_rcpt_has_row(&m, 1));
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_REST, 0, BARID_S("x")), 0);
    assert_true(mail_rcpt_has_row(&m, 1));
    assert_int_equal(
        mail_add_row(&m, DISPOSITION_ARCHIVE, DISPOSITION_MESSAGE, 0, BARID_S("x")), 0);
    assert_int_equal(m.n_rows, 3);
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 2, BARID_S("x")),
                     BARID_EINVALID);
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_MESSAGE, 0, BARID_S("x")),
                     BARID_EINVALID);
    assert_int_equal(mail_add_row(&m, DISPOSITION_ARCHIVE, DISPOSITION_REST, 0, BARID_S("x")),
                     BARID_EINVALID);
    assert_int_equal(mail_add_row(&m, 0, DISPOSITION_ONE, 0, BARID_S("x")), BARID_EINVALID);
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 0, BARID_S("../x")),
                     BARID_ESYNTAX);
    assert_int_equal(
        mail_add_row(&m, DISPOSITION_ARCHIVE, DISPOSITION_MESSAGE, 0, BARID_S("%{user}")),
        BARID_ESYNTAX);
    assert_int_equal(mail_exclude(&m, DISPOSITION_STORE, BARID_S("x")), 0);
    assert_int_equal(mail_exclude(&m, DISPOSITION_STORE, BARID_S("x")), 0);
    assert_int_equal(m.n_excluded, 1);
    assert_int_equal(mail_exclude(&m, DISPOSITION_STORE, BARID_S("%x")), BARID_ESYNTAX);
    arena_deinit(&arena);
}

static void test_limits(void **state)
{
    struct arena arena;
    struct mail m;
    struct mailbox box = {.null = false};
    struct rcpt *rcpt, *first = NULL;
    char target[32];

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    for (size_t i = 0; i < MAIL_RCPTS_MAX; i++) {
        assert_int_equal(mail_add_rcpt(&m, &box, BARID_S("a@b"), &rcpt), 0);
        assert_int_equal(rcpt->index, i);
        first = i == 0 ? rcpt : first;
    }
    assert_ptr_equal(m.rcpts[0], first); /* recipients never move */
    assert_int_equal(mail_add_rcpt(&m, &box, BARID_S("a@b"), &rcpt), BARID_ELIMIT);
    for (int i = 0; i < MAIL_EXCLUDED_MAX; i++) {
        snprintf(target, sizeof(target), "t%d", i);
        assert_int_equal(mail_exclude(&m, DISPOSITION_STORE, slice_str(target)), 0);
    }
    assert_int_equal(mail_exclude(&m, DISPOSITION_STORE, BARID_S("one more")), BARID_ELIMIT);
    for (int i = 0; i < MAIL_ROWS_MAX; i++) {
        snprintf(target, sizeof(target), "t%d", i);
        assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE,
                                      (size_t)(i % MAIL_RCPTS_MAX), slice_str(target)),
                         0);
    }
    assert_int_equal(
        mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 0, BARID_S("one more")),
        BARID_ELIMIT);
    arena_deinit(&arena);
}

static void test_may_relay(void **state)
{
    struct session_facts facts = {.id = "s"};
    struct arena arena;
    struct mail m;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_false(mail_may_relay(&m));
    m.relay_allowed = true;
    assert_true(mail_may_relay(&m));
    m.relay_allowed = false;
    m.session = &facts;
    assert_false(mail_may_relay(&m));
    facts.trusted = true;
    assert_true(mail_may_relay(&m));
    facts.trusted = false;
    facts.user = BARID_S("anna");
    assert_true(mail_may_relay(&m));
    arena_deinit(&arena);
}

static void test_send_rows(void **state)
{
    struct arena arena;
    struct mail m;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_non_null(test_rcpt(&m, "a@b"));
    assert_int_equal(mail_add_row(&m, DISPOSITION_SEND, DISPOSITION_ONE, 0, BARID_S("a b_")), BARID_ESYNTAX);
    assert_int_equal(mail_add_row(&m, DISPOSITION_SEND, DISPOSITION_ONE, 0, BARID_S("a b c d e f g h i")), BARID_ESYNTAX);
    assert_int_equal(mail_add_pinned(&m, DISPOSITION_MESSAGE, 0, BARID_S("a")), BARID_EINVALID);
    assert_int_equal(mail_add_pinned(&m, DISPOSITION_ONE, 1, BARID_S("a")), BARID_EINVALID);
    assert_int_equal(mail_exclude(&m, DISPOSITION_SEND, BARID_S("192.0.2.1")), BARID_ESYNTAX);
    assert_int_equal(m.n_rows + m.n_excluded, 0);
    assert_int_equal(mail_add_row(&m, DISPOSITION_SEND, DISPOSITION_REST, 0, BARID_S("A:25  [B]:25")), 0);
    assert_int_equal(mail_add_pinned(&m, DISPOSITION_REST, 0, BARID_S("a [b]")), 0);
    assert_int_equal(m.n_rows, 1);
    assert_true(m.rows[0].pinned && test_slice_is(m.rows[0].target, "a [b]"));
    arena_deinit(&arena);
}

static void scenario(const barid_mem *mem)
{
    barid_mail_params params = {.envid = BARID_S("QQ314159"), .auth = BARID_S("<>")};
    struct arena arena;
    struct mail m;

    arena_init(&arena, mem, 0);
    if (mail_init(&m, &arena, NULL, 0) == 0) {
        mail_set_params(&m, &params);
        assert_true(m.params.envid.n == 0 || m.params.envid.p != params.envid.p);
        mail_set_header(&m, BARID_S("To: a@b\r\n"), true);
        test_sender(&m, "Anna+x@Example.com");
        for (int i = 0; i < 20; i++) {
            struct rcpt *rcpt = test_rcpt(&m, "\"a b\"+tag@example.com");

            assert_true(rcpt == NULL || m.rcpts[m.n_rcpts - 1] == rcpt);
            if (rcpt != NULL)
                mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, rcpt->index,
                             BARID_S("%{domain}/%{user}"));
        }
        mail_exclude(&m, DISPOSITION_STORE, BARID_S("x/y"));
        mail_exclude(&m, DISPOSITION_SEND, BARID_S("A.example"));
    }
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f))
        scenario(&f.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mailbox),   cmocka_unit_test(test_no_separator),
        cmocka_unit_test(test_same),      cmocka_unit_test(test_ids),
        cmocka_unit_test(test_names),     cmocka_unit_test(test_header_in),
        cmocka_unit_test(test_rows),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_may_relay), cmocka_unit_test(test_send_rows),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
