/* io/dns_channel.c: one c-ares channel with its sockets on the loop. Knows nothing of names and
 * answers. */
#include "io/dns_int.h"

#include <pthread.h>

#include "base/list.h"
#include "base/mem.h"

struct dns_socket {
    struct io_handle handle; /* first */
    struct dns_channel *channel;
    struct list node;
    ares_socket_t fd;
};

static void on_closed(uv_handle_t *h)
{
    mem_free(NULL, h->data);
}

static void socket_close(struct dns_socket *s)
{
    list_remove(&s->node);
    uv_close((uv_handle_t *)&s->handle.poll, on_closed); /* c-ares closes the descriptor */
}

static void on_abandon(struct io_handle *h, bool all)
{
    (void)all;
    socket_close((struct dns_socket *)h);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct dns_socket *s = h->data;
    bool in = status < 0 || (events & UV_READABLE) != 0;
    bool out = status < 0 || (events & UV_WRITABLE) != 0;

    ares_process_fd(s->channel->ares, in ? s->fd : ARES_SOCKET_BAD,
                    out ? s->fd : ARES_SOCKET_BAD);
}

static struct dns_socket *find(struct dns_channel *c, ares_socket_t fd)
{
    LIST_EACH(it, &c->sockets)
    {
        struct dns_socket *s = LIST_ENTRY(it, struct dns_socket, node);

        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* NULL: out of memory; then the query on it times out. */
static struct dns_socket *add(struct dns_channel *c, ares_socket_t fd)
{
    struct dns_socket *s = mem_zalloc(NULL, sizeof(*s));

    if (s == NULL)
        return NULL;
    if (uv_poll_init(&c->loop->uv, &s->handle.poll, fd) != 0) {
        mem_free(NULL, s);
        return NULL;
    }
    s->handle.poll.data = s;
    s->handle.abandon = on_abandon;
    s->channel = c;
    s->fd = fd;
    list_append(&c->sockets, &s->node);
    return s;
}

static void on_socket(void *user, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *c = user;
    struct dns_socket *s = find(c, fd);

    if (!readable && !writable) {
        if (s != NULL)
            socket_close(s);
        return;
    }
    if (s != NULL || (s = add(c, fd)) != NULL)
        uv_poll_start(&s->handle.poll,
                      (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0), on_poll);
}

/* ares_library_init counts its calls without a lock, and workers start at the same time: the
 * one mutable global of this folder, written once. */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void library_init(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static int channel_init(struct dns_channel *c, struct dns_config *config)
{
    struct ares_options o = {
        /* The question is ours (ares_send), so nothing is searched or aliased; EDNS tells
           c-ares what size to take. A socket stays until the channel is replaced: else each pause
           between two questions costs a new one. */
        .flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_STAYOPEN,
        .timeout = config->timeout_ms,
        .tries = config->tries,
        .ednspsz = DNS_EDNS_SIZE,
        .sock_state_cb = on_socket,
        .sock_state_cb_data = c,
    };
    int status;

    /* c-ares takes SERVFAIL and REFUSED as a reason to try the next server, and forgets which
     * it was. With one server asking again at once is no use, and the answer tells. */
    if (config->n_servers == 1)
        o.flags |= ARES_FLAG_NOCHECKRESP;
    pthread_once(&library_once, library_init);
    if (library_status != ARES_SUCCESS)
        return library_status;
    status =
        ares_init_options(&c->ares, &o,
                          ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                              ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB | ARES_OPT_NOROTATE);
    if (status != ARES_SUCCESS || config->n_servers == 0)
        return status;
    status = ares_set_servers_ports(c->ares,
                                    config->servers); /* copies; replaces those of the system */
    if (status != ARES_SUCCESS)
        ares_destroy(c->ares);
    return status;
}

struct dns_channel *dns_channel_new(struct loop *loop, struct dns_config *config, int *status_r)
{
    struct dns_channel *c = mem_zalloc(NULL, sizeof(*c));

    *status_r = ARES_ENOMEM;
    if (c == NULL)
        return NULL;
    c->loop = loop;
    list_init(&c->sockets);
    list_init(&c->node);
    *status_r = channel_init(c, config);
    if (*status_r == ARES_SUCCESS)
        return c;
    mem_free(NULL, c);
    return NULL;
}

void dns_channel_del(struct dns_channel **channel)
{
    struct dns_channel *c = *channel;

    if (c == NULL)
        return;
    *channel = NULL;
    ares_destroy(c->ares); /* closes the sockets through on_socket */
    list_remove(&c->node);
    mem_free(NULL, c);
}

void dns_channel_tick(struct dns_channel *c)
{
    if (c->outstanding > 0)
        ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}
