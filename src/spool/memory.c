/*
 * spool/memory.c: the store without a disk: every rule of interface/spool.h except surviving.
 *
 * Deliberately simple, since the log is compared with it: one lock, messages in an array in
 * order of id, due messages found by looking at all. One thread calls the done callbacks, in
 * order, because none may be called from within the call that took it.
 */
#include "spool/spool_open.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "spool/put.h"
#include "spool/units.h"

struct message {
    uint64_t id;
    enum spool_state state;
    uint64_t size;
    struct units units;
    struct put_text *text;
    struct put_body *body; /* counted under the lock */
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

static struct memory *memory_of(struct spool *s)
{
    return (struct memory *)s;
}

static void *completion_thread(void *arg)
{
    struct memory *m = arg;

    pthread_mutex_lock(&m->lock);
    for (;;) {
        struct completion *c = m->queue;

        if (c == NULL && m->closing)
            break;
        if (c == NULL) {
            pthread_cond_wait(&m->wake, &m->lock);
            continue;
        }
        if ((m->queue = c->next) == NULL)
            m->queue_end = &m->queue;
        pthread_mutex_unlock(&m->lock);
        c->done(c->user, 0);
        mem_free(m->mem, c);
        pthread_mutex_lock(&m->lock);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}

/* Taken before anything changes, so that a failure leaves no trace. *c_r is NULL for no done.
 */
static int completion_new(struct memory *m, spool_done done, void *user,
                          struct completion **c_r)
{
    *c_r = NULL;
    if (done == NULL)
        return 0;
    if ((*c_r = mem_alloc(m->mem, sizeof(**c_r))) == NULL)
        return BARID_ENOMEM;
    **c_r = (struct completion){.done = done, .user = user};
    return 0;
}

static void complete(struct memory *m, struct completion *c)
{
    if (c == NULL)
        return;
    *m->queue_end = c;
    m->queue_end = &c->next;
    pthread_cond_signal(&m->wake);
}

/* Index of the first message whose id is at least id. */
static size_t lower_bound(const struct memory *m, uint64_t id)
{
    size_t lo = 0, hi = m->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (m->messages[mid]->id < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct message *find(const struct memory *m, uint64_t id)
{
    size_t i = lower_bound(m, id);

    return i < m->n && m->messages[i]->id == id ? m->messages[i] : NULL;
}

static int64_t claimable_from(const struct message *msg)
{
    return msg->state == SPOOL_ACTIVE ? units_next(&msg->units) : INT64_MAX;
}

static int64_t earliest(const struct memory *m)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < m->n; i++) {
        int64_t from = claimable_from(m->messages[i]);

        next = from < next ? from : next;
    }
    return next;
}

/* Unlocks, and tells the watcher when there is something earlier than it knows. */
static void unlock_and_announce(struct memory *m)
{
    int64_t next = earliest(m);
    bool news = next < m->announced_us;

    if (news)
        m->announced_us = next;
    pthread_mutex_unlock(&m->lock);
    if (!news)
        return;
    pthread_mutex_lock(&m->watch_lock);
    if (m->changed != NULL)
        m->changed(m->changed_user);
    pthread_mutex_unlock(&m->watch_lock);
}

static void message_del(struct memory *m, struct message *msg)
{
    units_deinit(&msg->units);
    if (msg->body != NULL)
        put_body_unref(msg->body);
    mem_free(m->mem, msg->text);
    mem_free(m->mem, msg);
}

static void remove_message(struct memory *m, struct message *msg)
{
    size_t i = lower_bound(m, msg->id);

    memmove(&m->messages[i], &m->messages[i + 1], (m->n - i - 1) * sizeof(*m->messages));
    m->n--;
    m->live_bytes -= msg->size;
    message_del(m, msg);
}

static void remove_if_over(struct memory *m, struct message *msg)
{
    if (msg->state == SPOOL_ACTIVE && units_over(&msg->units))
        remove_message(m, msg);
}

/* --- accept */

static int memory_admit(struct spool *s, uint64_t size)
{
    struct memory *m = memory_of(s);
    int rc;

    pthread_mutex_lock(&m->lock);
    rc = m->max_bytes != 0 && (size > m->max_bytes || m->live_bytes > m->max_bytes - size)
             ? BARID_EFULL
             : 0;
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static uint64_t new_id(struct memory *m)
{
    uint64_t id;

    pthread_mutex_lock(&m->lock);
    id = m->last_id = put_next_id(m->last_id, &m->clock);
    pthread_mutex_unlock(&m->lock);
    return id;
}

static int memory_put_begin(struct spool *s, struct spool_put **put_r)
{
    struct memory *m = memory_of(s);

    return put_new(put_r, s, m->mem, new_id(m));
}

static size_t memory_put_backlog(struct spool_put *put)
{
    (void)put;
    return 0; /* nothing waits for a disk here */
}

static void memory_put_on_drain(struct spool_put *put, void (*drained)(void *user), void *user)
{
    (void)put;
    (void)drained;
    (void)user;
}

static uint64_t memory_put_size(struct spool_put *put)
{
    return put->body->size;
}

static int64_t memory_put_read(struct spool_put *put, uint64_t offset, void *p, size_t n)
{
    return put_copy_out(put->body, offset, p, n);
}

static int memory_put_share(struct spool_put *put, struct spool_put **put_r)
{
    return put_new_share(put_r, put, new_id(memory_of(put->spool)));
}

static void memory_put_abort(struct spool_put *put)
{
    put_del(&put);
}

static uint64_t memory_put_id(struct spool_put *put)
{
    return put->id;
}

static int reserve(struct memory *m, size_t n)
{
    size_t cap = m->cap == 0 ? 16 : m->cap;
    struct message **grown;

    while (cap < m->n + n)
        cap *= 2;
    if (cap == m->cap)
        return 0;
    if ((grown = mem_realloc(m->mem, m->messages, cap * sizeof(*grown))) == NULL)
        return BARID_ENOMEM;
    m->messages = grown;
    m->cap = cap;
    return 0;
}

static int message_new(struct memory *m, const struct spool_put *put, struct message **msg_r)
{
    struct message *msg = mem_zalloc(m->mem, sizeof(*msg));

    if (msg == NULL)
        return BARID_ENOMEM;
    if (units_init(&msg->units, m->mem, put->text->units, put->text->n_units) != 0) {
        mem_free(m->mem, msg);
        return BARID_ENOMEM;
    }
    msg->id = put->id;
    msg->state = put->text->state;
    msg->size = put_message_size(put);
    *msg_r = msg;
    return 0;
}

static void insert(struct memory *m, struct message *msg, struct spool_put *put)
{
    size_t i = lower_bound(m, msg->id);

    memmove(&m->messages[i + 1], &m->messages[i], (m->n - i) * sizeof(*m->messages));
    m->messages[i] = msg;
    m->n++;
    m->live_bytes += msg->size;
    msg->text = put->text;
    msg->body = put->body;
    put->text = NULL;
    put->body = NULL;
}

/* Everything that can fail, under the lock. made has n places. */
static int prepare(struct memory *m, struct spool_put **puts, size_t n, struct message **made)
{
    uint64_t size = 0;

    for (size_t i = 0; i < n; i++)
        size += put_message_size(puts[i]);
    if (m->max_bytes != 0 && (size > m->max_bytes || m->live_bytes > m->max_bytes - size))
        return BARID_EFULL;
    if (reserve(m, n) != 0)
        return BARID_ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (message_new(m, puts[i], &made[i]) == 0)
            continue;
        while (i-- > 0)
            message_del(m, made[i]);
        return BARID_ENOMEM;
    }
    return 0;
}

static int memory_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                         void *user)
{
    struct memory *m = memory_of(s);
    struct message **made = NULL;
    struct completion *c = NULL;
    int rc = put_check_commit(s, puts, n);

    if (rc == 0 && (made = mem_array(m->mem, n, sizeof(*made))) == NULL)
        rc = BARID_ENOMEM;
    if (rc == 0)
        rc = completion_new(m, done, user, &c);
    pthread_mutex_lock(&m->lock);
    if (rc == 0)
        rc = prepare(m, puts, n, made);
    for (size_t i = 0; i < n && rc == 0; i++)
        insert(m, made[i], puts[i]);
    if (rc == 0) {
        complete(m, c);
        m->stats.commits++;
    }
    /* Bodies are counted under the lock: another sharer may be a message already. */
    for (size_t i = 0; i < n; i++)
        put_del(&puts[i]);
    unlock_and_announce(m);
    if (rc != 0)
        mem_free(m->mem, c);
    mem_free(m->mem, made);
    return rc;
}

/* --- schedule */

static struct message *most_due(const struct memory *m, int64_t now_us)
{
    struct message *best = NULL;
    int64_t best_from = 0;

