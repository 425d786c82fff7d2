/*
 * delivery/relay_testing.h: the relay as a whole with a DNS made of names, servers that go by scripts on 127.0.0.1, 127.0.0.2, ... (one
 * port) and mails in memory; time moves by hand. Test code only.
 *
 *   x.test      MX 10 mx1.test, 20 mx2.test, 30 mx3.test; mxN.test has the address 127.0.0.N
 *   equal.test  MX 10 mx1.test, 10 mx2.test
 *   all that for 60 seconds (TTL)
 *   null.test (null MX)  gone.test (NXDOMAIN)  fail.test (SERVFAIL)  slow.test (timeout)  never.test (no answer at all)
 */
#ifndef DELIVERY_RELAY_TESTING_H
#define DELIVERY_RELAY_TESTING_H

#include "base/clock.h"
#include "base/rng.h"
#include "delivery/relay_open.h"

#define TEST_SERVERS_MAX 3
#define TEST_PARCELS_MAX 4
#define HOLDS            "hold"  /* says nothing and keeps the connection */
#define CLOSES           "close" /* says nothing and closes it */
#define STARTS_TLS       "tls"   /* 220, then the handshake */
#define FLOODS           "flood" /* says what server.flood is, and keeps the connection */

/* What a line begins with, and the reply ("." = the final dot, "" = the greeting, "BDAT n LAST"). A row with count n holds for the n-th such
 * line only; "\r\n" within a reply makes several. What no row has is answered 250, or as it is usual. */
struct rule {
    const char *line, *reply;
    unsigned count;
};
#define R(...) ((const struct rule[]){__VA_ARGS__, {0}})

struct post;
struct guest;
struct server {
    struct post *post;
    const struct rule *rules;
    int listener;
    unsigned counts[12], connections, open;
    struct tls_ctx *tls;
    bool implicit_tls;
    struct buf seen;    /* lines, each with "|"; "(n)" where the n-th connection begins */
    struct buf message; /* as it came, dots and all; all messages */
    barid_slice flood;
    struct guest *guests;
};

struct parcel {
    struct consignment c;
    struct post *post;
    struct hop hop;
    size_t rcpts[3];
    barid_slice body;
    int body_says; /* else than 1: instead of octets, from body_waits_at on */
    uint64_t body_waits_at;
    unsigned results, over, finals;
    char log[3][320]; /* "done mx1.test final 250 ok"; "again suspect", "again unreached" */
    bool dsn_passed;
};

struct post {
    struct clock_fake clock;
    struct loop *loop;
    struct rng_seeded rng;
    struct tls_ctx *tls, *tls_verified;
    struct transport *t;
    struct arena arena;
    struct session_facts facts;
    struct mail mail; /* s@us.test to a@, b@, c@x.test */
    uint16_t port;
    unsigned asked; /* questions to DNS */
    struct server servers[TEST_SERVERS_MAX]; /* at 127.0.0.1 and so on */
    struct parcel parcels[TEST_PARCELS_MAX];
};

/* mem may be NULL. False: the relay found no memory. */
bool post_begin(struct post *p, const barid_mem *mem);
/* tls: any certificate; tls_verified: those of the file. */
void post_tls(struct post *p, const char *ca_file);
void post_end(struct post *p);
/* rules NULL: it takes everything. listens false: nobody is there. */
void post_server(struct post *p, size_t i, const struct rule *rules, bool listens);
void post_unix_server(struct post *p, size_t i, const struct rule *rules, const char *path);

/* Readies a parcel to a domain of above for the n first recipients, hop as hop_init has it. */
struct parcel *post_parcel(struct post *p, size_t i, const char *hop, size_t n);
int post_send(struct parcel *parcel);
void post_serve(struct post *p); /* the servers, without the loop */
void post_turn(struct post *p);  /* everything that can happen without time passing */
void post_advance(struct post *p, uint64_t ms);
void post_run(struct parcel *parcel); /* until it is over */
/* All of that with a parcel for everybody, 0, to x.test; the log of the first recipient. */
const char *post_one(struct post *p);
void server_closes(struct server *s,
                   const char *reply); /* says that, unasked, to all and closes */
bool server_saw(const struct server *s, const char *words);

#endif
