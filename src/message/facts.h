/*
 * message/facts.h: what is known about a session, kept with each mail that it brought.
 */
#ifndef MESSAGE_FACTS_H
#define MESSAGE_FACTS_H

#include "barid/session.h"
#include "base/endpoint.h"

#define SESSION_ID_SIZE 17 /* 16 hex digits and NUL */

/* Slices belong to whoever holds the facts (server connection arena, or a decoded record's arena). */
struct session_facts {
    char id[SESSION_ID_SIZE];
    enum barid_protocol protocol;
    barid_endpoint client;      /* after PROXY and XCLIENT */
    barid_endpoint local;
    barid_slice listener;       /* the listen address as configured: "127.0.0.1:2525" */
    barid_slice client_name;    /* verified or given by XCLIENT; empty = unknown: nothing is looked up by default */
    barid_slice helo;
    bool esmtp;
    bool tls;
    barid_slice tls_version, tls_cipher, tls_sni, tls_peer;
    unsigned tls_bits;
    barid_slice user;           /* authenticated identity; empty = none */
    enum barid_auth_mechanism mechanism;
    bool trusted;               /* client is within networks.trusted */
    int64_t started_us;
};

/* RFC 3848 and RFC 6531: "SMTP", "ESMTP", "ESMTPS", "ESMTPSA", "ESMTPA", "LMTP...", "UTF8SMTP..." . Static. */
const char *facts_with_protocol(const struct session_facts *f, bool utf8);

#endif
