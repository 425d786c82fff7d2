/*
 * bench/smtpload.c: SMTP clients in lock step, each command after the reply to the last, that note how long each message took.
 * One thread, epoll. A message's time runs from connect(2) (or from MAIL on a kept connection) to the 250 after its data.
 *
 * usage: smtpload ADDRESS PORT SESSIONS MESSAGES OCTETS RECIPIENTS MESSAGES_PER_CONNECTION
 *
 * Prints one JSON object. A refused message or a broken connection is an error, status 1.
 *
 *   BANNER -> EHLO -> MAIL -> RCPT... -> DATA -> BODY -> MAIL (next message) or QUIT -> connect (next message)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SESSIONS_MAX 1000
#define REPLY_MAX    4096  /* octets of a reply with all its lines */
#define STALLED_MS   30000 /* no event for so long: the server hangs */

enum state { BANNER, EHLO, MAIL, RCPT, DATA, BODY, QUIT };

struct session {
    int fd; /* -1 = there is nothing left to send */
    enum state state;
    long rcpts, messages; /* of this message, of this connection */
    size_t sent;          /* octets of the body */
    double began;
    char in[REPLY_MAX];
    size_t n;
};

static struct session sessions[SESSIONS_MAX];
static struct sockaddr_in server = {.sin_family = AF_INET};
static int poller;
static long wanted, begun, done, rcpts_each, messages_each;
static char *body;
static size_t body_n;
static double *taken;

static void die(const char *what)
{
    fprintf(stderr, "smtpload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void watch(struct session *s, int how, unsigned events)
{
    struct epoll_event e = {.events = events, .data.ptr = s};

    if (epoll_ctl(poller, how, s->fd, &e) < 0)
        die("epoll_ctl");
}

static void connect_next(struct session *s)
{
    int on = 1;

    if (begun == wanted) {
        s->fd = -1;
        return;
    }
    begun++;
    *s =
        (struct session){.began = now(), .fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)};
    if (s->fd < 0)
        die("socket");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(s->fd, (struct sockaddr *)&server, sizeof(server)) < 0 && errno != EINPROGRESS)
        die("connect");
    watch(s, EPOLL_CTL_ADD, EPOLLIN);
}

static void say(struct session *s, enum state state, const char *text)
{
    size_t n = strlen(text);

    s->state = state;
    if (send(s->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("send");
}

static void send_body(struct session *s)
{
    while (s->sent < body_n) {
        ssize_t n = send(s->fd, body + s->sent, body_n - s->sent, MSG_NOSIGNAL);

        if (n < 0 && errno == EAGAIN) {
            watch(s, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
            return;
        }
        if (n < 0)
            die("send");
        s->sent += (size_t)n;
    }
    watch(s, EPOLL_CTL_MOD, EPOLLIN);
}

static void say_rcpt(struct session *s)
{
    char line[64];

    snprintf(line, sizeof(line), "RCPT TO:<user%ld@rcpt.test>\r\n", s->rcpts++);
    say(s, RCPT, line);
}

static void say_mail(struct session *s)
{
    s->rcpts = 0;
    s->sent = 0;
    say(s, MAIL, "MAIL FROM:<bench@sender.test>\r\n");
}

static void message_done(struct session *s)
{
    taken[done++] = now() - s->began;
    if (++s->messages < messages_each && begun < wanted) {
        begun++;
        s->began = now();
        say_mail(s);
    } else {
        say(s, QUIT, "QUIT\r\n");
    }
}

/* A whole reply is in. */
static void step(struct session *s)
{
    if (s->in[0] != '2' && s->in[0] != '3') {
        fprintf(stderr, "smtpload: refused: %.*s\n", (int)s->n, s->in);
        exit(1);
    }
    switch (s->state) {
    case BANNER:
        say(s, EHLO, "EHLO client.test\r\n");
        break;
    case EHLO:
        say_mail(s);
        break;
    case MAIL:
        say_rcpt(s);
        break;
    case RCPT:
        if (s->rcpts < rcpts_each)
            say_rcpt(s);
        else
            say(s, DATA, "DATA\r\n");
        break;
    case DATA:
        s->state = BODY;
        send_body(s);
        break;
    case BODY:
        message_done(s);
        break;
    case QUIT:
        close(s->fd);
        connect_next(s);
        break;
    }
}

/* The last line of a reply has a space behind its code. */
static bool whole(const struct session *s)
{
    const char *line = s->in, *end;

    while ((end = memchr(line, '\n', s->n - (size_t)(line - s->in))) != NULL) {
        if (end - line >= 4 && line[3] != '-')
            return true;
        line = end + 1;
    }
    return false;
}

static void receive(struct session *s)
{
    ssize_t n = recv(s->fd, s->in + s->n, sizeof(s->in) - s->n, 0);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the server closed");
    s->n += (size_t)n;
    if (whole(s)) {
        step(s);
        s->n = 0;
    }
}

static void make_body(size_t octets)
{
    static const char header[] =
        "From: <bench@sender.test>\r\nTo: <user0@rcpt.test>\r\nSubject: bench\r\n"
        "Date: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-Id: <x@client.test>\r\n\r\n";
    size_t at = sizeof(header) - 1, most = octets > at ? octets : at;

    body = malloc(most + 128);
    if (body == NULL)
        die("malloc");
    memcpy(body, header, at);
    while (at < most) {
        memset(body + at, 'X', 76);
        memcpy(body + at + 76, "\r\n", 2);
        at += 78;
    }
    memcpy(body + at, ".\r\n", 3);
    body_n = at + 3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void run(int n_sessions)
{
    struct epoll_event events[256];

    for (int i = 0; i < n_sessions; i++)
        connect_next(&sessions[i]);
    while (done < wanted) {
        int n = epoll_wait(poller, events, 256, STALLED_MS);

        if (n == 0) {
            errno = ETIMEDOUT;
            die("the server hangs");
        }
        for (int i = 0; i < n; i++) {
            struct session *s = events[i].data.ptr;

            if (s->state == BODY && (events[i].events & EPOLLOUT))
                send_body(s);
            if (events[i].events & ~(unsigned)EPOLLOUT)
                receive(s);
        }
    }
}

int main(int argc, char **argv)
{
    double began;
    int n_sessions;

    if (argc != 8 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1) {
        fprintf(stderr, "usage: smtpload ADDRESS PORT SESSIONS MESSAGES OCTETS RECIPIENTS "
                        "MESSAGES_PER_CONNECTION\n");
        return 64;
    }
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    n_sessions = atoi(argv[3]) < SESSIONS_MAX ? atoi(argv[3]) : SESSIONS_MAX;
    wanted = atol(argv[4]);
    make_body((size_t)atol(argv[5]));
    rcpts_each = atol(argv[6]);
    messages_each = atol(argv[7]);
    taken = calloc((size_t)wanted + 1, sizeof(*taken));
    poller = epoll_create1(0);
    if (taken == NULL || poller < 0 || wanted < 1)
        die("start");
    began = now();
    run(n_sessions);
    began = now() - began;
    qsort(taken, (size_t)done, sizeof(*taken), by_value);
    printf("{\"rate\":%.1f,\"p50\":%.4f,\"p99\":%.4f,\"most\":%.4f}\n", (double)done / began,
           taken[(done - 1) / 2] * 1e3, taken[(done - 1) * 99 / 100] * 1e3,
           taken[done - 1] * 1e3);
    return 0;
}
