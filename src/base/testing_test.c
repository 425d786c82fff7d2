/* base/testing_test.c: the helpers themselves: a broken one would hide mistakes everywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"

static void test_nth_fails_alone(void **state)
{
    struct fail_mem f;
    void *a, *b;

    (void)state;
    fail_mem_init(&f, 2);
    a = mem_alloc(&f.mem, 8);
    assert_non_null(a);
    assert_false(f.failed);
    /* A failed realloc leaves the old block alone. */
    assert_null(mem_realloc(&f.mem, a, 16));
    assert_true(f.failed);
    assert_int_equal(f.live, 1);
    b = mem_alloc(&f.mem, 8);
    assert_non_null(b);
    assert_int_equal(f.live, 2);
    a = mem_realloc(&f.mem, a, 32);
    assert_non_null(a);
    assert_int_equal(f.live, 2);
    assert_int_equal(f.count, 4);
    mem_free(&f.mem, a);
    mem_free(&f.mem, b);
    mem_free(&f.mem, NULL);
    assert_int_equal(f.live, 0);
}

/* Three blocks, or fewer when one fails; leaves one behind when told so. */
static void three_blocks(const barid_mem *mem, bool leaks)
{
    void *p[3];

    for (size_t i = 0; i < 3; i++)
        p[i] = mem_alloc(mem, 8);
    for (size_t i = 0; i < (leaks ? 2 : 3); i++)
        mem_free(mem, p[i]);
}

static void test_each_fails_once(void **state)
{
    struct fail_mem f = {.settle = 2};
    size_t runs = 0, failed = 0;

    (void)state;
    for (int again = 0; again < 2; again++) {
        while (fail_mem_next(&f)) {
            three_blocks(&f.mem, false);
            runs++;
            failed += f.failed;
        }
        assert_int_equal(f.injected, 3);
    }
    assert_int_equal(failed, 6);
    assert_int_equal(runs, 10); /* two clean ones end a loop */
}

/* What a run leaves behind ends the program, and nothing claims to be proved. */
static void test_leak_is_noticed(void **state)
{
    char text[200] = "";
    int ends[2], status;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct fail_mem f = {0};

        signal(SIGABRT, SIG_DFL); /* the handler of cmocka would go on */
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        while (fail_mem_next(&f))
            three_blocks(&f.mem, true);
        _exit(0);
    }
    close(ends[1]);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "allocation 1 of 3 failing: 1 blocks left behind"));
    assert_null(strstr(text, "proof"));
}

struct cuts {
    struct buf text;
    barid_slice expected;
    unsigned runs, pieces, whole, by_byte;
};

static void begin(void *user)
{
    struct cuts *c = user;

    buf_clear(&c->text);
    c->pieces = 0;
}

static void feed(void *user, const char *p, size_t n)
{
    struct cuts *c = user;

    assert_true(n > 0);
    c->pieces++;
    assert_int_equal(buf_append(&c->text, slice_of(p, n)), 0);
}

static void end(void *user)
{
    struct cuts *c = user;

    assert_true(slice_eq(buf_slice(&c->text), c->expected));
    c->runs++;
    c->whole += c->pieces == 1;
    c->by_byte += c->pieces == c->expected.n;
}

static const struct cut_ops ops = {begin, feed, end};

static void test_cuts_cover(void **state)
{
    struct cuts c = {.expected = BARID_S("EHLO x\r\nMAIL FROM:<>\r\nQUIT\r\n")};

    (void)state;
    buf_init(&c.text, NULL, 0);
    test_cuts(&ops, &c, c.expected, 50, 1);
    assert_int_equal(c.runs, 52);
    assert_true(c.whole >= 1);
    assert_true(c.by_byte >= 1);
    assert_true(c.whole + c.by_byte < 40);
    c.expected = BARID_S("");
    c.runs = 0;
    test_cuts(&ops, &c, c.expected, 0, 1);
    assert_int_equal(c.runs, 2);
    buf_deinit(&c.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nth_fails_alone),
        cmocka_unit_test(test_each_fails_once),
        cmocka_unit_test(test_leak_is_noticed),
        cmocka_unit_test(test_cuts_cover),
    };

    return cmocka_run_group_tests_name("testing", tests, NULL, NULL);
}
