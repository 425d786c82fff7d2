/* delivery/courier_text.c: see courier_text.h. */
#include "delivery/courier_text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/endpoint.h"
#include "base/slice.h"

void courier_text(struct courier_result *r, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
}

void courier_text_reply(struct courier_result *r, const barid_reply *reply)
{
    barid_slice text = slice_head(reply->text, COURIER_TEXT_SIZE);

    if (reply->enhanced.n > 0)
        courier_text(r, "%u %.*s %.*s", reply->code, (int)reply->enhanced.n, reply->enhanced.p,
                     (int)text.n, text.p);
    else
        courier_text(r, "%u %.*s", reply->code, (int)text.n, text.p);
}

void courier_text_error(struct courier_result *r, const char *status, const char *stage,
                        barid_slice why)
{
    const struct host_address *s = r->server;
    char address[ENDPOINT_SIZE];

    endpoint_format(&s->endpoint, address);
    courier_text(r, "451 %s %.*s (%s): %s%s%.*s", status, (int)s->name.n, s->name.p, address,
                 stage != NULL ? stage : "", stage != NULL ? ": " : "", (int)why.n, why.p);
}
