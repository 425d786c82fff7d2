/*
 * history/history_int.h: the parts of the history log.
 *
 *   a file   "BHIST\0\0\1", records, and, when it is complete and not small, a filter of the ids in it and a footer
 *   a record size u32, checksum u32 (crc32c of what follows), id u64, time u64, kind u8, fields
 *   a field  tag u8; with bit 7 a length and so many octets, without a number; both in the 7-bit way
 *
 * Little-endian. Unknown fields are skipped. A record that is not whole ends its file: nothing is ever written behind one.
 */
#ifndef HISTORY_HISTORY_INT_H
#define HISTORY_HISTORY_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "history/history.h"

#define FILE_MAGIC "BHIST\0\0\1"
#define HEAD_SIZE  8  /* of a record: size and checksum; of a file: its magic */
#define FIXED_SIZE 17 /* id, time, kind */
#define TEXTS      7
#define NUMBERS    4

static inline void store_le(void *p, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ((unsigned char *)p)[i] = (unsigned char)(v >> 8 * i);
}
static inline uint64_t load_le(const void *p, size_t n)
{
    uint64_t v = 0;

    for (size_t i = n; i-- > 0;)
        v = v << 8 | ((const unsigned char *)p)[i];
    return v;
}

/* --- entry.c ---------------------------------------------------------------------------------------- */
/* At least as long as the record of e. */
size_t entry_room(const struct history_entry *e);
/* The record at p, without its checksum; its length. */
size_t entry_encode(const struct history_entry *e, int64_t time_us, char *p);
void entry_seal(char *record); /* puts its checksum in */
/* The length of the record at the start of s, 0 when there is no whole one. checked: its checksum, too. */
size_t entry_length(barid_slice s, bool checked);
uint64_t entry_id(const char *record);
/* Slices point into the record. 0 or BARID_ECORRUPT. */
int entry_decode(barid_slice record, struct history_entry *e);
/* The longest record there is. */
#define ENTRY_MAX                                                                              \
    ((size_t)HEAD_SIZE + FIXED_SIZE + TEXTS * (4 + (size_t)HISTORY_TEXT_MAX) + NUMBERS * 11)

/* --- filter.c: is an id in this file? Blocks of 64 octets, each with a checksum of its own: one read answers. --- */
#define FILTER_BLOCK 64
#define FILTER_BLOCKS                                                                          \
    2048 /* some ten bits for each id of a file of 64 MiB: one in forty is asked for nothing */
#define FILTER_SIZE  ((size_t)FILTER_BLOCK * FILTER_BLOCKS)
#define FOOTER_SIZE  24
#define FOOTER_MAGIC "BHISTEND"

void filter_add(char *filter, uint64_t id);
void filter_seal(char *filter);
size_t filter_block_of(uint64_t id); /* where it is: a number of a block */
/* false: certainly not in there. A block that is damaged says true. */
bool filter_may_have(const char *block, uint64_t id);
void footer_make(char footer[FOOTER_SIZE], uint64_t records_end);
/* 0, or BARID_ECORRUPT: it is none. */
int footer_read(const char footer[FOOTER_SIZE], uint64_t *records_end_r);

/* --- folder.c: which files there are. */
struct history_file {
    uint32_t number; /* counts up: the order of the files, whatever the clock does */
    uint32_t day;    /* 20261129, when it was begun */
};
#define FILE_NAME_SIZE 64
void file_name(struct history_file f, char out[FILE_NAME_SIZE]);
uint32_t file_day(int64_t wall_us); /* 20261129 */
/* In order of number; array of mem. 0, BARID_ENOMEM, BARID_EIO. */
int folder_list(int dir_fd, const barid_mem *mem, struct history_file **files_r, size_t *n_r);
/* Those begun before the day `oldest`, and the first ones of more than HISTORY_FILES_MAX. next_r: a number that is free. */
int folder_clean(int dir_fd, const barid_mem *mem, uint32_t oldest, uint32_t *next_r);

/* --- writer.c: the file that is written. The thread's alone. */
struct writer {
    const struct history_options *o;
    int dir_fd, fd; /* -1 = none */
    struct history_file file;
    uint64_t size;
    char *filter; /* FILTER_SIZE */
};
int writer_init(struct writer *w, const struct history_options *o, struct err *err);
void writer_deinit(struct writer *w); /* completes the file */
/* Whole records, sealed. 0 or BARID_EIO: they are lost, the next ones begin a file of their own. */
int writer_append(struct writer *w, barid_slice records);

/* --- read.c */
int history_read_dir(const char *dir, const barid_mem *mem, uint64_t id,
                     bool (*each)(void *user, const struct history_entry *e), void *user);

/* --- history.c */
struct log_history {
    struct history history;
    struct history_options o;
    char *dir;
    struct writer writer;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work, done;
    char *filling, *writing;  /* HISTORY_BUFFER_MAX each */
    size_t filled, filled_n;  /* octets, entries */
    uint64_t queued, handled; /* entries, ever */
    bool stop, napping;
    unsigned waiting; /* for done: no nap */
    uint64_t dropped_unsaid;
    struct history_stats stats;

    pthread_mutex_t feeds_lock; /* taken alone, or by the thread without the other one */
    struct list feeds;
    atomic_uint n_feeds;
};

/* --- feed.c */
struct history_feed {
    struct list node;
    struct log_history *h;
    void (*wake)(void *user);
    void *user;
    char *filling, *reading; /* HISTORY_FEED_MAX each; filled, lost, asleep: under feeds_lock */
    size_t filled;
    size_t n, at; /* of reading: the listener's */
    bool lost, asleep;
};
int feed_open(struct history *h, void (*wake)(void *user), void *user,
              struct history_feed **feed_r);
int feed_next(struct history_feed *f, struct history_entry *entry_r);
void feed_close(struct history_feed **f);
void feeds_give(struct log_history *h, barid_slice records); /* the thread */

#endif
