/* control/routes_test.c: which route a request finds, and which arguments it may have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "control/request.h"

static const struct {
    const char *method, *path, *argument;
    unsigned status;
} rows[] = {
    {"GET", "/v1/queue", "state", 200},
    {"GET", "/v1/queue", "limit", 200},
    {"HEAD", "/v1/queue", "sender", 200},
    {"GET", "/v1/queue", "stat", 400},
    {"GET", "/v1/queue", "tate", 400},
    {"GET", "/v1/queue", "states", 400},
    {"GET", "/v1/queue", "state sender", 400},
    {"GET", "/v1/queue", " ", 400},
    {"GET", "/v1/queue", "", 400},
    {"GET", "/v1/queue/count", "state", 400},
    {"GET", "/v1/queue/0000000000001", NULL, 200},
    {"GET", "/v1/queue/", NULL, 404},
    {"GET", "/v1/queue/a/b", NULL, 404},
    {"GET", "/v1/queue/0123456789012345678901234567890", NULL, 200},
    {"GET", "/v1/queue/01234567890123456789012345678901", NULL, 404},
    {"POST", "/v1/queue/0000000000001", NULL, 405},
    {"POST", "/v1/queue/hold", "id", 200},
    {"POST", "/v1/queue/hold", "interval", 400},
    {"POST", "/v1/queue/retry", "interval", 200},
    {"POST", "/v1/queue/retry", "held", 200},
    {"GET", "/v1/queue/retry", NULL, 405},
    {"GET", "/v1/queue/events", NULL, 200},
    {"POST", "/v1/queue/events", NULL, 405},
    {"GET", "/v1/queue", "younger", 200},
    {"GET", "/v1/trace/0000000000001", NULL, 200},
    {"GET", "/v1/stop", NULL, 405},
    {"POST", "/v1/stop", NULL, 200},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char name[32];
        struct request r = {.status = 200};
        unsigned status = 0;

        r.route = routes_find(rows[i].method, rows[i].path, r.id, &status);
        if (r.route == NULL) {
            r.status = status;
        } else if (rows[i].argument != NULL) {
            strcpy(name, rows[i].argument);
            r.arguments[r.n_arguments++].name = name;
            request_check_arguments(&r);
        }
        if (r.status != rows[i].status)
            fail_msg("%s %s gives %u", rows[i].method, rows[i].path, r.status);
        assert_true((r.body != NULL) == (r.status == 400));
        json_decref(r.body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};

    return cmocka_run_group_tests_name("routes", tests, NULL, NULL);
}
