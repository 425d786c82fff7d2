/* smtp/params_test.c: parameters of MAIL and RCPT, xtext. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "barid/address.h"
#include "barid/session.h"
#include "base/slice.h"
#include "base/testing.h"
#include "smtp/smtp_testing.h"
#include "smtp/xtext.h"

#define ALL (BARID_EXT_DEFAULT | BARID_EXT_AUTH)
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static const struct mail_row {
    const char *text;
    uint32_t allowed;
    int result;
    const char *bad;
    barid_mail_params want;
} mails[] = {
    {"", 0, 0, NULL, {0}},
    {" ", 0, 0, NULL, {0}},
    {" SIZE=10", ALL, 0, NULL, {.size_given = true, .size = 10}},
    {" size=0  body=8bitmime ",
     ALL,
     0,
     NULL,
     {.size_given = true, .size = 0, .body = BARID_BODY_8BITMIME}},
    {" SIZE=99999999999999999999", ALL, 0, NULL, {.size_given = true, .size = UINT64_MAX}},
    {" SIZE=000000000000000000001", ALL, BARID_ESYNTAX, "SIZE=000000000000000000001", {0}},
    {" SIZE=-1", ALL, BARID_ESYNTAX, "SIZE=-1", {0}},
    {" SIZE=", ALL, BARID_ESYNTAX, "SIZE=", {0}},
    {" SIZE", ALL, BARID_ESYNTAX, "SIZE", {0}},
    {" SIZE=1 SIZE=1", ALL, BARID_ESYNTAX, "SIZE=1", {0}},
    {" SIZE=1", ALL & ~BARID_EXT_SIZE, BARID_ENOTFOUND, "SIZE=1", {0}},
    {"SIZE=1 X", ALL, BARID_ESYNTAX, "SIZE=1", {0}},
    {" BODY=7BIT", ALL, 0, NULL, {.body = BARID_BODY_7BIT}},
    {" BODY=BINARYMIME", ALL, 0, NULL, {.body = BARID_BODY_BINARYMIME}},
    {" BODY=BINARYMIME",
     ALL & ~BARID_EXT_BINARYMIME,
     BARID_EUNSUPPORTED,
     "BODY=BINARYMIME",
     {0}},
    {" BODY=9BIT", ALL, BARID_EUNSUPPORTED, "BODY=9BIT", {0}},
    {" BODY", ALL, BARID_ESYNTAX, "BODY", {0}},
    {" SMTPUTF8 PRDR", ALL, 0, NULL, {.smtputf8 = true, .prdr = true}},
    {" SMTPUTF8=1", ALL, BARID_ESYNTAX, "SMTPUTF8=1", {0}},
    {" PRDR=x", ALL, BARID_ESYNTAX, "PRDR=x", {0}},
    {" SMTPUTF8", 0, BARID_ENOTFOUND, "SMTPUTF8", {0}},
    {" RET=full ENVID=a+3Db", 0, 0, NULL, {.ret = BARID_RET_FULL, .envid = {"a+3Db", 5}}},
    {" RET=HDRS", 0, 0, NULL, {.ret = BARID_RET_HDRS}},
    {" RET=BODY", 0, BARID_ESYNTAX, "RET=BODY", {0}},
    {" RET", 0, BARID_ESYNTAX, "RET", {0}},
    {" ENVID=a+3d", 0, BARID_ESYNTAX, "ENVID=a+3d", {0}},
    {" ENVID=a+3", 0, BARID_ESYNTAX, "ENVID=a+3", {0}},
    {" ENVID=" X50 X50, 0, 0, NULL, {.envid = {X50 X50, 100}}},
    {" ENVID=" X50 X50 "x", 0, BARID_ESYNTAX, "ENVID=" X50 X50 "x", {0}},
    {" AUTH=<>", ALL, 0, NULL, {.auth_given = true, .auth = {"<>", 2}}},
    {" AUTH=e+3Dmc2@example.com",
     ALL,
     0,
     NULL,
     {.auth_given = true, .auth = {"e+3Dmc2@example.com", 19}}},
    {" AUTH=a=b", ALL, BARID_ESYNTAX, "AUTH=a=b", {0}},
    {" AUTH=<>", BARID_EXT_DEFAULT, BARID_ENOTFOUND, "AUTH=<>", {0}},
    {" X-FOO=1", ALL, BARID_ENOTFOUND, "X-FOO=1", {0}},
    {" -X=1", ALL, BARID_ESYNTAX, "-X=1", {0}},
    {" =1", ALL, BARID_ESYNTAX, "=1", {0}},
    {" SIZE=1\tBODY=7BIT", ALL, BARID_ESYNTAX, "SIZE=1\tBODY=7BIT", {0}},
};

#define X498                                                                                   \
    X50 X50 X50 X50 X50 X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void test_mail(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(mails) / sizeof(mails[0]); i++) {
        const struct mail_row *row = &mails[i];
        struct exact e = exact_of(slice_str(row->text));
        barid_mail_params got;
        barid_slice bad;
        int r = barid_mail_params_parse(e.s, row->allowed, &got, &bad);

        if (r != row->result)
            fail_msg("\"%s\": %d, want %d", row->text, r, row->result);
        assert_true(slice_eq(bad, slice_str(row->bad)));
        if (r == 0) {
            assert_int_equal(got.size_given, row->want.size_given);
            assert_true(got.size == row->want.size);
            assert_int_equal(got.body, row->want.body);
            assert_int_equal(got.smtputf8, row->want.smtputf8);
            assert_int_equal(got.prdr, row->want.prdr);
            assert_int_equal(got.ret, row->want.ret);
            assert_true(slice_eq(got.envid, row->want.envid));
            assert_int_equal(got.auth_given, row->want.auth_given);
            assert_true(slice_eq(got.auth, row->want.auth));
        }
        exact_free(&e);
    }
}

static void test_rcpt(void **state)
{
    static const struct {
        const char *text;
        uint32_t allowed;
        int result;
        unsigned notify;
        const char *orcpt;
    } row[] = {
        {"", 0, 0, 0, NULL},
        {" NOTIFY=NEVER", 0, 0, BARID_NOTIFY_NEVER, NULL},
        {" notify=success,Failure,DELAY", 0, 0,
         BARID_NOTIFY_SUCCESS | BARID_NOTIFY_FAILURE | BARID_NOTIFY_DELAY, NULL},
        {" NOTIFY=NEVER,DELAY", 0, BARID_ESYNTAX, 0, NULL},
        {" NOTIFY=DELAY,", 0, BARID_ESYNTAX, 0, NULL},
        {" NOTIFY=,DELAY", 0, BARID_ESYNTAX, 0, NULL},
        {" NOTIFY", 0, BARID_ESYNTAX, 0, NULL},
        {" NOTIFY=NEVER NOTIFY=NEVER", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=rfc822;a@b", 0, 0, 0, "rfc822;a@b"},
        {" ORCPT=rfc822;a+2Bb@c NOTIFY=DELAY", 0, 0, BARID_NOTIFY_DELAY, "rfc822;a+2Bb@c"},
        {" ORCPT=rfc822;", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=rfc822", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=;a", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=rfc822;a+", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=rf c;a", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=utf-8;\\x{E4}@b", 0, 0, 0, "utf-8;\\x{E4}@b"},
        {" ORCPT=utf-8;\\x{}@b", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=utf-8;\\x{E4", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=utf-8;\xc3\xa4@b", 0, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=utf-8;\xc3\xa4@b", BARID_EXT_SMTPUTF8, 0, 0, "utf-8;\xc3\xa4@b"},
        {" ORCPT=utf-8;\xc3@b", BARID_EXT_SMTPUTF8, BARID_ESYNTAX, 0, NULL},
        {" ORCPT=rfc822;\xc3\xa4@b", BARID_EXT_SMTPUTF8, BARID_ESYNTAX, 0, NULL},
        {" SIZE=1", ALL, BARID_ENOTFOUND, 0, NULL},
        {" ORCPT=x;" X498, 0, 0, 0, "x;" X498}, /* 500 octets */
        {" ORCPT=x;" X498 "x", 0, BARID_ESYNTAX, 0, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct exact e = exact_of(slice_str(row[i].text));
        barid_rcpt_params got;
        barid_slice bad;
        int r = barid_rcpt_params_parse(e.s, row[i].allowed, &got, &bad);

        if (r != row[i].result)
            fail_msg("\"%s\": %d, want %d", row[i].text, r, row[i].result);
        assert_int_equal(r == 0, bad.n == 0);
        if (r == 0) {
            assert_int_equal(got.notify, row[i].notify);
            assert_true(slice_eq(got.orcpt, slice_str(row[i].orcpt)));
        }
        exact_free(&e);
    }
}

