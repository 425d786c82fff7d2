/*
 * interface/spool.h: the durable store, as its users see it. Implementations: spool/memory.c (tests), spool/log.c.
 *
 * Contract.
 *  1. commit takes 1..n puts and calls done(0) when all their envelopes and bodies are on stable storage; all or none
 *     survive a crash. A 250 waits for it. Concurrent commits share one sync; one alone is synced at once.
 *  2. A crash between any two instructions leaves a message whole or absent. Opening recovers without an operator; a bad record
 *     never stops it: it is set aside, reported and counted. A failed sync closes the store for writing: everything then
 *     answers BARID_EIO until the process is restarted.
 *  3. meta and header are opaque octets here; bodies are immutable. Header and meta are read without the body.
 *  4. A message is active, held, removed (recoverable) or quarantined. Ids never repeat and sort by time.
 *  5. The unit of work is one unit of a message: each has its own state, due time and lease. When no unit is pending and the
 *     message is active and no unit is held, the message is gone (a message that is not active stays until it is erased or
 *     made active).
 *  6. Full disk: admit says BARID_EFULL early; commit answers BARID_EFULL; updates and removals still work (a reserve).
 *
 * Threads: every function may be called from any thread. done callbacks come from an unspecified thread, must not block and
 * must not call back into the spool: post to your loop. A function that returns an error never calls done. Reads, change and
 * set_state, hasten, and claims of a message of several units may wait for the disk; commit, update, erase and release never do.
 * BARID_EIO: the store is closed for writing; BARID_EUNSUPPORTED: it was opened for reading only.
 */
#ifndef INTERFACE_SPOOL_H
#define INTERFACE_SPOOL_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/rng.h"

struct spool;
struct spool_put;

enum spool_state { SPOOL_ACTIVE = 0, SPOOL_HELD, SPOOL_REMOVED, SPOOL_QUARANTINED };
enum unit_status {
    UNIT_PENDING = 0,
    UNIT_DONE,
    UNIT_FAILED, /* for good, and nobody is to be told (any more) */
    UNIT_HELD,
    UNIT_GIVEN_UP /* failed for good, its sender is still to be told: due and claimed like a pending one */
};

#define SPOOL_UNITS_MAX      20000
#define SPOOL_UNIT_REPLY_MAX 512 /* octets of the last reply kept per unit; longer is cut */

/*
 * Groups: a unit that is sent to a next hop carries a number for it, so that what waits for one destination is known without reading
 * records. The store does not know what it stands for.
 */
#define SPOOL_GROUP_NONE  0 /* not sent anywhere */
#define SPOOL_GROUP_MIXED 1 /* of a message: its pending units have several */
#define SPOOL_GROUP_FIRST 2

#define UNIT_AHEAD_MAX 4 /* intervals that an operator may put in front of the schedule: a person's patience */

/* There is work to do on it from its due time on. */
static inline bool unit_waits(enum unit_status status)
{
    return status == UNIT_PENDING || status == UNIT_GIVEN_UP;
}

/* State of one unit. A unit is called pending below when it waits, given up or not. */
struct unit_state {
    enum unit_status status;
    int64_t due_us;       /* while it waits: not before; wall clock */
    uint32_t attempts;
    barid_slice reply;    /* last reply or error seen; empty = none */
    uint32_t group;       /* NONE, or FIRST and above */
    bool suspect;         /* an attempt was cut off when it may have delivered already (RFC 1047) */
    uint32_t ahead_s[UNIT_AHEAD_MAX]; /* seconds until the next attempts, in order, before the schedule goes on; 0 = no more */
};

typedef void (*spool_done)(void *user, int err);

struct spool_message { /* what is known without reading the record */
    uint64_t id;
    enum spool_state state;
    int64_t next_due_us;  /* earliest pending unit that nobody holds; 0 = hastened; INT64_MAX = none */
    uint64_t size;        /* header + blank line + body */
    uint32_t units;
    uint32_t group;       /* of what is pending, held by somebody or not: NONE, one, or MIXED */
};

/* A message read back; freed by spool_loaded_free. */
struct spool_loaded {
    struct spool_message info;
    barid_slice meta, header;
    struct unit_state *units;
    size_t n_units;
    void *memory;
};

