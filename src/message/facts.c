/*
 * message/facts.c: names for what is known about a session. Knows no wire format.
 */
#include "message/facts.h"

#include <stdio.h>

/* The longest run of two or more zero groups, the first of equals (RFC 5952 4.2). */
static size_t zero_run(const unsigned group[8], size_t *n_r)
{
    size_t best = 8;

    *n_r = 1;
    for (size_t i = 0; i < 8; i++) {
        size_t n = 0;

        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > *n_r) {
            best = i;
            *n_r = n;
        }
    }
    return best;
}

static void ipv6_text(const uint8_t addr[16], char *out)
{
    unsigned group[8];
    size_t run, n, at = 0;

    for (size_t i = 0; i < 8; i++)
        group[i] = (unsigned)addr[2 * i] << 8 | addr[2 * i + 1];
    run = zero_run(group, &n);
    for (size_t i = 0; i < 8; i++) {
        if (i == run) {
            at += (size_t)snprintf(out + at, ENDPOINT_TEXT_SIZE - at, i + n == 8 ? "::" : ":");
            i += n - 1;
        } else {
            at += (size_t)snprintf(out + at, ENDPOINT_TEXT_SIZE - at, i > 0 ? ":%x" : "%x",
                                   group[i]);
        }
    }
}

void endpoint_text(const barid_endpoint *e, char *out)
{
    const uint8_t *a = e->addr;

    if (e->family == BARID_FAMILY_IPV4)
        snprintf(out, ENDPOINT_TEXT_SIZE, "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
    else if (e->family == BARID_FAMILY_IPV6)
        ipv6_text(a, out);
    else
        snprintf(out, ENDPOINT_TEXT_SIZE, "%s",
                 e->family == BARID_FAMILY_UNIX ? "unix" : "unknown");
}

/* RFC 3848 and the registry of mail transmission types (RFC 6531 4.3): there is no S or A
 * without the E, and UTF8LMTP and UTF8SMTP take the same suffixes. Index: TLS + 2 * AUTH. */
static const char *const names_esmtp[4] = {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"};
static const char *const names_lmtp[4] = {"LMTP", "LMTPS", "LMTPA", "LMTPSA"};
static const char *const names_utf8smtp[4] = {"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA",
                                              "UTF8SMTPSA"};
static const char *const names_utf8lmtp[4] = {"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA",
                                              "UTF8LMTPSA"};

const char *facts_with_protocol(const struct session_facts *f, bool utf8)
{
    size_t how = (f->tls ? 1u : 0u) + (f->user.n > 0 ? 2u : 0u);

    if (f->protocol == BARID_LMTP)
        return (utf8 ? names_utf8lmtp : names_lmtp)[how];
    if (!f->esmtp)
        return "SMTP";
    return (utf8 ? names_utf8smtp : names_esmtp)[how];
}
