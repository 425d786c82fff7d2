/* Addresses as text and as sockaddr. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "io/endpoint.h"

static void test_round_trip(void **state)
{
    static const char *const good[] = {"127.0.0.1:25", "[::1]:2525", "0.0.0.0:0",
                                       "[2001:db8::1]:65535"};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        barid_endpoint e, back;
        struct sockaddr_storage sa;
        char text[ENDPOINT_SIZE];

        assert_int_equal(endpoint_parse(slice_str(good[i]), &e), 0);
        endpoint_format(&e, text);
        assert_string_equal(text, good[i]);
        assert_true(endpoint_to_sockaddr(&e, &sa) > 0);
        endpoint_from_sockaddr(&sa, &back);
        endpoint_format(&back, text);
        assert_string_equal(text, good[i]);
    }
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        "25",
        ":25",
        "127.0.0.1",
        "127.0.0.1:",
        "::1:25",
        "[127.0.0.1]:25",
        "[::1]",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "localhost:25",
        "[::1:25",
        "127.0.0.1:2 5",
        "1.2.3:4",
        "[::1%lo]:25",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb]:25",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        barid_endpoint e;

        assert_int_equal(endpoint_parse(slice_str(bad[i]), &e), BARID_ESYNTAX);
    }
    {
        barid_endpoint e;

        assert_int_equal(endpoint_parse(BARID_S("127.0.0.1\0:25"), &e), BARID_ESYNTAX);
    }
}

static void test_mapped(void **state)
{
    barid_endpoint e;
    struct sockaddr_storage sa;
    char text[ENDPOINT_SIZE];

    (void)state;
    assert_int_equal(endpoint_parse(BARID_S("[::ffff:192.0.2.7]:25"), &e), 0);
    endpoint_to_sockaddr(&e, &sa);
    endpoint_from_sockaddr(&sa, &e);
    assert_int_equal(e.family, BARID_FAMILY_IPV4);
    endpoint_text(&e, text);
    assert_string_equal(text, "192.0.2.7");
}

static void test_no_address(void **state)
{
    barid_endpoint e = {.family = BARID_FAMILY_UNIX};
    struct sockaddr_storage sa;
    char text[ENDPOINT_SIZE];

    (void)state;
    endpoint_format(&e, text);
    assert_string_equal(text, "unix");
    assert_int_equal(endpoint_to_sockaddr(&e, &sa), 0);
    sa.ss_family = AF_UNIX;
    endpoint_from_sockaddr(&sa, &e);
    assert_int_equal(e.family, BARID_FAMILY_UNIX);
    e.family = BARID_FAMILY_NONE;
    endpoint_format(&e, text);
    assert_string_equal(text, "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_bad),
        cmocka_unit_test(test_mapped), cmocka_unit_test(test_no_address)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
