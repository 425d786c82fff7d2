/*
 * cli/send.c: drives a client session: connect, then events, output and wants until it is closed.
 *
 * Everything happens in pump(), which is never entered twice: what the stream calls back while we write only marks that
 * another round is due.
 */
#include "cli/send.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/timer.h"
#include "io/tls.h"

struct sender {
    const struct send_options *o;
    struct loop *loop;
    struct stream *stream;
    struct stream_connect *connecting;
    struct timer *timer;
    struct tls_ctx *tls;
    barid_client *client;
    struct addrinfo *addresses, *next_address;
    char host[256];
    const char *unix_path;
    unsigned mails;      /* begun */
    size_t body_at;      /* octets of the message given to the client */
    size_t body_want;
    bool pumping, again, tls_started, closed;
    enum barid_client_stage stage;
    unsigned code;
    int rc;
    struct err *err;
};

static void pump(struct sender *s);
static int connect_next(struct sender *s);

static uint64_t now(const struct sender *s)
{
    return loop_now_ms(s->loop);
}

static void finish(struct sender *s)
{
    s->closed = true;
    timer_set(s->timer, UINT64_MAX);
    stream_del(&s->stream);
    loop_stop(s->loop);
}

/* --- events of the session ------------------------------------------------------------------------------ */

static void on_ready(struct sender *s)
{
    int rc;

    if (s->mails == s->o->repeat) {
        barid_client_quit(s->client, now(s));
        return;
    }
    s->mails++;
    s->body_at = 0;
    s->body_want = 0;
    rc = barid_client_send(s->client, s->o->mail, now(s));
    if (rc < 0) {
        s->rc = err_set(s->err, rc, rc == BARID_ESYNTAX ? "an address or parameter cannot stand in a command" : "%s", barid_strerror(rc));
        barid_client_quit(s->client, now(s));
    }
}

static void on_session_closed(struct sender *s, const barid_client_event *ev)
{
    s->stage = ev->stage;
    s->code = ev->reply.code;
    if (s->rc != 0 || s->mails > 0 || s->closed)
        return;
    if (ev->reply.code != 0)
        s->rc = err_set(s->err, BARID_ECLOSED, "%s: the server said %u %.*s", barid_client_stage_name(ev->stage), ev->reply.code,
                        (int)(ev->reply.text.n < 200 ? ev->reply.text.n : 200), ev->reply.text.p);
    else
        s->rc = err_set(s->err, ev->error != 0 ? ev->error : BARID_ECLOSED, "%s: %s", barid_client_stage_name(ev->stage),
                        barid_strerror(ev->error != 0 ? ev->error : BARID_ECLOSED));
}

static void on_transcript(const barid_client_event *ev)
{
    fprintf(stderr, "%s ", ev->from_server ? "<" : ">");
    for (size_t i = 0; i < ev->line.n; i++)
        fputc((unsigned char)ev->line.p[i] < 0x20 || ev->line.p[i] == 0x7f ? '?' : ev->line.p[i], stderr);
    fputc('\n', stderr);
}

static void on_event(struct sender *s, const barid_client_event *ev)
{
    switch (ev->id) {
    case BARID_CLIENT_READY:
        on_ready(s);
        break;
    case BARID_CLIENT_WANT_BODY:
        s->body_want = ev->want;
        break;
    case BARID_CLIENT_RESULT:
    case BARID_CLIENT_DONE:
        s->o->result(s->o->user, ev);
        break;
    case BARID_CLIENT_TRANSCRIPT:
        on_transcript(ev);
        break;
    case BARID_CLIENT_CLOSED:
        on_session_closed(s, ev);
        break;
    case BARID_CLIENT_NONE:
        break;
    }
}

/* --- one round -------------------------------------------------------------------------------------------- */

static bool drain_events(struct sender *s)
{
    barid_client_event ev;
    bool any = false;

    while (barid_client_next(s->client, &ev) == 1) {
        any = true;
        on_event(s, &ev);
    }
    return any;
}

static bool give_body(struct sender *s)
{
    barid_slice rest = slice_from(s->o->message, s->body_at);
    size_t n = rest.n < s->body_want ? rest.n : s->body_want;

    if (s->body_want == 0 || s->stream == NULL || stream_backlog(s->stream) > SEND_BACKLOG)
        return false;
    s->body_want = 0;
    s->body_at += n;
    barid_client_body(s->client, rest.p, n, s->body_at == s->o->message.n, now(s));
    return true;
}

static bool write_output(struct sender *s)
{
    const uint8_t *p;
    size_t n = barid_client_output(s->client, &p);

    if (n == 0 || s->stream == NULL)
        return false;
    if (n > STREAM_BACKLOG_MAX / 2)
        n = STREAM_BACKLOG_MAX / 2;
    if (stream_write(s->stream, p, n) < 0)
        return false; /* on_close follows, or on_drain lets us try again */
    barid_client_sent(s->client, n, now(s));
    return true;
}

static void start_tls(struct sender *s)
{
    bool is_name = s->host[0] != '\0' && strchr(s->host, ':') == NULL && strspn(s->host, "0123456789.") != strlen(s->host);

    s->tls_started = true;
    if (stream_tls_connect(s->stream, s->tls, is_name ? s->host : NULL) < 0)
        barid_client_tls_done(s->client, false, now(s));
}

static void follow_wants(struct sender *s)
{
    unsigned wants = barid_client_wants(s->client);

    if (s->stream != NULL && (wants & BARID_WANT_TLS) && !s->tls_started && stream_backlog(s->stream) == 0)
        start_tls(s);
    if (s->stream != NULL)
        stream_read(s->stream, (wants & (BARID_WANT_READ | BARID_WANT_TLS)) != 0);
    timer_set(s->timer, barid_client_deadline(s->client));
    if (wants & BARID_WANT_CLOSE)
        finish(s);
}

