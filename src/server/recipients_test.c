/*
 * server/recipients_test.c: several recipients of one message, of whom some are refused, put off,
 * added, taken off or expanded: what the client hears and what is kept.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "server/server_testing.h"

/* --- what history hears --- */

static struct {
    struct history history;
    char text[1024]; /* "spooled <sender> rcpts; held reason; " */
    size_t traces;
} heard;

static void hear(struct history *h, const struct history_entry *e)
{
    size_t used = strlen(heard.text), at = 0;
    struct explain_entry entry;
    int64_t clock = 0;
    (void)h;
    if (e->kind == HISTORY_SPOOLED)
        snprintf(heard.text + used, sizeof heard.text - used, "spooled <%.*s> %.*s; ", (int)e->sender.n,
                 e->sender.p, (int)e->rcpts.n, e->rcpts.p);
    else
        snprintf(heard.text + used, sizeof heard.text - used, "%s %.*s; ",
                 history_kind_name(e->kind), (int)e->text.n, e->text.p);
    while (e->kind == HISTORY_SPOOLED && explain_next(e->text, &at, &clock, &entry) == 1)
        heard.traces += slice_eq(entry.handler, BARID_S("script"));
}

/* Stored mail is told with its recipients and its trace, and whether it waits; what was not stored
 * is not. */
static void test_history(void **state)
{
    static const struct history_ops ops = {.note = hear};
    struct fixture *f = prepare();
    struct client c;
    (void)state;
    memset(&heard, 0, sizeof heard);
    heard.history.ops = &ops;
    f->history = &heard.history;
    f->script.lose_rcpt = "lost@example.com";
    f->script.verdict[BARID_EVENT_MESSAGE] =
        (barid_verdict){.kind = BARID_HOLD, .text = BARID_S("not now")};
    start(f);
    greet(&c, f);
    envelope(&c, "one@example.com");
    exchange(&c, "RCPT TO:<two@example.com>", "250 ");
    message(&c, "250 ");
    quit(&c);
    stop(f);
    assert_string_equal(heard.text,
                        "spooled <a@sender.example> one@example.com two@example.com; held not now; ");
    assert_int_equal(heard.traces, 1);
    f = prepare();
    f->history = &heard.history;
    f->script.lose_rcpt = "lost@example.com";
    heard.text[0] = '\0';
    start(f);
    greet(&c, f);
    envelope(&c, "lost@example.com");
    message(&c, "250 ");
    quit(&c);
    stop(f);
    assert_string_equal(heard.text, "");
}

static void one_alias(struct fixture *f, struct config_alias *alias)
{
    f->config->aliases = alias;
    f->config->n_aliases = 1;
}

