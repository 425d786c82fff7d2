/*
 * daemon/sockets.h: the bound descriptors of the listen declarations: one per worker for TCP (SO_REUSEPORT spreads connections),
 * copies of one for unix sockets. Bound before privileges are dropped, then handed to the workers.
 */
#ifndef DAEMON_SOCKETS_H
#define DAEMON_SOCKETS_H

#include "base/err.h"
#include "policy/config.h"

#define SOCKET_TEXT_SIZE 160

struct socket_group {
    char *address;                  /* as declared */
    char bound[SOCKET_TEXT_SIZE];   /* where it really is: port 0 resolved */
    size_t listen_index;            /* into config->listen */
    int *fds;                       /* one per worker; -1 = handed over */
    size_t n_fds;
    char *path;                     /* unix socket, removed by sockets_close when nobody took it over; NULL */
};
struct sockets {
    struct socket_group *v;
    size_t n;
};

/* Bind every listen address of c that `except` (may be NULL) has not. All or nothing: 0 or a barid_err with one line naming
 * the address; BARID_EEXISTS = in use. */
int sockets_bind(struct sockets *s, const struct config *c, const struct sockets *except, size_t workers, struct err *err);
/* Bind one address (the control socket). The descriptor or a barid_err. */
int sockets_bind_one(const char *address, unsigned mode, struct err *err);
/* Closes fd unless -1, and removes the path of a unix socket. */
void sockets_close_one(const char *address, int fd);
/* Closes what was not handed over; frees. */
void sockets_close(struct sockets *s);

#endif
