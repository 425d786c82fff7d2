/*
 * smtp/session_conformance_test.c: the published dialogues in smtp/james-mpt of the conformance
 * data, replayed. "C:" lines are sent; of "S:" lines (regular expressions with another server's
 * words) the reply codes are compared, one per reply. Where this server says something else on
 * purpose, the table below says what and why.
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
#include "barid/session.h"
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

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 'r', n);
}

static void drain(barid_session *s, struct buf *out)
{
    const barid_verdict accept = {.kind = BARID_ACCEPT};
    const uint8_t *p;
    barid_event e;
    size_t n;

    while (barid_session_next(s, &e) == 1)
        assert_int_equal(barid_session_answer(s, e.token, &accept), 0);
    n = barid_session_output(s, &p);
    assert_int_equal(buf_append(out, slice_of(p, n)), 0);
    barid_session_sent(s, n);
}

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

static void say(barid_session *s, barid_slice line, struct buf *out)
{
    char text[512];
    size_t n = 0;

    for (size_t i = 0; i < line.n && n < sizeof(text) - 2; i++) {
        bool escape =
            line.p[i] == '\\' && i + 1 < line.n && strchr("rn", line.p[i + 1]) != NULL;

        text[n++] = !escape ? line.p[i] : line.p[++i] == 'r' ? '\r' : '\n';
    }
    if (n == 0 || text[n - 1] != '\n') {
        text[n++] = '\r';
        text[n++] = '\n';
    }
    if ((barid_session_wants(s) & BARID_WANT_READ) != 0)
        assert_int_equal(barid_session_feed(s, text, n, 0), 0);
    drain(s, out);
}

static void replay(const struct dialogue *d, barid_slice script)
{
    barid_session_config config = {
        .size = sizeof(config),
        .hostname = BARID_S("mydomain.tld"),
        .events = BARID_EVENT_BIT(BARID_EVENT_AUTH),
        .extensions = BARID_EXT_DEFAULT | BARID_EXT_STARTTLS | BARID_EXT_AUTH,
        .mechanisms = 1u << BARID_AUTH_PLAIN | 1u << BARID_AUTH_LOGIN,
        .plain_auth_without_tls = true,
        .random = fill,
    };
    struct buf out, want, got;
    barid_session *s;

    buf_init(&out, NULL, 0);
    buf_init(&want, NULL, 0);
    buf_init(&got, NULL, 0);
    add_codes(script, "S: ", &want);
    assert_int_equal(barid_session_new(&s, &config, NULL, NULL, 0), 0);
    drain(s, &out);
    while (script.n > 0) {
        barid_slice line = slice_cut(script, '\n', &script);

        if (slice_starts_nocase(line, BARID_S("C:")))
            say(s, slice_from(line, line.n > 2 ? 3 : 2), &out);
    }
    add_codes(buf_slice(&out), "", &got);
    assert_int_equal(buf_byte(&got, '\0') | buf_byte(&want, '\0'), 0);
    assert_string_equal(got.p, d->codes != NULL ? d->codes : want.p);
    barid_session_del(&s);
    buf_deinit(&out);
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
