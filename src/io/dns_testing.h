/*
 * io/dns_testing.h: a name server on loopback, in a thread of its own, whose answers are known
 * by the first label of the name. Test code only; see answer() for what there is.
 */
#ifndef IO_DNS_TESTING_H
#define IO_DNS_TESTING_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct name_server {
    int udp, tcp, stop[2];
    unsigned port;
    pthread_t thread;
    atomic_uint questions, from; /* the port that the last one came from */
    atomic_bool ad_asked;
};

struct message {
    unsigned char p[8192];
    size_t n;
};

static inline void put(struct message *m, const void *p, size_t n)
{
    memcpy(m->p + m->n, p, n);
    m->n += n;
}

static inline void put_u16(struct message *m, unsigned v)
{
    put(m, (unsigned char[]){(unsigned char)(v >> 8), (unsigned char)v}, 2);
}

static inline void put_name(struct message *m, const char *name)
{
    while (*name != '\0') {
        size_t len = strcspn(name, ".");

        put(m, (unsigned char[]){(unsigned char)len}, 1);
        put(m, name, len);
        name += len + (name[len] == '.');
    }
    put(m, "", 1);
}

/* owner NULL: a pointer to the question's name. */
static inline void put_rr(struct message *m, const char *owner, unsigned type,
                          const void *rdata, size_t n)
{
    if (owner == NULL)
        put_u16(m, 0xc00c);
    else
        put_name(m, owner);
    put_u16(m, type);
    put_u16(m, 1);
    put_u16(m, 0);
    put_u16(m, 300);
    put_u16(m, (unsigned)n);
    put(m, rdata, n);
    m->p[7]++;
}

static inline void put_cname(struct message *m, const char *owner, const char *target)
{
    struct message rdata = {.n = 0};

    put_name(&rdata, target);
    put_rr(m, owner, 5, rdata.p, rdata.n);
}

/* In the authority section, TTL 300, this as its MINIMUM. rdlen: cut there, or 22 = whole. */
static inline void put_soa(struct message *m, unsigned minimum, size_t rdlen)
{
    unsigned char rdata[22] = {0};

    rdata[20] = (unsigned char)(minimum >> 8);
    rdata[21] = (unsigned char)minimum;
    put_rr(m, "test", 6, rdata, rdlen);
    m->p[7]--;
    m->p[9]++;
}

static inline void answer_txt(struct message *m, unsigned strings, bool tcp)
{
    unsigned char rdata[4096];

    if (!tcp) {
        m->p[2] |= 0x02; /* TC */
        return;
    }
    for (unsigned i = 0; i < strings; i++) {
        rdata[i * 201] = 200;
        memset(rdata + i * 201 + 1, 'a' + (int)i, 200);
    }
    put_rr(m, NULL, 16, rdata, strings * 201);
}

/* Completes the answer to a question of which label is the first label. false: stay silent. */
static inline bool answer(struct message *m, const char *label, bool tcp, bool edns)
{
    const unsigned char a1[] = {192, 0, 2, 1}, a2[] = {192, 0, 2, 2}, a3[] = {192, 0, 2, 3};

    if (strcmp(label, "a") == 0 || strcmp(label, "ad") == 0) {
        m->p[3] |= label[1] == 'd' ? 0x20 : 0;
        put_rr(m, NULL, 1, a1, 4);
        put_rr(m, NULL, 1, a2, 4);
    } else if (strcmp(label, "mx") == 0) {
        put_rr(m, NULL, 15, "\0\12\3mx1\300\17",
               8); /* compressed: "test" of "mx.test" is at 15 */
        put_rr(m, NULL, 15, "\0\24\1b\0", 5);
    } else if (strcmp(label, "txt") == 0) {
        put_rr(m, NULL, 16, "\7v=spf1 \4-all", 13);
    } else if (strcmp(label, "chain") == 0) {
        put_rr(m, "c2.test", 1, a3,
               4); /* in the wrong order, with something that was not asked for */
        put_rr(m, "evil.test", 1, a1, 4);
        put_cname(m, "c1.test", "C2.test");
        put_cname(m, NULL, "c1.test");
    } else if (strcmp(label, "far") == 0) {
        put_cname(m, NULL, "a.test");
    } else if (strcmp(label, "loop1") == 0) {
        put_cname(m, NULL, "loop2.test");
    } else if (strcmp(label, "loop2") == 0) {
        put_cname(m, NULL, "loop1.test");
    } else if (strcmp(label, "self") == 0) {
        put_cname(m, NULL, "self.test");
    } else if (strcmp(label, "other") == 0) {
        put_rr(m, "evil.test", 1, a1, 4);
    } else if (strcmp(label, "big") == 0) {
        answer_txt(m, 15, tcp);
    } else if (strcmp(label, "garbage") == 0) {
        put(m, "\377\377\377\377\377\377", 6);
        m->p[7] = 3;
    } else if (strcmp(label, "formerr") == 0) {
        if (edns)
            m->p[3] |= 1;
        else
            put_rr(m, NULL, 1, a1, 4);
    } else if (strncmp(label, "nx", 2) == 0) {
        m->p[3] |= 3;
        if (strcmp(label, "nxsoa") == 0)
            put_soa(m, 60, 22);
    } else if (strcmp(label, "soa") == 0) {
        put_soa(m, 600, 22);
    } else if (strcmp(label, "soashort") == 0) {
        put_soa(m, 600, 12);
    } else if (strcmp(label, "fail") == 0) {
        m->p[3] |= 2;
    } else if (strcmp(label, "refused") == 0) {
        m->p[3] |= 5;
    }
    return strcmp(label, "silent") != 0;
}

