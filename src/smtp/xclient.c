/*
 * smtp/xclient.c: the argument of XCLIENT (postfix.org, XCLIENT_README).
 *
 *   command = "XCLIENT" 1*( SP name "=" value ), value in xtext
 *
 * Values come from a trusted peer but hold what a client said, so they are still checked: what
 * goes into logs, headers and DNS names must not carry control characters.
 */
#include "smtp/xclient.h"

#include "base/encode.h"
#include "base/slice.h"
#include "smtp/literal.h"
#include "smtp/xtext.h"

/* The names that Postfix sends stay far below; RFC 5321 4.5.3.1.2 for hosts, logins as SASL. */
#define VALUE_MAX 255

static const char *const attr_names[XCLIENT_ATTRS] = {
#define X(NAME, name) name,
    XCLIENT_MAP(X)
#undef X
};

static bool text_clean(barid_slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= 32 || s.p[i] == 127)
            return false;
    return utf8_valid(s);
}

/* "192.0.2.1" or "IPV6:2001:db8::1" */
static bool read_addr(barid_slice s, barid_endpoint *e)
{
    if (slice_starts_nocase(s, BARID_S("IPV6:"))) {
        e->family = BARID_FAMILY_IPV6;
        if (!literal_ipv6(slice_from(s, 5), true, e->addr))
            return false;
        literal_unmap(e);
        return true;
    }
    e->family = BARID_FAMILY_IPV4;
    return literal_ipv4(s, e->addr);
}

static bool read_port(barid_slice s, uint16_t *port_r)
{
    uint64_t value;

    if (s.n > 5 || slice_u64(s, 65535, &value) < 0)
        return false;
    *port_r = (uint16_t)value;
    return true;
}

static bool read_proto(barid_slice s, bool *esmtp_r)
{
    *esmtp_r = slice_eq_nocase(s, BARID_S("ESMTP")) || slice_eq_nocase(s, BARID_S("LMTP"));
    return *esmtp_r || slice_eq_nocase(s, BARID_S("SMTP"));
}

static bool take_value(enum xclient_attr attr, barid_slice value, struct xclient *x)
{
    if (value.n > VALUE_MAX || !text_clean(value))
        return false;
    switch (attr) {
    case XCLIENT_ADDR:
        return read_addr(value, &x->addr);
    case XCLIENT_PORT:
        return read_port(value, &x->addr.port);
    case XCLIENT_DESTADDR:
        return read_addr(value, &x->dest);
    case XCLIENT_DESTPORT:
        return read_port(value, &x->dest.port);
    case XCLIENT_PROTO:
        return read_proto(value, &x->esmtp);
    default:
        return true;
    }
}

static int parse_one(barid_slice item, char **scratch, struct xclient *x)
{
    size_t eq = slice_find(item, '='), attr = 0;
    barid_slice name = slice_head(item, eq), value = slice_from(item, eq + 1);
    long n;

    if (eq == item.n || eq == 0)
        return BARID_ESYNTAX;
    while (attr < XCLIENT_ATTRS && !slice_eq_nocase(name, slice_str(attr_names[attr])))
        attr++;
    if (attr == XCLIENT_ATTRS)
        return BARID_ENOTFOUND;
    if (x->state[attr] != XCLIENT_ABSENT)
        return BARID_ESYNTAX;
    if (slice_eq_nocase(value, BARID_S("[UNAVAILABLE]"))) {
        x->state[attr] = XCLIENT_UNAVAILABLE;
        return 0;
    }
    if (slice_eq_nocase(value, BARID_S("[TEMPUNAVAIL]"))) {
        x->state[attr] = XCLIENT_TEMPUNAVAIL;
        return 0;
    }
    if ((n = xtext_decode(value, *scratch)) < 0)
        return BARID_ESYNTAX;
    value = slice_of(*scratch, (size_t)n);
    *scratch += n;
    if (!take_value((enum xclient_attr)attr, value, x))
        return BARID_ESYNTAX;
    x->state[attr] = XCLIENT_VALUE;
    x->value[attr] = value;
    return 0;
}

int xclient_parse(barid_slice args, char *scratch, struct xclient *x_r, barid_slice *bad_r)
{
    size_t attrs = 0;

    *x_r = (struct xclient){0};
    *bad_r = (barid_slice){0};
    while (args.n > 0) {
        barid_slice item = slice_cut(args, ' ', &args);
        int r;

        if (item.n == 0)
            continue;
        if ((r = parse_one(item, &scratch, x_r)) < 0) {
            *bad_r = item;
            return r;
        }
        attrs++;
    }
    return attrs > 0 ? 0 : BARID_ESYNTAX;
}