static void pump(struct sender *s)
{
    if (s->pumping || s->closed) {
        s->again = true;
        return;
    }
    s->pumping = true;
    do {
        bool more = true;

        s->again = false;
        while (more) {
            more = drain_events(s);
            more |= give_body(s);
            more |= write_output(s);
        }
        follow_wants(s);
    } while (s->again && !s->closed);
    s->pumping = false;
}

/* --- the stream ------------------------------------------------------------------------------------------- */

static void on_read(void *user, const char *p, size_t n)
{
    struct sender *s = user;

    if (barid_client_feed(s->client, p, n, now(s)) < 0)
        barid_client_eof(s->client);
    pump(s);
}

static void on_close(void *user, int err)
{
    struct sender *s = user;

    (void)err;
    stream_del(&s->stream);
    barid_client_eof(s->client);
    pump(s);
}

static void on_drain(void *user)
{
    pump(user);
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct sender *s = user;

    if (info == NULL)
        fprintf(stderr, "TLS: %s\n", err->text);
    else if (s->o->verbose)
        fprintf(stderr, "= %.*s %.*s\n", (int)info->version.n, info->version.p, (int)info->cipher.n, info->cipher.p);
    barid_client_tls_done(s->client, info != NULL, now(s));
    pump(s);
}

static const struct stream_ops stream_ops = {.on_read = on_read, .on_close = on_close, .on_drain = on_drain, .on_tls = on_tls};

static void on_timer(void *user)
{
    struct sender *s = user;

    barid_client_tick(s->client, now(s));
    pump(s);
}

/* --- connecting -------------------------------------------------------------------------------------------- */

static void on_connected(void *user, struct stream *stream, const struct err *err)
{
    struct sender *s = user;

    s->connecting = NULL;
    if (stream == NULL) {
        s->rc = err_set(s->err, BARID_EIO, "%s: %s", s->o->server, err->text);
        if (s->next_address == NULL || connect_next(s) < 0)
            loop_stop(s->loop);
        return;
    }
    s->rc = 0;
    s->err->code = 0;
    s->stream = stream;
    stream_bind(stream, &stream_ops, s);
    if (barid_client_new(&s->client, s->o->client, NULL, now(s)) < 0) {
        s->rc = err_set(s->err, BARID_EINVALID, "these options contradict each other, or the HELO name is not one");
        finish(s);
        return;
    }
    pump(s);
}

static int connect_next(struct sender *s)
{
    const struct addrinfo *a = s->next_address;
    barid_endpoint to = {.family = BARID_FAMILY_IPV4};

    if (a == NULL)
        return stream_connect(s->loop, &to, s->unix_path, NULL, SEND_CONNECT_MS, on_connected, s, &s->connecting, s->err);
    s->next_address = a->ai_next;
    if (a->ai_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a->ai_addr;

        memcpy(to.addr, &in->sin_addr, 4);
        to.port = ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a->ai_addr;

        to.family = BARID_FAMILY_IPV6;
        memcpy(to.addr, &in6->sin6_addr, 16);
        to.port = ntohs(in6->sin6_port);
    }
    return stream_connect(s->loop, &to, NULL, NULL, SEND_CONNECT_MS, on_connected, s, &s->connecting, s->err);
}

/* "host:port", "[::1]:port", "unix:/path": fills host and addresses, or unix_path. */
static int resolve(struct sender *s)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    const char *server = s->o->server, *colon = strrchr(server, ':');
    size_t n;
    int rc;

    if (strncmp(server, "unix:", 5) == 0) {
        s->unix_path = server + 5;
        return 0;
    }
    if (colon == NULL || colon == server || colon[1] == '\0' || (size_t)(colon - server) >= sizeof(s->host))
        return err_set(s->err, BARID_ESYNTAX, "\"%s\" is not host:port, [address]:port or unix:/path", server);
    n = (size_t)(colon - server);
    if (server[0] == '[' && server[n - 1] == ']') {
        server++;
        n -= 2;
    }
    memcpy(s->host, server, n);
    rc = getaddrinfo(s->host, colon + 1, &hints, &s->addresses);
    if (rc != 0)
        return err_set(s->err, BARID_ENOTFOUND, "%s: %s", s->o->server, gai_strerror(rc));
    s->next_address = s->addresses;
    return 0;
}

static int prepare(struct sender *s)
{
    struct tls_client_options tls = {.verify = s->o->verify ? TLS_VERIFY_PEER : TLS_VERIFY_NONE, .ca_file = s->o->ca_file};
    int rc = resolve(s);

    if (rc == 0)
        rc = loop_new(&s->loop, NULL, NULL, s->err);
    if (rc == 0 && (s->timer = timer_new(s->loop, on_timer, s)) == NULL)
        rc = err_set(s->err, BARID_ENOMEM, "out of memory");
    if (rc == 0)
        rc = tls_client_new(&s->tls, &tls, s->err);
    return rc == 0 ? connect_next(s) : rc;
}

int send_run(const struct send_options *o, enum barid_client_stage *stage_r, unsigned *code_r, struct err *err)
{
    struct sender s = {.o = o, .err = err};
    int rc = prepare(&s);

    if (rc == 0) {
        loop_run(s.loop);
        rc = s.rc;
    }
    *stage_r = s.stage;
    *code_r = s.code;
    barid_client_del(&s.client);
    stream_del(&s.stream);
    timer_del(&s.timer);
    loop_del(&s.loop);
    tls_unref(&s.tls);
    if (s.addresses != NULL)
        freeaddrinfo(s.addresses);
    return rc;
}
