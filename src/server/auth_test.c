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

/* plain has a password in the file, safe a verifier of the password "secret"; nobody is not
 * there. */
static struct fixture *serve(void)
{
    struct fixture *f = prepare();
    char path[] = "/tmp/barid-users-XXXXXX", text[BARID_VERIFIER_TEXT_MAX], all[1024];
    struct err err = {0};
    barid_verifier v;
    int fd = mkstemp(path), n;

    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_256, BARID_S("secret"),
                                         BARID_S("0123456789abcdef"),
                                         BARID_VERIFIER_ITERATIONS),
                     0);
    barid_verifier_format(&v, text);
    n = snprintf(all, sizeof(all), "plain:{PLAIN}secret\nsafe:%s\n", text);
    assert_int_equal(write(fd, all, (size_t)n), n);
    close(fd);
    assert_int_equal(users_load(&f->users, path, &err, NULL), 0);
    unlink(path);
    f->listen.auth = LISTEN_AUTH_ON;
    f->listen.plain_auth_without_tls = true;
    start(f);
    return f;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_owner_kept),
        cmocka_unit_test(test_scram_shows_the_same_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
