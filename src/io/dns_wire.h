/*
 * io/dns_wire.h: DNS messages (RFC 1035 4) as bytes: names, building a question, reading an
 * answer. Pure.
 */
#ifndef IO_DNS_WIRE_H
#define IO_DNS_WIRE_H

#include "io/dns.h"

/* A name in wire form without compression, the root label included (RFC 1035 2.3.4: at most 255
 * octets). */
#define DNS_NAME_MAX 255
struct dns_name {
    uint8_t w[DNS_NAME_MAX];
    uint8_t n;
};
/* Text of the longest name, each octet escaped as \DDD, and the NUL. */
#define DNS_TEXT_MAX 1024

/* "mx.example.com" with or without the last dot; \. and \DDD are understood. 0 or BARID_ESYNTAX
 * (empty too). */
int dns_name_parse(barid_slice text, struct dns_name *name_r);
/* Without the last dot; octets that would be ambiguous are escaped. Returns the length (without
 * NUL). */
size_t dns_name_format(const struct dns_name *name, char out[DNS_TEXT_MAX]);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
/* Reads a possibly compressed name of a message at *at, which moves behind it. 0 or
 * BARID_ESYNTAX. */
int dns_name_read(const uint8_t *msg, size_t n, size_t *at, struct dns_name *name_r);

/* Header, question, OPT record. */
#define DNS_QUERY_MAX (12 + DNS_NAME_MAX + 4 + 11)
/* The answer size that we take over UDP: what passes every path unfragmented. */
#define DNS_EDNS_SIZE 1232
struct dns_question {
    uint16_t id;
    struct dns_name name;
    enum dns_type type;
    bool ad;   /* ask for the AD bit (RFC 6840 5.7) */
    bool edns; /* add an OPT record (RFC 6891) */
};
size_t dns_query_make(const struct dns_question *q, uint8_t out[DNS_QUERY_MAX]);

/* CNAMEs are followed this far, within an answer and over several: longer chains do not occur,
 * loops do. */
#define DNS_CNAME_MAX 8
/* More records of one type at one name than anybody has. */
#define DNS_RECORDS_MAX 256

struct dns_reply {
    enum dns_status status;
    unsigned rcode;
    bool ad;
    struct dns_record
        *records; /* one block from malloc with all texts, to be freed; NULL when n is 0 */
    size_t n;
    uint32_t negative_ttl; /* as in dns_answer */
    unsigned hops;   /* CNAMEs followed */
    bool incomplete; /* the chain ends in a name that the answer says nothing about: ask for
                        target */
    struct dns_name target; /* where the chain ended */
};
/* Reads an answer to q. 0, or BARID_ENOMEM; anything wrong in the message is in status. */
int dns_reply_read(const uint8_t *msg, size_t n, const struct dns_question *q,
                   struct dns_reply *reply_r);

#endif
