/*
 * delivery/dialogue.c: the pump of a client session.
 *
 * pump is the one place that drives it: events, body, output, wants, until nothing moves. Every
 * callback (octets, drained, handshake, deadline) and every call of the owner changes something
 * and pumps. It is not re-entered: what is called from within it only sets `again`.
 *
 * The end: the session said CLOSED and has nothing left to write; the stream goes, the owner is
 * told, and the dialogue may be gone.
 */
#include "delivery/dialogue.h"

#include "base/mem.h"
#include "base/slice.h"
#include "io/timer.h"

struct dialogue {
    struct dialogue_options o;
    struct stream_connect *connecting;
    struct stream *stream; /* NULL: the connection is over, or not yet there */
    struct timer *timer;
    char *server_name;
    barid_client *client;
    size_t want;     /* octets of the body that the session asks for */
    bool body_waits; /* the owner said: not now */
    bool has_end;    /* the owner gave the last octets, and the end is not written yet */
    bool pumping, again;
    bool tls_started;
    bool over;
};

static uint64_t now(const struct dialogue *d)
{
    return loop_now_ms(d->o.loop);
}

/* --- one round --- */

static bool pump_events(struct dialogue *d)
{
    barid_client_event event;
    bool any = false;

    while (barid_client_next(d->client, &event) == 1) {
        any = true;
        if (event.id == BARID_CLIENT_WANT_BODY)
            d->want = event.want;
        else
            d->o.ops->on_event(d->o.user, &event);
    }
    return any;
}

static bool pump_body(struct dialogue *d)
{
    barid_slice p = {0};
    bool last = false;
    int rc;

    if (d->want == 0 || d->body_waits || d->stream == NULL ||
        stream_backlog(d->stream) > DIALOGUE_BACKLOG_MAX)
        return false;
    rc = d->o.ops->on_body(d->o.user, d->want, &p, &last);
    if (rc == 0) {
        d->body_waits = true;
        return false;
    }
    d->want = 0;
    if (rc < 0) /* in a mail this closes, and a message half sent is never ended */
        barid_client_quit(d->client, now(d));
    else
        barid_client_body(d->client, p.p, p.n, last, now(d));
    d->has_end = rc > 0 && last;
    return true;
}

/* n octets of the output are going to be written. Nothing follows the end of a message before its reply: so it is among them
 * when they are all there are. A body that was refused has no end. */
static void tell_final(struct dialogue *d, size_t n, size_t all)
{
    if (!d->has_end || n < all)
        return;
    d->has_end = false;
    if (barid_client_at(d->client) == BARID_STAGE_FINAL && d->o.ops->on_final != NULL)
        d->o.ops->on_final(d->o.user);
}

static bool pump_output(struct dialogue *d)
{
    const uint8_t *p;
    size_t all = barid_client_output(d->client, &p), n = all;

    if (n == 0 || d->stream == NULL)
        return false;
    if (n > STREAM_BACKLOG_MAX / 2)
        n = STREAM_BACKLOG_MAX / 2;
    tell_final(d, n, all);
    if (stream_write(d->stream, p, n) < 0)
        return false; /* on_close follows, or on_drain lets us try again */
    barid_client_sent(d->client, n, now(d));
    return true;
}

static void start_tls(struct dialogue *d)
{
    d->tls_started = true;
    if (d->o.tls == NULL || stream_tls_connect(d->stream, d->o.tls, d->server_name) < 0) {
        barid_client_tls_done(d->client, false, now(d));
        d->again = true;
    }
}

static void finish(struct dialogue *d)
{
    d->over = true;
    timer_set(d->timer, UINT64_MAX);
    stream_del(&d->stream);
}

static void pump_wants(struct dialogue *d)
{
    unsigned wants = barid_client_wants(d->client);

    if (d->stream != NULL && (wants & BARID_WANT_TLS) != 0 && !d->tls_started &&
        stream_backlog(d->stream) == 0)
        start_tls(d);
    if (d->stream != NULL)
        stream_read(d->stream, (wants & (BARID_WANT_READ | BARID_WANT_TLS)) != 0);
    if ((wants & BARID_WANT_CLOSE) != 0)
        finish(d);
    else
        timer_set(d->timer, barid_client_deadline(d->client));
}

static void pump(struct dialogue *d)
{
    if (d->pumping || d->over) {
        d->again = true;
        return;
    }
    d->pumping = true;
    do {
        bool more = true;

        d->again = false;
        while (more) {
            more = pump_events(d);
            more |= pump_body(d);
            more |= pump_output(d);
        }
        pump_wants(d);
    } while (d->again && !d->over);
    d->pumping = false;
    if (d->over)
        d->o.ops->on_over(d->o.user); /* d may be gone */
}

/* --- callbacks of the stream and the timer --- */

static void on_read(void *user, const char *p, size_t n)
{
    struct dialogue *d = user;

    if (barid_client_feed(d->client, p, n, now(d)) < 0)
        barid_client_eof(d->client);
    pump(d);
}

