/* control/queue_int.h: what the views of a spool and the changes to it share. */
#ifndef CONTROL_QUEUE_INT_H
#define CONTROL_QUEUE_INT_H

#include "base/arena.h"
#include "control/queue_view.h"
#include "message/record.h"

struct view { /* one message read back */
    struct arena arena;
    struct spool *spool;
    struct spool_loaded loaded;
    bool is_loaded;
    struct mail mail;
    struct unit *units;
    size_t n_units;
};
/* 0, or BARID_ENOTFOUND, ECORRUPT, EIO, ENOMEM, EVERSION. Close it in any case. */
int view_open(struct view *v, struct spool *s, uint64_t id);
void view_close(struct view *v);
/* Where a unit is sent: what was asked for, else the domain of its recipient; empty for what is not sent. */
barid_slice view_next_hop(const struct view *v, size_t unit);

/* Sets a text that is not empty. */
void put_text(json_t *o, const char *key, barid_slice s);
const char *queue_state_name(enum spool_state state);
const char *unit_status_name(enum unit_status status);
#define UNIT_STATUSES 5

/* What the state itself says, and what only the record says. */
bool filter_takes_info(const struct queue_filter *f, const struct spool_message *info);
bool filter_takes(const struct queue_filter *f, const struct view *v);
bool filter_reads(const struct queue_filter *f); /* it asks for something of the record */

/* Next message that the state of may take, in order, looking at no more than QUEUE_VIEW_EXAMINED_MAX in all. 1 = *info; 0 = the page's
 * end; BARID_ENOTFOUND = there are no more. */
int filter_next(const struct queue_filter *f, struct spool *s, struct spool_message *info,
                size_t *examined);

json_t *explain_json(barid_slice trace); /* message/explain.h */
/* All that queue show knows; NULL = no memory. */
json_t *message_json(const struct view *v);
json_t *message_summary(const struct spool_message *info, const struct view *v, int rc);

#endif