    for (size_t i = 0; i < m->n; i++) {
        int64_t from = claimable_from(m->messages[i]);

        if (from > now_us || from == INT64_MAX || (best != NULL && from >= best_from))
            continue;
        best = m->messages[i];
        best_from = from;
    }
    return best;
}

static int memory_claim(struct spool *s, int64_t now_us, size_t max, struct spool_claim *claims,
                        size_t *n_r)
{
    struct memory *m = memory_of(s);
    int rc = 0;

    *n_r = 0;
    pthread_mutex_lock(&m->lock);
    while (*n_r < max) {
        struct message *msg = most_due(m, now_us);
        struct spool_claim *claim = &claims[*n_r];

        if (msg == NULL)
            break;
        claim->id = msg->id;
        claim->lease = m->last_lease + 1;
        rc = units_claim(&msg->units, now_us, claim->lease, &claim->units, &claim->n_units);
        if (rc != 0)
            break;
        m->last_lease++;
        ++*n_r;
    }
    pthread_mutex_unlock(&m->lock);
    return *n_r > 0 ? 0 : rc;
}

static int64_t memory_next_due(struct spool *s)
{
    struct memory *m = memory_of(s);
    int64_t next;

    pthread_mutex_lock(&m->lock);
    next = m->announced_us = earliest(m);
    pthread_mutex_unlock(&m->lock);
    return next;
}

static void memory_watch(struct spool *s, void (*changed)(void *user), void *user)
{
    struct memory *m = memory_of(s);

    pthread_mutex_lock(&m->watch_lock);
    m->changed = changed;
    m->changed_user = user;
    pthread_mutex_unlock(&m->watch_lock);
}

/* update and change differ in the lease only: 0 is the operator's. */
static int change_units(struct spool *s, uint64_t id, uint64_t lease,
                        const struct unit_change *changes, size_t n, spool_done done,
                        void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc = completion_new(m, done, user, &c);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    msg = find(m, id);
    rc = msg == NULL ? BARID_ENOTFOUND : units_change(&msg->units, lease, changes, n);
    if (rc == 0) {
        remove_if_over(m, msg);
        complete(m, c);
    }
    unlock_and_announce(m);
    if (rc != 0)
        mem_free(m->mem, c);
    return rc;
}

static int memory_update(struct spool *s, uint64_t id, uint64_t lease,
                         const struct unit_change *changes, size_t n, spool_done done,
                         void *user)
{
    return lease == 0 ? BARID_EINVALID : change_units(s, id, lease, changes, n, done, user);
}

static int memory_change(struct spool *s, uint64_t id, const struct unit_change *changes,
                         size_t n, spool_done done, void *user)
{
    return change_units(s, id, 0, changes, n, done, user);
}

static void memory_release(struct spool *s, uint64_t id, uint64_t lease)
{
    struct memory *m = memory_of(s);
    struct message *msg;

    pthread_mutex_lock(&m->lock);
    if ((msg = find(m, id)) != NULL)
        units_release(&msg->units, lease);
    unlock_and_announce(m);
}

/* --- read */

static void describe(const struct message *msg, struct spool_message *message_r)
{
    *message_r = (struct spool_message){
        .id = msg->id,
        .state = msg->state,
        .next_due_us = units_next(&msg->units),
        .size = msg->size,
        .units = msg->units.n,
    };
}

static void *snapshot(struct memory *m, const struct message *msg,
                      struct spool_loaded *loaded_r)
{
    size_t n = msg->units.n,
           size = n * sizeof(struct unit_state) + msg->text->meta.n + msg->text->header.n;
    struct unit_state *states;
    char *block, *at;

