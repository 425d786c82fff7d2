/* policy/pattern_test.c: our Lua patterns give what the standard library's give; and never run
 * for long. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "policy/pattern.h"
#include "policy/pattern_compare.h"

static const char *const cases[][2] = {
    {"hello world", "o w"},
    {"hello world", "(h)(.-)(o)"},
    {"hello", "^h"},
    {"hello", "o$"},
    {"hello", "$"},
    {"a$b", "a$b"},
    {"key = value", "^(%w+)%s*=%s*(%w+)$"},
    {"abc", "()b()"},
    {"aaa", "a*"},
    {"aaa", "a-"},
    {"aaa", "a+?"},
    {"", ".*"},
    {"", "^$"},
    {"THE (quick) fox", "%((%a+)%)"},
    {"f(a(b)c)d", "%b()"},
    {"f(a(b", "%b()"},
    {"THE (quick) fox", "%f[%a]%a+"},
    {"abab", "(ab)%1"},
    {"x]y", "[]]"},
    {"x^y", "[x^]"},
    {"x-y", "[a-]"},
    {"xay", "[^a-w]"},
    {"a\\b", "[\\]"},
    {"5%", "%%"},
    {"abc", "[a"},
    {"abc", "[]"},
    {"abc", "[^]"},
    {"abc", "%"},
    {"abc", "("},
    {"abc", ")"},
    {"abc", "(()"},
    {"abc", "%1"},
    {"abc", "%b"},
    {"abc", "%bx"},
    {"abc", "%f"},
    {"abc", "%fa"},
    {"abc", "(a)%2"},
    {"abc", "(a%1)"},
    {"abc", "()%1"},
    {"a.b", "a.b"},
    {"a\tb", "%c"},
    {"a\tb", "%C+"},
    {"\xc3\xa9", "[\x80-\xff]+"},
    {"aXb", "%u"},
    {"aXb", "%U+"},
    {"a1", "%x%x"},
    {"abc", "[%a"},
    {"abc", "[%"},
    {"abc", "[a-%]"},
    {"a]", "[a-]]"},
    {"*", "*"},
    {"a*", "a%*"},
    {"ab", "^^a"},
    {"^a", "%^a"},
    {"aab", "^a"},
    {"x", "x?x?x?"},
    {"aZz", "%Z+"},
    {"az", "%z"},
};

static void test_cases(void **state)
{
    struct compare *c = compare_new();

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (!compare_same(c, slice_str(cases[i][0]), slice_str(cases[i][1])))
            fail_msg("'%s' against '%s' differs", cases[i][0], cases[i][1]);
    }
    compare_del(c);
}

static void test_random(void **state)
{
    static const char letters[] = "ab%().*+-?[]^$1fbx";
    struct compare *c = compare_new();
    struct rng_seeded r;

    (void)state;
    rng_seeded_init(&r, 42);
    for (int i = 0; i < 20000; i++) {
        char s[12], p[10];
        size_t n = rng_u64(&r.rng) % sizeof(s), m = rng_u64(&r.rng) % sizeof(p);
        for (size_t k = 0; k < n; k++)
            s[k] = letters[rng_u64(&r.rng) % 4];
        for (size_t k = 0; k < m; k++)
            p[k] = letters[rng_u64(&r.rng) % (sizeof(letters) - 1)];
        if (!compare_same(c, slice_of(s, n), slice_of(p, m)))
            fail_msg("'%.*s' against '%.*s' differs", (int)n, s, (int)m, p);
    }
    compare_del(c);
}

static void test_bounded(void **state)
{
    static char subject[5000], nested[2 * 200];
    struct pattern m = {
        .subject = {subject, sizeof(subject)}, .text = BARID_S(".-.-.-.-.-b"), .steps = 100000};
    size_t end;

    (void)state;
    memset(subject, 'a', sizeof(subject));
    for (size_t i = 0; i < sizeof(nested); i++)
        nested[i] = "a?"[i % 2];
    assert_int_equal(pattern_at(&m, 0, &end), -1);
    assert_int_equal(m.steps, 0);
    assert_non_null(strstr(m.error, "step limit"));
    /* Each "a?" is tried within the one before. */
    m = (struct pattern){
        .subject = {subject, 300}, .text = slice_of(nested, 2 * 199), .steps = 100000};
    assert_int_equal(pattern_at(&m, 0, &end), 1);
    m = (struct pattern){
        .subject = {subject, 300}, .text = slice_of(nested, 2 * 200), .steps = 100000};
    assert_int_equal(pattern_at(&m, 0, &end), -1);
    assert_non_null(strstr(m.error, "too complex"));
    assert_true(pattern_is_plain(BARID_S("abc")));
    assert_true(pattern_is_plain(BARID_S("a\0b")));
    assert_false(pattern_is_plain(BARID_S("a\0b.")));
    assert_false(pattern_is_plain(BARID_S("a-b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases),
                                       cmocka_unit_test(test_random),
                                       cmocka_unit_test(test_bounded)};

    return cmocka_run_group_tests_name("pattern", tests, NULL, NULL);
}
