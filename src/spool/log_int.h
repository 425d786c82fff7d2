/*
 * spool/log_int.h: the embedded log from inside. Only log_*.c include it.
 *
 * Threads: callers; the committer (log_commit.c: the only one that writes records); the keeper
 * (log_keeper.c: makes, recycles and frees segments, writes sidecars, unlinks big bodies); the
 * cleaner (log_clean.c); LOG_BIG_THREADS writers of big bodies (log_big.c). One lock guards all
 * of struct store but what is said otherwise; nobody reads, writes or syncs a file, and nobody
 * calls a done callback, while holding it.
 *
 * Life of a change: a caller makes an op, marks the index (a message that goes is ENTRY_GONE at
 * once) and queues it; the committer frames it into a batch, writes, syncs, then moves the
 * places in the index, adjusts what is live in which segment, and calls done.
 *
 * Invariants.
 *  1. A message is in the index (and not GONE) only after its PUT was synced.
 *  2. live of a segment = lengths of the PUT, STATE and BODY records that the index points to,
 * and of the DEL records whose target segment still exists and is another one. A sealed segment
 * with live 0, no pin and no `after` is freed.
 *  3. A segment that got a cleaner's copy is not freed before the segment it was copied from
 * (`after`): else a DEL that names the copy's segment could go while the first PUT is still on
 * the disk.
 *  4. A segment is sealed only when the first batch of the next one was synced: that batch
 * carries the floor of ids.
 */
#ifndef SPOOL_LOG_INT_H
#define SPOOL_LOG_INT_H

#include <pthread.h>

#include "base/map.h"
#include "base/slice.h"
#include "spool/log_format.h"
#include "spool/log_index.h"
#include "spool/put.h"
#include "spool/spool_open.h"
#include "spool/units.h"

#define LOG_BATCH_MAX   (16u << 20) /* one huge mail must not hold two hundred small ones */
#define LOG_BIG_THREADS 2           /* one syncs while the other streams */
#define LOG_LAZY_MAX    1024 /* ops that nobody waits for, before they are written at once */
#define LOG_NAME_SIZE   32
#define LOG_SPARES_MAX  64 /* files kept for reuse; more are removed */

struct big_body;

/* Number of DEL records in a segment that name another one. */
struct log_dels {
    uint64_t target;
    uint32_t count;
};

struct log_segment {
    uint32_t slot; /* in store.segments; 0 is none */
    uint64_t segno;
    uint32_t nonce;
    int fd;
    uint32_t pins; /* readers, and the keeper and the cleaner at work on it */
    uint64_t live;
    uint64_t end; /* behind the last record */
    bool sealed;  /* no more records will come, and all of them are durable */
    bool reserve; /* taken from the reserve: no PUT goes here */
    bool sidecar; /* written, or not to be written */
    struct log_dels *dels;
    size_t n_dels;
    uint64_t *after; /* segments that must be gone before this one */
    size_t n_after;
    uint8_t
        *rows; /* LOG_SIDECAR_ROW octets each; NULL with rows_lost = no memory: no sidecar */
    size_t n_rows, cap_rows;
    bool rows_lost;
    bool stuck; /* the cleaner could not empty it */
};

/* A body that stands apart from the PUTs that name it: a BODY record or a file. */
struct log_body {
    uint64_t id;
    uint32_t refs; /* entries (not only visible ones), and puts not yet committed */
    bool big;
    bool located; /* recovery: record or file found */
    uint64_t size;
    uint32_t crc;
    uint32_t seg, off, len;     /* of the BODY record */
    struct log_body *next_dead; /* keeper: files to remove */
};

/* What an entry has beside its 80 octets, while it has it. */
struct log_extra {
    struct units units;
    bool whole;            /* units are loaded and newer than any record */
    struct log_op *queued; /* its last STATE, not yet taken by the committer */
    uint32_t writing;      /* STATE records of it queued or being written */
    struct log_body *body;
};

