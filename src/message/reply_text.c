/* message/reply_text.c: see reply_text.h. */
#include "message/reply_text.h"

#include <stdio.h>

#include "base/slice.h"

void reply_text(const barid_verdict *v, char out[REPLY_TEXT_SIZE])
{
    bool later = v->kind == BARID_TEMPFAIL;
    unsigned code = v->code ? v->code : later ? 451 : 550;
    barid_slice enhanced = v->enhanced.n ? v->enhanced
                           : later       ? BARID_S("4.7.1")
                                         : BARID_S("5.7.1");
    barid_slice text = v->text.n ? v->text : later ? BARID_S("put off") : BARID_S("refused");
    snprintf(out, REPLY_TEXT_SIZE, "%u %.*s %.*s", code, (int)enhanced.n, enhanced.p,
             (int)text.n, text.p);
    for (char *p = out; *p; p++)
        if (*p == '\r' || *p == '\n')
            *p = ' ';
}
