/*
 * control/client.c: HTTP/1.0 in one connection: the answer ends where the connection does, so there is nothing to parse but the
 * status line and the blank line.
 */
#include "control/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/slice.h"
#include "io/listener.h"

static socklen_t to_sockaddr(const struct listen_address *a, struct sockaddr_storage *sa)
{
    memset(sa, 0, sizeof(*sa));
    if (a->endpoint.family == BARID_FAMILY_UNIX) {
        struct sockaddr_un *un = (struct sockaddr_un *)sa;

        un->sun_family = AF_UNIX;
        memcpy(un->sun_path, a->path, sizeof(un->sun_path) - 1);
        return sizeof(*un);
    }
    if (a->endpoint.family == BARID_FAMILY_IPV4) {
        struct sockaddr_in *in = (struct sockaddr_in *)sa;

        in->sin_family = AF_INET;
        in->sin_port = htons(a->endpoint.port);
        memcpy(&in->sin_addr, a->endpoint.addr, 4);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)sa;

    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(a->endpoint.port);
    memcpy(&in6->sin6_addr, a->endpoint.addr, 16);
    return sizeof(*in6);
}

static int dial(const char *address, struct err *err)
{
    const struct timeval limit = {.tv_sec = CONTROL_CLIENT_MS / 1000};
    struct sockaddr_storage sa;
    struct listen_address a;
    socklen_t n;
    int fd, rc = listen_address_parse(slice_str(address), &a, err);

    if (rc < 0)
        return rc;
    n = to_sockaddr(&a, &sa);
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "control socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&sa, n) == 0)
        return fd;
    rc = errno;
    close(fd);
    if (rc == ENOENT || rc == ECONNREFUSED)
        return err_set(err, BARID_ECLOSED, "no daemon answers at %s: is it running?", address);
    return err_errno(err, BARID_EIO, rc, "control socket %s", address);
}

static int send_all(int fd, barid_slice s, struct err *err)
{
    while (s.n > 0) {
        ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_errno(err, BARID_EIO, errno, "control socket");
        s = slice_from(s, (size_t)n);
    }
    return 0;
}

/* 1 = more of it, 0 = its end. */
static int receive_some(int fd, struct buf *in, struct err *err)
{
    ssize_t n;

    if (buf_reserve(in, 65536) < 0)
        return err_set(err, BARID_ELIMIT, "control socket: the answer is too large");
    do
        n = recv(fd, in->p + in->len, 65536, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return err_set(err, BARID_ETIMEOUT, "control socket: the daemon did not answer within %d s", CONTROL_CLIENT_MS / 1000);
    if (n < 0)
        return err_errno(err, BARID_EIO, errno, "control socket");
    in->len += (size_t)n;
    return n > 0;
}

static int receive_all(int fd, struct buf *in, struct err *err)
{
    int rc;

    while ((rc = receive_some(fd, in, err)) > 0)
        ;
    return rc;
}

static const char *end_of_head(barid_slice in)
{
    return in.n > 0 ? memmem(in.p, in.n, "\r\n\r\n", 4) : NULL;
}

static int parse_status(barid_slice in, unsigned *status_r, struct err *err)
{
    uint64_t status = 0;

    if (end_of_head(in) == NULL || in.n < 12 || memcmp(in.p, "HTTP/1.", 7) != 0 || slice_u64(slice_of(in.p + 9, 3), 999, &status) < 0)
        return err_set(err, BARID_ESYNTAX, "control socket: this is not a Barid daemon");
    *status_r = (unsigned)status;
    return 0;
}

/* "HTTP/1.x NNN ..." header fields, blank line, JSON. */
static int parse(barid_slice in, unsigned *status_r, json_t **answer_r, struct err *err)
{
    int rc = parse_status(in, status_r, err);
    json_error_t why;
    const char *end;

    if (rc < 0)
        return rc;
    end = end_of_head(in) + 4;
    *answer_r = json_loadb(end, in.n - (size_t)(end - in.p), JSON_REJECT_DUPLICATES, &why);
    if (*answer_r == NULL)
        return err_set(err, BARID_ESYNTAX, "control socket: the answer is not JSON: %s", why.text);
    return 0;
}

static int ask(int fd, const char *method, const char *path, struct buf *b, struct err *err)
{
    int rc = buf_fmt(b, "%s %s HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", method, path);

    if (rc == 0)
        rc = send_all(fd, buf_slice(b), err);
    buf_clear(b);
    return rc;
}

int control_ask(const char *address, const char *method, const char *path, unsigned *status_r, json_t **answer_r,
                struct err *err)
{
    int fd = dial(address, err), rc;
    struct buf b;

    if (fd < 0)
        return fd;
    buf_init(&b, NULL, CONTROL_ANSWER_MAX);
    rc = ask(fd, method, path, &b, err);
    if (rc == 0)
        rc = receive_all(fd, &b, err);
    if (rc == 0)
        rc = parse(buf_slice(&b), status_r, answer_r, err);
    buf_deinit(&b);
    close(fd);
    return rc;
}

/* Whole lines of in, which are taken out of it. False: enough. */
static bool give_lines(struct buf *in, bool (*line)(void *user, const char *p, size_t n), void *user)
{
    bool more = true;
    size_t at = 0;

    while (more && at < in->len) {
        const char *end = memchr(in->p + at, '\n', in->len - at);

        if (end == NULL)
            break;
        more = line(user, in->p + at, (size_t)(end - in->p) - at);
        at = (size_t)(end - in->p) + 1;
    }
    buf_consume(in, at);
    return more;
}

static int listen_on(int fd, struct buf *in, unsigned *status_r, json_t **answer_r,
                     bool (*line)(void *user, const char *p, size_t n), void *user, struct err *err)
{
    int rc = 1;

    while (rc > 0 && end_of_head(buf_slice(in)) == NULL)
        rc = receive_some(fd, in, err);
    if (rc >= 0)
        rc = parse_status(buf_slice(in), status_r, err);
    if (rc == 0 && *status_r != 200) {
        rc = receive_all(fd, in, err);
        return rc == 0 ? parse(buf_slice(in), status_r, answer_r, err) : rc;
    }
    if (rc == 0)
        buf_consume(in, (size_t)(end_of_head(buf_slice(in)) - in->p) + 4);
    while (rc >= 0 && give_lines(in, line, user) && (rc = receive_some(fd, in, err)) > 0)
        ;
    return rc < 0 ? rc : 0;
}

int control_listen(const char *address, const char *path, unsigned *status_r, json_t **answer_r,
                   bool (*line)(void *user, const char *p, size_t n), void *user, struct err *err)
{
    int fd = dial(address, err), rc;
    struct buf b;

    if (fd < 0)
        return fd;
    buf_init(&b, NULL, CONTROL_LINE_MAX);
    rc = ask(fd, "GET", path, &b, err);
    if (rc == 0)
        rc = listen_on(fd, &b, status_r, answer_r, line, user, err);
    buf_deinit(&b);
    close(fd);
    return rc;
}

int control_query(struct buf *path, const char *name, const char *value)
{
    bool first = memchr(path->p, '?', path->len) == NULL;
    int rc = buf_fmt(path, "%c%s=", first ? '?' : '&', name);

    for (const char *p = value; *p != '\0' && rc == 0; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._~", *p) != NULL;

        rc = plain ? buf_byte(path, *p) : buf_fmt(path, "%%%02X", (unsigned char)*p);
    }
    return rc;
}
