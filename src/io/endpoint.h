/*
 * io/endpoint.h: barid_endpoint from text, whose inverse is in base/endpoint.h, and to and from
 * struct sockaddr.
 */
#ifndef IO_ENDPOINT_H
#define IO_ENDPOINT_H

#include <sys/socket.h>

#include "base/endpoint.h"

/* "192.0.2.1:25", "[2001:db8::1]:25"; a numeric address only. 0 or BARID_ESYNTAX. */
int endpoint_parse(barid_slice text, barid_endpoint *e_r);
/* "192.0.2.1" or "2001:db8::1", without port or brackets. 0 or BARID_ESYNTAX; the port becomes
 * 0. */
int endpoint_parse_address(barid_slice text, barid_endpoint *e_r);

/* Length of the sockaddr, or 0 for a family that has none (unix: the path is elsewhere). */
socklen_t endpoint_to_sockaddr(const barid_endpoint *e, struct sockaddr_storage *sa_r);
/* An IPv4 address mapped into IPv6 (a dual-stack listener) becomes IPv4. */
void endpoint_from_sockaddr(const struct sockaddr_storage *sa, barid_endpoint *e_r);

#endif