/* One claim: units of one message leased to the caller. */
struct spool_claim {
    uint64_t id;
    uint64_t lease;        /* names this claim in update */
    uint32_t group;        /* as in spool_message */
    uint32_t *units;       /* indexes, n_units of them; freed by the caller with free(3) */
    size_t n_units;
};

struct unit_change {
    uint32_t unit;
    struct unit_state state;
};

struct spool_stats {
    uint64_t messages[4];  /* by enum spool_state */
    uint64_t live_bytes, disk_bytes, free_bytes;
    uint64_t commits, syncs, batch_max;
    uint64_t damaged;      /* records set aside since open */
    uint64_t sync_us_last, sync_us_max;
    bool full, failed;
    char failure[256];     /* why it failed */
};

struct spool_ops {
    const char *name;
    void (*close)(struct spool *s); /* waits for what is queued; frees. No put and no body may be left */

    /* 0, BARID_EFULL, BARID_EIO. size 0 = unknown. Asked at MAIL, before DATA. */
    int (*admit)(struct spool *s, uint64_t size);

    /* --- accept. A put belongs to one thread until commit. */
    int (*put_begin)(struct spool *s, struct spool_put **put_r);
    /* Append body octets. Copies. Returns 0; BARID_EFULL, EIO, ENOMEM (abort then). Above SPOOL_BODY_MEMORY the octets go to their own
     * file through the spool's writer thread; put_backlog tells how many wait: stop reading from the client above
     * SPOOL_BACKLOG_PAUSE. put_on_drain, after a backlog that was not 0: drained is called once, from the writer thread, when none
     * waits or the put cannot go on (put_body says why); not at all when it is NULL, replaced or the put aborted before. */
    int (*put_body)(struct spool_put *put, const void *p, size_t n);
    size_t (*put_backlog)(struct spool_put *put);
    void (*put_on_drain)(struct spool_put *put, void (*drained)(void *user), void *user);
    uint64_t (*put_size)(struct spool_put *put);
    int64_t (*put_read)(struct spool_put *put, uint64_t offset, void *p, size_t n); /* body back, before commit */
    /* Drop the body so far (replacement); a put that shares one gets its own, empty one. */
    int (*put_truncate)(struct spool_put *put);
    /* A second put that shares the body of the first. From then on put_body answers BARID_EINVALID for both, and all that
     * share it and are not aborted must be in one commit. */
    int (*put_share)(struct spool_put *put, struct spool_put **put_r);
    void (*put_abort)(struct spool_put *put);
    /* The id this put will have; stable until commit or abort. */
    uint64_t (*put_id)(struct spool_put *put);
    /* Describe it: meta, header and units are copied; again = replaces. Units are claimable from their due time on. An active
     * put needs a pending or held unit (else BARID_EINVALID). BARID_ELIMIT: more than SPOOL_UNITS_MAX. */
    int (*put_describe)(struct spool_put *put, enum spool_state state, barid_slice meta, barid_slice header,
                        const struct unit_state *units, size_t n_units);
    /* The puts are taken over whatever happens; done exactly once (never from within this call). BARID_EINVALID: one is not
     * described, or sharers are missing; BARID_ELIMIT: together too large to be atomic (the log: one segment); EFULL, EIO. */
    int (*commit)(struct spool *s, struct spool_put **puts, size_t n, spool_done done, void *user);

