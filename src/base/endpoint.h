/*
 * base/endpoint.h: a barid_endpoint as text, for logs, policies and trace fields.
 */
#ifndef BASE_ENDPOINT_H
#define BASE_ENDPOINT_H

#include "barid/endpoint.h"

/* "192.0.2.1", "2001:db8::1" (RFC 5952), "unix", "unknown"; out holds ENDPOINT_TEXT_SIZE. */
#define ENDPOINT_TEXT_SIZE 48
void endpoint_text(const barid_endpoint *e, char *out);

/* With its port: "192.0.2.1:25", "[2001:db8::1]:25", "unix", "unknown"; out holds ENDPOINT_SIZE. */
#define ENDPOINT_SIZE (ENDPOINT_TEXT_SIZE + 8)
void endpoint_format(const barid_endpoint *e, char *out);

#endif
