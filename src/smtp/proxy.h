/*
 * smtp/proxy.h: the PROXY protocol header, versions 1 and 2, that a load balancer puts in
 * front of a connection. The caller keeps the bytes that came so far and asks again with
 * more; the result does not depend on how they were cut.
 */
#ifndef SMTP_PROXY_H
#define SMTP_PROXY_H

#include "barid/event.h"
#include "barid/types.h"

/* The longest version 1 line with its CRLF (PROXY protocol 2.1). */
#define PROXY_V1_MAX 107
/* Version 2: fixed part, and what may follow it. The length field allows 65535; addresses take
 * 216 and the TLVs in use (certificate names, ids) stay far below this. */
#define PROXY_V2_FIXED 16
#define PROXY_V2_VARIABLE_MAX 4096
/* So a caller never keeps more than this. */
#define PROXY_MAX (PROXY_V2_FIXED + PROXY_V2_VARIABLE_MAX)

struct proxy_header {
    unsigned version; /* 1 or 2 */
    /* Version 2 LOCAL (a health check of the proxy itself), version 1 UNKNOWN, or a family that
     * is not a stream of IPv4, IPv6 or unix: keep the endpoints of the connection. */
    bool local;
    barid_endpoint src;  /* the client; unix carries no address */
    barid_endpoint dest; /* what the client connected to */
};

/*
 * Parse a header at the start of in. 0: *h_r and *used_r (octets of the header, what follows
 * belongs to the session) are set. BARID_EAGAIN: a valid beginning, more bytes are needed (so
 * does an empty in). BARID_ESYNTAX: never a header. BARID_ELIMIT: longer than the limits above.
 */
int proxy_parse(barid_slice in, struct proxy_header *h_r, size_t *used_r);

#endif
