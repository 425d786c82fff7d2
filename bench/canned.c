/*
 * bench/canned.c: answers SMTP with fixed replies, keeps nothing and looks at nothing but the ends of lines and of data: what one
 * thread with epoll can do at best with the same sockets. A ceiling to measure against, not a mail server.
 *
 * usage: canned ADDRESS PORT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 65536 /* descriptors */
#define INPUT_MAX   65536
#define OUTPUT_MAX  4096 /* replies to one read; a client that pipelines more is cut off */
#define BACKLOG     4096

/* One client, indexed by its descriptor. */
struct client {
    bool in_data;
    bool first;      /* at the first octet of a command line */
    char verb;       /* its first letter, upper case */
    unsigned matched; /* octets of CRLF.CRLF seen, in data */
};

static struct client clients[CLIENTS_MAX];

static void fail(const char *what)
{
    fprintf(stderr, "canned: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int listen_on(const char *address, const char *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

    if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1)
        fail("address");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, BACKLOG) < 0)
        fail("listen");
    return fd;
}

static const char *reply_to(struct client *c)
{
    switch (c->verb) {
    case 'D':
        c->in_data = true;
        c->matched = 2; /* the line end of DATA counts as the one before a lone dot */
        return "354 go\r\n";
    case 'E':
        return "250-canned\r\n250-PIPELINING\r\n250 8BITMIME\r\n";
    case 'Q':
        return "221 bye\r\n";
    default:
        return "250 ok\r\n";
    }
}

/* True when octet ends the data. */
static bool data_octet(struct client *c, char octet)
{
    static const char end[] = "\r\n.\r\n";

    if (octet == end[c->matched])
        c->matched++;
    else
        c->matched = octet == '\r' ? 1 : 0;
    return c->matched == 5;
}

/* Appends to out; false when it is full. */
static bool say(char *out, size_t *n, const char *text)
{
    size_t length = strlen(text);

    if (*n + length > OUTPUT_MAX)
        return false;
    memcpy(out + *n, text, length);
    *n += length;
    return true;
}

static bool take(struct client *c, const char *in, size_t n, char *out, size_t *out_n)
{
    for (size_t i = 0; i < n; i++) {
        if (c->in_data) {
            /* Most of a message: jump to the next octet that can matter. */
            if (c->matched == 0) {
                const char *cr = memchr(in + i, '\r', n - i);
                if (cr == NULL)
                    return true;
                i = (size_t)(cr - in);
            }
            if (!data_octet(c, in[i]))
                continue;
            c->in_data = false;
            c->first = true;
            if (!say(out, out_n, "250 ok\r\n"))
                return false;
        } else if (in[i] == '\n') {
            c->first = true;
            if (!say(out, out_n, reply_to(c)))
                return false;
        } else if (c->first) {
            c->first = false;
            c->verb = (char)(in[i] & ~0x20);
        }
    }
    return true;
}

static void serve(int fd)
{
    static char in[INPUT_MAX];
    char out[OUTPUT_MAX];
    size_t out_n = 0;
    ssize_t n = read(fd, in, sizeof(in));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !take(&clients[fd], in, (size_t)n, out, &out_n) ||
        (out_n > 0 && write(fd, out, out_n) != (ssize_t)out_n))
        close(fd);
    else if (out_n > 0 && clients[fd].verb == 'Q' && !clients[fd].in_data)
        close(fd);
}

static void greet(int poll, int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

        if (fd >= CLIENTS_MAX || write(fd, "220 canned\r\n", 12) != 12 || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0) {
            close(fd);
            continue;
        }
        clients[fd] = (struct client){.first = true};
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[256];
    int poll, listener;

    if (argc != 3) {
        fprintf(stderr, "usage: canned ADDRESS PORT\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    listener = listen_on(argv[1], argv[2]);
    poll = epoll_create1(0);
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener}) < 0)
        fail("epoll");
    for (;;) {
        int n = epoll_wait(poll, events, 256, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                greet(poll, listener);
            else
                serve(events[i].data.fd);
        }
    }
}
