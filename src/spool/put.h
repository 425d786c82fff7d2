/*
 * spool/put.h: a message on its way into a store: a body that grows in memory, and what
 * describes it. Shared by the implementations; where a large body goes is theirs.
 *
 * A put and its body belong to one thread until commit; the body is counted by the puts that
 * share it and is frozen from the first share on.
 */
#ifndef SPOOL_PUT_H
#define SPOOL_PUT_H

#include "interface/spool.h"

struct put_chunk {
    struct put_chunk *next;
    size_t n, cap;
    char data[];
};

struct put_body {
    const barid_mem *mem;
    struct put_chunk *head, *tail; /* octets in memory, in order */
    uint64_t size;                 /* all octets, also those that went elsewhere */
    uint32_t crc;                  /* of all octets */
    uint32_t refs;                 /* puts that share it */
    bool frozen;                   /* shared: no more octets */
    struct big_body *big;          /* the log: its file; NULL = all of it is in chunks */
};

/* meta, header and units in one block. */
struct put_text {
    enum spool_state state;
    barid_slice meta, header; /* contiguous: header begins where meta ends */
    struct unit_state *units;
    size_t n_units;
};

struct spool_put {
    struct spool *spool;
    const barid_mem *mem;
    uint64_t id;
    struct put_body *body;
    struct put_text *text; /* NULL until described */
};

/* 0 or BARID_ENOMEM. With an empty body of its own; or, for put_new_share, with that of first.
 */
int put_new(struct spool_put **put_r, struct spool *spool, const barid_mem *mem, uint64_t id);
int put_new_share(struct spool_put **put_r, struct spool_put *first, uint64_t id);
/* Frees put, and its body when it was the last; body->big must be gone by then. */
void put_del(struct spool_put **put);
bool put_body_unref(struct put_body *body); /* true: it was the last, now freed */

int put_append(struct spool_put *put, const void *p,
               size_t n); /* 0, EINVALID (frozen), ENOMEM: nothing appended */
int put_restart(
    struct spool_put *put); /* a new empty body; 0 or ENOMEM (then nothing changed) */
int64_t put_copy_out(const struct put_body *body, uint64_t offset, void *p, size_t n);
int put_set_text(struct spool_put *put, enum spool_state state, barid_slice meta,
                 barid_slice header, const struct unit_state *units, size_t n_units);
uint64_t put_message_size(const struct spool_put *put); /* header, blank line, body */

/*
 * What commit may assume: n >= 1, all of this spool, all described, every sharer present.
 * 0, BARID_EINVALID.
 */
int put_check_commit(const struct spool *spool, struct spool_put *const *puts, size_t n);

/* Ids: microsecond-like stamps that never repeat: (wall milliseconds << 20), or one more than
 * the last. */
uint64_t put_next_id(uint64_t last, const struct clock *clock);

#endif
