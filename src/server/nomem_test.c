/*
 * server/nomem_test.c: whole sessions with the n-th allocation of the server failing, for all
 * n. Whatever fails: no crash, no leak, and no 250 for a message that is not in the spool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/malloc_testing.h"
#include "base/rng.h"
#include "base/slice.h"
#include "server/server_testing.h"
#include "server/version.h"

static struct fail_mem mem;

static void begin_failing(struct fixture *f)
{
    (void)f;
    malloc_fails(&mem); /* of the loop's thread; others never fail */
}

static void end_failing(struct fixture *f)
{
    (void)f;
    malloc_fails(NULL);
}

struct scenario {
    const char *name, *input;
    const char *want; /* what a run without failure says; NULL = "queued as" */
    void (*set_up)(struct fixture *f);
    enum barid_event_id event; /* answered with verdict */
    barid_verdict verdict;
    bool waits;    /* every hook answers later */
    bool discards; /* "queued as", and nothing is kept */
};

/* All that the server says until it closes; the input may meet a closed connection. */
static void converse(struct client *c, const struct fixture *f, const char *input)
{
    ssize_t k = 1;

    dial(c, f);
    (void)!send(c->fd, input, strlen(input), MSG_NOSIGNAL);
    shutdown(c->fd, SHUT_WR); /* QUIT itself may fail */
    while (k > 0) {
        struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

        assert_int_equal(poll(&pfd, 1, 10000), 1);
        k = recv(c->fd, c->in + c->n, sizeof(c->in) - 1 - c->n, 0);
        c->n += k > 0 ? (size_t)k : 0;
    }
    c->in[c->n] = '\0';
    close(c->fd);
}

static size_t kept(const struct fixture *f)
{
    size_t n = 0;

    for (int s = 0; s < 4; s++)
        n += spooled(f, (enum spool_state)s);
    return n;
}

static bool holds(const struct scenario *sc, const struct fixture *f, const struct client *c)
{
    const bool acknowledged = strstr(c->in, "queued as") != NULL;
    const char *want = sc->want != NULL ? sc->want : "queued as";

    /* A message whose reply found no memory may be there; a recipient whose hook found none is
     * put off, and kept for that. */
    if (acknowledged && kept(f) != 1 && !sc->discards)
        return false;
    if (sc->discards && kept(f) > (mem.failed ? 1 : 0))
        return false;
    return mem.failed || (strstr(c->in, want) != NULL && strstr(c->in, "221 ") != NULL);
}

static void run(const struct scenario *sc)
{
    while (fail_mem_next(&mem)) {
        struct fixture *f = prepare();
        struct client c;

        f->quiet = true;
        f->script.verdict[sc->event] = sc->verdict;
        for (int id = 0; sc->waits && id < BARID_EVENTS; id++)
            f->script.wait[id] = true;
        if (sc->set_up != NULL)
            sc->set_up(f);
        start(f);
        on_loop(f, begin_failing);
        converse(&c, f, sc->input);
        on_loop(f, end_failing);
        if (!holds(sc, f, &c))
            fail_msg("%s, without allocation %zu: %zu messages kept, %s", sc->name, mem.fail_at,
                     kept(f), c.in);
        stop(f);
    }
    assert_true(mem.injected > 5);
}

static void run_all(const struct scenario *sc, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run(&sc[i]);
}

#define RUN_ALL(table) run_all(table, sizeof(table) / sizeof(*(table)))

/* --- what a scenario needs --- */

#define USERS "user:{PLAIN}secret\n"

static void with_user(struct fixture *f)
{
    struct err err = {0};

    assert_int_equal(users_parse(&f->users, BARID_S(USERS), "users", &err), 0);
    f->listen.protocol = BARID_SUBMISSION;
    f->listen.auth = LISTEN_AUTH_REQUIRED;
    f->listen.plain_auth_without_tls = true;
}

static void with_lmtp(struct fixture *f)
{
    f->listen.protocol = BARID_LMTP;
}

static void with_lmtp_refusal(struct fixture *f)
{
    with_lmtp(f);
    f->script.refuse_rcpt = "two@example.com";
}

static void with_refusal(struct fixture *f)
{
    f->script.refuse_rcpt = "two@example.com";
}

static void with_put_off(struct fixture *f)
{
    with_refusal(f);
    f->script.put_off = true;
}

static void without_row(struct fixture *f)
{
    f->script.store = NULL;
}

static void with_aliases(struct fixture *f)
{
    static const char *targets[] = {"a@example.com", "b@example.com", "c@example.com",
                                    "a@example.com"};
    static struct config_alias alias = {"one@example.com", targets, 4};

    f->config->aliases = &alias;
    f->config->n_aliases = 1;
}

static struct network everybody[1];

static void with_proxy(struct fixture *f)
{
    assert_int_equal(network_parse(BARID_S("0.0.0.0/0"), everybody, NULL), 0);
    f->config->proxies = (struct network_list){everybody, 1};
    f->listen.proxy = true;
}

static void with_xclient(struct fixture *f)
{
    assert_int_equal(network_parse(BARID_S("0.0.0.0/0"), everybody, NULL), 0);
    f->config->xclients = (struct network_list){everybody, 1};
}

/* --- scenarios --- */

#define HELLO "EHLO c.example\r\n"
#define ENVELOPE                                                                               \
    "MAIL FROM:<user@example.com>\r\nRCPT TO:<one@example.com>\r\nRCPT "                       \
    "TO:<two@example.com>\r\n"
