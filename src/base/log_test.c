/* base/log_test.c: levels, fields, and the log that tests use. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/log.h"
#include "base/slice.h"
#include "base/testing.h"

static void test_record(void **state)
{
    struct log_memory l;

    (void)state;
    log_memory_init(&l);
    log_record(&l.log, LOG_LEVEL_WARN, "spool", "set aside", LOG_CSTR("file", "a\nb"),
               LOG_INT("offset", -12), LOG_BOOL("last", true), LOG_NUM("ratio", 0.5));
    log_write(&l.log, LOG_LEVEL_ERROR, "io", "closed", NULL);
    assert_true(slice_eq(buf_slice(&l.text),
                         BARID_S("WARN spool set aside file=a\\x0ab offset=-12 last=true "
                                 "ratio=0.5\nERROR io closed\n")));
    log_memory_deinit(&l);
}

static int evaluated;
static int count_evaluation(void)
{
    return ++evaluated;
}

static void test_unwanted_costs_nothing(void **state)
{
    struct log_memory l;

    (void)state;
    log_memory_init(&l);
    l.log.level = LOG_LEVEL_INFO;
    evaluated = 0;
    log_record(&l.log, LOG_LEVEL_DEBUG, "a", "b", LOG_INT("n", count_evaluation()));
    log_record((const struct log *)NULL, LOG_LEVEL_ERROR, "a", "b",
               LOG_INT("n", count_evaluation()));
    log_write(NULL, LOG_LEVEL_ERROR, "a", "b", NULL);
    log_write(&l.log, LOG_LEVEL_DEBUG, "a", "b", NULL);
    assert_int_equal(evaluated, 0);
    assert_int_equal(l.text.len, 0);
    log_record(&l.log, LOG_LEVEL_INFO, "a", "b", LOG_INT("n", count_evaluation()));
    assert_true(slice_eq(buf_slice(&l.text), BARID_S("INFO a b n=1\n")));
    log_memory_deinit(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_unwanted_costs_nothing),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
