/*
 * history/history.h: the history log behind interface/history.h: files in a directory of its own, written by a thread of its own, never
 * synced. A file holds one day, or HISTORY_FILE_MAX octets; what is older than `days` is removed.
 */
#ifndef HISTORY_HISTORY_H
#define HISTORY_HISTORY_H

#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "interface/history.h"

/* Entries that wait for the thread: a tenth of a second of a very busy server, or some very long ones. */
#define HISTORY_BUFFER_MAX (2u << 20)
/* They gather this long behind some that were just written: what kill -9 may take. */
#define HISTORY_NAP_MS 100
#define HISTORY_FILE_MAX                                                                       \
    (64u << 20) /* then the next begins: what is read at once when its filter says maybe */
/* Kept whatever their age: a directory that is still listed in a moment (256 GiB of full files). */
#define HISTORY_FILES_MAX 4096
#define HISTORY_DAYS      7

struct history_options {
    const char *dir;   /* made when it is missing; NULL: nothing is kept, feeds only */
    uint32_t days;     /* 0 = HISTORY_DAYS */
    uint64_t file_max; /* 0 = HISTORY_FILE_MAX */
    bool
        read_only; /* for reading beside a daemon or without one: note does nothing, no thread */
    const struct clock *clock; /* NULL = the system's */
    const struct log *log;
    const barid_mem *mem;
};

struct history_stats {
    uint64_t noted, written, dropped; /* entries; dropped: no room, or the disk took them not */
};

/* Starts its thread: after the sandbox is entered. 0; BARID_EIO (no such directory, not writable), BARID_ENOMEM. */
int history_open(struct history **h_r, const struct history_options *o, struct err *err);
void history_flush(
    struct history *h); /* until what was noted before is written, or was dropped */
void history_stats(struct history *h, struct history_stats *stats_r);
/* Writes what waits. No feed may be open, nobody may note any more. Accepts NULL. */
void history_close(struct history **h);

#endif