/* A server that has closed its side is not told anything more: what was answered counts. */
static void on_close(void *user, int err)
{
    struct dialogue *d = user;

    (void)err;
    stream_del(&d->stream);
    barid_client_eof(d->client);
    pump(d);
}

static void on_drain(void *user)
{
    pump(user);
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct dialogue *d = user;

    if (d->o.ops->on_tls != NULL)
        d->o.ops->on_tls(d->o.user, info, err);
    barid_client_tls_done(d->client, info != NULL, now(d));
    pump(d);
}

static const struct stream_ops stream_ops = {
    .on_read = on_read, .on_close = on_close, .on_drain = on_drain, .on_tls = on_tls};

static void on_deadline(void *user)
{
    struct dialogue *d = user;

    barid_client_tick(d->client, now(d));
    pump(d);
}

/* --- life, and what the owner says --- */

static int copy_name(struct dialogue *d, const char *name)
{
    if (name == NULL)
        return 0;
    d->server_name = mem_strdup(d->o.mem, slice_str(name));
    return d->server_name != NULL ? 0 : BARID_ENOMEM;
}

static int make(struct dialogue **d_r, const struct dialogue_options *o)
{
    struct dialogue *d = mem_zalloc(o->mem, sizeof(*d));

    *d_r = NULL;
    if (d == NULL)
        return BARID_ENOMEM;
    d->o = *o;
    if (o->tls != NULL)
        d->o.tls = tls_ref(o->tls);
    d->timer = timer_new(o->loop, on_deadline, d);
    if (d->timer == NULL || copy_name(d, o->server_name) != 0) {
        dialogue_del(&d);
        return BARID_ENOMEM;
    }
    *d_r = d;
    return 0;
}

/* From here on the greeting is waited for. */
static int take_stream(struct dialogue *d, struct stream *stream)
{
    d->stream = stream;
    return barid_client_new(&d->client, d->o.config, d->o.mem, now(d));
}

int dialogue_new(struct dialogue **d_r, const struct dialogue_options *o, struct stream *stream)
{
    int rc = make(d_r, o);

    if (rc != 0) {
        stream_del(&stream);
        return rc;
    }
    rc = take_stream(*d_r, stream);
    if (rc != 0)
        dialogue_del(d_r);
    return rc;
}

static void unreachable(struct dialogue *d, const struct err *err)
{
    d->over = true;
    stream_del(&d->stream);
    d->o.ops->on_unreachable(d->o.user, err);
    d->o.ops->on_over(d->o.user); /* d may be gone */
}

static void on_connected(void *user, struct stream *stream, const struct err *err)
{
    struct dialogue *d = user;
    struct err own = {0};
    int rc;

    d->connecting = NULL;
    if (stream == NULL) {
        unreachable(d, err);
        return;
    }
    rc = take_stream(d, stream);
    if (rc == 0) {
        dialogue_start(d);
        return;
    }
    err_set(&own, rc, "%s", barid_strerror(rc));
    unreachable(d, &own);
}

int dialogue_open(struct dialogue **d_r, const struct dialogue_options *o,
                  const struct dialogue_place *place, struct err *err)
{
    int rc = make(d_r, o);

    if (rc != 0)
        return err_set(err, rc, "out of memory");
    rc = stream_connect(o->loop, &place->to, place->unix_path, place->from, place->connect_ms,
                        on_connected, *d_r, &(*d_r)->connecting, err);
    if (rc != 0)
        dialogue_del(d_r);
    return rc;
}

void dialogue_start(struct dialogue *d)
{
    stream_bind(d->stream, &stream_ops, d);
    pump(d);
}

void dialogue_give(struct dialogue *d, const struct dialogue_ops *ops, void *user)
{
    d->o.ops = ops;
    d->o.user = user;
}

void dialogue_del(struct dialogue **dialogue)
{
    struct dialogue *d = *dialogue;

    if (d == NULL)
        return;
    *dialogue = NULL;
    if (d->connecting != NULL)
        stream_connect_cancel(&d->connecting);
    stream_del(&d->stream);
    barid_client_del(&d->client);
    timer_del(&d->timer);
    tls_unref(&d->o.tls);
    mem_free(d->o.mem, d->server_name);
    mem_free(d->o.mem, d);
}

int dialogue_send(struct dialogue *d, const barid_client_mail *mail)
{
    int rc = barid_client_send(d->client, mail, now(d));

    d->want = 0;
    d->body_waits = d->has_end = false;
    pump(d);
    return rc;
}

void dialogue_quit(struct dialogue *d)
{
    barid_client_quit(d->client, now(d));
    pump(d);
}

void dialogue_body_ready(struct dialogue *d)
{
    d->body_waits = false;
    if (d->client != NULL) /* connected: octets may come that were for another server */
        pump(d);
}

const barid_client *dialogue_client(const struct dialogue *d)
{
    return d->client;
}
