/* smtp/verdict.h: what a session asks of verdicts. */
#ifndef SMTP_VERDICT_H
#define SMTP_VERDICT_H

#include "barid/verdict.h"

/* reject or tempfail: the command, recipient or message is refused. */
static inline bool verdict_refuses(enum barid_verdict_kind kind)
{
    return kind == BARID_REJECT || kind == BARID_TEMPFAIL;
}

#endif
