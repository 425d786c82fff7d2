/* message/facts_test.c: endpoint texts and protocol names, whole tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "message/facts.h"

static void test_endpoint_text(void **state)
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
static void test_endpoint_text_reads_back(void **state)
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

static void test_with_protocol(void **state)
{
    static const struct {
        enum barid_protocol protocol;
        bool esmtp, tls, user, utf8;
        const char *name;
    } rows[] = {
        {BARID_SMTP, false, false, false, false, "SMTP"},
        {BARID_SMTP, false, true, false, false, "SMTP"},
        {BARID_SMTP, true, false, false, false, "ESMTP"},
        {BARID_SMTP, true, true, false, false, "ESMTPS"},
        {BARID_SMTP, true, false, true, false, "ESMTPA"},
        {BARID_SUBMISSION, true, true, true, false, "ESMTPSA"},
        {BARID_SUBMISSION, true, true, true, true, "UTF8SMTPSA"},
        {BARID_SMTP, true, false, false, true, "UTF8SMTP"},
        {BARID_SMTP, true, true, false, true, "UTF8SMTPS"},
        {BARID_SMTP, true, false, true, true, "UTF8SMTPA"},
        {BARID_LMTP, true, false, false, false, "LMTP"},
        {BARID_LMTP, true, true, false, false, "LMTPS"},
        {BARID_LMTP, true, false, true, false, "LMTPA"},
        {BARID_LMTP, true, true, true, false, "LMTPSA"},
        {BARID_LMTP, true, false, false, true, "UTF8LMTP"},
        {BARID_LMTP, true, true, false, true, "UTF8LMTPS"},
        {BARID_LMTP, true, false, true, true, "UTF8LMTPA"},
        {BARID_LMTP, true, true, true, true, "UTF8LMTPSA"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct session_facts f = {
            .protocol = rows[i].protocol, .esmtp = rows[i].esmtp, .tls = rows[i].tls};

        f.user = rows[i].user ? BARID_S("anna") : BARID_S("");
        assert_string_equal(facts_with_protocol(&f, rows[i].utf8), rows[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoint_text),
        cmocka_unit_test(test_endpoint_text_reads_back),
        cmocka_unit_test(test_with_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
