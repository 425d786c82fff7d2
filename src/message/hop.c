/*
 * message/hop.c: see hop.h.
 *
 * One next hop has one canonical text, as what waits for it is found by a number made of that text: ASCII in lower case,
 * addresses as RFC 5952 has them, a port only where it is not the protocol's own. A literal and a unix socket have no mail
 * exchangers, so they are hosts. Domains beyond ASCII stay as given: who looks them up converts them.
 *
 * A name whose last label is a number is refused: no domain ends so, but "192.0.2.1" without brackets and the port of a forgotten
 * name do.
 */
#include "message/hop.h"

#include <stdio.h>
#include <string.h>

#include "barid/address.h"
#include "barid/event.h"
#include "base/endpoint.h"
#include "base/map.h"
#include "base/slice.h"
#include "smtp/literal.h"

#define PORT_SMTP 25
#define PORT_LMTP 24 /* RFC 2033 has none; this is what servers listen on */

#define MECHANISM(name) (UINT32_C(1) << BARID_AUTH_##name)

void hop_init(struct hop *hop)
{
    *hop = (struct hop){
        .port = PORT_SMTP,
        .tls = HOP_TLS_OPPORTUNISTIC,
        /* Without TLS nothing that shows the password. */
        .mechanisms_plain =
            MECHANISM(CRAM_MD5) | MECHANISM(SCRAM_SHA_1) | MECHANISM(SCRAM_SHA_256),
        .mechanisms_secure = MECHANISM(PLAIN) | MECHANISM(LOGIN) | MECHANISM(CRAM_MD5) |
                             MECHANISM(SCRAM_SHA_1) | MECHANISM(SCRAM_SHA_256),
        .starttls = true,
        .pipelining = true,
        .chunking = true,
        .eightbit = true,
        .binary = true,
        .smtputf8 = true,
        .dsn = true,
        .chunk = 102400,
        .connect_ms = 30000,
        .max_connections = 20,
        .max_rcpts = 100,
        .max_mails = 100,
    };
}

static int refuse(struct err *err, barid_slice text, const char *why)
{
    int shown = (int)(text.n < 100 ? text.n : 100);

    return err_set(err, BARID_ESYNTAX, "no next hop: \"%.*s\": %s", shown,
                   text.p != NULL ? text.p : "", why);
}

static uint16_t own_port(enum hop_protocol protocol)
{
    return protocol == HOP_LMTP ? PORT_LMTP : PORT_SMTP;
}

/* "[192.0.2.1]" or "[IPv6:...]" in its one spelling. 1, 0 (no literal), BARID_ENOMEM. */
static int take_literal(struct hop *hop, struct arena *arena, barid_slice bracketed)
{
    barid_slice inner = slice_from(slice_head(bracketed, bracketed.n - 1), 1);
    barid_endpoint e = {.family = BARID_FAMILY_IPV4};
    char text[ENDPOINT_TEXT_SIZE];
    char *name;

    if (slice_starts_nocase(inner, BARID_S("IPv6:")) &&
        literal_ipv6(slice_from(inner, 5), false, e.addr))
        e.family = BARID_FAMILY_IPV6;
    else if (!literal_ipv4(inner, e.addr))
        return 0;
    endpoint_text(&e, text);
    name = arena_fmt(arena, e.family == BARID_FAMILY_IPV6 ? "[IPv6:%s]" : "[%s]", text);
    if (name == NULL)
        return BARID_ENOMEM;
    hop->name = slice_of(name, strlen(name));
    return 1;
}

static bool ends_in_number(barid_slice name)
{
    size_t dot = slice_find_last(name, '.');
    barid_slice last = dot < name.n ? slice_from(name, dot + 1) : name;
    uint64_t value;

    return slice_u64(last, UINT64_MAX, &value) != BARID_ESYNTAX;
}

static int take_name(struct hop *hop, struct arena *arena, barid_slice name)
{
    char *copy;

    if (!barid_domain_valid(name, true) || ends_in_number(name))
        return BARID_ESYNTAX;
    copy = arena_strdup(arena, name);
    if (copy == NULL)
        return BARID_ENOMEM;
    for (size_t i = 0; i < name.n; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] - 'A' + 'a');
    hop->name = slice_of(copy, name.n);
    return 0;
}

/* ":2525" or nothing. */
static bool take_port(struct hop *hop, barid_slice rest)
{
    uint64_t port = hop->port;

    if (rest.n > 0 && (rest.p[0] != ':' || slice_u64(slice_from(rest, 1), 65535, &port) < 0))
        return false;
    hop->port = (uint16_t)port;
    return port > 0;
}

