/* base/buf_test.c: the growable buffer, its limit, and every allocation of it failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/slice.h"
#include "base/testing.h"

static void assert_invariant(const struct buf *b)
{
    assert_true(b->len <= b->cap);
    assert_true(b->max == 0 || b->cap <= b->max);
    assert_true((b->p == NULL) == (b->cap == 0));
}

static void assert_text(const struct buf *b, const char *text)
{
    assert_invariant(b);
    assert_true(slice_eq(buf_slice(b), slice_str(text)));
}

static void test_unused_costs_nothing(void **state)
{
    struct fail_mem f;
    struct buf b;

    (void)state;
    fail_mem_init(&f, 0);
    buf_init(&b, &f.mem, 0);
    assert_int_equal(buf_append(&b, (barid_slice){NULL, 0}), 0);
    assert_int_equal(buf_reserve(&b, 0), 0);
    buf_clear(&b);
    buf_consume(&b, 0);
    assert_invariant(&b);
    assert_int_equal(f.count, 0);
    buf_wipe(&b);
    buf_deinit(&b);
}

static void test_append(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, NULL, 0);
    assert_int_equal(buf_str(&b, "220 "), 0);
    assert_int_equal(buf_append(&b, BARID_S("mx")), 0);
    assert_int_equal(buf_byte(&b, '.'), 0);
    assert_int_equal(buf_fmt(&b, "%d-%s", 42, "x"), 0);
    assert_text(&b, "220 mx.42-x");
    buf_deinit(&b);
    assert_text(&b, "");
    assert_int_equal(buf_str(&b, "again"), 0);
    assert_text(&b, "again");
    buf_deinit(&b);
}

static void test_growth_is_geometric(void **state)
{
    struct fail_mem f;
    struct buf b;

    (void)state;
    fail_mem_init(&f, 0);
    buf_init(&b, &f.mem, 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf_byte(&b, (char)i), 0);
    assert_true(f.count <= 12);
    for (int i = 0; i < 100000; i++)
        assert_true(b.p[i] == (char)i);
    buf_deinit(&b);
    assert_int_equal(f.live, 0);
}

static void test_limit(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, NULL, 10);
    assert_int_equal(buf_str(&b, "0123456"), 0);
    assert_int_equal(buf_str(&b, "789X"), BARID_ELIMIT);
    assert_int_equal(buf_fmt(&b, "%s", "789X"), BARID_ELIMIT);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), BARID_ELIMIT);
    assert_text(&b, "0123456");
    /* Exactly max fits, also formatted: no byte is lost to a terminator. */
    assert_int_equal(buf_fmt(&b, "%s", "789"), 0);
    assert_int_equal(buf_byte(&b, 'X'), BARID_ELIMIT);
    assert_text(&b, "0123456789");
    buf_consume(&b, 4);
    assert_int_equal(buf_str(&b, "abcd"), 0);
    assert_text(&b, "456789abcd");
    buf_deinit(&b);
}

static void test_impossible_size(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, NULL, 0);
    assert_int_equal(buf_str(&b, "x"), 0);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), BARID_ELIMIT);
    assert_text(&b, "x");
    buf_deinit(&b);
}

static void test_long_format(void **state)
{
    char text[2000];
    struct buf b;

    (void)state;
    memset(text, 'a', sizeof(text));
    /* Around the size of the stack buffer, and far above it. */
    for (size_t n = 508; n <= 516; n++) {
        buf_init(&b, NULL, n);
        assert_int_equal(buf_fmt(&b, "%.*s", (int)n, text), 0);
        assert_true(slice_eq(buf_slice(&b), slice_of(text, n)));
        assert_invariant(&b);
        buf_deinit(&b);
    }
    buf_init(&b, NULL, sizeof(text) - 1);
    assert_int_equal(buf_fmt(&b, "%.*s", (int)sizeof(text), text), BARID_ELIMIT);
    assert_text(&b, "");
    assert_int_equal(buf_fmt(&b, "%.*s", (int)sizeof(text) - 1, text), 0);
    assert_true(slice_eq(buf_slice(&b), slice_of(text, sizeof(text) - 1)));
    buf_deinit(&b);
}

static void test_consume(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, NULL, 0);
    assert_int_equal(buf_str(&b, "one\r\ntwo"), 0);
    buf_consume(&b, 0);
    buf_consume(&b, 5);
    assert_text(&b, "two");
    buf_consume(&b, 3);
    assert_text(&b, "");
    assert_true(b.cap > 0);
    buf_deinit(&b);
}