    for (size_t i = 0; i < n; i++)
        size += msg->units.v[i].state.reply.n;
    if ((block = mem_alloc(m->mem, sizeof(m->mem) + size)) == NULL)
        return NULL;
    memcpy(block, &m->mem, sizeof(m->mem)); /* loaded_free has no store to ask */
    states = (struct unit_state *)(block + sizeof(m->mem));
    at = (char *)(states + n);
    loaded_r->meta = (barid_slice){at, msg->text->meta.n};
    loaded_r->header = (barid_slice){at + msg->text->meta.n, msg->text->header.n};
    if (msg->text->meta.n + msg->text->header.n > 0)
        memcpy(at, msg->text->meta.p, msg->text->meta.n + msg->text->header.n);
    at += msg->text->meta.n + msg->text->header.n;
    for (size_t i = 0; i < n; i++) {
        states[i] = msg->units.v[i].state;
        if (states[i].reply.n > 0)
            memcpy(at, states[i].reply.p, states[i].reply.n);
        states[i].reply.p = at;
        at += states[i].reply.n;
    }
    loaded_r->units = states;
    loaded_r->n_units = n;
    return block;
}

static int memory_load(struct spool *s, uint64_t id, struct spool_loaded *loaded_r)
{
    struct memory *m = memory_of(s);
    struct message *msg;
    int rc = BARID_ENOTFOUND;

    *loaded_r = (struct spool_loaded){0};
    pthread_mutex_lock(&m->lock);
    if ((msg = find(m, id)) != NULL) {
        describe(msg, &loaded_r->info);
        loaded_r->memory = snapshot(m, msg, loaded_r);
        rc = loaded_r->memory == NULL ? BARID_ENOMEM : 0;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static void memory_loaded_free(struct spool_loaded *loaded)
{
    const barid_mem *mem;

    if (loaded->memory != NULL) {
        memcpy(&mem, loaded->memory, sizeof(mem));
        mem_free(mem, loaded->memory);
    }
    *loaded = (struct spool_loaded){0};
}

struct memory_body {
    struct memory *m;
    struct put_body *body;
};

static int memory_body_open(struct spool *s, uint64_t id, void **body_r, uint64_t *size_r)
{
    struct memory *m = memory_of(s);
    struct memory_body *open = mem_alloc(m->mem, sizeof(*open));
    struct message *msg;

    if (open == NULL)
        return BARID_ENOMEM;
    pthread_mutex_lock(&m->lock);
    if ((msg = find(m, id)) != NULL) {
        msg->body->refs++;
        *open = (struct memory_body){m, msg->body};
        *size_r = msg->body->size;
    }
    pthread_mutex_unlock(&m->lock);
    if (msg == NULL) {
        mem_free(m->mem, open);
        return BARID_ENOTFOUND;
    }
    *body_r = open;
    return 0;
}

static int64_t memory_body_read(void *body, uint64_t offset, void *p, size_t n)
{
    return put_copy_out(((struct memory_body *)body)->body, offset, p, n);
}

static void memory_body_close(void *body)
{
    struct memory_body *open = body;
    struct memory *m;

    if (open == NULL)
        return;
    m = open->m;
    pthread_mutex_lock(&m->lock);
    put_body_unref(open->body);
    pthread_mutex_unlock(&m->lock);
    mem_free(m->mem, open);
}

/* --- operate */

static int memory_after(struct spool *s, uint64_t id, struct spool_message *message_r)
{
    struct memory *m = memory_of(s);
    size_t i;
    int rc = BARID_ENOTFOUND;

    pthread_mutex_lock(&m->lock);
    i = id == UINT64_MAX ? m->n : lower_bound(m, id + 1);
    if (i < m->n) {
        describe(m->messages[i], message_r);
        rc = 0;
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int memory_set_state(struct spool *s, uint64_t id, enum spool_state state,
                            spool_done done, void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc;

    if (state < SPOOL_ACTIVE || state > SPOOL_QUARANTINED)
        return BARID_EINVALID;
    if ((rc = completion_new(m, done, user, &c)) != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    if ((msg = find(m, id)) != NULL) {
        msg->state = state;
        remove_if_over(m, msg);
        complete(m, c);
    }
    unlock_and_announce(m);
    if (msg == NULL)
        mem_free(m->mem, c);
    return msg == NULL ? BARID_ENOTFOUND : 0;
}

static int memory_erase(struct spool *s, uint64_t id, spool_done done, void *user)
{
    struct memory *m = memory_of(s);
    struct completion *c;
    struct message *msg;
    int rc = completion_new(m, done, user, &c);

    if (rc != 0)
        return rc;
    pthread_mutex_lock(&m->lock);
    if ((msg = find(m, id)) != NULL) {
        remove_message(m, msg);
        complete(m, c);
    }
    pthread_mutex_unlock(&m->lock);
    if (msg == NULL)
        mem_free(m->mem, c);
    return msg == NULL ? BARID_ENOTFOUND : 0;
}

static void memory_stats(struct spool *s, struct spool_stats *stats_r)
{
    struct memory *m = memory_of(s);

    pthread_mutex_lock(&m->lock);
    *stats_r = m->stats;
    for (size_t i = 0; i < m->n; i++)
        stats_r->messages[m->messages[i]->state]++;
    stats_r->live_bytes = m->live_bytes;
    stats_r->full = m->max_bytes != 0 && m->live_bytes >= m->max_bytes;
    stats_r->free_bytes = m->max_bytes > m->live_bytes ? m->max_bytes - m->live_bytes : 0;
    pthread_mutex_unlock(&m->lock);
}

static void memory_close(struct spool *s)
{
    struct memory *m = memory_of(s);

    pthread_mutex_lock(&m->lock);
    m->closing = true;
    pthread_cond_signal(&m->wake);
    pthread_mutex_unlock(&m->lock);
    pthread_join(m->thread, NULL);
    for (size_t i = 0; i < m->n; i++)
        message_del(m, m->messages[i]);
    mem_free(m->mem, m->messages);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->watch_lock);
    mem_free(m->mem, m);
}

static const struct spool_ops memory_ops = {
    .name = "memory",
    .close = memory_close,
    .admit = memory_admit,
    .put_begin = memory_put_begin,
    .put_body = put_append,
    .put_backlog = memory_put_backlog,
    .put_on_drain = memory_put_on_drain,
    .put_size = memory_put_size,
    .put_read = memory_put_read,
    .put_truncate = put_restart,
    .put_share = memory_put_share,
    .put_abort = memory_put_abort,
    .put_id = memory_put_id,
    .put_describe = put_set_text,
    .commit = memory_commit,
    .claim = memory_claim,
    .next_due = memory_next_due,
    .watch = memory_watch,
    .update = memory_update,
    .release = memory_release,
    .load = memory_load,
    .loaded_free = memory_loaded_free,
    .body_open = memory_body_open,
    .body_read = memory_body_read,
    .body_close = memory_body_close,
    .after = memory_after,
    .set_state = memory_set_state,
    .change = memory_change,
    .erase = memory_erase,
    .stats = memory_stats,
};

int spool_memory_open(struct spool **spool_r, const struct spool_memory_options *options,
                      struct err *e)
{
    struct memory *m = mem_zalloc(options->mem, sizeof(*m));

    if (m == NULL)
        return err_set(e, BARID_ENOMEM, "spool: out of memory");
    m->spool.ops = &memory_ops;
    m->mem = options->mem;
    m->clock = options->clock != NULL ? *options->clock : clock_system;
    m->max_bytes = options->max_bytes;
    m->last_id = options->id_seed != 0 ? options->id_seed - 1 : 0;
    m->announced_us = INT64_MAX;
    m->queue_end = &m->queue;
    pthread_mutex_init(&m->lock, NULL);
    pthread_mutex_init(&m->watch_lock, NULL);
    pthread_cond_init(&m->wake, NULL);
    if (pthread_create(&m->thread, NULL, completion_thread, m) != 0) {
        mem_free(m->mem, m);
        return err_set(e, BARID_EIO, "spool: no thread for the memory store");
    }
    *spool_r = &m->spool;
    return 0;
}
