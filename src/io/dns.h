/*
 * io/dns.h: asynchronous DNS (c-ares as transport) to the configured servers only: no other
 * source of answers.
 */
#ifndef IO_DNS_H
#define IO_DNS_H

#include "io/loop.h"

struct dns;
struct dns_query;

enum dns_type {
    DNS_A = 1,
    DNS_CNAME = 5,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_TLSA = 52
};
enum dns_status {
    DNS_OK,
    DNS_NODATA,
    DNS_NXDOMAIN,
    DNS_SERVFAIL,
    DNS_TIMEOUT,
    DNS_REFUSED,
    DNS_BAD_NAME,
    DNS_BAD_ANSWER,
    DNS_CANCELLED
};
const char *dns_status_name(enum dns_status status);

struct dns_record {
    enum dns_type type;
    uint32_t ttl;
    uint16_t preference; /* MX */
    uint8_t addr[16];    /* A (first 4), AAAA */
    barid_slice text; /* MX host, PTR and CNAME target without the last dot; TXT joined strings;
                         raw rdata for TLSA */
};
struct dns_answer {
    enum dns_status status;
    bool authenticated; /* AD bit, only ever set when servers are trusted to validate */
    const struct dns_record *records; /* of the asked type; CNAMEs are followed (bounded) */
    size_t n;
    uint32_t negative_ttl; /* NODATA, NXDOMAIN: seconds that this may be believed (RFC 2308 5); 0 = nobody said */
};

struct dns_options {
    const char *const *servers; /* "127.0.0.1:5353", "[::1]:53", "127.0.0.1" (port 53); n 0 =
                                   those of /etc/resolv.conf */
    size_t n_servers;
    uint32_t timeout_ms; /* one try; 0 = 3000 */
    unsigned tries;      /* 0 = 2 */
    size_t max_queries;  /* outstanding; 0 = 1000: above it DNS_SERVFAIL at once */
    bool trust_ad;
};
/* 0, BARID_ESYNTAX (a server is not an address), BARID_ENOMEM, BARID_EIO, with *err. Timeouts
 * go by the real clock. */
int dns_new(struct dns **dns_r, struct loop *loop, const struct dns_options *o,
            struct err *err);
void dns_del(struct dns **dns); /* outstanding queries end with DNS_CANCELLED */

/* done exactly once, never from within this call. Returns 0, BARID_ENOMEM, or BARID_ECLOSED
 * within dns_del (then done is not called). query_r may be NULL; the handle is over when done
 * is called. The answer lives during the call. name: with or without the last dot; \. and \DDD
 * are understood. done may ask again, cancel others, and delete dns. */
int dns_ask(struct dns *dns, barid_slice name, enum dns_type type,
            void (*done)(void *user, const struct dns_answer *answer), void *user,
            struct dns_query **query_r);
void dns_cancel(struct dns_query **query); /* done is not called */

/* "4.3.2.1.in-addr.arpa" for an address; out holds DNS_REVERSE_SIZE. */
#define DNS_REVERSE_SIZE 320 /* 64 for an IPv6 address, 253 for the suffix */
void dns_reverse_name(const uint8_t *addr, bool ipv6, const char *suffix_or_null, char *out);

#endif