/* q: the question. Returns the answer's length, 0 for none. */
static inline size_t respond(struct name_server *ns, const unsigned char *q, size_t n, bool tcp,
                             struct message *m)
{
    size_t end = 12;
    char label[64] = "";

    if (n < 17)
        return 0;
    ns->questions++;
    if ((q[3] & 0x20) != 0)
        ns->ad_asked = true;
    memcpy(label, q + 13, q[12]);
    while (end < n && q[end] != 0)
        end += (size_t)q[end] + 1;
    end += 5;
    m->n = 0;
    put(m, q, end);
    m->p[2] = 0x81;
    m->p[3] = 0x80;
    memset(m->p + 6, 0, 6);
    return answer(m, label, tcp, q[11] != 0) ? m->n : 0;
}

static inline void serve_tcp(struct name_server *ns, struct message *m)
{
    int fd = accept(ns->tcp, NULL, NULL);
    unsigned char q[600];
    ssize_t n = recv(fd, q, sizeof(q), 0);

    /* our client sends length and question at once */
    if (n > 2 && respond(ns, q + 2, (size_t)n - 2, true, m) > 0) {
        unsigned char len[2] = {(unsigned char)(m->n >> 8), (unsigned char)m->n};

        if (send(fd, len, 2, MSG_NOSIGNAL | MSG_MORE) != 2 ||
            send(fd, m->p, m->n, MSG_NOSIGNAL) < 0)
            perror("name server");
        recv(fd, q, sizeof(q), 0); /* until the client closes */
    }
    close(fd);
}

static inline void *name_server_run(void *arg)
{
    struct name_server *ns = arg;
    struct message m;

    for (;;) {
        struct pollfd fds[] = {
            {ns->udp, POLLIN, 0}, {ns->tcp, POLLIN, 0}, {ns->stop[0], POLLIN, 0}};
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        unsigned char q[600];

        poll(fds, 3, -1);
        if (fds[2].revents != 0)
            return NULL;
        if (fds[1].revents != 0)
            serve_tcp(ns, &m);
        if (fds[0].revents != 0) {
            ssize_t n = recvfrom(ns->udp, q, sizeof(q), 0, (struct sockaddr *)&from, &len);

            ns->from = ntohs(from.sin_port);
            if (n > 0 && respond(ns, q, (size_t)n, false, &m) > 0)
                sendto(ns->udp, m.p, m.n, 0, (struct sockaddr *)&from, len);
        }
    }
}

static inline void name_server_start(struct name_server *ns)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(in);

    memset(ns, 0, sizeof(*ns));
    ns->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ns->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(ns->tcp, (struct sockaddr *)&in, n), 0);
    getsockname(ns->tcp, (struct sockaddr *)&in, &n);
    assert_int_equal(bind(ns->udp, (struct sockaddr *)&in, n), 0);
    assert_int_equal(listen(ns->tcp, 4), 0);
    ns->port = ntohs(in.sin_port);
    assert_int_equal(pipe(ns->stop), 0);
    assert_int_equal(pthread_create(&ns->thread, NULL, name_server_run, ns), 0);
}

static inline void name_server_stop(struct name_server *ns)
{
    close(ns->stop[1]);
    pthread_join(ns->thread, NULL);
    close(ns->stop[0]);
    close(ns->udp);
    close(ns->tcp);
}

#endif