    /* --- schedule */
    /* Up to max claims of active messages due at now_us, earliest first: all units of a message that are due make one claim.
     * Leases end by update, release, or the process's end; holding or removing a message does not end them. BARID_EIO. */
    int (*claim)(struct spool *s, int64_t now_us, size_t max, struct spool_claim *claims, size_t *n_r);
    /* The same, but choose is asked about each message that is due, under the store's lock (it must be quick and must not call the
     * store). True: it is claimed (unless it goes or cannot be read meanwhile: claims says what was). False: it is put aside: it is not
     * due for next_due and claims any more, only claim_one still gives it out, until its state or units are changed by an operator, a
     * lease of it is released, or the process ends. It stays a message like any other for all else. At most max together: *n_r were
     * claimed, *aside_r put aside; both 0: nothing is due. choose NULL: claim. */
    int (*claim_some)(struct spool *s, int64_t now_us, size_t max, bool (*choose)(void *user, uint64_t id, uint32_t group), void *user,
                      struct spool_claim *claims, size_t *n_r, size_t *aside_r);
    /* The units of one message that are due; it is put aside no longer. BARID_ENOTFOUND: gone, not active, cannot be read, or none is due
     * and free: then it is back in the schedule, if it was put aside. May wait for the disk. BARID_EIO, ENOMEM (it stays where it was). */
    int (*claim_one)(struct spool *s, uint64_t id, int64_t now_us, struct spool_claim *claim_r);
    /* As release, but the message is then put aside, and its group is this one (NONE, or FIRST and above) until its next record (update,
     * change, set_state) says otherwise: its next hop turned out to be another. Not recorded: a restart forgets both. Nothing, when that
     * lease holds nothing. */
    void (*put_aside)(struct spool *s, uint64_t id, uint64_t lease, uint32_t group);
    /* What is pending with that group in active messages, was attempted before and is held by nobody is due from now on, whatever its due
     * time says, before all else; claims and claim_one take it (a message that was put aside stays put aside). Not recorded: a restart
     * forgets it, and so does the message when its units or state change. Messages of which two groups are hastened may have what is
     * attempted of the others taken along. Waits for the disk for messages of several groups: call it from a pool thread. *n_r: messages,
     * due already or not. BARID_EINVALID (no such group can be), BARID_EIO, ENOMEM (some may be hastened then). */
    int (*hasten)(struct spool *s, uint32_t group, size_t *n_r);
    /* Earliest due time of anything claimable; INT64_MAX = none. */
    int64_t (*next_due)(struct spool *s);
    /* Called (any thread) when something became claimable earlier than next_due last said. One watcher. */
    void (*watch)(struct spool *s, void (*changed)(void *user), void *user);
    /* New states for units of a lease; ends the lease of those units. done may be NULL (then nobody waits, but it is written within
     * a second). All or none of the changes; with none of them, 0 whatever the lease. BARID_ENOTFOUND (gone),
     * BARID_EINVALID (not of that lease). */
    int (*update)(struct spool *s, uint64_t id, uint64_t lease, const struct unit_change *changes, size_t n,
                  spool_done done, void *user);
    void (*release)(struct spool *s, uint64_t id, uint64_t lease);

    /* --- read (may block on the disk: call from a pool thread or the command line) */
    int (*load)(struct spool *s, uint64_t id, struct spool_loaded *loaded_r);
    void (*loaded_free)(struct spool_loaded *loaded);
    /* Body octets from offset. Bytes read (0 = end) or a barid_err. A body stays readable while it is open, whatever becomes of
     * its message. BARID_ECORRUPT when the checksum is wrong: from body_open, or, above SPOOL_BODY_MEMORY, from the body_read
     * that reaches the end of a body read in order. body_close(NULL) is allowed. */
    int (*body_open)(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r);
    int64_t (*body_read)(void *body, uint64_t offset, void *p, size_t n);
    void (*body_close)(void *body);

    /* --- operate */
    /* Next message after id (0 = first) in order of id. 0 or BARID_ENOTFOUND. */
    int (*after)(struct spool *s, uint64_t id, struct spool_message *message_r);
    int (*set_state)(struct spool *s, uint64_t id, enum spool_state state, spool_done done, void *user);
    /* Change units whoever holds them not: leased units are BARID_EAGAIN, and so are those that are done meanwhile: done is for good.
     * For hold, release, retry by an operator. */
    int (*change)(struct spool *s, uint64_t id, const struct unit_change *changes, size_t n, spool_done done, void *user);
    int (*erase)(struct spool *s, uint64_t id, spool_done done, void *user); /* for good */
    void (*stats)(struct spool *s, struct spool_stats *stats_r);
};

#define SPOOL_BODY_MEMORY   (1u << 20) /* bodies up to this stay in memory until commit (spool.md 8.6) */
#define SPOOL_BACKLOG_PAUSE (4u << 20)

struct spool {
    const struct spool_ops *ops;
    uint8_t key[16]; /* random, made with the store and kept with it: keys the numbers of groups */
};

#endif
