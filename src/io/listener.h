/*
 * io/listener.h: bound sockets. Binding is apart from listening on a loop, so that the daemon
 * binds as root, drops privileges, then hands the descriptors to its workers.
 */
#ifndef IO_LISTENER_H
#define IO_LISTENER_H

#include "io/stream.h"

/* "127.0.0.1:25", "[::1]:25", "*:25" (IPv6 and IPv4), "unix:/run/barid/lmtp". 0 or
 * BARID_ESYNTAX with *err. */
struct listen_address {
    barid_endpoint endpoint; /* family UNIX: path is set */
    bool any;                /* "*": dual stack */
    char path[108];
};
int listen_address_parse(barid_slice text, struct listen_address *address_r, struct err *err);
void listen_address_format(const struct listen_address *a, char *out, size_t n);

/* Bind and listen (backlog 4096). TCP sockets are made with SO_REUSEPORT so that each worker
 * has its own; a stale unix socket is replaced only when nobody answers on it. mode applies to
 * unix sockets. Returns the descriptor or a barid_err with one clear line ("port in use",
 * "permission"). */
int listener_bind(const struct listen_address *a, unsigned mode, struct err *err);

/* Before the first listener_bind of an address: 0, or an error as of listener_bind.
 * SO_REUSEPORT would let a second daemon of the same user take half of the connections
 * unnoticed. Unix sockets are checked by listener_bind itself. */
int listener_probe(const struct listen_address *a, struct err *err);

struct listener;
/* Accept on fd (owned from now on, also on error). Several loops may serve one unix socket,
 * each with its dup(2) of the descriptor; the last one removes the path. on_accept gets a new
 * stream that it must bind or delete. */
int listener_new(struct listener **l_r, struct loop *loop, int fd,
                 void (*on_accept)(void *user, struct stream *s), void *user, struct err *err);
void listener_pause(
    struct listener *l,
    bool paused); /* over a limit of the owner's; shortage of descriptors is handled within */
/* Where it really listens: the port, when it was bound to port 0. */
void listener_local(const struct listener *l, barid_endpoint *local_r);
void listener_del(struct listener **l);

#endif