static int take_host(struct hop *hop, struct arena *arena, barid_slice text, struct err *err)
{
    size_t end = slice_find(text, ']');
    int rc;

    if (end == text.n)
        return refuse(err, text, "a bracket is not closed");
    if (!take_port(hop, slice_from(text, end + 1)))
        return refuse(err, text, "after the bracket comes nothing, or a port: [host]:25");
    hop->is_host = true;
    rc = take_literal(hop, arena, slice_head(text, end + 1));
    if (rc == 0) {
        rc = take_name(hop, arena, slice_from(slice_head(text, end), 1));
        if (rc == BARID_ESYNTAX)
            return refuse(err, text,
                          "in brackets stands a host, 192.0.2.1, or IPv6:2001:db8::1");
    }
    return rc < 0 ? rc : 0;
}

/* Words before a colon: as names of domains one text could be read in two ways. */
static bool is_word(barid_slice name)
{
    return slice_eq_nocase(name, BARID_S("smtp")) || slice_eq_nocase(name, BARID_S("lmtp")) ||
           slice_eq_nocase(name, BARID_S("unix"));
}

static int take_domain(struct hop *hop, struct arena *arena, barid_slice text, struct err *err)
{
    size_t colon = slice_find(text, ':');
    int rc;

    if (is_word(slice_head(text, colon)))
        return refuse(
            err, text,
            "smtp, lmtp and unix are no domains; a host of that name stands in brackets");
    if (!take_port(hop, slice_from(text, colon)))
        return refuse(err, text,
                      "a port is a number from 1 to 65535, and an address stands in brackets");
    rc = take_name(hop, arena, slice_head(text, colon));
    if (rc == BARID_ESYNTAX)
        return refuse(err, text, "neither a domain nor a host or an address in brackets");
    return rc;
}

static int take_unix(struct hop *hop, struct arena *arena, barid_slice path, struct err *err)
{
    if (hop->protocol != HOP_LMTP)
        return refuse(err, path, "a unix socket is for lmtp:");
    if (path.n == 0 || path.p[0] != '/' || path.n > HOP_UNIX_PATH_MAX)
        return refuse(err, path,
                      "the path of a unix socket begins with / and has at most 107 octets");
    /* A list of next hops is cut at spaces, a log at lines. */
    for (size_t i = 0; i < path.n; i++)
        if ((unsigned char)path.p[i] <= ' ' || path.p[i] == 127)
            return refuse(err, path, "a space or control character in the path");
    return arena_slice(arena, path, &hop->unix_path);
}

static bool take_word(barid_slice *text, barid_slice word)
{
    if (!slice_starts_nocase(*text, word))
        return false;
    *text = slice_from(*text, word.n);
    return true;
}

int hop_parse(struct hop *hop, struct arena *arena, barid_slice text, struct err *err)
{
    struct hop where = {0};
    barid_slice rest = text;
    int rc;

    if (text.n > HOP_TEXT_MAX)
        return refuse(err, text, "longer than 512 octets");
    if (take_word(&rest, BARID_S("lmtp:")))
        where.protocol = HOP_LMTP;
    else
        take_word(&rest, BARID_S("smtp:"));
    where.port = own_port(where.protocol);
    if (take_word(&rest, BARID_S("unix:")))
        rc = take_unix(&where, arena, rest, err);
    else if (rest.n > 0 && rest.p[0] == '[')
        rc = take_host(&where, arena, rest, err);
    else
        rc = take_domain(&where, arena, rest, err);
    if (rc < 0)
        return rc;
    hop->name = where.name;
    hop->unix_path = where.unix_path;
    hop->port = where.port;
    hop->is_host = where.is_host || where.unix_path.n > 0;
    hop->protocol = where.protocol;
    return 0;
}

bool hop_list_next(barid_slice *rest, barid_slice *text_r)
{
    barid_slice text = slice_trim(*rest);
    size_t n = 0;

    while (n < text.n && text.p[n] != ' ' && text.p[n] != '\t' && text.p[n] != '\r' &&
           text.p[n] != '\n')
        n++;
    *text_r = slice_head(text, n);
    *rest = slice_from(text, n);
    return n > 0;
}

/* Appends the canonical text of one to the list in out; the new length. */
static int list_add(char *out, size_t *n, struct arena *arena, barid_slice text,
                    struct err *err)
{
    struct hop hop;
    int rc = hop_parse(&hop, arena, text, err);

    if (rc < 0)
        return rc;
    if (*n > 0)
        out[(*n)++] = ' ';
    *n += hop_text(&hop, out + *n);
    return 0;
}

