/* message/template_test.c: syntax, values, and that no mixture climbs out of a root. */
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
#include "message/template.h"

#define RECEIVED_US INT64_C(1795173699123456) /* 2026-11-20T11:21:39 */

struct fixture {
    struct arena arena;
    struct mail m;
};

static void begin(struct fixture *f, const char *rcpt)
{
    arena_init(&f->arena, NULL, 0);
    assert_int_equal(mail_init(&f->m, &f->arena, NULL, RECEIVED_US), 0);
    f->m.id = 33;
    assert_true(test_sender(&f->m, "Sender@Example.ORG"));
    assert_non_null(test_rcpt(&f->m, rcpt));
}

static void assert_path_is_safe(barid_slice path)
{
    barid_slice rest = path;

    assert_true(path.n > 0 && path.n <= TEMPLATE_RESULT_MAX);
    assert_true(path.p[0] != '/' && path.p[path.n - 1] != '/');
    for (size_t i = 0; i < path.n; i++)
        assert_true((uint8_t)path.p[i] >= ' ' && path.p[i] != 127);
    while (rest.n > 0) {
        barid_slice part = slice_cut(rest, '/', &rest);

        assert_true(part.n > 0 && part.n <= TEMPLATE_COMPONENT_MAX);
        assert_false(slice_eq(part, BARID_S(".")) || slice_eq(part, BARID_S("..")));
    }
}

static void test_syntax(void **state)
{
    static const struct {
        const char *text;
        bool with_rcpt, without_rcpt;
    } rows[] = {
        {"a", true, true},
        {"%{domain}/%{user}", true, false},
        {"%{yyyy}/%{mm}/%{dd}", true, true},
        {"%{id}%{sender}", true, true},
        {"%{local}", true, false},
        {"%{address}", true, false},
        {"%{tag}", true, false},
        {"100%%", true, true},
        {".hidden/..x/x../...", true, true},
        {"", false, false},
        {"/a", false, false},
        {"..", false, false},
        {"../a", false, false},
        {"a/../b", false, false},
        {"a/..", false, false},
        {"a%", false, false},
        {"a%b", false, false},
        {"%{", false, false},
        {"%{}", false, false},
        {"%{user", false, false},
        {"%{User}", false, false},
        {"%{nothing}", false, false},
        {"a\nb", false, false},
        {"a\x7f", false, false},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        barid_slice text = slice_str(rows[i].text);

        assert_int_equal(template_check(text, true, &err),
                         rows[i].with_rcpt ? 0 : BARID_ESYNTAX);
        assert_int_equal(template_check(text, false, NULL),
                         rows[i].without_rcpt ? 0 : BARID_ESYNTAX);
    }
    assert_int_equal(template_check(slice_of("a\0b", 3), true, &err), BARID_ESYNTAX);
    assert_int_equal(template_check(BARID_S("%{nothing}"), true, &err), BARID_ESYNTAX);
    assert_non_null(strstr(err.text, "%{nothing}"));
}

