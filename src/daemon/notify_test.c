/* daemon/notify_test.c: the datagram of sd_notify(3), by path and by abstract name; the ready line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/notify.h"

static void receives(const char *name)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t n = strlen(name);
    char text[64] = "";
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    memcpy(un.sun_path, name, n);
    if (name[0] == '@')
        un.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_supervisor("READY=1");
    assert_int_equal(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT), 7);
    assert_string_equal(text, "READY=1");
    notify_reloading();
    assert_true(recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT) > 30);
    assert_memory_equal(text, "RELOADING=1\nMONOTONIC_USEC=", 27);
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

static void datagrams_arrive(void **state)
{
    char name[64];

    (void)state;
    snprintf(name, sizeof(name), "/tmp/barid-notify-%d", (int)getpid());
    receives(name);
    unlink(name);
    snprintf(name, sizeof(name), "@barid-notify-%d", (int)getpid());
    receives(name);
}

static void odd_names_are_left_alone(void **state)
{
    char longer[256];

    (void)state;
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    setenv("NOTIFY_SOCKET", longer, 1);
    notify_supervisor("READY=1");
    setenv("NOTIFY_SOCKET", "relative", 1);
    notify_supervisor("READY=1");
    unsetenv("NOTIFY_SOCKET");
    notify_supervisor("READY=1");
}

static void ready_line(void **state)
{
    char text[64] = "";
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    notify_ready_fd(fds[1], "127.0.0.1:25 unix:/x");
    assert_int_equal(read(fds[0], text, sizeof(text)), 27);
    assert_string_equal(text, "ready 127.0.0.1:25 unix:/x\n");
    assert_int_equal(read(fds[0], text, sizeof(text)), 0); /* closed */
    close(fds[0]);
    notify_ready_fd(-1, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(datagrams_arrive),
        cmocka_unit_test(odd_names_are_left_alone),
        cmocka_unit_test(ready_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