static void test_xtext(void **state)
{
    char all[256], back[768];
    struct buf out;
    long n;

    (void)state;
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    buf_init(&out, NULL, 0);
    assert_int_equal(xtext_encode(&out, slice_of(all, 256)), 0);
    assert_true(xtext_valid(buf_slice(&out)));
    n = xtext_decode(buf_slice(&out), back);
    assert_int_equal(n, 256);
    assert_memory_equal(back, all, 256);
    assert_int_equal(xtext_decode(BARID_S("+4"), back), BARID_ESYNTAX);
    assert_int_equal(xtext_decode(BARID_S("a b"), back), BARID_ESYNTAX);
    assert_int_equal(xtext_decode(BARID_S("a\x7f"), back), BARID_ESYNTAX);
    assert_int_equal(xtext_decode(BARID_S(""), back), 0);
    buf_deinit(&out);

    /* An error appends nothing. */
    struct fail_mem fm;
    fail_mem_init(&fm, 1);
    buf_init(&out, &fm.mem, 0);
    assert_int_equal(xtext_encode(&out, BARID_S("a=")), BARID_ENOMEM);
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
    buf_init(&out, NULL, 3);
    assert_int_equal(xtext_encode(&out, BARID_S("a=")), BARID_ELIMIT);
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mail),
        cmocka_unit_test(test_rcpt),
        cmocka_unit_test(test_xtext),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