static void test_values(void **state)
{
    static const struct {
        const char *rcpt, *text, *want;
    } rows[] = {
        {"Anna+Lists@Example.com", "%{domain}/%{user}", "example.com/anna"},
        {"Anna+Lists@Example.com", "%{local}|%{tag}", "Anna+Lists|Lists"},
        {"Anna+Lists@Example.com", "%{address}", "Anna+Lists@example.com"},
        {"anna@example.com", "%{sender}", "Sender@example.org"},
        {"anna@example.com", "%{yyyy}/%{mm}/%{dd}/%{id}", "2026/11/20/0000000000011"},
        {"anna@example.com", "100%%", "100%"},
        {"anna@example.com", "%{domain}/%{user}/.%{tag}", "example.com/anna"},
        {"anna+x@example.com", "%{domain}/%{user}/.%{tag}", "example.com/anna/.x"},
        {"anna@example.com", "%{tag}/%{user}/", "anna"},
        {"\"../../etc\"@example.com", "%{user}", "_._.._etc"},
        {"\"..\"@example.com", "%{user}", "_."},
        {"\".\"@example.com", "%{user}", "_"},
        {"\".\"@example.com", ".%{user}", "._"},
        {"\"/\"@example.com", "%{user}", "_"},
        {"\"/etc/passwd\"@example.com", "%{local}", "_etc_passwd"},
        {"\".hidden\"@example.com", "%{user}", "_hidden"},
        {"j\xc3\xb6rg@example.com", "%{user}", "j\xc3\xb6rg"},
        {"anna@[192.0.2.1]", "%{domain}", "[192.0.2.1]"},
        {"postmaster", "%{domain}/%{user}", "postmaster"},
        {"anna@example.com", ".%{tag}.", "__"},
        {"anna@example.com", "x/.%{tag}./y", "x/__/y"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fixture f;
        struct err err;
        barid_slice result;

        begin(&f, rows[i].rcpt);
        assert_int_equal(template_expand(slice_str(rows[i].text), &f.m, f.m.rcpts[0], &f.arena,
                                         &result, &err),
                         0);
        assert_path_is_safe(result);
        assert_int_equal(result.n, strlen(rows[i].want));
        assert_memory_equal(result.p, rows[i].want, result.n);
        arena_deinit(&f.arena);
    }
}

static void test_refused(void **state)
{
    struct fixture f;
    struct err err;
    barid_slice result;
    char text[TEMPLATE_RESULT_MAX + 1];

    (void)state;
    begin(&f, "anna@example.com");
    assert_int_equal(
        template_expand(BARID_S("%{tag}"), &f.m, f.m.rcpts[0], &f.arena, &result, &err),
        BARID_ESYNTAX);
    assert_int_equal(template_expand(BARID_S("%{user}"), &f.m, NULL, &f.arena, &result, &err),
                     BARID_ESYNTAX);
    memset(text, 'a', sizeof(text));
    assert_int_equal(
        template_expand(slice_of(text, sizeof(text)), &f.m, NULL, &f.arena, &result, &err),
        BARID_ESYNTAX);
    assert_int_equal(template_expand(slice_of(text, TEMPLATE_COMPONENT_MAX), &f.m, NULL,
                                     &f.arena, &result, &err),
                     0);
    assert_int_equal(template_expand(slice_of(text, TEMPLATE_COMPONENT_MAX + 1), &f.m, NULL,
                                     &f.arena, &result, &err),
                     BARID_ELIMIT);
    for (size_t i = 0; i < 1020; i += 10)
        memcpy(text + i, "%{sender}/", 10);
    assert_int_equal(template_expand(slice_of(text, 1020), &f.m, NULL, &f.arena, &result, &err),
                     BARID_ELIMIT);
    arena_deinit(&f.arena);
}

/* Values that no parser lets through, but a policy might set: the result is safe all the same.
 */
static void test_random_values(void **state)
{
    static const char octets[] = "../..\0\n\x7f\xff%a";
    static const char *const texts[] = {"%{user}",         ".%{user}",
                                        "%{user}.",        "%{local}/%{tag}",
                                        ".%{tag}%{user}.", "%{domain}%{tag}/%{user}",
                                        "%{address}",      "a/%{user}%{tag}/b"};
    struct rng_seeded rng;
    size_t expanded = 0;

    (void)state;
    rng_seeded_init(&rng, 17);
    for (int i = 0; i < 20000; i++) {
        struct fixture f;
        char value[16];
        size_t n = rng_u64(&rng.rng) % sizeof(value);
        barid_slice result;
        struct rcpt *rcpt;

        for (size_t k = 0; k < n; k++)
            value[k] = octets[rng_u64(&rng.rng) % (sizeof(octets) - 1)];
        begin(&f, "a@b");
        rcpt = f.m.rcpts[0];
        rcpt->box.user = rcpt->box.local = slice_of(value, n);
        rcpt->box.tag = rcpt->box.domain = slice_of(value, n / 2);
        if (template_expand(slice_str(texts[(size_t)i % 8]), &f.m, rcpt, &f.arena, &result,
                            NULL) == 0) {
            assert_path_is_safe(result);
            expanded++;
        }
        arena_deinit(&f.arena);
    }
    assert_true(expanded > 15000);
}

static void test_no_memory(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm)) {
        struct arena arena;
        struct mail m;
        barid_slice result = {NULL, 0};

        arena_init(&arena, &fm.mem, 0);
        if (mail_init(&m, &arena, NULL, RECEIVED_US) == 0 &&
            test_rcpt(&m, "anna@example.com") != NULL) {
            int rc = template_expand(
                BARID_S(
                    "%{domain}/%{user}/%{yyyy}/something/long/enough/to/grow/the/buffer/twice"),
                &m, m.rcpts[0], &arena, &result, NULL);

            assert_true(rc == 0 || rc == BARID_ENOMEM);
            assert_int_equal(rc == 0, result.n > 0);
        }
        arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax),    cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
