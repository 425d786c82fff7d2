/*
 * bench/idle.c: opens many connections that say EHLO and then nothing, and holds them.
 *
 * usage: idle ADDRESS PORT CONNECTIONS [tls]
 *
 * When all are open it prints one JSON object: how many, and how long that took. Then it holds them until its standard input
 * ends, and prints how many the server has closed meanwhile. With tls the handshake is done at once, as on port 465; what
 * OpenSSL holds of a connection is freed after it, so that the client can hold as many as without.
 *
 * One address has some 28,000 ports to come from: the clients come from 127.0.0.2 and up, PER_ADDRESS from each.
 *
 *   (connect) -> [HANDSHAKE ->] BANNER -> EHLO -> IDLE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define PER_ADDRESS 10000
#define IN_FLIGHT   64    /* connections that are being opened */
#define STALLED_MS  20000 /* nothing happened for so long: the rest will not open */

enum state { HANDSHAKE, BANNER, EHLO, IDLE, GONE };

struct client {
    int fd;
    enum state state;
    SSL *ssl;
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static struct client *clients;
static SSL_CTX *ctx; /* NULL = plain */
static int poller;
static long wanted, begun, idle, gone;

static void die(const char *what)
{
    fprintf(stderr, "idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct client *c, int how, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = c};

    if (epoll_ctl(poller, how, c->fd, &e) < 0)
        die("epoll_ctl");
}

static void open_next(void)
{
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr.s_addr =
                                   htonl(0x7f000002u + (unsigned)(begun / PER_ADDRESS))};
    struct client *c = &clients[begun++];
    int on = 1;

    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        die("socket");
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
        die("bind");
    if (connect(c->fd, (struct sockaddr *)&server, sizeof(server)) < 0 && errno != EINPROGRESS)
        die("connect");
    c->state = BANNER;
    if (ctx != NULL) {
        c->state = HANDSHAKE;
        if ((c->ssl = SSL_new(ctx)) == NULL || SSL_set_fd(c->ssl, c->fd) != 1)
            die("SSL_new");
        SSL_set_connect_state(c->ssl);
    }
    watch(c, EPOLL_CTL_ADD, ctx != NULL ? EPOLLOUT : EPOLLIN);
}

static void drop(struct client *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->state = GONE;
    gone++;
}

/* Octets read; 0 = nothing yet, -1 = the end. */
static int get(struct client *c, char *p, int n)
{
    int got = c->ssl != NULL ? SSL_read(c->ssl, p, n) : (int)recv(c->fd, p, (size_t)n, 0);

    if (got > 0)
        return got;
    if (c->ssl != NULL)
        return SSL_get_error(c->ssl, got) == SSL_ERROR_WANT_READ ? 0 : -1;
    return got < 0 && errno == EAGAIN ? 0 : -1;
}

static void put(struct client *c, const char *text)
{
    int n = (int)strlen(text);

    if ((c->ssl != NULL ? SSL_write(c->ssl, text, n)
                        : (int)send(c->fd, text, (size_t)n, MSG_NOSIGNAL)) != n)
        die("EHLO");
}

static void rest(struct client *c)
{
    c->state = IDLE;
    idle++;
    if (c->ssl == NULL)
        return;
    SSL_set_quiet_shutdown(c->ssl, 1); /* the socket stays open */
    SSL_free(c->ssl);
    c->ssl = NULL;
}

static void handshake(struct client *c)
{
    int rc = SSL_do_handshake(c->ssl), why = SSL_get_error(c->ssl, rc);

    if (rc == 1)
        c->state = BANNER;
    else if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        drop(c);
        return;
    }
    watch(c, EPOLL_CTL_MOD, rc != 1 && why == SSL_ERROR_WANT_WRITE ? EPOLLOUT : EPOLLIN);
}

static void receive(struct client *c)
{
    char in[4096];
    int n = get(c, in, sizeof(in));

    if (n < 0 || (n > 0 && c->state != IDLE && in[0] != '2')) {
        drop(c);
    } else if (n > 0 && c->state == BANNER) {
        put(c, "EHLO client.test\r\n");
        c->state = EHLO;
    } else if (n > 0 && c->state == EHLO) {
        rest(c);
    }
}

static void step(struct client *c)
{
    if (c->state == HANDSHAKE)
        handshake(c);
    if (c->state == BANNER || c->state == EHLO)
        receive(c); /* OpenSSL may hold octets that epoll does not see */
}

static void open_all(void)
{
    struct epoll_event events[256];

    while (idle + gone < wanted) {
        int n;

        while (begun < wanted && begun - idle - gone < IN_FLIGHT)
            open_next();
        if ((n = epoll_wait(poller, events, 256, STALLED_MS)) <= 0)
            return;
        for (int i = 0; i < n; i++)
            step(events[i].data.ptr);
    }
}

static long count_closed(void)
{
    long closed = 0;

    for (long i = 0; i < begun; i++) {
        struct pollfd p = {.fd = clients[i].fd, .events = POLLRDHUP};

        if (clients[i].state == IDLE && poll(&p, 1, 0) == 1 &&
            (p.revents & (POLLRDHUP | POLLHUP | POLLERR)))
            closed++;
    }
    return closed;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    double began;
    char c;

    if (argc < 4 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
        fprintf(stderr, "usage: idle ADDRESS PORT CONNECTIONS [tls]\n");
        return 64;
    }
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    wanted = atol(argv[3]);
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (argc > 4 && (ctx = SSL_CTX_new(TLS_client_method())) == NULL)
        die("SSL_CTX_new");
    clients = calloc((size_t)wanted, sizeof(*clients));
    poller = epoll_create1(0);
    if (clients == NULL || poller < 0)
        die("start");
    began = now();
    open_all();
    printf("{\"idle\":%ld,\"refused\":%ld,\"seconds\":%.4f}\n", idle, gone, now() - began);
    fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
    printf("{\"closed\":%ld}\n", count_closed());
    return 0;
}
