/* smtp/verdict.h: judging verdicts before a session acts on them. */
#ifndef SMTP_VERDICT_H
#define SMTP_VERDICT_H

#include "barid/event.h"
#include "barid/verdict.h"

/*
 * May this event be answered so? The kind must be allowed by events.def (continue always is,
 * but for host events), the code must have the class of the kind, the enhanced code the class
 * of the code (RFC 3463 2).
 */
bool verdict_fits(enum barid_event_id id, const barid_verdict *v);

/* reject or tempfail: the command, recipient or message is refused. */
static inline bool verdict_refuses(enum barid_verdict_kind kind)
{
    return kind == BARID_REJECT || kind == BARID_TEMPFAIL;
}

#endif
