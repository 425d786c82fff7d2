/*
 * io/stream.c: connected sockets on a loop. Knows no TLS: a layer (stream_tls.c) may stand
 * between the socket and the owner.
 *
 * States: CONNECTING -> OPEN -> FLUSHING -> LINGERING -> CLOSED; any state may go to CLOSED.
 * The owner's callbacks are made in OPEN only, so after each the state is looked at again. The
 * memory lives until the loop's deferred tasks run, which never happens within a callback.
 *
 * Sockets of our own (poller.h) and not uv_tcp_t: smaller, one type for TCP and unix sockets,
 * reads into the loop's one buffer, and the rules for closing above are ours.
 */
#include "io/stream_int.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/endpoint.h"

static int error_of(int e)
{
    if (e == ECONNRESET || e == EPIPE || e == 0)
        return BARID_ECLOSED;
    return e == ETIMEDOUT ? BARID_ETIMEOUT : BARID_EIO;
}

static bool wants_input(const struct stream *s)
{
    return s->state == STREAM_LINGERING ||
           (s->state == STREAM_OPEN && (s->reading || s->layer_reads) && !s->ended);
}

void stream_poll(struct stream *s, bool lazy)
{
    unsigned want = 0;

    if (wants_input(s))
        want |= POLLER_IN;
    if (s->state == STREAM_CONNECTING || s->out.len > s->out_at)
        want |= POLLER_OUT;
    if (s->state == STREAM_CLOSED || (lazy && want == (s->item.wanted & ~POLLER_IN)))
        return;
    /* The kernel is out of memory for it, or watches as many as it may. When the owner is gone
     * or not there yet, the timer ends it. */
    if (poller_want(&s->loop->poller, &s->item, want) != 0 && s->error == 0) {
        s->error = BARID_EIO;
        stream_defer(s);
    }
}

static void stream_free(struct stream *s)
{
    if (s->layer != NULL)
        s->layer->ops->del(s->layer);
    buf_deinit(&s->out);
    mem_free(NULL, s);
}

void stream_destroy(struct stream *s)
{
    if (s->state == STREAM_CLOSED)
        return;
    if (s->state == STREAM_FLUSHING || s->state == STREAM_LINGERING)
        s->loop->flushing--;
    s->state = STREAM_CLOSED;
    timer_del(&s->timer);
    poller_remove(&s->item);
    close(s->fd);
    s->fd = -1;
    stream_defer(s); /* frees it */
}

/* A lingering stream whose peer has taken everything and is not sending: an end of the loop need
 * not wait for it. */
static bool is_quiet(const struct stream *s)
{
    int unread = 0, unsent = 0;

    return ioctl(s->fd, FIONREAD, &unread) == 0 && unread == 0 &&
           ioctl(s->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

static void on_abandon(struct poller_item *item, bool all)
{
    struct stream *s = (struct stream *)item;

    if (s->state == STREAM_CONNECTING)
        stream_connect_abandon(s);
    else if (all || s->state == STREAM_OPEN || (s->state == STREAM_LINGERING && is_quiet(s)))
        stream_destroy(s);
}

/* Deferred: what cannot be said from within the owner's own call. */
static void on_task(struct loop_task *task)
{
    struct stream *s = LIST_ENTRY(task, struct stream, task);

    s->task_queued = false;
    if (s->state == STREAM_CLOSED)
        stream_free(s);
    else if (s->state == STREAM_OPEN && s->error != 0)
        stream_end(s, s->error);
    else if (s->state == STREAM_OPEN && s->layer != NULL)
        s->layer->ops->resume(s);
}

void stream_defer(struct stream *s)
{
    if (s->task_queued)
        return;
    s->task_queued = true;
    s->task.run = on_task;
    loop_defer(s->loop, &s->task);
}

static void on_ready(struct poller_item *item, unsigned events);

static const struct poller_ops stream_poller_ops = {on_ready, on_abandon};

int stream_make(struct stream **s_r, struct loop *loop, int fd, enum stream_state state)
{
    struct stream *s = mem_zalloc(NULL, sizeof(*s));

    *s_r = NULL;
    if (s == NULL) {
        close(fd);
        return BARID_ENOMEM;
    }
    poller_add(&loop->poller, &s->item, fd, &stream_poller_ops);
    s->loop = loop;
    s->fd = fd;
    s->state = (uint8_t)state;
    buf_init(&s->out, NULL, 0);
    *s_r = s;
    return 0;
}

void stream_set_local(struct stream *s)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);

    if (getsockname(s->fd, (struct sockaddr *)&sa, &n) == 0)
        endpoint_from_sockaddr(&sa, &s->local);
}

