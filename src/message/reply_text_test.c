#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/slice.h"
#include "message/reply_text.h"

static void test_texts(void **state)
{
    static const struct {
        barid_verdict v;
        const char *text;
    } rows[] = {
        {{.kind = BARID_REJECT}, "550 5.7.1 refused"},
        {{.kind = BARID_TEMPFAIL}, "451 4.7.1 put off"},
        {{.kind = BARID_TEMPFAIL, .text = {"later", 5}}, "451 4.7.1 later"},
        {{.kind = BARID_REJECT,
          .code = 552,
          .enhanced = {"5.2.2", 5},
          .text = {"full\nreally", 11}},
         "552 5.2.2 full really"},
    };
    char out[REPLY_TEXT_SIZE], big[1000];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reply_text(&rows[i].v, out);
        assert_string_equal(out, rows[i].text);
    }
    memset(big, 'x', sizeof big);
    reply_text(&(barid_verdict){.kind = BARID_REJECT, .text = slice_of(big, sizeof big)}, out);
    assert_int_equal(strlen(out), REPLY_TEXT_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_texts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
