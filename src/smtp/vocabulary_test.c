/* smtp/vocabulary_test.c: the tables made of events.def and replies.def, and the names. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "barid/verdict.h"
#include "base/slice.h"
#include "smtp/event_row.h"

static void test_events(void **state)
{
    (void)state;
    for (unsigned id = 1; id < BARID_EVENTS; id++) {
        const barid_event_info *info = barid_event_info_get((enum barid_event_id)id);

        assert_int_equal(barid_event_by_name(slice_str(info->name)), id);
        assert_true(info->doc[0] != '\0');
        /* Nothing that observes can change anything, and what decides can do something. */
        assert_int_equal(info->kind == BARID_KIND_OBSERVE, info->verdicts == 0);
        /* A reject without words of its own is a refusal for good. */
        if ((info->verdicts & BARID_CAN_REJECT) != 0 && info->kind == BARID_KIND_DECIDE &&
            info->scope != BARID_SCOPE_DELIVERY)
            assert_int_equal(
                barid_reply_default(event_refusal_row((enum barid_event_id)id))->code / 100, 5);
    }
    assert_null(barid_event_info_get(BARID_EVENT_NONE));
    assert_null(barid_event_info_get(BARID_EVENTS));
    assert_int_equal(barid_event_by_name(BARID_S("nothing")), BARID_EVENT_NONE);
    assert_int_equal(barid_event_by_name(BARID_S("rcpt")), BARID_EVENT_RCPT);
}

static void test_replies(void **state)
{
    (void)state;
    for (unsigned id = 1; id < BARID_REPLY_IDS; id++) {
        const barid_reply *row = barid_reply_default((enum barid_reply_id)id);

        assert_int_equal(
            barid_reply_by_name(slice_str(barid_reply_name((enum barid_reply_id)id))), id);
        assert_true(row->code >= 200 && row->code < 600 && row->text.n > 0);
        /* RFC 2034 4: the class of the enhanced code is that of the code. */
        if (row->enhanced.n > 0)
            assert_int_equal(row->enhanced.p[0], '0' + row->code / 100);
    }
    assert_int_equal(barid_reply_by_name(BARID_S("nothing")), BARID_REPLY_NONE);
    assert_int_equal(barid_reply_default(BARID_REPLY_IDS)->code, 0);
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(barid_verdict_name(BARID_QUARANTINE), "quarantine");
    assert_string_equal(barid_verdict_name(BARID_VERDICT_KINDS), "?");
    assert_string_equal(barid_auth_mechanism_name(BARID_AUTH_SCRAM_SHA_1), "SCRAM-SHA-1");
    assert_string_equal(barid_auth_mechanism_name(BARID_AUTH_NONE), "");
    assert_string_equal(barid_close_reason_name(BARID_CLOSE_NOMEM), "nomem");
    assert_string_equal(barid_close_reason_name((enum barid_close_reason)99), "?");
}

static void test_fitting_verdicts(void **state)
{
    static const struct {
        enum barid_event_id event;
        barid_verdict verdict;
        bool fits;
    } rows[] = {
        {BARID_EVENT_NOOP, {.kind = BARID_CONTINUE}, true},
        {BARID_EVENT_COMMIT, {.kind = BARID_CONTINUE}, false},
        {BARID_EVENT_COMMIT, {.kind = BARID_ACCEPT}, true},
        {BARID_EVENT_COMMIT, {.kind = BARID_DISCARD}, false},
        {BARID_EVENT_NOOP, {.kind = BARID_TEMPFAIL}, false},
        {BARID_EVENT_NOOP, {.kind = BARID_VERDICT_KINDS}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .code = 499}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .code = 500}, true},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .code = 600}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_TEMPFAIL, .code = 500}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_ACCEPT, .code = 354}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .enhanced = {"5.1.1", 5}}, true},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .enhanced = {"4.1.1", 5}}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .enhanced = {"5.1", 3}}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .enhanced = {"5.1234.1", 8}}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_REJECT, .enhanced = {"5.1.1 ", 6}}, false},
        {BARID_EVENT_RCPT,
         {.kind = BARID_DISCONNECT, .code = 550, .enhanced = {"5.7.1", 5}},
         true},
        {BARID_EVENT_RCPT, {.kind = BARID_DISCONNECT, .code = 250}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_ACCEPT, .enhanced = {"5.1.1", 5}}, false},
        {BARID_EVENT_RCPT, {.kind = BARID_ACCEPT, .enhanced = {"2.1.5", 5}}, true},
        {BARID_EVENT_NONE, {.kind = BARID_CONTINUE}, false},
        {BARID_EVENTS, {.kind = BARID_CONTINUE}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(barid_verdict_fits(rows[i].event, &rows[i].verdict), rows[i].fits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_fitting_verdicts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