int stream_open(struct stream **s_r, struct loop *loop, int fd, struct err *err)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof(sa);
    int rc = stream_make(s_r, loop, fd, STREAM_OPEN);

    if (rc != 0)
        return err_set(err, rc, "stream on descriptor %d: %s", fd, barid_strerror(rc));
    stream_set_local(*s_r);
    if (getpeername(fd, (struct sockaddr *)&sa, &n) == 0)
        endpoint_from_sockaddr(&sa, &(*s_r)->peer);
    return 0;
}

void stream_bind(struct stream *s, const struct stream_ops *ops, void *user)
{
    s->ops = ops;
    s->user = user;
}

void stream_read(struct stream *s, bool on)
{
    s->reading = on;
    stream_poll(s, true);
    if (on && s->layer != NULL && s->layer->ops->waiting(s))
        stream_defer(s);
}

void stream_deliver(struct stream *s, const char *p, size_t n)
{
    if (s->state == STREAM_OPEN && !s->ended)
        s->ops->on_read(s->user, p, n);
}

static void drained(struct stream *s)
{
    if (!s->drain_wanted || s->ops == NULL || s->ops->on_drain == NULL)
        return;
    s->drain_wanted = false;
    s->ops->on_drain(s->user);
}

/* The end as the owner sees it. err 0 leaves the way out open: the peer may still read. When the
 * stream breaks after that, who waits for its output to leave is told that nothing waits. */
void stream_end(struct stream *s, int err)
{
    bool was_ended = s->ended;

    if (s->state != STREAM_OPEN || (was_ended && err == 0))
        return;
    s->ended = true;
    if (err != 0) {
        s->error = err;
        buf_deinit(&s->out);
        s->out_at = 0;
        s->drain_wanted = s->drain_wanted && was_ended;
    }
    stream_poll(s, false);
    if (was_ended)
        drained(s);
    else if (s->ops != NULL)
        s->ops->on_close(s->user, err);
}

static void socket_end(struct stream *s, int err)
{
    s->at_eof = true;
    if (s->state != STREAM_OPEN)
        stream_destroy(s);
    else if (s->layer != NULL)
        s->layer->ops->end(s, err);
    else
        stream_end(s, err);
}

static void input(struct stream *s, size_t n)
{
    if (s->state == STREAM_LINGERING) {
        s->lingered += (uint32_t)n;
        if (s->lingered > STREAM_LINGER_MAX)
            stream_destroy(s);
    } else if (s->layer != NULL) {
        s->layer->ops->input(s, s->loop->read_buf, n);
    } else {
        stream_deliver(s, s->loop->read_buf, n);
    }
}

/* One read, as more would come in the next turn anyway; false when there is nothing more now.
 */
static bool read_once(struct stream *s)
{
    ssize_t n = recv(s->fd, s->loop->read_buf, LOOP_READ_SIZE, MSG_DONTWAIT);

    if (n > 0) {
        input(s, (size_t)n);
        return true;
    }
    if (n == 0)
        socket_end(s, 0);
    else if (errno == EINTR)
        return true;
    else if (errno != EAGAIN)
        socket_end(s, error_of(errno));
    return false;
}

/* The socket has an error and is not watched any more. What arrived before it is still
 * delivered. */
static void on_error(struct stream *s)
{
    int e = 0;
    socklen_t n = sizeof(e);

    while (wants_input(s) && read_once(s))
        ;
    if (s->state == STREAM_CLOSED)
        return;
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &n);
    socket_end(s, error_of(e));
}

static void out_taken(struct stream *s, size_t n)
{
    s->out_at += n;
    if (s->out_at < s->out.len)
        return;
    buf_deinit(&s->out); /* an idle stream holds no buffer */
    s->out_at = 0;
}

static void finish(struct stream *s);

static void flush(struct stream *s)
{
    ssize_t n =
        send(s->fd, s->out.p + s->out_at, s->out.len - s->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            s->error = error_of(errno);
            socket_end(s, s->error);
        }
        return;
    }
    out_taken(s, (size_t)n);
    if (s->out.len > s->out_at)
        return;
    stream_poll(s, false);
    if (s->state == STREAM_FLUSHING)
        finish(s);
    else
        drained(s);
}

