/*
 * smtp/session_conformance_test.c: the published dialogues in smtp/james-mpt of the conformance
 * data, replayed. "C:" lines are sent; of "S:" lines (regular expressions with another server's
 * words) the reply codes are compared, one per reply. Where this server says something else on
 * purpose, the table below says what and why. What it said then goes into the dialogue, which is
 * run in all the ways that session_testing.h has: cut anywhere, late, without memory.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "smtp/session_testing.h"
#include "smtp/smtp_testing.h"

static const char *fallback;

struct dialogue {
    const char *file;
    const char *codes; /* NULL = those of the file */
};

static const struct dialogue dialogues[] = {
    {"helo.test", NULL},
    {"authplain.test", NULL},
    {"data_with_starttls.test", NULL},
    {"data_starts_with_starttls.test", NULL},
    {"rcpt_with_starttls.test", NULL},
    {"starttls.test", NULL},
    /* STARTTLS in a transaction: refused there as well, with the code for a bad sequence. */
    {"starttls_session_fixation.test", "220 250 334 334 235 250 250 503"},
    /* A command behind STARTTLS in the same packet: it is discarded and the handshake begins.
     */
    {"starttls_with_injection.test", "220 250 220"},
};

/* The codes of the last lines of all replies, parted by spaces. */
static void add_codes(barid_slice text, const char *prefix, struct buf *codes)
{
    while (text.n > 0) {
        barid_slice line = slice_cut(text, '\n', &text);
        size_t skip = strlen(prefix);

        /* "250.*" begins a reply of several lines in these files. */
        if (!slice_starts_nocase(line, slice_str(prefix)) || line.n < skip + 4 ||
            line.p[skip + 3] == '-' || line.p[skip + 3] == '.')
            continue;
        assert_int_equal(buf_fmt(codes, "%s%.3s", codes->len > 0 ? " " : "", line.p + skip), 0);
    }
}

/* The lines that begin with prefix, as lines of a dialogue with `kind` in front. A line of the
 * client that ends in "\\n" has its own line ends. */
static void add_lines(barid_slice text, const char *prefix, const char *kind, struct buf *out)
{
    while (text.n > 0) {
        barid_slice line = slice_cut(text, '\n', &text);

        if (!slice_starts_nocase(line, slice_str(prefix)))
            continue;
        line = slice_trim(slice_from(line, strlen(prefix)));
        if (slice_ends_nocase(line, BARID_S("\\n")) && kind[0] == 'C')
            assert_int_equal(buf_fmt(out, "R: %.*s\n", (int)line.n, line.p), 0);
        else
            assert_int_equal(
                buf_fmt(out, "%s: %.*s\n", kind, (int)line.n, line.n > 0 ? line.p : ""), 0);
    }
}

static void replay(const struct dialogue *d, barid_slice text)
{
    static const struct script_mode whole;
    struct script_result first;
    struct buf script, want, got;
    const char *why;

    buf_init(&script, NULL, 0);
    buf_init(&want, NULL, 0);
    buf_init(&got, NULL, 0);
    add_codes(text, "S: ", &want);
    assert_int_equal(buf_str(&script, "O: starttls auth plain_auth\nV: auth accept\n"), 0);
    add_lines(text, "C:", "C", &script);
    assert_int_equal(buf_byte(&script, '\0'), 0);
    script_run(script.p, &whole, &first); /* nothing is expected yet: what it says is wanted */
    add_codes(buf_slice(&first.out), "", &got);
    assert_int_equal(buf_byte(&got, '\0') | buf_byte(&want, '\0'), 0);
    assert_string_equal(got.p, d->codes != NULL ? d->codes : want.p);
    script.len--;
    add_lines(buf_slice(&first.out), "", "S", &script);
    assert_int_equal(buf_byte(&script, '\0'), 0);
    if (!script_check(script.p, &why))
        fail_msg("%s: %s", d->file, why);
    script_result_deinit(&first);
    buf_deinit(&script);
    buf_deinit(&want);
    buf_deinit(&got);
}

static void test_dialogues(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
        char name[128];
        struct buf text;

        snprintf(name, sizeof(name), "smtp/james-mpt/%s", dialogues[i].file);
        buf_init(&text, NULL, 0);
        if (!conformance_read(fallback, name, &text)) {
            buf_deinit(&text);
            return;
        }
        replay(&dialogues[i], buf_slice(&text));
        buf_deinit(&text);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dialogues)};

    fallback = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
