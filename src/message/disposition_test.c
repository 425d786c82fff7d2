/* message/disposition_test.c: binding, exclusion, merging, verdicts; each allocation failing.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/message_testing.h"

/*
 * A scenario is written as steps. Recipients are a@x, b@x, c@x; steps:
 *   "s0 T" store T for recipient 0; "S T" mail:store; "A T" archive;
 *   "x T" exclude stored T; "X T" exclude archived T;
 *   "> T" mail:send, ">1 T" send for recipient 1, "P1 T" the same, pinned; "Y T" exclude sent T;
 *   "e1 -" recipient 1 is elsewhere, "r1 -" and was let in, "a -" the client may relay;
 *   "v0 R" verdict of recipient 0: A R T D Q H P; "m D" the mail's state is discarded.
 * The result is one line per unit: kind initial (">" for send), "!" when held, "=" when pinned, target, recipients; then the
 * undecided.
 */
struct scenario {
    const char *steps[10];
    const char *want;
};

static enum rcpt_verdict verdict_of(char c)
{
    static const char letters[] = "PARTDQH";
    static const enum rcpt_verdict verdicts[] = {
        RCPT_PENDING,   RCPT_ACCEPTED,    RCPT_REJECTED, RCPT_TEMPFAILED,
        RCPT_DISCARDED, RCPT_QUARANTINED, RCPT_HELD};

    return verdicts[strchr(letters, c) - letters];
}

static int step(struct mail *m, const char *s)
{
    barid_slice target = slice_from(slice_str(strchr(s, ' ')), 1);
    size_t rcpt = s[1] != ' ' ? (size_t)(s[1] - '0') : 0;

    switch (s[0]) {
    case 's':
        return mail_add_row(m, DISPOSITION_STORE, DISPOSITION_ONE, rcpt, target);
    case 'S':
        return mail_add_row(m, DISPOSITION_STORE, DISPOSITION_REST, 0, target);
    case 'A':
        return mail_add_row(m, DISPOSITION_ARCHIVE, DISPOSITION_MESSAGE, 0, target);
    case '>':
        return mail_add_row(m, DISPOSITION_SEND,
                            s[1] != ' ' ? DISPOSITION_ONE : DISPOSITION_REST, rcpt, target);
    case 'P':
        return mail_add_pinned(m, DISPOSITION_ONE, rcpt, target);
    case 'Y':
        return mail_exclude(m, DISPOSITION_SEND, target);
    case 'e':
    case 'r':
        m->rcpts[rcpt]->is_local = false;
        m->rcpts[rcpt]->relayed = s[0] == 'r';
        return 0;
    case 'a':
        m->relay_allowed = true;
        return 0;
    case 'x':
        return mail_exclude(m, DISPOSITION_STORE, target);
    case 'X':
        return mail_exclude(m, DISPOSITION_ARCHIVE, target);
    case 'v':
        m->rcpts[rcpt]->verdict = verdict_of(target.p[0]);
        return 0;
    default:
        m->state = MAIL_DISCARDED;
        return 0;
    }
}

static void describe(struct buf *out, const struct unit *units, size_t n, const bool *undecided,
                     size_t n_rcpts)
{
    for (size_t i = 0; i < n; i++) {
        bool send = units[i].kind == DISPOSITION_SEND;

        assert_true(!send || units[i].n_rcpts == 1);
        buf_fmt(out, "%c%s%s%.*s:", send ? '>' : disposition_kind_name(units[i].kind)[0],
                units[i].held ? "!" : " ", units[i].pinned ? "=" : "", (int)units[i].target.n,
                units[i].target.n > 0 ? units[i].target.p : "");
        for (size_t k = 0; k < units[i].n_rcpts; k++)
            buf_fmt(out, "%zu", units[i].rcpts[k]);
        assert_int_equal(units[i].n_rcpts == 0, units[i].rcpts == NULL);
        buf_str(out, "\n");
    }
    for (size_t i = 0; i < n_rcpts; i++)
        if (undecided[i])
            buf_fmt(out, "?%zu\n", i);
}

