/* base/endpoint_test.c: endpoint texts, the whole table; libc reads them back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/rng.h"

static void test_text(void **state)
{
    static const struct {
        enum barid_family family;
        const char *text;
    } rows[] = {
        {BARID_FAMILY_IPV4, "192.0.2.1"},
        {BARID_FAMILY_IPV4, "0.0.0.0"},
        {BARID_FAMILY_IPV4, "255.255.255.255"},
        {BARID_FAMILY_IPV6, "::"},
        {BARID_FAMILY_IPV6, "::1"},
        {BARID_FAMILY_IPV6, "2001:db8::1"},
        {BARID_FAMILY_IPV6, "2001:db8::"},
        {BARID_FAMILY_IPV6, "2001:db8:0:1:1:1:1:1"},
        {BARID_FAMILY_IPV6, "2001:0:0:1::1"},
        {BARID_FAMILY_IPV6, "2001:db8::1:0:0:1"},
        {BARID_FAMILY_IPV6, "1:2:3:4:5:6:7:8"},
        {BARID_FAMILY_IPV6, "fe80::aaaa:bbbb:cccc:dddd"},
        {BARID_FAMILY_IPV6, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    char text[ENDPOINT_TEXT_SIZE];
    barid_endpoint e = {.family = BARID_FAMILY_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        e.family = rows[i].family;
        inet_pton(e.family == BARID_FAMILY_IPV4 ? AF_INET : AF_INET6, rows[i].text, e.addr);
        endpoint_text(&e, text);
        assert_string_equal(text, rows[i].text);
    }
    e.family = BARID_FAMILY_UNIX;
    endpoint_text(&e, text);
    assert_string_equal(text, "unix");
    e.family = BARID_FAMILY_NONE;
    endpoint_text(&e, text);
    assert_string_equal(text, "unknown");
}

/* What is written is read back by libc to the same address, wherever the zeros are. */
static void test_text_reads_back(void **state)
{
    barid_endpoint e = {.family = BARID_FAMILY_IPV6};
    struct rng_seeded rng;
    uint8_t back[16];
    char text[ENDPOINT_TEXT_SIZE];

    (void)state;
    rng_seeded_init(&rng, 7);
    for (unsigned mask = 0; mask < 256; mask++) {
        rng_fill(&rng.rng, e.addr, 16);
        for (size_t i = 0; i < 8; i++)
            if (mask & (1u << i))
                e.addr[2 * i] = e.addr[2 * i + 1] = 0;
        endpoint_text(&e, text);
        assert_int_equal(inet_pton(AF_INET6, text, back), 1);
        assert_memory_equal(back, e.addr, 16);
    }
}

static void test_with_port(void **state)
{
    static const struct {
        barid_endpoint e;
        const char *text;
    } rows[] = {
        {{.family = BARID_FAMILY_IPV4, .addr = {192, 0, 2, 1}, .port = 65535}, "192.0.2.1:65535"},
        {{.family = BARID_FAMILY_IPV6, .addr = {[15] = 1}, .port = 25}, "[::1]:25"},
        {{.family = BARID_FAMILY_UNIX}, "unix"},
        {{.family = BARID_FAMILY_NONE}, "unknown"},
    };
    char text[ENDPOINT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        endpoint_format(&rows[i].e, text);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_text_reads_back),
        cmocka_unit_test(test_with_port),
    };

    return cmocka_run_group_tests_name("endpoint", tests, NULL, NULL);
}
