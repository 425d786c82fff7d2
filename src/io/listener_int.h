/* io/listener_int.h: shared by listener.c and listener_bind.c. */
#ifndef IO_LISTENER_INT_H
#define IO_LISTENER_INT_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Somebody accepts on this path, or it cannot be told. */
bool listener_path_alive(const struct sockaddr_un *un);

#endif
