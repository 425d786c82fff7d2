/*
 * smtp/outcome.h: a verdict that outlives the call that gave it: what a message or a recipient
 * will be answered with, later.
 */
#ifndef SMTP_OUTCOME_H
#define SMTP_OUTCOME_H

#include "base/arena.h"
#include "barid/reply.h"
#include "barid/verdict.h"

/* Zero-initialised: continue, the default row. */
struct outcome {
    enum barid_verdict_kind kind;
    enum barid_reply_id row; /* supplies what the verdict leaves out */
    uint16_t code;           /* 0 = the row's */
    bool silent;
    barid_slice enhanced, text; /* empty = the row's; in the arena */
    barid_slice detail;         /* for %s of the row's text; in the arena */
};

/* Copies; on exhausted memory the outcome is a tempfail with LOCAL_ERROR. */
void outcome_set(struct outcome *o, struct arena *arena, const barid_verdict *v,
                 enum barid_reply_id row);
/* A refusal by the session itself. */
void outcome_refuse(struct outcome *o, struct arena *arena, enum barid_reply_id row,
                    barid_slice detail);

#endif
