/* message/facts_test.c: protocol names, the whole table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/slice.h"
#include "message/facts.h"

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
        cmocka_unit_test(test_with_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