static void on_ready(struct poller_item *item, unsigned events)
{
    struct stream *s = (struct stream *)item;

    if (s->state == STREAM_CONNECTING) {
        stream_connect_ready(s);
        return;
    }
    if ((events & POLLER_ERROR) != 0) {
        on_error(s);
        return;
    }
    if ((events & POLLER_OUT) != 0 && s->out.len > s->out_at)
        flush(s);
    if ((events & POLLER_IN) == 0)
        return;
    if (wants_input(s))
        read_once(s);
    else
        stream_poll(s, false); /* the lazy stop of reading comes due */
}

static int out_append(struct stream *s, const char *p, size_t n)
{
    if (s->out_at > 0) {
        buf_consume(&s->out, s->out_at);
        s->out_at = 0;
    }
    return buf_append(&s->out, (barid_slice){p, n});
}

int stream_send(struct stream *s, const void *p, size_t n)
{
    ssize_t sent = 0;

    if (s->error != 0)
        return BARID_ECLOSED;
    if (s->out.len == 0) {
        sent = send(s->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            s->error = error_of(errno);
            stream_defer(s);
            return BARID_ECLOSED;
        }
        sent = sent < 0 ? 0 : sent;
    }
    if ((size_t)sent < n && out_append(s, (const char *)p + sent, n - (size_t)sent) != 0) {
        /* Part of it may be on its way: nothing written after it could make sense. */
        s->error = BARID_ENOMEM;
        stream_defer(s);
        return BARID_ENOMEM;
    }
    stream_poll(s, true);
    return 0;
}

int stream_write(struct stream *s, const void *p, size_t n)
{
    int rc;

    if (s->error != 0)
        return BARID_ECLOSED;
    if (n > STREAM_BACKLOG_MAX || stream_backlog(s) > STREAM_BACKLOG_MAX - n)
        return BARID_ELIMIT;
    if (n == 0)
        return 0;
    rc = s->layer != NULL ? s->layer->ops->write(s, p, n) : stream_send(s, p, n);
    if (rc == 0)
        s->drain_wanted = stream_backlog(s) > 0;
    return rc;
}

size_t stream_backlog(const struct stream *s)
{
    return s->out.len - s->out_at;
}

bool stream_is_tls(const struct stream *s)
{
    return s->layer != NULL;
}

const barid_endpoint *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const barid_endpoint *stream_local(const struct stream *s)
{
    return &s->local;
}

int stream_peer_uid(const struct stream *s, unsigned *uid_r)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);

    if (s->local.family != BARID_FAMILY_UNIX ||
        getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0)
        return BARID_EUNSUPPORTED;
    *uid_r = cred.uid;
    return 0;
}

static void on_flush_timeout(void *user)
{
    stream_destroy(user);
}

/* Leave the owner: from here the stream closes by itself within ms. false when it is closed
 * already. */
static bool linger(struct stream *s, enum stream_state state, uint32_t ms)
{
    if (s->timer == NULL)
        s->timer = timer_new(s->loop, on_flush_timeout, s);
    if (s->timer == NULL) {
        stream_destroy(s);
        return false;
    }
    if (s->state == STREAM_OPEN)
        s->loop->flushing++;
    s->state = (uint8_t)state;
    timer_set(s->timer, loop_now_ms(s->loop) + ms);
    stream_poll(s, false);
    return true;
}

/* Everything is written. */
static void finish(struct stream *s)
{
    int unread = 0;

    if (s->at_eof || (!s->lingers && (ioctl(s->fd, FIONREAD, &unread) != 0 || unread == 0)))
        stream_destroy(s);
    else if (linger(s, STREAM_LINGERING, STREAM_LINGER_MS))
        shutdown(s->fd, SHUT_WR);
}

void stream_linger(struct stream *s)
{
    s->lingers = true;
}

void stream_del(struct stream **stream)
{
    struct stream *s = *stream;

    if (s == NULL)
        return;
    *stream = NULL;
    if (s->error == 0 && s->layer != NULL)
        s->layer->ops->close(s);
    s->ops = NULL;
    if (s->error != 0)
        stream_destroy(s);
    else if (s->out.len > s->out_at)
        linger(s, STREAM_FLUSHING, STREAM_FLUSH_MS);
    else
        finish(s);
}

void stream_reset(struct stream **stream)
{
    struct stream *s = *stream;
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    if (s == NULL)
        return;
    *stream = NULL;
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    s->ops = NULL;
    stream_destroy(s);
}