enum log_op_kind { LOG_OP_PUT, LOG_OP_STATE, LOG_OP_DEL, LOG_OP_COPY };

/* One record on its way. */
struct log_piece {
    struct log_record rec;
    uint8_t head[LOG_RECORD_SIZE];
    uint8_t *units; /* own block: encoded units, or the whole payload of a copy */
    size_t n_units;
    barid_slice text; /* meta | header */
    const struct put_chunk *chunks;
    struct log_body *body;   /* referenced by this PUT, or described by this BODY */
    struct log_extra *extra; /* made ahead for the entry of this PUT */
    uint64_t size;           /* of the message */
    uint64_t length;         /* of the record */
    uint32_t off;            /* where it was put */
};

struct log_op {
    struct log_op *next;
    enum log_op_kind kind;
    spool_done done;
    void *user;
    int err;
    bool skip;                 /* nothing to write any more */
    uint32_t place;            /* STATE, DEL, COPY of PUT and STATE */
    uint32_t old_seg, old_off; /* COPY: valid only while the record is still there */
    struct spool_put **puts;   /* PUT: freed with the op */
    size_t n_puts;
    uint32_t reserved;  /* index places */
    uint32_t bigs_left; /* files of this commit that are not durable yet */
    uint64_t length;    /* of all pieces */
    size_t n_pieces;
    struct log_piece pieces[];
};

struct log_batch {
    struct log_op *first, **end;
    struct log_segment *segment;
    uint64_t at, length; /* where it goes, and how much; block boundaries outside */
    struct log_op *open; /* of the OPEN record, when the segment is new */
};

struct store {
    struct spool spool;
    const barid_mem *mem;
    const struct io_table *io;
    struct clock clock;
    struct rng rng;
    const struct log *log;
    struct spool_log_options options; /* with the defaults filled in */
    int dir, seg_dir, big_dir, lock_fd;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t work, keep, ready, clean, big_work;
    pthread_t committer, keeper, cleaner, big_writers[LOG_BIG_THREADS];
    unsigned n_threads;
    bool closing;        /* nothing new comes; the committer ends when the queue is empty */
    bool committer_over; /* then the keeper and the cleaner end */

    struct log_index index;
    struct map bodies;             /* id, 8 octets, to struct log_body */
    struct log_segment **segments; /* by slot */
    uint32_t n_slots, cap_slots;
    uint64_t last_segno, prev_segno, prev_end; /* prev: what the next OPEN record says */
    struct log_segment *active, *next;         /* next: ready, with its header durable */
    struct log_segment *sealing; /* the one before the active until that has its OPEN record */
    enum { WANT_NONE, WANT_ANY, WANT_URGENT } want_next;
    bool may_use_reserve;
    int next_error; /* why there is no next */
    uint64_t spares[LOG_SPARES_MAX], spare_count;
    uint32_t n_spares;
    struct log_body *dead_files;

    struct log_op *queue, **queue_end;
    size_t n_lazy;
    size_t n_sealing; /* commits that wait for their files */
    bool urgent;      /* somebody waits for something in the queue */
    bool cleaning;    /* the cleaner holds a segment */
    bool stalled;     /* what is first in the queue waits for the cleaner to let go of it */
    uint64_t lazy_since_ms;
    struct big_body *bigs; /* those with something to do, in no order */

    uint64_t last_id, last_lease, damaged_files;
    int64_t announced_us;
    struct spool_stats stats;
    bool failed, full;
    uint64_t admit_left; /* octets to admit before room is measured again */

    pthread_mutex_t watch_lock; /* held while the watcher is called */
    void (*changed)(void *user);
    void *changed_user;
};

static inline struct store *store_of(struct spool *s)
{
    return (struct store *)s;
}

