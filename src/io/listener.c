/*
 * io/listener.c: accepting on a bound descriptor.
 *
 * One listening socket may be watched by several loops, each with its own descriptor of it
 * (dup): then a connection may be gone when accept is called, which is no error. The path of a
 * unix socket is removed by the last listener only, and only when it is still the file that was
 * there at listener_new.
 *
 * Out of descriptors or memory, accept would fail again at once for ever: accepting stops for
 * LISTENER_RETRY_MS and is tried again, with one line in the log for the whole shortage.
 * Waiting connections stay in the backlog.
 */
#include "io/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"
#include "io/endpoint.h"
#include "io/listener_int.h"
#include "io/stream_int.h"

/* Connections taken in one turn: more would make those that are open wait. */
#define LISTENER_BURST 64

/* Short enough that a peer hardly notices, long enough to cost nothing. */
#define LISTENER_RETRY_MS 100

struct listener {
    struct io_handle handle; /* first */
    struct loop *loop;
    void (*on_accept)(void *user, struct stream *s);
    void *user;
    struct timer *retry;
    int fd;
    bool paused;     /* by the owner */
    bool starved;    /* waiting for the retry timer */
    bool complained; /* the shortage is in the log */
    bool deleted;
    bool local_known;
    barid_endpoint local; /* of every connection; else it listens on any address */
    dev_t dev;            /* of the unix socket's path; ino 0 = none */
    ino_t ino;
    struct sockaddr_un un;
};

static void on_poll(uv_poll_t *h, int status, int events);

static void listener_poll(struct listener *l)
{
    if (l->deleted)
        return;
    if (l->paused || l->starved)
        uv_poll_stop(&l->handle.poll);
    else
        uv_poll_start(&l->handle.poll, UV_READABLE, on_poll);
}

static void on_retry(void *user)
{
    struct listener *l = user;

    l->starved = false;
    listener_poll(l);
}

static void starve(struct listener *l, int e)
{
    if (!l->complained)
        log_record(loop_log(l->loop), LOG_LEVEL_ERROR, "listener",
                   "cannot accept, trying again", LOG_CSTR("error", strerror(e)));
    l->complained = true;
    l->starved = true;
    timer_set(l->retry, loop_now_ms(l->loop) + LISTENER_RETRY_MS);
    listener_poll(l);
}

/* An accept4 error: true when the next connection may be tried at once. */
static bool accept_failed(struct listener *l, int e)
{
    switch (e) {
    case EAGAIN:
        return false;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall's refusal of this one */
    case ENETDOWN:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return true; /* accept(2): network errors of the new socket, treat like EAGAIN by
                        retrying */
    default:         /* EMFILE, ENFILE, ENOBUFS, ENOMEM, and what else persists */
        starve(l, e);
        return false;
    }
}

static void accepted(struct listener *l, int fd, const struct sockaddr_storage *sa)
{
    struct stream *s;

    if (stream_make(&s, l->loop, fd, STREAM_OPEN) != 0) {
        starve(l, ENOMEM);
        return;
    }
    l->complained = false;
    endpoint_from_sockaddr(sa, &s->peer);
    if (l->local_known)
        s->local = l->local;
    else
        stream_set_local(s);
    l->on_accept(l->user, s);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct listener *l = h->data;

    (void)events;
    if (status < 0) { /* libuv has stopped polling */
        starve(l, EIO);
        return;
    }
    for (int i = 0; i < LISTENER_BURST && !l->deleted && !l->paused && !l->starved; i++) {
        struct sockaddr_storage sa;
        socklen_t n = sizeof(sa);
        int fd = accept4(l->fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            accepted(l, fd, &sa);
        else if (!accept_failed(l, errno))
            break;
    }
}

static void on_closed(uv_handle_t *h)
{
    mem_free(NULL, h->data);
}

static void remove_path(const struct listener *l)
{
    struct stat st;

    if (l->ino == 0 || lstat(l->un.sun_path, &st) != 0 || st.st_ino != l->ino ||
        st.st_dev != l->dev)
        return;
    if (!listener_path_alive(&l->un))
        unlink(l->un.sun_path); /* without the right to, the next start replaces it */
}

static void listener_destroy(struct listener *l)
{
    l->deleted = true;
    timer_del(&l->retry);
    uv_close((uv_handle_t *)&l->handle.poll, on_closed);
    close(l->fd);
    remove_path(l);
}

static void on_abandon(struct io_handle *h, bool all)
{
    (void)all;
    listener_destroy((struct listener *)h);
}

static void remember_path(struct listener *l)
{
    socklen_t n = sizeof(l->un);
    struct stat st;

    if (getsockname(l->fd, (struct sockaddr *)&l->un, &n) != 0 || l->un.sun_family != AF_UNIX ||
        l->un.sun_path[0] == '\0' || lstat(l->un.sun_path, &st) != 0)
        return;
    l->dev = st.st_dev;
    l->ino = st.st_ino;
}

void listener_local(const struct listener *l, barid_endpoint *local_r)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);

    memset(&sa, 0, sizeof(sa));
    getsockname(l->fd, (struct sockaddr *)&sa, &n);
    endpoint_from_sockaddr(&sa, local_r);
}

/* What connections inherit from the listening socket, and what is known of them beforehand. */
static void prepare_accept(struct listener *l)
{
    static const uint8_t any[16];
    int on = 1;

    listener_local(l, &l->local);
    if (l->local.family == BARID_FAMILY_UNIX || l->local.family == BARID_FAMILY_NONE)
        return;
    setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    l->local_known = memcmp(l->local.addr, any, sizeof(any)) != 0;
}

int listener_new(struct listener **l_r, struct loop *loop, int fd,
                 void (*on_accept)(void *user, struct stream *s), void *user, struct err *err)
{
    struct listener *l = mem_zalloc(NULL, sizeof(*l));
    int rc;

    *l_r = NULL;
    if (l == NULL || (l->retry = timer_new(loop, on_retry, l)) == NULL) {
        mem_free(NULL, l);
        close(fd);
        return err_set(err, BARID_ENOMEM, "listener: out of memory");
    }
    rc = uv_poll_init(&loop->uv, &l->handle.poll, fd);
    if (rc != 0) {
        timer_del(&l->retry);
        mem_free(NULL, l);
        close(fd);
        return err_set(err, BARID_EIO, "listener: %s", uv_strerror(rc));
    }
    l->handle.poll.data = l;
    l->handle.abandon = on_abandon;
    l->loop = loop;
    l->fd = fd;
    l->on_accept = on_accept;
    l->user = user;
    remember_path(l);
    prepare_accept(l);
    listener_poll(l);
    *l_r = l;
    return 0;
}

void listener_pause(struct listener *l, bool paused)
{
    if (l->paused == paused)
        return;
    l->paused = paused;
    listener_poll(l);
}

void listener_del(struct listener **listener)
{
    struct listener *l = *listener;

    if (l == NULL)
        return;
    *listener = NULL;
    listener_destroy(l);
}
