/* base/endpoint.c: see endpoint.h. Pure: no call into the resolver or the address families of
 * libc. */
#include "base/endpoint.h"

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

/* By hand: every line of the log and every hook that looks at the client wants one. */
static void ipv4_text(const uint8_t addr[4], char *out)
{
    for (size_t i = 0; i < 4; i++) {
        if (addr[i] >= 100)
            *out++ = (char)('0' + addr[i] / 100);
        if (addr[i] >= 10)
            *out++ = (char)('0' + addr[i] / 10 % 10);
        *out++ = (char)('0' + addr[i] % 10);
        *out++ = i < 3 ? '.' : '\0';
    }
}

void endpoint_text(const barid_endpoint *e, char *out)
{
    const uint8_t *a = e->addr;

    if (e->family == BARID_FAMILY_IPV4)
        ipv4_text(a, out);
    else if (e->family == BARID_FAMILY_IPV6)
        ipv6_text(a, out);
    else
        snprintf(out, ENDPOINT_TEXT_SIZE, "%s",
                 e->family == BARID_FAMILY_UNIX ? "unix" : "unknown");
}

void endpoint_format(const barid_endpoint *e, char *out)
{
    char address[ENDPOINT_TEXT_SIZE];

    endpoint_text(e, address);
    if (e->family == BARID_FAMILY_IPV4)
        snprintf(out, ENDPOINT_SIZE, "%s:%u", address, (unsigned)e->port);
    else if (e->family == BARID_FAMILY_IPV6)
        snprintf(out, ENDPOINT_SIZE, "[%s]:%u", address, (unsigned)e->port);
    else
        snprintf(out, ENDPOINT_SIZE, "%s", address);
}
