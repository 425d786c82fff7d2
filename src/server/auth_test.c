/*
 * server/auth_test.c: what AUTH tells a stranger about who has an account, and that it lets in
 * whom it should, for users files with passwords, with verifiers and with both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "barid/verifier.h"
#include "base/encode.h"
#include "base/slice.h"
#include "server/server_testing.h"

enum { PLAIN = 1, SAFE = 2, SAFE_1 = 4 };

static void add_verifier(struct buf *text, const char *name, enum barid_auth_mechanism m)
{
    char secret[BARID_VERIFIER_TEXT_MAX];
    barid_verifier v;

    assert_int_equal(barid_verifier_make(&v, m, BARID_S("secret"), BARID_S("0123456789abcdef"),
                                         BARID_VERIFIER_ITERATIONS),
                     0);
    barid_verifier_format(&v, secret);
    assert_int_equal(buf_fmt(text, "%s:%s\n", name, secret), 0);
}

/* plain has a password in the file, safe and safe1 a verifier of the password "secret"; nobody
 * is not there. mechanisms 0 = what the server chooses. */
static struct fixture *serve_users(unsigned who, uint32_t mechanisms)
{
    struct fixture *f = prepare();
    struct err err = {0};
    struct buf text;

    buf_init(&text, NULL, 0);
    if ((who & SAFE) != 0)
        add_verifier(&text, "safe", BARID_AUTH_SCRAM_SHA_256);
    if ((who & PLAIN) != 0)
        assert_int_equal(buf_str(&text, "plain:{PLAIN}secret\n"), 0);
    if ((who & SAFE_1) != 0)
        add_verifier(&text, "safe1", BARID_AUTH_SCRAM_SHA_1);
    assert_int_equal(users_parse(&f->users, buf_slice(&text), "users", &err), 0);
    buf_deinit(&text);
    f->listen.auth = LISTEN_AUTH_ON;
    f->listen.mechanisms = mechanisms;
    f->listen.plain_auth_without_tls = true;
    start(f);
    return f;
}

static struct fixture *serve(void)
{
    return serve_users(PLAIN | SAFE, 0x3e);
}

/* A client that prefers a mechanism does not try another: none is offered that fails for a
 * user, unless the listener names it. */
