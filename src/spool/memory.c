/*
 * spool/memory.c: the store without a disk: every rule of interface/spool.h except surviving.
 *
 * Deliberately simple, since the log is compared with it: one lock, messages in an array in
 * order of id, due messages found by looking at all. One thread calls the done callbacks, in
 * order, because none may be called from within the call that took it.
 *
 * Here: opening and closing, that thread, the array. Messages come in by memory_put.c, are given
 * out by memory_claim.c, change and go by memory_state.c, are read by memory_read.c.
 */
#include "spool/memory_int.h"

#include <string.h>

#include "base/mem.h"

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
int completion_new(struct memory *m, spool_done done, void *user, struct completion **c_r)
{
    *c_r = NULL;
    if (done == NULL)
        return 0;
    if ((*c_r = mem_alloc(m->mem, sizeof(**c_r))) == NULL)
        return BARID_ENOMEM;
    **c_r = (struct completion){.done = done, .user = user};
    return 0;
}

void completion_queue(struct memory *m, struct completion *c)
{
    if (c == NULL)
        return;
    *m->queue_end = c;
    m->queue_end = &c->next;
    pthread_cond_signal(&m->wake);
}

/* Index of the first message whose id is at least id. */
size_t memory_lower_bound(const struct memory *m, uint64_t id)
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

struct message *memory_find(const struct memory *m, uint64_t id)
{
    size_t i = memory_lower_bound(m, id);

    return i < m->n && m->messages[i]->id == id ? m->messages[i] : NULL;
}

struct units_digest memory_digest(const struct message *msg)
{
    struct units_digest d = units_digest(&msg->units);

    if (msg->is_regrouped) {
        d.is_mixed = false;
        d.group = msg->group;
    }
    return d;
}

int64_t memory_claimable(const struct message *msg)
{
    return msg->state == SPOOL_ACTIVE && !msg->is_aside ? units_next(&msg->units, msg->hastened)
                                                        : INT64_MAX;
}

int64_t memory_earliest(const struct memory *m)
{
    int64_t next = INT64_MAX;

    for (size_t i = 0; i < m->n; i++) {
        int64_t from = memory_claimable(m->messages[i]);

        next = from < next ? from : next;
    }
    return next;
}

/* Unlocks, and tells the watcher when there is something earlier than it knows. */
void memory_announce(struct memory *m)
{
    int64_t next = memory_earliest(m);
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

void message_del(struct memory *m, struct message *msg)
{
    units_deinit(&msg->units);
    if (msg->body != NULL)
        put_body_unref(msg->body);
    mem_free(m->mem, msg->text);
    mem_free(m->mem, msg);
}

void memory_remove(struct memory *m, struct message *msg)
{
    size_t i = memory_lower_bound(m, msg->id);

    memmove(&m->messages[i], &m->messages[i + 1], (m->n - i - 1) * sizeof(*m->messages));
    m->n--;
    m->live_bytes -= msg->size;
    message_del(m, msg);
}

void memory_remove_if_over(struct memory *m, struct message *msg)
{
    if (msg->state == SPOOL_ACTIVE && units_over(&msg->units))
        memory_remove(m, msg);
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
    .claim_some = memory_claim_some,
    .claim_one = memory_claim_one,
    .put_aside = memory_put_aside,
    .hasten = memory_hasten,
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
    /* Nothing survives it that another key could be compared with. */
    memcpy(m->spool.key, "key of no secret", sizeof(m->spool.key));
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
