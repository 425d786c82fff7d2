/*
 * io/listener_bind.c: making a bound, listening descriptor. No loop: the daemon does this
 * before its workers exist.
 */
#include "io/listener.h"
#include "io/listener_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/endpoint.h"

/* As many as may come in a burst while a worker is busy with one hook; the kernel caps it at
 * net.core.somaxconn, which is 4096 too. */
#define LISTENER_BACKLOG 4096

#define ADDRESS_TEXT_SIZE 128

static int fail(struct err *err, const struct listen_address *a, const char *what)
{
    int e = errno;
    char text[ADDRESS_TEXT_SIZE];

    listen_address_format(a, text, sizeof(text));
    if (e == EADDRINUSE)
        return err_set(err, BARID_EEXISTS,
                       "listen on %s: the port is in use by another program", text);
    if (e == EACCES || e == EPERM)
        return err_set(err, BARID_EIO, "listen on %s: permission denied (%s)", text, what);
    if (e == EADDRNOTAVAIL)
        return err_set(err, BARID_EIO, "listen on %s: this machine has no such address", text);
    return err_errno(err, BARID_EIO, e, "listen on %s: %s", text, what);
}

static int close_fail(int fd, struct err *err, const struct listen_address *a, const char *what)
{
    int rc = fail(err, a, what);

    close(fd);
    return rc;
}

bool listener_path_alive(const struct sockaddr_un *un)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool refused;

    if (fd < 0)
        return true; /* not known: then nothing is removed */
    refused =
        connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return !refused;
}

/* A file is in the way of a unix socket: it goes only when it is a socket that nobody serves.
 */
static int remove_stale(const struct listen_address *a, const struct sockaddr_un *un,
                        struct err *err)
{
    struct stat st;

    if (lstat(a->path, &st) != 0)
        return errno == ENOENT ? 0 : fail(err, a, "cannot look at the path");
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, BARID_EEXISTS,
                       "listen on unix:%s: the file exists and is not a socket", a->path);
    if (listener_path_alive(un))
        return err_set(err, BARID_EEXISTS,
                       "listen on unix:%s: another program is listening on it", a->path);
    return unlink(a->path) == 0 || errno == ENOENT
               ? 0
               : fail(err, a, "cannot remove the stale socket");
}

static int bind_unix(const struct listen_address *a, unsigned mode, struct err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int fd, rc;

    memcpy(un.sun_path, a->path, sizeof(un.sun_path) - 1);
    if ((rc = remove_stale(a, &un, err)) != 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, a, "no socket");
    /* On Linux the path gets the mode of the unbound socket: at no time is it wider than asked
     * for. */
    if (fchmod(fd, (mode_t)mode) != 0)
        return close_fail(fd, err, a, "cannot set the mode");
    if (bind(fd, (struct sockaddr *)&un, sizeof(un)) != 0)
        return close_fail(fd, err, a, "cannot bind");
    /* The umask may have narrowed it. */
    if (chmod(a->path, (mode_t)mode) != 0 || listen(fd, LISTENER_BACKLOG) != 0) {
        rc = fail(err, a, "cannot listen");
        unlink(a->path);
        close(fd);
        return rc;
    }
    return fd;
}

static int bind_inet(const struct listen_address *a, const barid_endpoint *e, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t n = endpoint_to_sockaddr(e, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1, only = !a->any;

    if (fd < 0)
        return fail(err, a, "no socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        (sa.ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only)) != 0))
        return close_fail(fd, err, a, "cannot set socket options");
    if (bind(fd, (struct sockaddr *)&sa, n) != 0)
        return close_fail(fd, err, a, "cannot bind");
    if (listen(fd, LISTENER_BACKLOG) != 0)
        return close_fail(fd, err, a, "cannot listen");
    return fd;
}

/* "*" on a machine without IPv6. */
static bool ipv6_missing(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        close(fd);
    return fd < 0 && errno == EAFNOSUPPORT;
}

int listener_probe(const struct listen_address *a, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t n = endpoint_to_sockaddr(&a->endpoint, &sa);
    int on = 1, only = !a->any, fd, rc = 0;

    if (n == 0 || a->endpoint.port == 0 || (a->any && ipv6_missing()))
        return 0;
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, a, "no socket");
    /* Without SO_REUSEPORT, so that a socket of the same user's other daemon is in the way. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (sa.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
    if (bind(fd, (struct sockaddr *)&sa, n) != 0)
        rc = fail(err, a, "cannot bind");
    close(fd);
    return rc;
}

int listener_bind(const struct listen_address *a, unsigned mode, struct err *err)
{
    barid_endpoint e = a->endpoint;

    if (e.family == BARID_FAMILY_UNIX)
        return bind_unix(a, mode, err);
    if (a->any && ipv6_missing())
        e.family = BARID_FAMILY_IPV4;
    return bind_inet(a, &e, err);
}
