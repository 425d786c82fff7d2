/* daemon/log_format_test.c: whatever a peer put into a field, a record stays one printable line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "daemon/log_format.h"

#define WHEN INT64_C(1763637699123456)

static char *line(bool json, const struct log_field *fields)
{
    struct buf out;

    buf_init(&out, NULL, 0);
    assert_int_equal((json ? log_format_json : log_format_text)(&out, WHEN, LOG_LEVEL_WARN,
                                                                "spool", "set aside", fields),
                     0);
    assert_ptr_equal(memchr(out.p, '\n', out.len), out.p + out.len - 1);
    out.p[out.len - 1] = '\0';
    return out.p; /* malloc's */
}

static const struct {
    barid_slice value;
    const char *text, *json;
} values[] = {
    {{"a.seg", 5}, "a.seg", "\"a.seg\""},
    {{"", 0}, "\"\"", "\"\""},
    {{"two words", 9}, "\"two words\"", "\"two words\""},
    {{"a=b", 3}, "\"a=b\"", "\"a=b\""},
    {{"say \"hi\"\\", 9}, "\"say \\\"hi\\\"\\\\\"", "\"say \\\"hi\\\"\\\\\""},
    {{"x\r\nforged line", 14}, "\"x\\r\\nforged line\"", "\"x\\r\\nforged line\""},
    {{"\x1b[2J", 4}, "\"\\x1b[2J\"", "\"\\u001b[2J\""},
    {{"nul\0end", 7}, "\"nul\\x00end\"", "\"nul\\u0000end\""},
    {{"\x7f", 1}, "\"\\x7f\"", "\"\\u007f\""},
    {{"caf\xc3\xa9", 5}, "\"caf\xc3\xa9\"", "\"caf\xc3\xa9\""},
    {{"caf\xe9!", 5}, "\"caf\\xe9!\"", "\"caf\\ufffd!\""},
    {{"\xc2\x9bX", 3}, "\"\\u009bX\"", "\"\\u009bX\""}, /* CSI as one character */
};

static void every_value_stays_on_its_line(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        const struct log_field fields[] = {LOG_STR("f", values[i].value), {.key = NULL}};
        char expected[256], *got = line(false, fields);

        snprintf(expected, sizeof(expected),
                 "2025-11-20T11:21:39.123456Z warn spool: set aside f=%s", values[i].text);
        assert_string_equal(got, expected);
        free(got);
        got = line(true, fields);
        snprintf(expected, sizeof(expected),
                 "{\"time\":\"2025-11-20T11:21:39.123456Z\",\"level\":\"warn\",\"area\":"
                 "\"spool\",\"what\":\"set aside\",\"f\":%s}",
                 values[i].json);
        assert_string_equal(got, expected);
        free(got);
    }
}

static void numbers_and_flags(void **state)
{
    const struct log_field fields[] = {LOG_INT("i", -5),
                                       LOG_BOOL("b", true),
                                       LOG_NUM("r", 0.25),
                                       LOG_NUM("n", NAN),
                                       {.key = NULL}};
    char *got = line(false, fields);

    (void)state;
    assert_non_null(strstr(got, " i=-5 b=true r=0.25 n=nan"));
    free(got);
    got = line(true, fields);
    assert_non_null(strstr(got, ",\"i\":-5,\"b\":true,\"r\":0.25,\"n\":null}"));
    free(got);
}

static void a_flood_is_cut_to_a_whole_record(void **state)
{
    char big[LOG_VALUE_MAX + 100];
    struct log_field fields[12];
    json_error_t why;
    json_t *o;
    char *got;

    (void)state;
    memset(big, 'x', sizeof(big));
    for (size_t i = 0; i < 11; i++)
        fields[i] = (struct log_field)LOG_STR("k", slice_of(big, sizeof(big)));
    fields[11] = (struct log_field){.key = NULL};
    got = line(true, fields);
    assert_true(strlen(got) < LOG_LINE_MAX + 64);
    o = json_loads(got, 0, &why);
    assert_non_null(o);
    assert_true(json_is_true(json_object_get(o, "cut")));
    json_decref(o);
    free(got);
}

static void no_memory_appends_nothing(void **state)
{
    const struct log_field fields[] = {LOG_STR("f", BARID_S("some value")), {.key = NULL}};
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm)) {
        struct buf out;
        int rc;

        buf_init(&out, &fm.mem, 0);
        rc = log_format_json(&out, WHEN, LOG_LEVEL_INFO, "a", "w", fields);
        assert_int_equal(rc, fm.failed ? BARID_ENOMEM : 0);
        if (rc < 0)
            assert_int_equal(out.len, 0);
        buf_deinit(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_stays_on_its_line),
        cmocka_unit_test(numbers_and_flags),
        cmocka_unit_test(a_flood_is_cut_to_a_whole_record),
        cmocka_unit_test(no_memory_appends_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
