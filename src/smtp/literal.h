/* smtp/literal.h: the text of network addresses, by the grammar of RFC 5321 4.1.3. */
#ifndef SMTP_LITERAL_H
#define SMTP_LITERAL_H

#include "barid/endpoint.h"

/* "192.0.2.1", no leading zeros beyond what RFC 5321 Snum allows (1*3DIGIT). */
bool literal_ipv4(barid_slice s, uint8_t addr_r[4]);
/* "2001:db8::1", also with an IPv4 tail. "::" stands for two groups or more, as RFC 5321 asks,
 * unless loose, where it may stand for one (RFC 4291). */
bool literal_ipv6(barid_slice s, bool loose, uint8_t addr_r[16]);

/* "::ffff:192.0.2.1", as a dual-stack socket shows an IPv4 client, becomes 192.0.2.1: else all
 * IPv4 clients were neighbours in one IPv6 network. */
void literal_unmap(barid_endpoint *e);

#endif
