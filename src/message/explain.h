/*
 * message/explain.h: the explain trace of a mail: which handler said what, where it stands in the policy. Compact: a few
 * hundred octets when only defaults fired; bounded.
 */
#ifndef MESSAGE_EXPLAIN_H
#define MESSAGE_EXPLAIN_H

#include "barid/event.h"
#include "barid/verdict.h"
#include "base/arena.h"

#define EXPLAIN_MAX 8192 /* octets per mail; then one "cut" entry: a trace must never outgrow the mail */

struct explain {
    struct arena *arena; /* borrowed: the mail's; nothing to free */
    char *p;             /* encoded entries, n octets: read with explain_data */
    size_t n, cap;
    int64_t clock_us;    /* of the last entry */
    bool cut;
};

struct explain_entry {
    enum barid_event_id event;
    enum barid_verdict_kind verdict;
    uint32_t rcpt_index;  /* UINT32_MAX = none */
    int64_t at_us;        /* since the previous entry in the encoding; absolute here */
    uint16_t code;        /* reply given, 0 = none */
    barid_slice handler;  /* "on.rcpt", "builtin:relay", hook name */
    barid_slice where;    /* "policy.lua:17", empty for built-in */
    barid_slice text;     /* reply text or note */
};
void explain_init(struct explain *e, struct arena *arena);
barid_slice explain_data(const struct explain *e);
/* Never fails the mail: on lack of memory or room the entry is dropped and cut is set. */
void explain_add(struct explain *e, const struct explain_entry *entry);
/* Walk: *offset and *clock_us start at 0. 1 = *entry_r filled (slices point into data), 0 = end,
 * BARID_ECORRUPT. The "cut" entry has event NONE and text "cut". */
int explain_next(barid_slice data, size_t *offset, int64_t *clock_us, struct explain_entry *entry_r);

#endif
