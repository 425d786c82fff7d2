/*
 * policy/declare_relay.c: declarations about mail that goes out: relayhost, relay.
 */
#include <stdio.h>
#include <string.h>

#include "base/slice.h"
#include "policy/declare.h"

#define AT(type, field) .offset = offsetof(type, field), .size = sizeof(((type *)0)->field)
#define HOST(field)     AT(struct config, relayhost.field)
#define RELAY(field)    AT(struct config, relay.field)

/* Largest values: not a judgement, only what the arithmetic behind them can bear. */
#define MAX_COUNT 1000000
#define MAX_CHUNK (INT64_C(1) << 30)
#define MAX_MESSAGES 4000 /* src/queue marks as many as are being sent, and a few more (SUSPECTS_MAX) */

static const char *const tls_levels[] = {[HOP_TLS_OFF] = "off",
                                         [HOP_TLS_OPPORTUNISTIC] = "opportunistic",
                                         [HOP_TLS_REQUIRED] = "required",
                                         [HOP_TLS_VERIFIED] = "verified",
                                         NULL};
static const char *const downgrades[] = {
    [HOP_CONVERT] = "convert", [HOP_REFUSE] = "refuse", NULL};

/* --- relayhost --- */

static void read_hosts(struct declare *d, const struct key *key, void *base)
{
    struct config_relayhost *r = &((struct config *)base)->relayhost;
    struct err err = {0};
    struct hop hop;
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    if (n > HOP_LIST_MAX) {
        declare_mistake(d, "relayhost: more than %d next hops", HOP_LIST_MAX);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (hop_parse(&hop, &d->scratch, slice_str(v[i]), &err) < 0)
            declare_mistake(d, "relayhost: %s",
                            err.code != 0 ? err.text : barid_strerror(BARID_ENOMEM));
    r->hosts = v;
    r->n_hosts = n;
}

const struct key declare_relayhost_keys[] = {
    {"host", KEY_CUSTOM, HOST(hosts), .shown = "the recipient's domain",
     .doc = "next hops for all mail to others, tried in order: \"[smtp.example.net]:587\"",
     .read = read_hosts},
    {"user", KEY_STRING, HOST(user), .doc = "authenticates there with"},
    {"password", KEY_STRING, HOST(password), .doc = "and this secret"},
    {"tls", KEY_CHOICE, HOST(tls), .choices = tls_levels, .shown = "that of relay",
     .doc = "\"off\", \"opportunistic\", \"required\" or \"verified\""},
    {"implicit_tls", KEY_BOOL, HOST(implicit_tls),
     .doc = "the connection begins with TLS (port 465)"},
    {.name = NULL}};

static void check_relayhost(struct declare *d)
{
    const struct config_relayhost *r = &d->config->relayhost;

    if ((r->user != NULL) != (r->password != NULL))
        declare_mistake(d, "relayhost: user and password belong together");
    if (r->n_hosts == 0 &&
        (r->user != NULL || r->implicit_tls || r->tls != RELAYHOST_TLS_UNSAID))
        declare_mistake(d, "relayhost: host is missing");
    if (r->implicit_tls && r->tls == HOP_TLS_OFF)
        declare_mistake(d, "relayhost: implicit_tls cannot hold with tls = \"off\"");
}

/* relayhost "a", relayhost { "a", "b" }, or with names. */
void declare_relayhost(struct declare *d)
{
    bool table = lua_istable(d->L, -1);

    if (table)
        declare_keys(d, declare_relayhost_keys, d->config, true);
    if (!table || lua_rawlen(d->L, -1) > 0)
        read_hosts(d, &(struct key){.name = NULL}, d->config);
    check_relayhost(d);
}

/* --- relay --- */

static void read_helo(struct declare *d, const struct key *key, void *base)
{
    const char *s = declare_string(d, key->name);

    if (s == NULL)
        return;
    if (barid_domain_valid(slice_str(s), false) || barid_address_literal_valid(slice_str(s)))
        ((struct config *)base)->relay.helo = s;
    else
        declare_mistake(d, "relay.helo: \"%s\" is not a host name", s);
}

static void take_source(struct declare *d, struct config_relay *r, const char *s)
{
    struct network n;
    barid_endpoint *e;

    if (strchr(s, '/') != NULL || network_parse(slice_str(s), &n, NULL) < 0 ||
        n.family == BARID_FAMILY_UNIX) {
        declare_mistake(d, "relay.source: \"%s\" is no IP address", s);
        return;
    }
    e = n.family == BARID_FAMILY_IPV4 ? &r->source4 : &r->source6;
    if (e->family != BARID_FAMILY_NONE) {
        declare_mistake(d, "relay.source: more than one address of a family");
        return;
    }
    e->family = n.family;
    memcpy(e->addr, n.addr, sizeof(e->addr));
}

static void read_source(struct declare *d, const struct key *key, void *base)
{
    size_t n;
    const char **v = declare_strings(d, key->name, &n);

    for (size_t i = 0; i < n; i++)
        take_source(d, &((struct config *)base)->relay, v[i]);
}

const struct key declare_relay_keys[] = {
    {"helo", KEY_CUSTOM, RELAY(helo), .shown = "hostname", .doc = "our name in EHLO",
     .read = read_helo},
    {"source", KEY_CUSTOM, RELAY(source4), .shown = "the system's choice",
     .doc = "addresses to send from, one IPv4 and one IPv6", .read = read_source},
    {"tls", KEY_CHOICE, RELAY(tls), .choices = tls_levels,
     .doc = "\"off\", \"opportunistic\" (where offered, any certificate), \"required\" or "
            "\"verified\""},
    {"ca", KEY_FILE, RELAY(ca), .shown = "the system's",
     .doc = "file of authorities for \"verified\", or directory as openssl rehash makes it"},
    {"connect_timeout", KEY_MS, RELAY(connect_ms), 100, 600000,
     .doc = "to connect to one address"},
    {"max_connections", KEY_NUMBER, RELAY(max_connections), 1, MAX_COUNT,
     .doc = "to one next hop at once; two domains are two next hops, also behind one server"},
    {"max_recipients", KEY_NUMBER, RELAY(max_rcpts), 0, MAX_COUNT,
     .doc = "in one transaction; 0 = no limit"},
    {"max_messages", KEY_NUMBER, RELAY(max_messages), 1, MAX_MESSAGES,
     .doc = "under way at once, to all next hops together"},
    {"max_mails", KEY_NUMBER, RELAY(max_mails), 1, MAX_COUNT, .doc = "in one connection"},
    {"idle_timeout", KEY_SECONDS, RELAY(idle_s), 0, 300,
     .doc = "a connection is kept for another mail; 0 = not at all"},
    {"chunk", KEY_NUMBER, RELAY(chunk), 1024, MAX_CHUNK, .doc = "octets of one BDAT"},
    {"downgrade", KEY_CHOICE, RELAY(downgrade), .choices = downgrades,
     .doc = "mail that came with BODY=8BITMIME or BINARYMIME to a server that takes none: "
            "\"convert\" it or \"refuse\" (5.6.3)"},
    {.name = NULL}};