static void test_lmtp_mixed(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    f->listen.protocol = BARID_LMTP;
    f->script.refuse_rcpt = "no@example.com";
    start(f);
    dial(&c, f);
    expect(&c, "220 ");
    exchange(&c, "LHLO client.example", "250 ");
    envelope(&c, "yes@example.com");
    exchange(&c, "RCPT TO:<no@example.com>", "250 ");
    exchange(&c, "RCPT TO:<yes@example.com>", "250 ");
    exchange(&c, "DATA", "354 ");
    exchange(&c, "\r\nx\r\n.", "250 ");
    expect(&c, "550 5.2.1 mailbox disabled");
    expect(&c, "250 ");
    load_only(f, &l);
    for (size_t i = 0; i < l.n_units; i++)
        assert_int_equal(l.units[i].status, UNIT_PENDING);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

/* Plain SMTP: the client hears 250; a refused recipient is given up, so that the sender is told,
 * one that was put off is asked about again. */
static void test_smtp_mixed(void **state)
{
    (void)state;
    for (int put_off = 0; put_off < 2; put_off++) {
        struct fixture *f = prepare();
        struct client c;
        struct spool_loaded l;
        f->script.refuse_rcpt = "no@example.com";
        f->script.put_off = put_off;
        start(f);
        greet(&c, f);
        envelope(&c, "yes@example.com");
        exchange(&c, "RCPT TO:<no@example.com>", "250 ");
        message(&c, "250 ");
        load_only(f, &l);
        assert_int_equal(l.n_units, 2);
        assert_int_equal(l.units[0].status, UNIT_PENDING);
        assert_int_equal(l.units[1].status, put_off ? UNIT_PENDING : UNIT_GIVEN_UP);
        if (put_off)
            assert_int_equal(l.units[1].due_us - l.units[0].due_us,
                             (int64_t)f->config->retry.first_s * 1000000);
        assert_true(slice_ends_nocase(l.units[1].reply, BARID_S("mailbox disabled")));
        f->spool->ops->loaded_free(&l);
        quit(&c);
        stop(f);
    }
}

/* One recipient's mail is thrown away, the other's is refused: the 250 must not hide that. */
static void test_smtp_discarded_and_refused(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    f->script.lose_rcpt = "lost@example.com";
    f->script.refuse_rcpt = "no@example.com";
    start(f);
    greet(&c, f);
    envelope(&c, "lost@example.com");
    exchange(&c, "RCPT TO:<no@example.com>", "250 ");
    message(&c, "250 ");
    assert_int_equal(spooled(f, SPOOL_ACTIVE), 1);
    load_only(f, &l);
    assert_int_equal(l.n_units, 1);
    assert_int_equal(l.units[0].status, UNIT_GIVEN_UP);
    assert_true(slice_eq(l.units[0].reply, BARID_S("550 5.2.1 mailbox disabled")));
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

/* LMTP has one reply per RCPT: of an alias it tells what became of the first that was accepted,
 * so a refusal behind it is kept; of a RCPT that was refused the client knows. */
static void test_lmtp_alias_mixed(void **state)
{
    static const char *team[] = {"no@example.com", "yes@example.com"};
    struct config_alias alias = {"team@example.com", team, 2};
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    one_alias(f, &alias);
    f->listen.protocol = BARID_LMTP;
    f->script.refuse_rcpt = "no@example.com";
    start(f);
    dial(&c, f);
    expect(&c, "220 ");
    exchange(&c, "LHLO client.example", "250 ");
    envelope(&c, "team@example.com");
    exchange(&c, "RCPT TO:<no@example.com>", "250 ");
    exchange(&c, "DATA", "354 ");
    exchange(&c, "\r\nx\r\n.", "250 ");
    expect(&c, "550 5.2.1 mailbox disabled");
    load_only(f, &l);
    assert_int_equal(l.n_units, 2);
    assert_int_equal(l.units[0].status, UNIT_PENDING);
    assert_int_equal(l.units[1].status, UNIT_GIVEN_UP);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

/* A hook may add recipients while they are being asked about, and take some off before. */
static void test_added_and_removed(void **state)
{
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    f->script.add_rcpts = 500;
    f->script.remove_rcpt = "gone@example.com";
    start(f);
    greet(&c, f);
    envelope(&c, "user@example.com");
    exchange(&c, "RCPT TO:<gone@example.com>", "250 ");
    message(&c, "250 ");
    load_only(f, &l);
    assert_int_equal(l.n_units, 501);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

/* MAIL_RCPTS_MAX recipients out of few commands, each with a hook: neither the stack nor the
 * transaction's memory may give way. */
static void test_fan_out(void **state)
{
    enum { TARGETS = 1000, RCPTS = MAIL_RCPTS_MAX / TARGETS };
    static char text[TARGETS][32];
    static const char *team[TARGETS];
    struct config_alias alias = {"team@example.com", team, TARGETS};
    struct fixture *f = prepare();
    struct client c;
    (void)state;
    for (size_t i = 0; i < TARGETS; i++) {
        snprintf(text[i], sizeof text[i], "user%zu@example.com", i);
        team[i] = text[i];
    }
    one_alias(f, &alias);
    f->script.store = NULL;
    f->script.verdict[BARID_EVENT_RECIPIENT].kind = BARID_DISCARD;
    start(f);
    greet(&c, f);
    envelope(&c, "team@example.com");
    for (size_t i = 1; i < RCPTS; i++)
        exchange(&c, "RCPT TO:<team@example.com>", "250 ");
    exchange(&c, "RCPT TO:<team@example.com>", "452 ");
    message(&c, "250 ");
    quit(&c);
    stop(f);
}

/* Many RCPT to small aliases stay within the memory of a transaction. */
static void test_many_aliased(void **state)
{
    static const char *team[] = {"one@example.com"};
    struct config_alias alias = {"team@example.com", team, 1};
    struct fixture *f = prepare();
    struct client c;
    struct spool_loaded l;
    (void)state;
    one_alias(f, &alias);
    start(f);
    greet(&c, f);
    envelope(&c, "team@example.com");
    for (size_t i = 1; i < 1000; i++)
        exchange(&c, "RCPT TO:<team@example.com>", "250 ");
    message(&c, "250 ");
    load_only(f, &l);
    f->spool->ops->loaded_free(&l);
    quit(&c);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_lmtp_mixed),
        cmocka_unit_test(test_smtp_mixed),
        cmocka_unit_test(test_smtp_discarded_and_refused),
        cmocka_unit_test(test_lmtp_alias_mixed),
        cmocka_unit_test(test_added_and_removed),
        cmocka_unit_test(test_fan_out),
        cmocka_unit_test(test_many_aliased),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