static const struct scenario scenarios[] = {
    /* nothing said: everybody is undecided */
    {{NULL}, "?0\n?1\n?2\n"},
    /* binding */
    {{"s0 a", NULL}, "s a:0\n?1\n?2\n"},
    {{"S all", NULL}, "s all:012\n"},
    {{"s1 own", "S all", NULL}, "s own:1\ns all:02\n"},
    {{"S all", "s1 own", NULL}, "s own:1\ns all:02\n"},
    {{"s0 a", "s1 b", "s2 c", "S all", NULL}, "s a:0\ns b:1\ns c:2\n"},
    {{"A old", NULL}, "a old:\n?0\n?1\n?2\n"},
    {{"A old", "S all", NULL}, "s all:012\na old:\n"},
    /* expansion per recipient */
    {{"S %{domain}/%{user}", NULL}, "s x/a:0\ns x/b:1\ns x/c:2\n"},
    /* named twice is one */
    {{"s0 same", "s0 same", NULL}, "s same:0\n?1\n?2\n"},
    {{"s0 same", "s1 same", NULL}, "s same:01\n?2\n"},
    {{"s1 same", "s0 same", NULL}, "s same:01\n?2\n"},
    {{"s0 %{user}", "s0 a", NULL}, "s a:0\n?1\n?2\n"},
    {{"s0 all", "S all", NULL}, "s all:012\n"},
    {{"A t", "S t", NULL}, "s t:012\na t:\n"},
    {{"A t", "A t", "v0 D", "v1 D", "v2 D", NULL}, "a t:\n"},
    {{"s0 a//b", "s1 a/b", "s2 a/./b", NULL}, "s a/b:012\n"},
    /* several targets of one */
    {{"s0 z", "s0 y", NULL}, "s z:0\ns y:0\n?1\n?2\n"},
    /* exclusion, whatever the order */
    {{"x a", "s0 a", "s0 b", NULL}, "s b:0\n?1\n?2\n"},
    {{"s0 a", "s0 b", "x a", NULL}, "s b:0\n?1\n?2\n"},
    {{"S %{user}", "x b", NULL}, "s a:0\ns c:2\n?1\n"},
    {{"S %{user}", "x %{user}", NULL}, "?0\n?1\n?2\n"},
    {{"s1 own", "S all", "x own", NULL}, "s all:012\n"},
    {{"s1 own", "S all", "x all", NULL}, "s own:1\n?0\n?2\n"},
    {{"A t", "S t", "x t", NULL}, "a t:\n?0\n?1\n?2\n"},
    {{"A t", "S t", "X t", NULL}, "s t:012\n"},
    /* refused recipients */
    {{"s0 a", "S all", "v0 R", NULL}, "s all:12\n"},
    {{"S all", "v0 R", "v1 T", "v2 P", NULL}, ""},
    {{"A old", "S all", "v0 R", "v1 R", "v2 T", NULL}, ""},
    {{"A old", "S all", "v0 R", "v1 R", NULL}, "s all:2\na old:\n"},
    /* discarded */
    {{"S all", "v1 D", NULL}, "s all:02\n"},
    {{"v1 D", NULL}, "?0\n?2\n"},
    {{"A old", "S all", "v0 D", "v1 D", "v2 D", NULL}, "a old:\n"},
    {{"A old", "S all", "m D", NULL}, ""},
    /* held and quarantined */
    {{"S all", "v1 H", NULL}, "s all:02\ns!all:1\n"},
    {{"S all", "v0 H", "v1 Q", NULL}, "s!all:01\ns all:2\n"},
    {{"S all", "v0 H", "v1 H", "v2 H", NULL}, "s!all:012\n"},
    {{"v0 H", "v1 Q", "v2 D", NULL}, "n!:0\nn!:1\n"},
    {{"s0 a", "v0 H", "v1 H", NULL}, "s!a:0\nn!:1\n?2\n"},
    /* sending: one unit each, target as given */
    {{"> [192.0.2.1]:25", NULL},
     "> [192.0.2.1]:0\n> [192.0.2.1]:1\n> [192.0.2.1]:2\n"},
    {{">0 A.example:25  [b.example]", ">0 a.example [B.example]:25", NULL},
     "> a.example [b.example]:0\n?1\n?2\n"},
    {{">0 a", ">0 b", "s0 a", NULL}, "> a:0\n> b:0\ns a:0\n?1\n?2\n"},
    {{">0 ", "P1 a", ">2 a", NULL}, "> :0\n> =a:1\n> a:2\n"},
    {{">1 a", "P1 A", NULL}, "> =a:1\n?0\n?2\n"},
    {{"P1 a", ">1 a", "> all", NULL}, "> =a:1\n> all:0\n> all:2\n"},
    {{">0 a", ">0 b", "Y A:25", NULL}, "> b:0\n?1\n?2\n"},
    {{">0 a", "Y a", "v0 H", "> r", NULL}, ">!r:0\n> r:1\n> r:2\n"},
    /* elsewhere: sent by default, if it was let in */
    {{"r1 -", "S all", NULL}, "s all:012\n"},
    {{"r1 -", "s0 all", NULL}, "s all:0\n> :1\n?2\n"},
    {{"e1 -", "s0 all", NULL}, "s all:0\n?1\n?2\n"},
    {{"e1 -", "s0 all", "a -", NULL}, "s all:0\n> :1\n?2\n"},
    {{"r1 -", "s1 all", NULL}, "s all:1\n?0\n?2\n"},
    {{"r0 -", "r1 -", "r2 -", "v0 R", "v1 D", "v2 H", NULL}, ">!:2\n"},
    {{"r0 -", "r1 -", "r2 -", "m D", NULL}, ""},
    {{"r1 -", "Y ", "s0 a", NULL}, "s a:0\n?1\n?2\n"},
};

