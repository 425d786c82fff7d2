/* base/crc32c_test.c: both ways of crc32c against the definition. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/crc32c_int.h"
#include "base/encode.h"
#include "base/rng.h"

typedef uint32_t (*crc_fn)(uint32_t crc, const void *p, size_t n);

/* The definition: one bit at a time, reversed polynomial. */
static uint32_t by_bits(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *at = p;

    crc = ~crc;
    for (size_t i = 0; i < n; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

/* RFC 3720 B.4 */
static void check_vectors(crc_fn fn)
{
    unsigned char zeros[32] = {0}, ones[32], up[32], down[32];

    memset(ones, 0xff, sizeof(ones));
    for (unsigned i = 0; i < 32; i++) {
        up[i] = (unsigned char)i;
        down[i] = (unsigned char)(31 - i);
    }
    assert_int_equal(fn(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(fn(0, ones, 32), 0x62a8ab43);
    assert_int_equal(fn(0, up, 32), 0x46dd794e);
    assert_int_equal(fn(0, down, 32), 0x113fdb5c);
    assert_int_equal(fn(0, "123456789", 9), 0xe3069283);
    assert_int_equal(fn(0, NULL, 0), 0);
}

static void check_lengths(crc_fn fn)
{
    static unsigned char data[20000];
    struct rng_seeded r;

    rng_seeded_init(&r, 5);
    rng_fill(&r.rng, data, sizeof(data));
    for (size_t n = 0; n < 100; n++) {
        for (size_t from = 0; from < 8; from++)
            assert_int_equal(fn(0, data + from, n), by_bits(0, data + from, n));
    }
    /* Around one and several turns of three lanes. */
    for (size_t n = 3060; n < 3090; n++)
        assert_int_equal(fn(7, data + 1, n), by_bits(7, data + 1, n));
    for (size_t n = 6140; n < 6150; n++)
        assert_int_equal(fn(7, data + 3, n), by_bits(7, data + 3, n));
    for (int i = 0; i < 50; i++) {
        size_t cut = (size_t)(rng_u64(&r.rng) % sizeof(data));
        uint32_t whole = fn(0, data, sizeof(data));

        assert_int_equal(fn(fn(0, data, cut), data + cut, sizeof(data) - cut), whole);
    }
    assert_int_equal(fn(0, data, sizeof(data)), by_bits(0, data, sizeof(data)));
}

static void test_chosen(void **state)
{
    (void)state;
    check_vectors(crc32c);
    check_lengths(crc32c);
}

static void test_portable(void **state)
{
    (void)state;
    check_vectors(crc32c_portable);
    check_lengths(crc32c_portable);
}

static void test_sse42(void **state)
{
    (void)state;
#ifdef CRC32C_SSE42
    if (__builtin_cpu_supports("sse4.2")) {
        check_vectors(crc32c_sse42);
        check_lengths(crc32c_sse42);
        return;
    }
#endif
    print_message("no SSE4.2 here: only the table is tested\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_portable),
        cmocka_unit_test(test_sse42),
    };

    return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
