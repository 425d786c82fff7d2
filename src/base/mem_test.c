/* base/mem_test.c: allocation through a barid_mem. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/testing.h"

static void check_all(const barid_mem *mem)
{
    char *p = mem_zalloc(mem, 64), *copy;
    int *numbers = mem_array(mem, 8, sizeof(int));

    for (size_t i = 0; i < 64; i++)
        assert_int_equal(p[i], 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(numbers[i], 0);
    memcpy(p, "kept", 5);
    p = mem_realloc(mem, p, 4096);
    assert_string_equal(p, "kept");
    copy = mem_strdup(mem, (barid_slice){"abc", 2});
    assert_string_equal(copy, "ab");
    mem_free(mem, copy);
    copy = mem_strdup(mem, (barid_slice){NULL, 0});
    assert_string_equal(copy, "");
    mem_free(mem, copy);
    mem_free(mem, p);
    mem_free(mem, numbers);
    mem_free(mem, NULL);
}

static void test_both_allocators(void **state)
{
    struct fail_mem f;

    (void)state;
    fail_mem_init(&f, 0);
    check_all(NULL);
    check_all(&f.mem);
    assert_int_equal(f.live, 0);
    assert_int_equal(f.count, 5);
}

static void test_failure_is_null(void **state)
{
    struct fail_mem f;
    void *p;

    (void)state;
    for (size_t n = 1; n <= 5; n++) {
        fail_mem_init(&f, 1);
        p = n == 1   ? mem_alloc(&f.mem, 1)
            : n == 2 ? mem_zalloc(&f.mem, 1)
            : n == 3 ? mem_array(&f.mem, 1, 1)
            : n == 4 ? mem_realloc(&f.mem, NULL, 1)
                     : (void *)mem_strdup(&f.mem, BARID_S("x"));
        assert_null(p);
        assert_true(f.failed);
        assert_int_equal(f.live, 0);
    }
}

static void test_product_overflow(void **state)
{
    struct fail_mem f;

    (void)state;
    fail_mem_init(&f, 0);
    assert_null(mem_array(&f.mem, SIZE_MAX / 2, 3));
    assert_int_equal(f.count, 0);
}

static void test_empty_is_not_failure(void **state)
{
    void *p = mem_alloc(NULL, 0), *q = mem_array(NULL, 0, 8);

    (void)state;
    assert_non_null(p);
    assert_non_null(q);
    p = mem_realloc(NULL, p, 0);
    assert_non_null(p);
    mem_free(NULL, p);
    mem_free(NULL, q);
}

static void test_wipe(void **state)
{
    char secret[] = "secret";

    (void)state;
    mem_wipe(secret, 3);
    assert_memory_equal(secret, "\0\0\0ret", 7);
    mem_wipe(NULL, 0);
}

static void test_xalloc(void **state)
{
    char *p = xalloc(3), *s = xstrdup(BARID_S("text"));

    (void)state;
    assert_memory_equal(p, "\0\0\0", 3);
    assert_string_equal(s, "text");
    free(p);
    free(s);
}

/* Impossible sizes: the child must print one line and die by SIGABRT. */
static void test_xalloc_aborts(void **state)
{
    char line[200] = "";
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], 2);
        free(xstrdup((barid_slice){"", SIZE_MAX}));
        _exit(0);
    }
    close(ends[1]);
    n = read(ends[0], line, sizeof(line) - 1);
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_true(n > 0);
    assert_memory_equal(line, "out of memory", 13);
    assert_ptr_equal(strchr(line, '\n'), line + n - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_allocators),
        cmocka_unit_test(test_failure_is_null),
        cmocka_unit_test(test_product_overflow),
        cmocka_unit_test(test_empty_is_not_failure),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_xalloc),
        cmocka_unit_test(test_xalloc_aborts),
    };

    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
