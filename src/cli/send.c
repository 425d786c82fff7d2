/*
 * cli/send.c: a client session from the command line: connects, sends, tells what it was told.
 */
#include "cli/send.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/endpoint.h"
#include "base/slice.h"
#include "delivery/dialogue.h"
#include "io/loop.h"
#include "io/tls.h"

struct sender {
    const struct send_options *o;
    struct loop *loop;
    struct tls_ctx *tls;
    struct dialogue *dialogue;
    struct addrinfo *addresses, *next_address;
    char host[256];
    const char *unix_path;
    unsigned mails;      /* begun */
    size_t body_at;      /* octets of the message given to the session */
    enum barid_client_stage stage;
    unsigned code;
    char tls_error[256]; /* why a handshake failed */
    bool is_unreachable; /* this address: there may be another */
    int rc;
    struct err *err;
};

static int connect_next(struct sender *s);

/* --- events of the session ------------------------------------------------------------------------------ */

static void on_ready(struct sender *s)
{
    int rc;

    if (s->mails == s->o->repeat) {
        dialogue_quit(s->dialogue);
        return;
    }
    s->mails++;
    s->body_at = 0;
    rc = dialogue_send(s->dialogue, s->o->mail);
    if (rc < 0) {
        s->rc = err_set(s->err, rc, rc == BARID_ESYNTAX ? "an address or parameter cannot stand in a command" : "%s", barid_strerror(rc));
        dialogue_quit(s->dialogue);
    }
}

static void on_session_closed(struct sender *s, const barid_client_event *ev)
{
    s->stage = ev->stage;
    s->code = ev->reply.code;
    if (s->rc != 0 || s->mails > 0)
        return;
    if (ev->reply.code != 0)
        s->rc = err_set(s->err, BARID_ECLOSED, "%s: the server said %u %.*s", barid_client_stage_name(ev->stage), ev->reply.code,
                        (int)(ev->reply.text.n < 200 ? ev->reply.text.n : 200), ev->reply.text.p);
    else
        s->rc = err_set(s->err, ev->error != 0 ? ev->error : BARID_ECLOSED, "%s: %s", barid_client_stage_name(ev->stage),
                        s->tls_error[0] != '\0' ? s->tls_error : barid_strerror(ev->error != 0 ? ev->error : BARID_ECLOSED));
}

static void on_transcript(const barid_client_event *ev)
{
    fprintf(stderr, "%s ", ev->from_server ? "<" : ">");
    for (size_t i = 0; i < ev->line.n; i++)
        fputc((unsigned char)ev->line.p[i] < 0x20 || ev->line.p[i] == 0x7f ? '?' : ev->line.p[i], stderr);
    fputc('\n', stderr);
}

static void on_event(void *user, const barid_client_event *ev)
{
    struct sender *s = user;

    switch (ev->id) {
    case BARID_CLIENT_READY:
        on_ready(s);
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
    case BARID_CLIENT_WANT_BODY:
        break;
    }
}

static int on_body(void *user, size_t n, barid_slice *p_r, bool *last_r)
{
    struct sender *s = user;

    *p_r = slice_head(slice_from(s->o->message, s->body_at), n);
    s->body_at += p_r->n;
    *last_r = s->body_at == s->o->message.n;
    return 1;
}

static void on_tls(void *user, const barid_tls_info *info, const struct err *err)
{
    struct sender *s = user;

    if (info == NULL)
        snprintf(s->tls_error, sizeof(s->tls_error), "%.255s", err->text);
    else if (s->o->verbose)
        fprintf(stderr, "= %.*s %.*s\n", (int)info->version.n, info->version.p, (int)info->cipher.n, info->cipher.p);
}

/* --- connecting -------------------------------------------------------------------------------------------- */

static void on_unreachable(void *user, const struct err *err)
{
    struct sender *s = user;

    s->is_unreachable = true;
    if (err->code == BARID_EINVALID)
        s->rc = err_set(s->err, BARID_EINVALID, "these options contradict each other, or the HELO name is not one");
    else
        s->rc = err_set(s->err, BARID_EIO, "%s: %s", s->o->server, err->text);
}

/* The session is over; or the next address is tried. */
static void on_over(void *user)
{
    struct sender *s = user;

    dialogue_del(&s->dialogue);
    if (!s->is_unreachable || s->next_address == NULL || connect_next(s) < 0)
        loop_stop(s->loop);
}

static const struct dialogue_ops dialogue_ops = {
    .on_event = on_event, .on_unreachable = on_unreachable, .on_over = on_over, .on_body = on_body, .on_tls = on_tls};

static void take_address(struct sender *s, barid_endpoint *to)
{
    const struct addrinfo *a = s->next_address;

    s->next_address = a->ai_next;
    if (a->ai_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)a->ai_addr;

        to->family = BARID_FAMILY_IPV4;
        memcpy(to->addr, &in->sin_addr, 4);
        to->port = ntohs(in->sin_port);
    } else {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)a->ai_addr;

        to->family = BARID_FAMILY_IPV6;
        memcpy(to->addr, &in6->sin6_addr, 16);
        to->port = ntohs(in6->sin6_port);
    }
}

/* What a certificate has to name: the host as it was given, or the address that it is. */
static const char *server_name(const struct sender *s, const barid_endpoint *to, char text[ENDPOINT_TEXT_SIZE])
{
    bool is_name = strchr(s->host, ':') == NULL && strspn(s->host, "0123456789.") != strlen(s->host);

    if (s->unix_path != NULL)
        return NULL;
    endpoint_text(to, text);
    return is_name ? s->host : text;
}

static int connect_next(struct sender *s)
{
    char text[ENDPOINT_TEXT_SIZE];
    struct dialogue_options o = {.loop = s->loop, .config = s->o->client, .tls = s->tls, .ops = &dialogue_ops, .user = s};
    struct dialogue_place place = {.unix_path = s->unix_path, .connect_ms = SEND_CONNECT_MS};

    if (s->next_address != NULL)
        take_address(s, &place.to);
    o.server_name = server_name(s, &place.to, text);
    s->is_unreachable = false;
    s->rc = 0;
    s->err->code = 0;
    return dialogue_open(&s->dialogue, &o, &place, s->err);
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
    dialogue_del(&s.dialogue);
    loop_del(&s.loop);
    tls_unref(&s.tls);
    if (s.addresses != NULL)
        freeaddrinfo(s.addresses);
    return rc;
}
