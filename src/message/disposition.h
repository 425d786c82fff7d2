/*
 * message/disposition.h: what becomes of a mail: rows {kind, target, the recipients served}, and the units of work that
 * they compile to.
 */
#ifndef MESSAGE_DISPOSITION_H
#define MESSAGE_DISPOSITION_H

#include "barid/types.h"

enum disposition_kind { DISPOSITION_STORE = 1, DISPOSITION_ARCHIVE, DISPOSITION_SEND };
const char *disposition_kind_name(enum disposition_kind kind); /* "store", ... */

/* Which recipients a row serves. */
enum disposition_scope {
    DISPOSITION_ONE,     /* rcpt_index */
    DISPOSITION_REST,    /* every accepted recipient that has no row of its own (mail:store) */
    DISPOSITION_MESSAGE  /* none: the message itself (mail:archive) */
};

struct disposition {
    enum disposition_kind kind;
    enum disposition_scope scope;
    size_t rcpt_index;
    barid_slice target; /* template as given; expanded at evaluation, per recipient served. Of a send: next hops, message/hop.h */
    bool pinned;        /* send: policy is not asked for another route at delivery */
};

/*
 * One unit of work after evaluation: one file to write or one recipient to send. Its state lives in the spool beside it
 * (struct unit_state there has the same index).
 */
struct unit {
    enum disposition_kind kind; /* 0 = none: a recipient that only waits (held) */
    /* Expanded. Of a send: next hops in canonical text with a space between; empty: by default, the relay hosts or else the domain
     * of the recipient, of which there is exactly one. */
    barid_slice target;
    size_t *rcpts;              /* indexes of the recipients served; NULL when n_rcpts is 0 */
    size_t n_rcpts;
    bool pinned;                /* send: the route is not asked for again */
    bool held;                  /* every recipient served is held or quarantined (rcpt.verdict says which):
                                 * committed as UNIT_HELD, never claimed before somebody releases it */
};

#endif
