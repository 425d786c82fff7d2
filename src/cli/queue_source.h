/* cli/queue_source.h: which messages of the queue a command means, and where it learns of them: the daemon, or the spool itself. */
#ifndef CLI_QUEUE_SOURCE_H
#define CLI_QUEUE_SOURCE_H

#include "cli/remote.h"

struct queue_options {
    struct remote remote;
    const char *sender, *recipient, *next_hop, *state;
    uint64_t older_s, younger_s; /* UINT64_MAX = any */
    bool json;
    /* Of queue retry and its sisters. */
    bool all, held;
    struct buf intervals; /* "60,3600" */
    size_t n_intervals;
};
/* EX_OK or an exit code after it complained; queue_options_deinit in any case. changing: --all, too; retrying: --held and --interval. */
int queue_options_read(const struct command *c, int argc, char **argv, bool changing,
                       bool retrying, struct queue_options *o);
void queue_options_deinit(struct queue_options *o);
bool queue_options_filter(const struct queue_options *o); /* any filter was given */
/* Appends the filters to the path of a request. */
void queue_options_query(const struct queue_options *o, struct buf *path);

/* fn for each message that the filters take, as in queue_view_list. */
int queue_each(const struct command *c, struct queue_options *o,
               void (*fn)(void *user, json_t *message), void *user);

#define QUEUE_FILTER_HELP                                                                      \
    "  --sender ADDRESS      from this address, \"@domain\" (both may have * and ?), or "      \
    "\"<>\"\n"                                                                                 \
    "  --recipient ADDRESS   to this address or \"@domain\"\n"                                 \
    "  --next-hop HOP        sent there, as in queue show; may have * and ?\n"                 \
    "  --state STATE         active, held, removed, quarantined, or deferred (tried before)\n" \
    "  --older SPAN          received longer ago: seconds, or 15m, 2h, 3d\n"                   \
    "  --younger SPAN        received since\n"

#endif
