/*
 * io/stream_connect.c: outgoing connections. The stream exists from the start in state
 * CONNECTING; when its socket becomes writable, the socket's error tells what came of it.
 */
#include "io/stream_int.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/endpoint.h"

struct stream_connect {
    struct stream *stream;
    struct timer *timer;
    void (*done)(void *user, struct stream *s, const struct err *err);
    void *user;
    char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)]; /* of the peer, for errors */
};

static void connect_free(struct stream_connect *c)
{
    timer_del(&c->timer);
    mem_free(NULL, c);
}

/* e 0: connected. */
static void connect_over(struct stream_connect *c, int e)
{
    struct stream *s = c->stream;
    void (*done)(void *, struct stream *, const struct err *) = c->done;
    void *user = c->user;
    struct err err = {0};

    if (e != 0) {
        err_errno(&err, e == ETIMEDOUT ? BARID_ETIMEOUT : BARID_EIO, e, "connect to %s",
                  c->name);
        stream_destroy(s);
    } else {
        s->connect = NULL;
        s->state = STREAM_OPEN;
        stream_set_local(s);
        stream_poll(s, false);
    }
    connect_free(c);
    done(user, e == 0 ? s : NULL, e == 0 ? NULL : &err);
}

void stream_connect_ready(struct stream *s)
{
    int e = 0;
    socklen_t n = sizeof(e);

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &n) != 0)
        e = errno;
    connect_over(s->connect, e);
}

static void on_timeout(void *user)
{
    connect_over(user, ETIMEDOUT);
}

void stream_connect_abandon(struct stream *s)
{
    connect_free(s->connect);
    stream_destroy(s);
}

static socklen_t unix_sockaddr(const char *path, struct sockaddr_storage *sa)
{
    struct sockaddr_un *un = (struct sockaddr_un *)sa;

    memset(sa, 0, sizeof(*sa));
    if (strlen(path) >= sizeof(un->sun_path))
        return 0;
    un->sun_family = AF_UNIX;
    strcpy(un->sun_path, path); /* @UNSAFE: length checked above */
    return sizeof(*un);
}

static int bind_source(int fd, const barid_endpoint *from, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t n = endpoint_to_sockaddr(from, &sa);
    char text[ENDPOINT_SIZE];
    int on = 1;

    endpoint_format(from, text);
    /* Without it each source address has one range of ports for all destinations together. */
    if (from->port == 0)
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (n == 0 || bind(fd, (struct sockaddr *)&sa, n) != 0)
        return err_errno(err, BARID_EIO, n == 0 ? EAFNOSUPPORT : errno, "connect from %s",
                         text);
    return 0;
}

/* A socket on its way to sa. Returns the descriptor or a barid_err with *err. */
static int start(const struct sockaddr_storage *sa, socklen_t n, const barid_endpoint *from,
                 const char *name, struct err *err)
{
    int fd = socket(sa->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "connect to %s: no socket", name);
    if (sa->ss_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (from != NULL && from->family != BARID_FAMILY_NONE && bind_source(fd, from, err) != 0) {
        close(fd);
        return BARID_EIO;
    }
    if (connect(fd, (const struct sockaddr *)sa, n) != 0 && errno != EINPROGRESS) {
        /* EAGAIN: the backlog of a unix socket is full, and nothing would tell when it no
         * longer is. */
        int rc = err_errno(err, errno == EAGAIN ? BARID_EAGAIN : BARID_EIO, errno,
                           "connect to %s", name);

        close(fd);
        return rc;
    }
    return fd;
}

int stream_connect(struct loop *loop, const barid_endpoint *to, const char *unix_path,
                   const barid_endpoint *from, uint32_t timeout_ms,
                   void (*done)(void *user, struct stream *s, const struct err *err),
                   void *user, struct stream_connect **handle_r, struct err *err)
{
    struct sockaddr_storage sa;
    struct stream_connect *c = mem_zalloc(NULL, sizeof(*c));
    socklen_t n =
        unix_path != NULL ? unix_sockaddr(unix_path, &sa) : endpoint_to_sockaddr(to, &sa);
    int rc = 0;

    if (c == NULL || (c->timer = timer_new(loop, on_timeout, c)) == NULL) {
        mem_free(NULL, c);
        return err_set(err, BARID_ENOMEM, "connect: out of memory");
    }
    if (unix_path != NULL)
        snprintf(c->name, sizeof(c->name), "%s", unix_path);
    else
        endpoint_format(to, c->name);
    if (n == 0)
        rc = err_set(err, BARID_ESYNTAX,
                     "connect to %s: not an address that can be connected to", c->name);
    else if ((rc = start(&sa, n, unix_path != NULL ? NULL : from, c->name, err)) >= 0 &&
             (rc = stream_make(&c->stream, loop, rc, STREAM_CONNECTING)) != 0)
        err_set(err, rc, "connect to %s: %s", c->name, barid_strerror(rc));
    if (rc != 0) {
        connect_free(c);
        return rc;
    }
    c->done = done;
    c->user = user;
    c->stream->connect = c;
    endpoint_from_sockaddr(&sa, &c->stream->peer);
    timer_set(c->timer, loop_now_ms(loop) + timeout_ms);
    stream_poll(c->stream, false);
    if (handle_r != NULL)
        *handle_r = c;
    return 0;
}

void stream_connect_cancel(struct stream_connect **handle)
{
    struct stream_connect *c = *handle;

    if (c == NULL)
        return;
    *handle = NULL;
    stream_destroy(c->stream);
    connect_free(c);
}