static void test_offers_what_serves_all(void **state)
{
    static const struct {
        unsigned who;
        uint32_t mechanisms;
        const char *offered;
    } rows[] = {
        {0, 0, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"},
        {SAFE, 0, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"},
        {PLAIN, 0, "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN\r\n"},
        {PLAIN | SAFE, 0, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"},
        {PLAIN | SAFE_1, 0, "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\n"},
        {SAFE_1, 0, "250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 PLAIN LOGIN\r\n"},
        {PLAIN | SAFE, 1u << BARID_AUTH_CRAM_MD5, "250-AUTH CRAM-MD5\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct fixture *f = serve_users(rows[i].who, rows[i].mechanisms);
        struct client c;

        dial(&c, f);
        expect(&c, "220 ");
        say(&c, "EHLO client.example\r\n", 21);
        while (strstr(c.in, "250 ") == NULL)
            assert_true(fill(&c));
        if (strstr(c.in, rows[i].offered) == NULL)
            fail_msg("row %zu: %s", i, c.in);
        c.n = 0;
        quit(&c);
        stop(f);
    }
}

static void auth(struct client *c, const char *mechanism, const char *message, size_t n,
                 const char *want)
{
    struct buf line;

    buf_init(&line, NULL, 0);
    buf_fmt(&line, "AUTH %s ", mechanism);
    base64_encode(&line, slice_of(message, n));
    buf_byte(&line, '\0');
    exchange(c, line.p, want);
    buf_deinit(&line);
}

static void test_plain(void **state)
{
    static const struct {
        const char *message, *want;
    } tries[] = {
        {"\0plain\0wrong", "535 "}, {"\0safe\0wrong", "535 "},   {"\0nobody\0secret", "535 "},
        {"\0plain\0secre", "535 "}, {"\0plain\0secret", "235 "}, {"\0safe\0secret", "235 "},
    };
    struct fixture *f = serve();

    (void)state;
    for (size_t i = 0; i < sizeof(tries) / sizeof(*tries); i++) {
        struct client c;
        size_t user = strlen(tries[i].message + 1);

        greet(&c, f);
        auth(&c, "PLAIN", tries[i].message, user + 2 + strlen(tries[i].message + user + 2),
             tries[i].want);
        quit(&c);
    }
    stop(f);
}

/* Salt and iterations that a name is shown, from "s=" on. */
static void shown(const struct fixture *f, const char *mechanism, const char *name, char *out)
{
    struct client c;
    struct buf line, first;
    char *end;

    buf_init(&line, NULL, 0);
    buf_init(&first, NULL, 0);
    buf_fmt(&first, "n,,n=%s,r=fyko+d2lbbFgONRv", name);
    buf_fmt(&line, "AUTH %s ", mechanism);
    base64_encode(&line, buf_slice(&first));
    buf_str(&line, "\r\n");
    greet(&c, f);
    say(&c, line.p, line.len);
    while ((end = strstr(c.in, "\r\n")) == NULL || c.n == 0)
        assert_true(fill(&c));
    assert_memory_equal(c.in, "334 ", 4);
    buf_clear(&line);
    assert_int_equal(base64_decode(&line, slice_of(c.in + 4, (size_t)(end - c.in) - 4)), 0);
    buf_byte(&line, '\0');
    end = strstr(line.p, ",s=");
    assert_non_null(end);
    assert_true(strlen(end) < 128);
    strcpy(out, end);
    c.n = 0;
    exchange(&c, "*", "501 ");
    quit(&c);
    buf_deinit(&line);
    buf_deinit(&first);
}

/* Whoever it is, asking twice shows the same, and another mechanism something else. */
static void test_scram_shows_the_same_twice(void **state)
{
    static const char *const names[] = {"plain", "safe", "nobody"};
    struct fixture *f = serve();

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char a[128], b[128], other[128];

        shown(f, "SCRAM-SHA-256", names[i], a);
        shown(f, "SCRAM-SHA-256", names[i], b);
        shown(f, "SCRAM-SHA-1", names[i], other);
        assert_string_equal(a, b);
        assert_string_not_equal(a, other);
        assert_string_equal(strchr(a + 1, ','), strchr(other + 1, ',')); /* ",i=" */
    }
    stop(f);
}

/* How a SCRAM or CRAM-MD5 exchange ends is known to the session alone. */
static void test_failures_are_counted(void **state)
{
    struct fixture *f = serve_users(PLAIN, 0);
    struct server_stats stats;
    struct client c;

    (void)state;
    greet(&c, f);
    auth(&c, "PLAIN", "\0plain\0wrong", 12, "535 ");
    exchange(&c, "AUTH CRAM-MD5", "334 ");
    exchange(&c, "cGxhaW4gMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "535 ");
    quit(&c);
    greet(&c, f);
    auth(&c, "PLAIN", "\0plain\0secret", 13, "235 ");
    quit(&c);
    begin_stop(f);
    await_stop(f);
    server_stats(f->server, &stats);
    assert_int_equal(stats.auth_failed, 2);
    assert_int_equal(stats.auth_ok, 1);
    finish(f);
}

/* Changing a user leaves the file to whom it belonged; only root can try another's. */
static void test_owner_kept(void **state)
{
    char path[] = "/tmp/barid-users-XXXXXX";
    const bool root = geteuid() == 0;
    const uid_t uid = root ? 12345 : geteuid();
    const gid_t gid = root ? 23456 : getegid();
    struct err err = {0};
    struct stat st;
    int fd = mkstemp(path);

    (void)state;
    assert_int_equal(fchown(fd, uid, gid), 0);
    assert_int_equal(fchmod(fd, 0640), 0);
    close(fd);
    assert_int_equal(users_set(path, BARID_S("one"), BARID_S("{PLAIN}x"), &err), 0);
    assert_int_equal(users_set(path, BARID_S("two"), BARID_S("{PLAIN}y"), &err), 0);
    assert_int_equal(users_remove(path, BARID_S("one"), &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, uid);
    assert_int_equal(st.st_gid, gid);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_int_equal(st.st_size, sizeof("two:{PLAIN}y\n") - 1);
    unlink(path);
    /* A new one belongs to who made it. */
    assert_int_equal(users_set(path, BARID_S("one"), BARID_S("{PLAIN}x"), &err), 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_mode & 0777, 0600);
    unlink(path);
}

/* 64 MiB of comment, and one octet more. */
static void test_largest_file(void **state)
{
    size_t n = (size_t)64 << 20;
    char *text = calloc(1, n + 1);
    struct err err = {0};
    struct users *users;

    (void)state;
    assert_non_null(text);
    text[0] = '#';
    assert_int_equal(users_parse(&users, slice_of(text, n), "users", &err), 0);
    users_unref(&users);
    assert_int_equal(users_parse(&users, slice_of(text, n + 1), "users", &err), BARID_ELIMIT);
    assert_null(users);
    assert_non_null(strstr(err.text, "larger than 67108864 octets"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_offers_what_serves_all),
        cmocka_unit_test(test_failures_are_counted),
        cmocka_unit_test(test_owner_kept),
        cmocka_unit_test(test_largest_file),
        cmocka_unit_test(test_scram_shows_the_same_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
