/*
 * daemon/sockets.c: binding what the configuration declares, all or nothing.
 *
 * The first bind of an address is preceded by a probe: with SO_REUSEPORT alone a second daemon of the same user would share
 * our ports in silence, each getting half of the mail.
 */
#include "daemon/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "io/listener.h"

static int bind_first(const struct listen_address *a, unsigned mode, struct err *err)
{
    int rc = listener_probe(a, err);

    return rc < 0 ? rc : listener_bind(a, mode, err);
}

int sockets_bind_one(const char *address, unsigned mode, struct err *err)
{
    struct listen_address a;
    int rc = listen_address_parse(slice_str(address), &a, err);

    return rc < 0 ? rc : bind_first(&a, mode, err);
}

void sockets_close_one(const char *address, int fd)
{
    struct listen_address a;

    if (fd >= 0)
        close(fd);
    if (listen_address_parse(slice_str(address), &a, NULL) == 0 && a.endpoint.family == BARID_FAMILY_UNIX)
        unlink(a.path); /* without the right to, the next start replaces it */
}

/* The port that the kernel chose for port 0: the other workers share it. */
static void resolve_port(int fd, struct listen_address *a)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);

    if (a->endpoint.family == BARID_FAMILY_UNIX || getsockname(fd, (struct sockaddr *)&sa, &n) != 0)
        return;
    if (sa.ss_family == AF_INET)
        a->endpoint.port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
    else
        a->endpoint.port = ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
}

static int bind_more(const struct listen_address *a, int first, struct err *err)
{
    int fd;

    if (a->endpoint.family != BARID_FAMILY_UNIX)
        return listener_bind(a, 0, err);
    fd = fcntl(first, F_DUPFD_CLOEXEC, 0);
    return fd >= 0 ? fd : err_errno(err, BARID_EIO, errno, "cannot share unix:%s", a->path);
}

static int bind_group(struct socket_group *g, const struct config_listen *l, size_t workers, struct err *err)
{
    struct listen_address a;
    int rc = listen_address_parse(slice_str(l->address), &a, err);

    if (rc < 0)
        return rc;
    g->fds = xalloc(workers * sizeof(*g->fds));
    g->address = xstrdup(slice_str(l->address));
    for (; g->n_fds < workers; g->n_fds++) {
        int fd = g->n_fds == 0 ? bind_first(&a, l->mode, err) : bind_more(&a, g->fds[0], err);

        if (fd < 0)
            return fd;
        g->fds[g->n_fds] = fd;
        if (g->n_fds > 0)
            continue;
        resolve_port(fd, &a);
        if (a.endpoint.family == BARID_FAMILY_UNIX)
            g->path = xstrdup(slice_str(a.path));
    }
    listen_address_format(&a, g->bound, sizeof(g->bound));
    return 0;
}

static bool has_address(const struct sockets *s, const char *address)
{
    for (size_t i = 0; s != NULL && i < s->n; i++)
        if (strcmp(s->v[i].address, address) == 0)
            return true;
    return false;
}

int sockets_bind(struct sockets *s, const struct config *c, const struct sockets *except, size_t workers, struct err *err)
{
    *s = (struct sockets){.v = xalloc((c->n_listen + 1) * sizeof(*s->v))};
    for (size_t i = 0; i < c->n_listen; i++) {
        int rc;

        if (has_address(except, c->listen[i].address))
            continue;
        s->v[s->n].listen_index = i;
        rc = bind_group(&s->v[s->n++], &c->listen[i], workers, err);
        if (rc < 0) {
            sockets_close(s);
            return rc;
        }
    }
    return 0;
}

static void group_close(struct socket_group *g)
{
    bool taken = false;

    for (size_t i = 0; i < g->n_fds; i++)
        if (g->fds[i] >= 0)
            close(g->fds[i]);
        else
            taken = true; /* a listener has it, and removes the path with the last of its kind */
    if (!taken && g->path != NULL)
        unlink(g->path);
    mem_free(NULL, g->fds);
    mem_free(NULL, g->address);
    mem_free(NULL, g->path);
}

void sockets_close(struct sockets *s)
{
    for (size_t i = 0; i < s->n; i++)
        group_close(&s->v[i]);
    mem_free(NULL, s->v);
    *s = (struct sockets){0};
}
