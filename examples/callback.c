/*
 * examples/callback.c: a server of libbarid-server that keeps every message as one file in a
 * directory, synced before the client hears 250.
 *
 *   ./callback 127.0.0.1:2525 /var/tmp/inbox
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <barid/server.h>

struct inbox {
    const char *dir;
    unsigned long count;
};

struct message {
    int fd; /* -1 = none, or writing failed */
    char name[64];
};

static int put(int fd, barid_slice s)
{
    while (s.n > 0) {
        ssize_t k = write(fd, s.p, s.n);
        if (k < 0)
            return -1;
        s.p += k;
        s.n -= (size_t)k;
    }
    return 0;
}

static void begin(struct message *m, struct inbox *in)
{
    if (m->fd >= 0)
        close(m->fd);
    snprintf(m->name, sizeof m->name, "%ld-%lu.eml", (long)getpid(), in->count++);
    m->fd = open(m->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static void keep(struct message *m, barid_slice s)
{
    if (m->fd >= 0 && put(m->fd, s) < 0) {
        close(m->fd);
        m->fd = -1;
    }
}

/* The file and its name are safe, or there is no 250. */
static int finish(struct message *m)
{
    int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ok = m->fd >= 0 && dir >= 0 && fsync(m->fd) == 0 && fsync(dir) == 0;
    if (m->fd >= 0)
        close(m->fd);
    if (dir >= 0)
        close(dir);
    m->fd = -1;
    return ok;
}

static void on_event(barid_connection *c, const barid_event *ev, void *user)
{
    struct message *m = barid_connection_data(c);
    barid_verdict v = {.kind = BARID_CONTINUE};
    switch (ev->id) {
    case BARID_EVENT_CONNECT:
        if (!(m = malloc(sizeof *m))) {
            v.kind = BARID_TEMPFAIL;
            break;
        }
        m->fd = -1;
        barid_connection_set_data(c, m);
        break;
    case BARID_EVENT_HEADERS:
        begin(m, user);
        keep(m, ev->data);
        keep(m, BARID_S("\r\n"));
        break;
    case BARID_EVENT_BODY:
        keep(m, ev->data);
        break;
    case BARID_EVENT_COMMIT:
        v.kind = finish(m) ? BARID_ACCEPT : BARID_TEMPFAIL;
        break;
    default:
        break;
    }
    if (ev->token)
        barid_connection_answer(c, ev->token, &v);
}

static void on_closed(barid_connection *c, void *user)
{
    struct message *m = barid_connection_data(c);
    (void)user;
    if (m && m->fd >= 0)
        close(m->fd);
    free(m);
}

int main(int argc, char **argv)
{
    char error[256];
    struct inbox in = {.dir = argc > 2 ? argv[2] : "."};
    barid_session_config config = {.size = sizeof config,
                                   .hostname = BARID_S("mx.example.com"),
                                   .events = BARID_EVENT_BIT(BARID_EVENT_CONNECT) |
                                             BARID_EVENT_BIT(BARID_EVENT_HEADERS) |
                                             BARID_EVENT_BIT(BARID_EVENT_BODY),
                                   .extensions = BARID_EXT_DEFAULT};
    barid_server *s = NULL;
    if (argc < 2 || chdir(in.dir) < 0) {
        fprintf(stderr, "usage: callback ADDRESS:PORT [DIRECTORY]\n");
        return 64;
    }
    if (barid_server_new(&s, on_event, on_closed, &in, error, sizeof error) < 0 ||
        barid_server_listen(s, argv[1], &config, NULL, error, sizeof error) < 0) {
        fprintf(stderr, "callback: %s\n", error);
        barid_server_del(&s);
        return 69;
    }
    printf("listening on port %u\n", (unsigned)barid_server_port(s, 0));
    fflush(stdout);
    barid_server_run(s);
    barid_server_del(&s);
    return 0;
}