/* --- log.c */
uint64_t store_new_id(struct store *s); /* locks */
/* Closes the store for writing; the lock is held. */
void store_fail(struct store *s, int io_rc, const char *what);
int store_writable(const struct store *s); /* 0, BARID_EIO, BARID_EUNSUPPORTED; lock held */
void store_announce(struct store *s);      /* unlocks */
int store_err(int io_rc);                  /* BARID_EFULL for a full disk, BARID_EIO else */

/* --- log_segment.c; lock held unless said otherwise */
struct log_segment *segment_at(const struct store *s, uint32_t slot);
struct log_segment *segment_by_number(const struct store *s, uint64_t segno);
int segment_new(struct store *s, uint64_t segno, uint32_t nonce, int fd,
                struct log_segment **seg_r);
void segment_del(struct store *s,
                 struct log_segment *seg); /* forgets it; closes its descriptor */
void segment_pin(struct log_segment *seg);
void segment_unpin(struct store *s, struct log_segment *seg);
void segment_live(struct store *s, struct log_segment *seg, uint64_t n);
void segment_dead(struct store *s, uint32_t slot, uint64_t n);
bool segment_free(const struct store *s, const struct log_segment *seg);
int segment_add_del(struct store *s, struct log_segment *seg,
                    uint64_t target); /* ENOMEM: it counts as live for good */
void segment_drop_del(struct store *s, struct log_segment *seg, uint64_t target);
void segment_add_after(struct store *s, struct log_segment *seg, uint64_t segno);
void segment_add_row(struct store *s, struct log_segment *seg, uint32_t offset,
                     const struct log_record *r);
void segment_gone(struct store *s,
                  uint64_t segno); /* its name is durably away: others may go */
void segment_name(uint64_t segno, const char *ending, char *name); /* no lock */
/* No lock: makes a segment from a spare or anew. BARID_EFULL, BARID_EIO. */
int segment_make(struct store *s, bool may_use_reserve, struct log_segment **seg_r);
int sidecar_write(struct store *s, struct log_segment *seg); /* no lock; seg pinned */

/* --- log_keeper.c */
void *keeper_thread(void *store);

/* --- log_op.c */
int op_new(struct store *s, enum log_op_kind kind, size_t n_pieces, spool_done done, void *user,
           struct log_op **op_r);
void op_del(struct store *s, struct log_op *op);
int op_new_put(struct store *s, struct spool_put **puts, size_t n, spool_done done, void *user,
               struct log_op **op_r);
int op_adopt(struct store *s,
             struct log_op *op); /* lock held: places and bodies reserved; ENOMEM */
void op_disown(struct store *s,
               struct log_op *op); /* lock held: the opposite, after a failure */
void op_enqueue(struct store *s, struct log_op *op, bool waited_for); /* lock held */
void op_finish(struct store *s, struct log_batch *b,
               struct log_op *op); /* lock held: it is durable */

/* --- log_commit.c */
void *committer_thread(void *store);
void op_fail(struct store *s, struct log_op *op, int rc,
             bool may_be_written);                  /* lock held: takes back what it held */
void op_answer(struct store *s, struct log_op *op); /* no lock: calls done, frees */
void commit_resume(struct store *s); /* lock held: a stalled queue is looked at again */

/* --- log_entry.c: entries and their units; lock held */
struct log_entry *entry_visible(struct store *s, uint64_t id, uint32_t *place_r);
int entry_whole(struct store *s, uint64_t id, uint32_t *place_r, struct log_entry **e_r);
/* Where it stands in the schedule, after its units or flags changed; or from a time on. */
void entry_schedule(struct store *s, uint32_t place, struct log_entry *e);
void entry_due(struct store *s, uint32_t place, struct log_entry *e, int64_t next_us);
/* What a record says of the units that wait; and the same of an entry. */
void record_digest(struct log_record *r, const struct units_digest *d);
void entry_take_digest(struct log_entry *e, const struct log_record *r);
struct units_digest entry_digest(const struct log_entry *e);
int extra_make(struct store *s, struct log_entry *e);
void extra_settle(struct store *s, struct log_entry *e); /* frees what is not needed */

