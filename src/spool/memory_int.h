/*
 * spool/memory_int.h: the store without a disk from inside. Only memory*.c include it.
 */
#ifndef SPOOL_MEMORY_INT_H
#define SPOOL_MEMORY_INT_H

#include <pthread.h>

#include "spool/put.h"
#include "spool/spool_open.h"
#include "spool/units.h"

struct message {
    uint64_t id;
    enum spool_state state;
    uint64_t size;
    struct units units;
    struct put_text *text;
    struct put_body *body; /* counted under the lock */
    bool is_aside;         /* only claim_one gives it out */
    bool is_regrouped;     /* put aside with this group, and not recorded since */
    uint32_t group;
    uint32_t hastened; /* as in digest_hasten; 0 = nothing */
};

struct completion {
    struct completion *next;
    spool_done done;
    void *user;
};

struct memory {
    struct spool spool;
    const barid_mem *mem;
    struct clock clock;
    uint64_t max_bytes;

    pthread_mutex_t lock; /* all below */
    pthread_cond_t wake;  /* the thread has something to do */
    pthread_t thread;
    bool closing;
    struct completion *queue, **queue_end;
    struct message **messages; /* by id */
    size_t n, cap;
    uint64_t last_id, last_lease, live_bytes;
    int64_t announced_us; /* what next_due last said */
    struct spool_stats stats;

    pthread_mutex_t watch_lock; /* held while the watcher is called: watch(NULL) waits for it */
    void (*changed)(void *user);
    void *changed_user;
};

static inline struct memory *memory_of(struct spool *s)
{
    return (struct memory *)s;
}

/* --- memory.c; lock held unless said otherwise */
int completion_new(struct memory *m, spool_done done, void *user,
                   struct completion **c_r);                   /* no lock; NULL for no done */
void completion_queue(struct memory *m, struct completion *c); /* NULL is allowed */
size_t memory_lower_bound(const struct memory *m, uint64_t id);
struct message *memory_find(const struct memory *m, uint64_t id);
struct units_digest memory_digest(const struct message *msg);
int64_t memory_claimable(const struct message *msg); /* from when on */
int64_t memory_earliest(const struct memory *m);
void memory_announce(struct memory *m); /* unlocks */
void message_del(struct memory *m, struct message *msg);
void memory_remove(struct memory *m, struct message *msg);
void memory_remove_if_over(struct memory *m, struct message *msg);

/* --- memory_put.c */
int memory_admit(struct spool *s, uint64_t size);
int memory_put_begin(struct spool *s, struct spool_put **put_r);
size_t memory_put_backlog(struct spool_put *put);
void memory_put_on_drain(struct spool_put *put, void (*drained)(void *user), void *user);
uint64_t memory_put_size(struct spool_put *put);
int64_t memory_put_read(struct spool_put *put, uint64_t offset, void *p, size_t n);
int memory_put_share(struct spool_put *put, struct spool_put **put_r);
void memory_put_abort(struct spool_put *put);
uint64_t memory_put_id(struct spool_put *put);
int memory_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                  void *user);

/* --- memory_claim.c */
int memory_claim(struct spool *s, int64_t now_us, size_t max, struct spool_claim *claims,
                 size_t *n_r);
int memory_claim_some(struct spool *s, int64_t now_us, size_t max,
                      bool (*choose)(void *user, uint64_t id, uint32_t group), void *user,
                      struct spool_claim *claims, size_t *n_r, size_t *aside_r);
int memory_claim_one(struct spool *s, uint64_t id, int64_t now_us, struct spool_claim *claim_r);
void memory_release(struct spool *s, uint64_t id, uint64_t lease);
void memory_put_aside(struct spool *s, uint64_t id, uint64_t lease, uint32_t group);
int memory_hasten(struct spool *s, uint32_t group, size_t *n_r);

/* --- memory_state.c */
int64_t memory_next_due(struct spool *s);
void memory_watch(struct spool *s, void (*changed)(void *user), void *user);
int memory_update(struct spool *s, uint64_t id, uint64_t lease,
                  const struct unit_change *changes, size_t n, spool_done done, void *user);
int memory_change(struct spool *s, uint64_t id, const struct unit_change *changes, size_t n,
                  spool_done done, void *user);
int memory_set_state(struct spool *s, uint64_t id, enum spool_state state, spool_done done,
                     void *user);
int memory_erase(struct spool *s, uint64_t id, spool_done done, void *user);

/* --- memory_read.c */
int memory_load(struct spool *s, uint64_t id, struct spool_loaded *loaded_r);
void memory_loaded_free(struct spool_loaded *loaded);
int memory_body_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r);
int64_t memory_body_read(void *body, uint64_t offset, void *p, size_t n);
void memory_body_close(void *body);
int memory_after(struct spool *s, uint64_t id, struct spool_message *message_r);

#endif
