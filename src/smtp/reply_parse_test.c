/* smtp/reply_parse_test.c: replies whole, byte by byte and in random cuts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/slice.h"
#include "base/testing.h"
#include "smtp/reply_parse.h"

/* What came out: "code|enhanced|text\n" per reply, "error N" at the end of a bad stream. */
struct run {
    struct reply_parser parser;
    struct buf log;
    const char *want;
    const barid_mem *mem;
    bool dead;
};

static void run_begin(void *user)
{
    struct run *run = user;

    reply_parser_init(&run->parser, run->mem);
    buf_init(&run->log, NULL, 0);
    run->dead = false;
}

static void run_feed(void *user, const char *p, size_t n)
{
    struct run *run = user;
    barid_slice in = slice_of(p, n);

    while (in.n > 0 && !run->dead) {
        size_t used;
        int r = reply_parser_feed(&run->parser, in, &used);

        assert_true(used <= in.n);
        in = slice_from(in, used);
        if (r == 1) {
            barid_slice text = buf_slice(&run->parser.text);

            buf_fmt(&run->log, "%u|%.*s|%.*s\n", run->parser.code, (int)run->parser.enhanced.n,
                    run->parser.enhanced.p, (int)text.n, text.p);
        } else if (r < 0) {
            buf_fmt(&run->log, "error %d\n", r);
            run->dead = true;
        } else {
            assert_int_equal(in.n, 0);
        }
    }
}

static void run_end(void *user)
{
    struct run *run = user;

    if (run->want != NULL && !slice_eq(buf_slice(&run->log), slice_str(run->want)))
        fail_msg("got \"%.*s\", want \"%s\"", (int)run->log.len, run->log.p, run->want);
    buf_deinit(&run->log);
    reply_parser_deinit(&run->parser);
}

static const struct cut_ops ops = {run_begin, run_feed, run_end};

static void test_replies(void **state)
{
    static const struct {
        const char *in, *want;
    } row[] = {
        {"220 mx ESMTP\r\n", "220||mx ESMTP\n"},
        {"250\r\n", "250||\n"},
        {"250 \r\n", "250||\n"},
        {"250-mx\r\n250-SIZE 1\r\n250 HELP\r\n221 2.0.0 Bye\r\n",
         "250||mx\nSIZE 1\nHELP\n221|2.0.0|Bye\n"},
        {"550 5.1.1 no\n", "550|5.1.1|no\n"},
        {"550-5.1.1 no\r\n550-5.7.1 other\r\n550 5.1.1 user\r\n",
         "550|5.1.1|no\n5.7.1 other\nuser\n"},
        {"550 5.1.1\r\n", "550|5.1.1|\n"},
        {"550 4.1.1 class differs\r\n", "550||4.1.1 class differs\n"},
        {"550 5.1.1234 x\r\n", "550||5.1.1234 x\n"},
        {"550 5.1.x\r\n", "550||5.1.x\n"},
        {"354 go\r\n", "354||go\n"},
        {"250 a\tb\x01"
         "c\r\n",
         "250||a b c\n"},
        {"250-\r\n250 \r\n", "250||\n\n"},
        {"250-a\r\n251 b\r\n", "error -3\n"},
        {"250_a\r\n", "error -3\n"},
        {"2500\r\n", "error -3\n"},
        {"150 x\r\n", "error -3\n"},
        {"650 x\r\n", "error -3\n"},
        {"25\r\n", "error -3\n"},
        {"\r\n", "error -3\n"},
        {"hello\r\n", "error -3\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct run run = {.want = row[i].want};

        test_cuts(&ops, &run, slice_str(row[i].in), 10, i);
    }
}

static void test_limits(void **state)
{
    struct buf in;
    struct run run = {.want = "error -4\n"};

    (void)state;
    buf_init(&in, NULL, 0);
    /* one line too long */
    buf_str(&in, "250 ");
    for (int i = 0; i < REPLY_LINE_MAX; i++)
        buf_byte(&in, 'x');
    test_cuts(&ops, &run, buf_slice(&in), 1, 1);
    /* too many lines */
    buf_clear(&in);
    for (int i = 0; i <= REPLY_LINES_MAX; i++)
        buf_str(&in, "250-\r\n");
    test_cuts(&ops, &run, buf_slice(&in), 1, 1);
    /* too many octets in lines that are fine */
    buf_clear(&in);
    for (int i = 0; i < 70; i++) {
        buf_str(&in, "250-");
        for (int j = 0; j < 1000; j++)
            buf_byte(&in, 'x');
        buf_str(&in, "\r\n");
    }
    test_cuts(&ops, &run, buf_slice(&in), 1, 1);
    buf_deinit(&in);
}

static void test_nomem(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    while (fail_mem_next(&fm)) {
        struct run run = {.mem = &fm.mem};
        const char *in = "250-a\r\n250 b\r\n";

        run_begin(&run);
        run_feed(&run, in, strlen(in));
        assert_true(slice_eq(buf_slice(&run.log),
                             fm.failed ? BARID_S("error -1\n") : BARID_S("250||a\nb\n")));
        run_end(&run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nomem),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
