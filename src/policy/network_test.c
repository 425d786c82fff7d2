/* policy/network_test.c: address blocks: what parses, what it contains, what is refused and
 * how. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "base/slice.h"
#include "policy/config.h"

static barid_endpoint endpoint(const char *text)
{
    barid_endpoint e = {0};

    if (strcmp(text, "unix") == 0)
        e.family = BARID_FAMILY_UNIX;
    else if (inet_pton(AF_INET, text, e.addr) == 1)
        e.family = BARID_FAMILY_IPV4;
    else if (inet_pton(AF_INET6, text, e.addr) == 1)
        e.family = BARID_FAMILY_IPV6;
    return e;
}

static void test_contains(void **state)
{
    static const struct {
        const char *block, *address;
        bool in;
    } rows[] = {
        {"192.0.2.0/24", "192.0.2.255", true},
        {"192.0.2.0/24", "192.0.3.0", false},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"192.0.2.0/24", "::ffff:192.0.2.9", true},
        {"192.0.2.0/24", "::ffff:192.0.3.9", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "192.0.2.1", false},
        {"unix", "unix", true},
        {"unix", "127.0.0.1", false},
        {"127.0.0.0/8", "unix", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n;
        barid_endpoint e = endpoint(rows[i].address);
        assert_int_equal(network_parse(slice_str(rows[i].block), &n, NULL), 0);
        if (network_contains(&(struct network_list){&n, 1}, &e) != rows[i].in)
            fail_msg("%s in %s", rows[i].address, rows[i].block);
    }
    assert_false(network_contains(&(struct network_list){0},
                                  &(barid_endpoint){.family = BARID_FAMILY_UNIX}));
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "is not an address block"},
        {"192.0.2", "is not an IP address"},
        {"192.0.2.0/33", "a number from 0 to 32"},
        {"192.0.2.0/", "a number from 0 to 32"},
        {"192.0.2.0/x", "a number from 0 to 32"},
        {"192.0.2.7/24", "has bits set beyond its prefix of 24"},
        {"2001:db8::/129", "a number from 0 to 128"},
        {"example.com", "is not an IP address"},
        {"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", "is not an address block"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct network n;
        struct err err = {0};
        assert_int_equal(network_parse(slice_str(rows[i].text), &n, &err), BARID_ESYNTAX);
        if (strstr(err.text, rows[i].says) == NULL)
            fail_msg("%s: %s", rows[i].text, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contains),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests_name("network", tests, NULL, NULL);
}
