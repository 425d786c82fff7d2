/* daemon/sockets_test.c: all listeners or none, one descriptor per worker, nothing left behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/sockets.h"

static char unix_text[128];

static struct config two_listeners(struct config_listen l[2], const char *first)
{
    snprintf(unix_text, sizeof(unix_text), "unix:/tmp/barid-sockets-%d", (int)getpid());
    memset(l, 0, 2 * sizeof(*l));
    l[0].address = first;
    l[1].address = unix_text;
    l[1].mode = 0600;
    return (struct config){.listen = l, .n_listen = 2};
}

static void one_descriptor_per_worker(void **state)
{
    struct config_listen l[2];
    struct config c = two_listeners(l, "127.0.0.1:0");
    struct sockets s;
    struct err err = {0};

    (void)state;
    assert_int_equal(sockets_bind(&s, &c, NULL, 3, &err), 0);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.v[0].n_fds, 3);
    assert_int_equal(s.v[1].n_fds, 3);
    assert_string_not_equal(s.v[0].bound, "127.0.0.1:0");
    assert_int_equal(access(unix_text + 5, F_OK), 0);
    sockets_close(&s);
    assert_int_not_equal(access(unix_text + 5, F_OK), 0);
}

static void a_port_in_use_leaves_nothing(void **state)
{
    struct config_listen l[2], mine[2];
    struct config c, other = two_listeners(mine, "127.0.0.1:0");
    struct sockets s, taken;
    struct err err = {0};

    (void)state;
    other.n_listen = 1;
    assert_int_equal(sockets_bind(&taken, &other, NULL, 1, &err), 0);
    c = two_listeners(l, unix_text);
    l[1].address = taken.v[0].bound; /* the unix socket is bound first, then the port fails */
    assert_int_equal(sockets_bind(&s, &c, NULL, 2, &err), BARID_EEXISTS);
    assert_non_null(strstr(err.text, taken.v[0].bound));
    assert_int_equal(s.n, 0);
    assert_int_not_equal(access(unix_text + 5, F_OK), 0);
    sockets_close(&taken);
}

static void what_is_open_is_not_bound_again(void **state)
{
    struct config_listen l[2];
    struct config c = two_listeners(l, "127.0.0.1:0");
    struct sockets s, more;
    struct err err = {0};

    (void)state;
    assert_int_equal(sockets_bind(&s, &c, NULL, 1, &err), 0);
    assert_int_equal(sockets_bind(&more, &c, &s, 1, &err), 0);
    assert_int_equal(more.n, 0);
    sockets_close(&more);
    sockets_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_descriptor_per_worker),
        cmocka_unit_test(a_port_in_use_leaves_nothing),
        cmocka_unit_test(what_is_open_is_not_bound_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
