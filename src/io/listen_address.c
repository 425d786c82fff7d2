/* io/listen_address.c: the text form of where to listen. Pure. */
#include "io/listener.h"

#include <stdio.h>

#include "base/slice.h"
#include "io/endpoint.h"

static int bad(struct err *err, barid_slice text, const char *why)
{
    return err_set(err, BARID_ESYNTAX, "listen address \"%.*s\": %s",
                   (int)(text.n < 200 ? text.n : 200), text.n > 0 ? text.p : "", why);
}

static int parse_unix(barid_slice text, struct listen_address *a, struct err *err)
{
    barid_slice path = slice_from(text, sizeof("unix:") - 1);

    if (path.n == 0)
        return bad(err, text, "the path is missing");
    if (path.n >= sizeof(a->path))
        return bad(err, text, "the path of a unix socket may have 107 characters");
    if (slice_find(path, '\0') < path.n)
        return bad(err, text, "the path contains a NUL character");
    a->endpoint.family = BARID_FAMILY_UNIX;
    memcpy(a->path, path.p, path.n);
    return 0;
}

static int parse_any(barid_slice text, struct listen_address *a, struct err *err)
{
    uint64_t port;

    if (slice_u64(slice_from(text, 2), UINT16_MAX, &port) != 0)
        return bad(err, text, "the port must be a number from 0 to 65535");
    a->endpoint.family = BARID_FAMILY_IPV6;
    a->endpoint.port = (uint16_t)port;
    a->any = true;
    return 0;
}

int listen_address_parse(barid_slice text, struct listen_address *address_r, struct err *err)
{
    *address_r = (struct listen_address){0};
    if (text.n >= 5 && memcmp(text.p, "unix:", 5) == 0)
        return parse_unix(text, address_r, err);
    if (text.n >= 2 && memcmp(text.p, "*:", 2) == 0)
        return parse_any(text, address_r, err);
    if (endpoint_parse(text, &address_r->endpoint) != 0)
        return bad(
            err, text,
            "expected a numeric address and port such as 127.0.0.1:25, [::1]:25 or *:25, "
            "or unix:/path");
    return 0;
}

void listen_address_format(const struct listen_address *a, char *out, size_t n)
{
    char text[ENDPOINT_SIZE];

    endpoint_format(&a->endpoint, text);
    if (a->endpoint.family == BARID_FAMILY_UNIX)
        snprintf(out, n, "unix:%s", a->path);
    else if (a->any)
        snprintf(out, n, "*:%u", (unsigned)a->endpoint.port);
    else
        snprintf(out, n, "%s", text);
}
