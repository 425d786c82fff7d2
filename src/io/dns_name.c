/* io/dns_name.c: domain names as text and as octets. Pure; every octet may come from an enemy.
 */
#include <stdio.h>
#include <string.h>

#include "io/dns_wire.h"

/* One octet of text at *i, escapes resolved (RFC 1035 5.1). -1 for a bad escape. */
static int text_octet(barid_slice text, size_t *i)
{
    const char *p = text.p + *i;
    size_t left = text.n - *i;
    int value;

    if (p[0] != '\\') {
        *i += 1;
        return (unsigned char)p[0];
    }
    if (left < 2)
        return -1;
    if (p[1] < '0' || p[1] > '9') {
        *i += 2;
        return (unsigned char)p[1];
    }
    if (left < 4 || p[2] < '0' || p[2] > '9' || p[3] < '0' || p[3] > '9')
        return -1;
    value = (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
    *i += 4;
    return value <= 255 ? value : -1;
}

int dns_name_parse(barid_slice text, struct dns_name *name_r)
{
    size_t label = 0, at = 1; /* where the label's length goes; where its next octet goes */

    for (size_t i = 0; i < text.n;) {
        int c;

        if (text.p[i] == '.') {
            if (at == label + 1) /* an empty label */
                return BARID_ESYNTAX;
            name_r->w[label] = (uint8_t)(at - label - 1);
            label = at++;
            i++;
            continue;
        }
        /* one octet must stay for the root label */
        if ((c = text_octet(text, &i)) < 0 || at - label > 63 || at >= DNS_NAME_MAX - 1)
            return BARID_ESYNTAX;
        name_r->w[at++] = (uint8_t)c;
    }
    if (at > label + 1) { /* no dot at the end */
        name_r->w[label] = (uint8_t)(at - label - 1);
        label = at;
    }
    if (label == 0)
        return BARID_ESYNTAX;
    name_r->w[label] = 0;
    name_r->n = (uint8_t)(label + 1);
    return 0;
}

size_t dns_name_format(const struct dns_name *name, char out[DNS_TEXT_MAX])
{
    size_t n = 0;

    for (size_t at = 0; name->w[at] != 0; at += (size_t)name->w[at] + 1) {
        if (at > 0)
            out[n++] = '.';
        for (size_t i = 1; i <= name->w[at]; i++) {
            uint8_t c = name->w[at + i];

            if (c <= ' ' || c >= 0x7f)
                n += (size_t)snprintf(out + n, DNS_TEXT_MAX - n, "\\%03u", (unsigned)c);
            else if (c == '.' || c == '\\')
                n += (size_t)snprintf(out + n, DNS_TEXT_MAX - n, "\\%c", c);
            else
                out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool dns_name_eq(const struct dns_name *a, const struct dns_name *b)
{
    if (a->n != b->n)
        return false;
    /* lengths are below 64 and so never taken for letters */
    for (size_t i = 0; i < a->n; i++)
        if (lower(a->w[i]) != lower(b->w[i]))
            return false;
    return true;
}

int dns_name_read(const uint8_t *msg, size_t n, size_t *at, struct dns_name *name_r)
{
    size_t pos = *at, floor = *at, out = 0;
    bool jumped = false;

    for (;;) {
        uint8_t len;

        if (pos >= n)
            return BARID_ESYNTAX;
        len = msg[pos];
        if ((len & 0xc0) == 0xc0) {
            size_t to;

            if (pos + 1 >= n)
                return BARID_ESYNTAX;
            to = (size_t)(len & 0x3f) << 8 | msg[pos + 1];
            if (!jumped)
                *at = pos + 2;
            /* Only ever further back (RFC 1035 4.1.4: a prior occurrence): so it ends. */
            if (to >= floor)
                return BARID_ESYNTAX;
            jumped = true;
            pos = floor = to;
            continue;
        }
        if (len > 63 || pos + 1 + len > n || out + 1 + len > DNS_NAME_MAX - (len > 0))
            return BARID_ESYNTAX;
        memcpy(name_r->w + out, msg + pos, (size_t)len + 1);
        out += (size_t)len + 1;
        pos += (size_t)len + 1;
        if (len == 0)
            break;
    }
    name_r->n = (uint8_t)out;
    if (!jumped)
        *at = pos;
    return 0;
}