/* --- log_claim.c, log_hasten.c */
int state_claim(struct spool *spool, int64_t now_us, size_t max, struct spool_claim *claims,
                size_t *n_r);
int state_claim_some(struct spool *spool, int64_t now_us, size_t max,
                     bool (*choose)(void *user, uint64_t id, uint32_t group), void *user,
                     struct spool_claim *claims, size_t *n_r, size_t *aside_r);
int state_claim_one(struct spool *spool, uint64_t id, int64_t now_us,
                    struct spool_claim *claim_r);
void state_release(struct spool *spool, uint64_t id, uint64_t lease);
void state_put_aside(struct spool *spool, uint64_t id, uint64_t lease, uint32_t group);
int state_hasten(struct spool *spool, uint32_t group, size_t *n_r);

/* --- log_state.c: changes */
void body_unref(struct store *s, struct log_body *body); /* lock held */
int state_update(struct spool *spool, uint64_t id, uint64_t lease,
                 const struct unit_change *changes, size_t n, spool_done done, void *user);
int state_change(struct spool *spool, uint64_t id, const struct unit_change *changes, size_t n,
                 spool_done done, void *user);
int state_set(struct spool *spool, uint64_t id, enum spool_state state, spool_done done,
              void *user);
int state_erase(struct spool *spool, uint64_t id, spool_done done, void *user);

/* --- log_read.c */
struct log_place { /* a message as it is on the disk; its segments are pinned */
    struct log_segment *put_seg, *state_seg;
    uint32_t put_off, put_len, state_off, state_len, version;
    uint64_t id;
    uint32_t n_units;
};
void place_pin(struct store *s, const struct log_entry *e, struct log_place *p); /* lock held */
void place_unpin(struct store *s, struct log_place *p);                          /* lock held */
/* No lock: units of the record that counts. states has p->n_units places; *block_r holds their
 * replies. */
int place_read_units(struct store *s, const struct log_place *p, struct unit_state *states,
                     uint8_t **block_r);
int read_load(struct spool *spool, uint64_t id, struct spool_loaded *loaded_r);
void read_loaded_free(struct spool_loaded *loaded);
int read_body_open(struct spool *spool, uint64_t id, void **body_r, uint64_t *size_r);
int64_t read_body_read(void *body, uint64_t offset, void *p, size_t n);
void read_body_close(void *body);
void entry_describe(const struct log_entry *e, struct spool_message *m);

/* --- log_big.c */
int big_put_body(struct spool_put *put, const void *p, size_t n);
size_t big_backlog(struct spool_put *put);
void big_on_drain(struct spool_put *put, void (*drained)(void *user), void *user);
int64_t big_read(struct spool_put *put, uint64_t offset, void *p, size_t n);
int big_truncate(struct spool_put *put);
void big_abort(struct spool_put *put);
uint64_t big_name(const struct big_body *big);
void big_seal(struct store *s, struct big_body *big,
              struct log_op *op); /* lock held: op->bigs_left was counted */
void big_release(struct store *s, struct big_body *big,
                 bool keep_file); /* lock held: its put is over */
void *big_thread(void *store);

/* --- log_recover.c: segments as found; log_replay.c: their records into the index */
struct replay {
    struct store *s;
    struct log_segment *target; /* of the last DEL: mostly of the next, too */
};
int recover(struct store *s, struct err *e);
int replay_record(struct replay *r, struct log_segment *seg, uint32_t off,
                  const struct log_record *rec);
int replay_end(struct replay *r);
/* Copies damaged octets of a segment into damaged/, reports and counts. */
void damaged_keep(struct store *s, const struct log_segment *seg, uint64_t off, uint64_t len,
                  const char *what);

/* --- log_clean.c */
void clean_wake(struct store *s,
                const struct log_segment *seg); /* lock held: less lives in it now */
void *cleaner_thread(void *store);

#endif