static void run(const struct scenario *sc, const barid_mem *mem, bool expect)
{
    static const char *const rcpts[] = {"a@x", "b@x", "c@x"};
    struct arena arena;
    struct mail m;
    struct unit *units = NULL;
    size_t n = 0;
    bool *undecided = NULL;
    struct buf out;
    int rc;

    arena_init(&arena, mem, 0);
    buf_init(&out, NULL, 0);
    rc = mail_init(&m, &arena, NULL, 0);
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = test_rcpt(&m, rcpts[i]) != NULL ? 0 : BARID_ENOMEM;
    for (size_t i = 0; rc == 0 && sc->steps[i] != NULL; i++)
        rc = step(&m, sc->steps[i]);
    if (rc == 0)
        rc = mail_evaluate(&m, &units, &n, &undecided, NULL);
    if (rc == 0) {
        describe(&out, units, n, undecided, m.n_rcpts);
        if (!test_slice_is(buf_slice(&out), sc->want))
            print_error("got\n%.*swant\n%s", (int)out.len, out.len ? out.p : "", sc->want);
        assert_true(test_slice_is(buf_slice(&out), sc->want));
    } else {
        assert_false(expect);
        assert_int_equal(rc, BARID_ENOMEM);
    }
    buf_deinit(&out);
    arena_deinit(&arena);
}

static void test_scenarios(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++)
        run(&scenarios[i], NULL, true);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(*scenarios); i++) {
        while (fail_mem_next(&f))
            run(&scenarios[i], &f.mem, false);
    }
}

/* Asking again after "undecided" was turned into a hold gives the new answer. */
static void test_ask_again(void **state)
{
    struct arena arena;
    struct mail m;
    struct unit *units;
    size_t n;
    bool *undecided;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_non_null(test_rcpt(&m, "a@x"));
    assert_int_equal(mail_evaluate(&m, &units, &n, &undecided, NULL), 0);
    assert_int_equal(n, 0);
    assert_true(undecided[0]);
    m.rcpts[0]->verdict = RCPT_HELD;
    assert_int_equal(mail_evaluate(&m, &units, &n, &undecided, NULL), 0);
    assert_int_equal(n, 1);
    assert_true(units[0].held);
    assert_false(undecided[0]);
    arena_deinit(&arena);
}

static void test_does_not_expand(void **state)
{
    struct arena arena;
    struct mail m;
    struct unit *units;
    size_t n;
    bool *undecided;
    struct err err;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    assert_non_null(test_rcpt(&m, "a@x"));
    assert_int_equal(mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_ONE, 0, BARID_S("%{tag}")),
                     0);
    assert_int_equal(mail_evaluate(&m, &units, &n, &undecided, &err), BARID_ESYNTAX);
    assert_true(err.text[0] != '\0');
    arena_deinit(&arena);
}

static void test_limits(void **state)
{
    struct arena arena;
    struct mail m;
    struct unit *units;
    size_t n;
    bool *undecided;
    char target[32];

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(mail_init(&m, &arena, NULL, 0), 0);
    for (int i = 0; i < 1001; i++)
        assert_non_null(test_rcpt(&m, "a@x"));
    for (int i = 0; i < 99; i++) {
        snprintf(target, sizeof(target), "t%d", i);
        assert_int_equal(
            mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_REST, 0, slice_str(target)), 0);
    }
    assert_int_equal(mail_evaluate(&m, &units, &n, &undecided, NULL), 0);
    assert_int_equal(n, 99);
    assert_int_equal(units[98].n_rcpts, 1001);
    assert_int_equal(
        mail_add_row(&m, DISPOSITION_STORE, DISPOSITION_REST, 0, BARID_S("one more")), 0);
    assert_int_equal(mail_evaluate(&m, &units, &n, &undecided, NULL), BARID_ELIMIT);
    arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenarios),       cmocka_unit_test(test_ask_again),
        cmocka_unit_test(test_does_not_expand), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
