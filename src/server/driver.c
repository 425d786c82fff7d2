/*
 * server/driver.c: the pump.
 *
 * pump is the one place that drives a session: events, output, wants, until nothing moves.
 * Every callback (bytes, drained, handshake, answers, deadlines) changes something and pumps.
 * It is not re-entered: a callback from within it only sets `again`.
 */
#include "server/driver.h"

static void close_stream(struct driver *d)
{
    enum barid_close_reason reason = barid_session_close_reason(d->session);
    d->closed = true;
    if (d->ops->on_closing)
        d->ops->on_closing(d);
    if (reason != BARID_CLOSE_QUIT && reason != BARID_CLOSE_PEER)
        stream_linger(d->stream); /* the client did not ask for the end: it may be sending */
    stream_del(&d->stream);
    timer_set(d->timer, UINT64_MAX);
}

static bool pump_events(struct driver *d)
{
    barid_event ev;
    bool moved = false;
    while (d->token == 0 && barid_session_next(d->session, &ev) == 1) {
        moved = true;
        d->token = ev.token;
        d->event = ev.id;
        d->ops->on_event(d, &ev);
    }
    return moved;
}

/* One write per turn; nothing is handed over while the kernel has not taken the last: then the
 * session's own output limit pauses parsing, so a client that does not read costs a bounded
 * amount. */
static bool pump_output(struct driver *d)
{
    const uint8_t *p;
    size_t n = stream_backlog(d->stream) > 0 ? 0 : barid_session_output(d->session, &p);
    if (n == 0)
        return false;
    int rc = stream_write(d->stream, p, n);
    barid_session_sent(d->session, n);
    if (rc < 0)
        barid_session_eof(d->session);
    return true;
}

static void start_tls(struct driver *d)
{
    const uint8_t *early; /* octets of the handshake that came behind a PROXY header */
    size_t n = barid_session_tls_input(d->session, &early);
    stream_read(d->stream, false);
    if (!d->tls || stream_tls_accept_early(d->stream, d->tls, early, n) < 0)
        barid_session_tls_done(d->session, NULL, loop_now_ms(d->loop));
}

static bool pump_wants(struct driver *d)
{
    unsigned wants = barid_session_wants(d->session);
    if ((wants & BARID_WANT_CLOSE) && d->token == 0) {
        close_stream(d);
        return false;
    }
    if ((wants & BARID_WANT_TLS) && stream_backlog(d->stream) == 0 &&
        !stream_is_tls(d->stream)) {
        start_tls(d);
        return true;
    }
    stream_read(d->stream, (wants & BARID_WANT_READ) != 0);
    return false;
}

static void pump(struct driver *d)
{
    if (d->pumping || d->closed) {
        d->again = true;
        return;
    }
    d->pumping = true;
    /* What is answered or written from here on is measured from now. */
    barid_session_tick(d->session, loop_now_ms(d->loop));
    do {
        d->again = false;
        bool moved = pump_events(d);
        moved = pump_output(d) || moved;
        moved = pump_wants(d) || moved;
        d->again = d->again || moved;
    } while (d->again && !d->closed);
    d->pumping = false;
    if (d->closed) {
        d->ops->on_closed(d); /* d may be gone */
        return;
    }
    timer_set(d->timer, barid_session_deadline(d->session));
    if (d->ops->on_idle && d->token == 0 && barid_session_idle(d->session))
        d->ops->on_idle(d);
}

int driver_answer(struct driver *d, const barid_verdict *verdict)
{
    barid_token token = d->token;
    if (token == 0)
        return BARID_EINVALID;
    d->token = 0;
    barid_session_tick(d->session, loop_now_ms(d->loop)); /* it may have taken long */
    int rc = barid_session_answer(d->session, token, verdict);
    pump(d);
    return rc;
}

void driver_stop(struct driver *d, bool force)
{
    if (d->closed)
        return;
    barid_session_stop(d->session, force);
    if (force)
        d->token = 0; /* void: its answer, if it still comes, finds a closed driver */
    pump(d);
}

/* --- callbacks of the stream and the timer --- */

static void on_read(void *user, const char *p, size_t n)
{
    struct driver *d = user;
    d->bytes_in += n;
    if (barid_session_feed(d->session, p, n, loop_now_ms(d->loop)) < 0)
        barid_session_eof(d->session); /* out of memory, or more than the buffers allow although
                                          reading was off */
    pump(d);
}

static void on_close(void *user, int err)
{
    struct driver *d = user;
    (void)err; /* reset and end of file end a session alike */
    barid_session_eof(d->session);
    pump(d);
}

static void on_drain(void *user)
{
    pump(user);
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct driver *d = user;
    if (!info && d->ops->on_tls_failed)
        d->ops->on_tls_failed(d, err);
    barid_session_tls_done(d->session, info, loop_now_ms(d->loop));
    pump(d);
}

static const struct stream_ops stream_ops = {
    .on_read = on_read, .on_close = on_close, .on_drain = on_drain, .on_tls = on_tls};

static void on_deadline(void *user)
{
    struct driver *d = user;
    barid_session_tick(d->session, loop_now_ms(d->loop));
    pump(d);
}

int driver_init(struct driver *d, struct loop *loop, struct stream *stream,
                const barid_session_config *config, struct tls_ctx *tls,
                const struct driver_ops *ops)
{
    *d = (struct driver){.ops = ops, .loop = loop, .tls = tls};
    d->timer = timer_new(loop, on_deadline, d);
    if (!d->timer)
        return BARID_ENOMEM;
    int rc =
        barid_session_new(&d->session, config, stream_peer(stream), NULL, loop_now_ms(loop));
    if (rc < 0) {
        timer_del(&d->timer);
        return rc;
    }
    d->stream = stream;
    return 0;
}

void driver_start(struct driver *d)
{
    stream_bind(d->stream, &stream_ops, d);
    pump(d);
}

void driver_deinit(struct driver *d)
{
    stream_del(&d->stream);
    barid_session_del(&d->session);
    timer_del(&d->timer);
}
