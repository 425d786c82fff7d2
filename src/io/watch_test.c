/* io/watch_test.c: a foreign descriptor runs its callback until it is deleted, also from within. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/eventfd.h>
#include <unistd.h>

#include "io/watch.h"

struct scene {
    struct loop *loop;
    struct watch *w;
    int fd;
    unsigned calls, delete_at;
};

static void on_ready(void *user)
{
    struct scene *s = user;

    if (++s->calls < s->delete_at)
        return; /* not read: level-triggered, so it comes again */
    watch_del(&s->w);
    loop_stop(s->loop);
}

static void runs_while_readable(void **state)
{
    struct scene s = {.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), .delete_at = 3};
    struct err err = {0};

    (void)state;
    assert_int_equal(loop_new(&s.loop, NULL, NULL, &err), 0);
    assert_int_equal(watch_new(&s.w, s.loop, s.fd, on_ready, &s, &err), 0);
    loop_run(s.loop);
    assert_int_equal(s.calls, 3);
    assert_null(s.w);
    loop_del(&s.loop);
    close(s.fd);
}

static void forgotten_is_closed_with_the_loop(void **state)
{
    struct scene s = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct err err = {0};

    (void)state;
    assert_int_equal(loop_new(&s.loop, NULL, NULL, &err), 0);
    assert_int_equal(watch_new(&s.w, s.loop, s.fd, on_ready, &s, &err), 0);
    loop_del(&s.loop);
    assert_int_equal(s.calls, 0);
    close(s.fd);
}

static void bad_descriptor_is_an_error(void **state)
{
    struct err err = {0};
    struct loop *loop;
    struct watch *w;

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, &err), 0);
    assert_int_equal(watch_new(&w, loop, -1, on_ready, NULL, &err), BARID_EIO);
    assert_null(w);
    assert_int_not_equal(err.text[0], '\0');
    loop_del(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_while_readable),
        cmocka_unit_test(forgotten_is_closed_with_the_loop),
        cmocka_unit_test(bad_descriptor_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