/* An allocator that knows its blocks' sizes and counts the octets that come back not zero. */
#define BLOCK_HEAD 16
static size_t dirty_bytes;

static void *watch_malloc(size_t size, void *user)
{
    char *p = test_malloc(size + BLOCK_HEAD);

    (void)user;
    memset(p, 0, size + BLOCK_HEAD);
    memcpy(p, &size, sizeof(size));
    return p + BLOCK_HEAD;
}
static void watch_free(void *block, void *user)
{
    char *p = block;
    size_t size;

    (void)user;
    if (p == NULL)
        return;
    memcpy(&size, p - BLOCK_HEAD, sizeof(size));
    for (size_t i = 0; i < size; i++)
        dirty_bytes += p[i] != 0;
    test_free(p - BLOCK_HEAD);
}
static void *watch_realloc(void *old, size_t size, void *user)
{
    void *fresh = watch_malloc(size, user);
    size_t had = 0;

    if (old != NULL)
        memcpy(&had, (char *)old - BLOCK_HEAD, sizeof(had));
    memcpy(fresh, old != NULL ? old : fresh, had < size ? had : size);
    watch_free(old, user);
    return fresh;
}

/* Growing, dropping and freeing leave nothing of a secret buffer. */
static void test_secret(void **state)
{
    barid_mem mem = {watch_malloc, watch_realloc, watch_free, NULL};
    struct buf b;

    (void)state;
    for (int secret = 0; secret < 2; secret++) {
        dirty_bytes = 0;
        buf_init(&b, &mem, 0);
        b.secret = secret;
        for (int i = 0; i < 100; i++)
            assert_int_equal(buf_str(&b, "AUTH PLAIN AHVzZXIAc2VjcmV0"), 0);
        assert_true(b.len == 2700 &&
                    memcmp(b.p + 2673, "AUTH PLAIN AHVzZXIAc2VjcmV0", 27) == 0);
        buf_consume(&b, 2690);
        assert_true(b.len == 10 && memcmp(b.p, "IAc2VjcmV0", 10) == 0);
        for (size_t i = b.len; secret && i < b.cap; i++)
            assert_int_equal(b.p[i], 0);
        buf_deinit(&b);
        assert_true(secret ? dirty_bytes == 0 : dirty_bytes > 0);
    }
}

/* What the allocator gets back from a wiped buffer must be zero, also behind len. */
static void test_wipe(void **state)
{
    barid_mem mem = {watch_malloc, watch_realloc, watch_free, NULL};
    struct buf b;

    (void)state;
    buf_init(&b, &mem, 0);
    assert_int_equal(buf_reserve(&b, 32), 0);
    assert_int_equal(buf_str(&b, "a secret of some length"), 0);
    buf_consume(&b, 20);
    dirty_bytes = 0;
    buf_wipe(&b);
    assert_int_equal(dirty_bytes, 0);
    assert_null(b.p);
    assert_int_equal(b.len, 0);
}

/* Each step succeeds, or fails with ENOMEM and leaves the text as it was. */
static int scenario(const barid_mem *mem)
{
    struct buf b;
    char text[600], expected[2000] = "";
    int rc;

    memset(text, 't', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf_init(&b, mem, 0);
    rc = buf_str(&b, "hello");
    strcat(expected, rc == 0 ? "hello" : "");
    assert_text(&b, expected);
    if (rc == 0) {
        rc = buf_fmt(&b, "%s", text);
        strcat(expected, rc == 0 ? text : "");
        assert_text(&b, expected);
    }
    if (rc == 0) {
        rc = buf_append(&b, slice_of(text, 500));
        strcat(expected, rc == 0 ? text + sizeof(text) - 1 - 500 : "");
        assert_text(&b, expected);
    }
    buf_deinit(&b);
    return rc;
}

static void test_failing_allocations(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f)) {
        int rc;

        rc = scenario(&f.mem);
        assert_int_equal(rc, f.failed ? BARID_ENOMEM : 0);
    }
    assert_true(f.injected > 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unused_costs_nothing),
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_growth_is_geometric),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_impossible_size),
        cmocka_unit_test(test_long_format),
        cmocka_unit_test(test_consume),
        cmocka_unit_test(test_secret),
        cmocka_unit_test(test_wipe),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