#define QUIT    "QUIT\r\n"
#define CONTENT "DATA\r\nSubject: x\r\n\r\nhello\r\n.\r\n" QUIT
#define PLAIN   HELLO ENVELOPE CONTENT

static void test_delivery(void **state)
{
    static const struct scenario table[] = {
        {"at once", PLAIN},
        {"later", PLAIN, .waits = true},
        {"chunks", HELLO ENVELOPE "BDAT 8\r\nA: b\r\n\r\nBDAT 7 LAST\r\nhello\r\n" QUIT},
        {"two", HELLO "MAIL FROM:<>\r\nRSET\r\n" ENVELOPE CONTENT},
        {"lmtp", "LHLO c.example\r\n" ENVELOPE CONTENT, .set_up = with_lmtp},
        {"aliases", PLAIN, .set_up = with_aliases},
        {"proxy", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 25\r\n" PLAIN, .set_up = with_proxy},
        {"xclient", HELLO "XCLIENT NAME=a.example ADDR=192.0.2.9 HELO=h.example\r\n" PLAIN,
         .set_up = with_xclient},
    };

    (void)state;
    RUN_ALL(table);
}

static void test_fates(void **state)
{
    static const struct scenario table[] = {
        {"reject", PLAIN, "550 5.7.1", NULL, BARID_EVENT_MESSAGE, {.kind = BARID_REJECT}},
        {"reject mail", PLAIN, "550 5.7.1", NULL, BARID_EVENT_MAIL, {.kind = BARID_REJECT}},
        {"reject rcpt", PLAIN, "550 5.7.1", NULL, BARID_EVENT_RCPT, {.kind = BARID_REJECT}},
        {"tempfail", PLAIN, "451 ", NULL, BARID_EVENT_HEADERS, {.kind = BARID_TEMPFAIL}},
        {"discard", PLAIN, .event = BARID_EVENT_MESSAGE, .verdict = {.kind = BARID_DISCARD},
         .discards = true},
        {"hold", PLAIN, .event = BARID_EVENT_MESSAGE, .verdict = {.kind = BARID_HOLD}},
        {"quarantine", PLAIN, .event = BARID_EVENT_BODY, .verdict = {.kind = BARID_QUARANTINE},
         .waits = true},
        {"hold one", PLAIN, .event = BARID_EVENT_RECIPIENT, .verdict = {.kind = BARID_HOLD}},
        {"discard one", PLAIN, .event = BARID_EVENT_RECIPIENT,
         .verdict = {.kind = BARID_DISCARD}, .discards = true},
        {"undecided", PLAIN, "550 5.1.1", .set_up = without_row},
        {"one refused", PLAIN, .set_up = with_refusal},
        {"one put off", PLAIN, .set_up = with_put_off},
        {"one refused, lmtp", "LHLO c.example\r\n" ENVELOPE CONTENT, "550 5.2.1",
         .set_up = with_lmtp_refusal},
    };

    (void)state;
    RUN_ALL(table);
}

static void test_submission(void **state)
{
    static const struct scenario table[] = {
        {"plain", HELLO "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n" ENVELOPE CONTENT,
         .set_up = with_user},
        {"plain later", HELLO "AUTH PLAIN AHVzZXIAc2VjcmV0\r\n" ENVELOPE CONTENT,
         .set_up = with_user, .waits = true},
        {"login", HELLO "AUTH LOGIN\r\ndXNlcg==\r\nc2VjcmV0\r\n" ENVELOPE CONTENT,
         .set_up = with_user},
        {"wrong", HELLO "AUTH PLAIN AHVzZXIAd3Jvbmc=\r\n" QUIT, "535 ", .set_up = with_user},
        {"unknown", HELLO "AUTH PLAIN AG5vYm9keQB4\r\n" QUIT, "535 ", .set_up = with_user},
        {"cram",
         HELLO "AUTH CRAM-MD5\r\ndXNlciAwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==\r\n" QUIT,
         "535 ", .set_up = with_user},
        {"scram",
         HELLO "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ZnlrbytkMmxiYkZnT05Sdg==\r\n*\r\n" QUIT,
         "334 ", .set_up = with_user},
    };

    (void)state;
    RUN_ALL(table);
}

/* Users, locals and a version are made whole or not at all. */
static void test_version(void **state)
{
    (void)state;
    while (fail_mem_next(&mem)) {
        struct fixture *f = prepare();
        struct server_version v = {.config = f->config, .policy = f->policy};
        struct server_options o = {.loop = f->loop, .rng = &rng_system};
        struct admission *admission = NULL;
        struct version *version;
        struct users *users = (void *)&mem; /* not what it is to become */
        uint64_t seed[2] = {1, 2};
        struct err err = {0};
        int rc;

        with_aliases(f);
        malloc_fails(&mem);
        rc = users_parse(&users, BARID_S(USERS "other:{PLAIN}x\n"), "users", &err);
        assert_true(rc == 0 || (rc == BARID_ENOMEM && mem.failed && users == NULL));
        v.users = users;
        rc = version_new(&version, &v, &o);
        assert_true(rc == 0 || (rc == BARID_ENOMEM && mem.failed));
        if (rc == 0)
            version_unref(&version);
        rc = admission_new(&admission, seed);
        assert_true(rc == 0 || (rc == BARID_ENOMEM && mem.failed));
        malloc_fails(NULL);
        admission_del(&admission);
        users_unref(&users);
        free_fixture(f);
    }
    assert_true(mem.injected > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_fates),
        cmocka_unit_test(test_submission),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
