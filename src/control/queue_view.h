/*
 * control/queue_view.h: what is in a spool, as JSON: for the routes of the control socket and for `barid queue` on a spool that
 * no daemon serves. Reads the disk: pool thread or command line.
 */
#ifndef CONTROL_QUEUE_VIEW_H
#define CONTROL_QUEUE_VIEW_H

#include <jansson.h>

#include "interface/spool.h"

#define QUEUE_VIEW_LIMIT     100 /* messages of a page unless asked for less or more */
#define QUEUE_VIEW_LIMIT_MAX 1000
/* Messages looked at for one page: a filter that matches nothing must not keep a thread for the whole spool. The page
 * then is shorter than its limit, or empty, and `next` says where to go on. */
#define QUEUE_VIEW_EXAMINED_MAX 5000

struct queue_filter {
    int state;             /* enum spool_state, or QUEUE_STATE_DEFERRED; -1 = any */
    barid_slice sender;    /* whole address, "@domain", each a glob, or "<>"; empty = any */
    barid_slice recipient; /* likewise, one recipient is enough */
    barid_slice next_hop;  /* a glob; one unit that is not done and is sent there is enough */
    int64_t after_us;      /* received at or after; INT64_MIN = any */
    int64_t before_us;     /* received before; INT64_MAX = any */
    uint64_t after;        /* only ids above it: where the last page ended */
    size_t limit;          /* 0 = QUEUE_VIEW_LIMIT */
};
void queue_filter_init(struct queue_filter *f);
/* Active, and a recipient waits for another attempt. */
#define QUEUE_STATE_DEFERRED 4
/* "active", "held", "removed", "quarantined", "deferred"; -1 = no such state. */
int queue_state_by_name(barid_slice name);
/* "*" stands for anything, "?" for one octet; letters without case; all of text must match. */
bool glob_matches(barid_slice pattern, barid_slice text);

/* {"messages":[...], "examined":n, "next":"ID" or null}. New reference; NULL = no memory. */
json_t *queue_view_list(struct spool *s, const struct queue_filter *f);
/* {"active":n, ..., "messages":n, "disk_bytes":n, "full":bool, "failed":bool, ...} */
json_t *queue_view_count(struct spool *s);
/* Everything known about one message. 0, or BARID_ENOTFOUND, ECORRUPT, EIO, ENOMEM. */
int queue_view_message(struct spool *s, uint64_t id, json_t **message_r);

#endif