int hop_list_text(struct arena *arena, barid_slice list, barid_slice *text_r, struct err *err)
{
    char out[HOP_LIST_MAX * HOP_TEXT_SIZE];
    barid_slice rest = list, text;
    size_t n = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && hop_list_next(&rest, &text); i++)
        rc = i < HOP_LIST_MAX
                 ? list_add(out, &n, arena, text, err)
                 : err_set(err, BARID_ESYNTAX, "more than %d next hops", HOP_LIST_MAX);
    return rc < 0 ? rc : arena_slice(arena, slice_of(out, n), text_r);
}

size_t hop_text(const struct hop *hop, char out[HOP_TEXT_SIZE])
{
    const char *protocol = hop->protocol == HOP_LMTP ? "lmtp:" : "";
    bool brackets = hop->is_host && hop->name.n > 0 && hop->name.p[0] != '[';
    char port[8] = "";
    int n;

    if (hop->port != own_port(hop->protocol))
        snprintf(port, sizeof(port), ":%u", (unsigned)hop->port);
    if (hop->unix_path.n > 0)
        n = snprintf(out, HOP_TEXT_SIZE, "%sunix:%.*s", protocol, (int)hop->unix_path.n,
                     hop->unix_path.p);
    else
        n = snprintf(out, HOP_TEXT_SIZE, "%s%s%.*s%s%s", protocol, brackets ? "[" : "",
                     (int)hop->name.n, hop->name.n > 0 ? hop->name.p : "", brackets ? "]" : "",
                     port);
    return n < HOP_TEXT_SIZE ? (size_t)n : HOP_TEXT_MAX;
}

int hop_copy(struct hop *to, struct arena *arena, const struct hop *from)
{
    struct hop copy = *from;

    if (arena_slice(arena, from->name, &copy.name) < 0 ||
        arena_slice(arena, from->unix_path, &copy.unix_path) < 0 ||
        arena_slice(arena, from->helo, &copy.helo) < 0 ||
        arena_slice(arena, from->user, &copy.user) < 0 ||
        arena_slice(arena, from->password, &copy.password) < 0)
        return BARID_ENOMEM;
    *to = copy;
    return 0;
}

uint32_t hop_group(const struct hop *hop, const uint8_t key[16])
{
    char text[HOP_TEXT_SIZE];
    uint64_t seed[2] = {0, 0}, hash;
    uint32_t folded;

    /* Octet by octet: a spool that moves to another machine keeps its numbers. */
    for (size_t i = 0; i < 16; i++)
        seed[i / 8] |= (uint64_t)key[i] << (8 * (i % 8));
    hash = siphash(seed, slice_of(text, hop_text(hop, text)));
    folded = (uint32_t)(hash ^ hash >> 32);
    return folded < HOP_GROUP_FIRST ? folded + HOP_GROUP_FIRST : folded;
}

static int take_relayhosts(const struct routing *routing, struct arena *arena, struct hop *hops, size_t max, size_t *n_r)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < routing->n_relayhosts && i < max; i++) {
        rc = hop_copy(&hops[i], arena, &routing->relayhosts[i]);
        *n_r += rc == 0;
    }
    return rc;
}

static int take_list(const struct routing *routing, struct arena *arena, barid_slice list, struct hop *hops, size_t max,
                     size_t *n_r, struct err *err)
{
    barid_slice text;
    int rc = 0;

    while (rc == 0 && *n_r < max && hop_list_next(&list, &text)) {
        struct hop *hop = &hops[*n_r];

        rc = hop_copy(hop, arena, &routing->base);
        if (rc == 0)
            rc = hop_parse(hop, arena, text, err);
        *n_r += rc == 0;
    }
    return rc == 0 && *n_r == 0 ? err_set(err, BARID_ESYNTAX, "a list without a next hop") : rc;
}

int routing_hops(const struct routing *routing, struct arena *arena, barid_slice target, barid_slice domain,
                 struct hop *hops, size_t max, size_t *n_r, struct err *err)
{
    struct routing none = {0};

    *n_r = 0;
    if (routing == NULL) {
        hop_init(&none.base);
        routing = &none;
    }
    if (target.n > 0)
        return take_list(routing, arena, target, hops, max, n_r, err);
    if (routing->n_relayhosts > 0)
        return take_relayhosts(routing, arena, hops, max, n_r);
    if (domain.n == 0)
        return err_set(err, BARID_ESYNTAX, "an address without a domain");
    return take_list(routing, arena, domain, hops, max, n_r, err);
}
