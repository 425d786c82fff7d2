/*
 * barid/endpoint.h: who is at the other end of a connection, and how it is encrypted. Knows no mail.
 */
#ifndef BARID_ENDPOINT_H
#define BARID_ENDPOINT_H

#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who is at the other end. */
enum barid_family { BARID_FAMILY_NONE = 0, BARID_FAMILY_IPV4, BARID_FAMILY_IPV6, BARID_FAMILY_UNIX };
typedef struct barid_endpoint {
    enum barid_family family;
    uint8_t addr[16]; /* network order; IPv4 in the first four */
    uint16_t port;    /* host order */
} barid_endpoint;

/* Facts about a finished TLS handshake, for policy and the Received field. Copied by the session. */
typedef struct barid_tls_info {
    barid_slice version;      /* "TLSv1.3" */
    barid_slice cipher;       /* "TLS_AES_256_GCM_SHA384" */
    unsigned bits;
    barid_slice sni;          /* server name the client asked for; empty = none */
    barid_slice peer_subject; /* verified client certificate, else empty */
} barid_tls_info;

#ifdef __cplusplus
}
#endif
#endif
