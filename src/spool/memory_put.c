/* spool/memory_put.c: messages on their way into the store without a disk. */
#include "spool/memory_int.h"

#include <string.h>

#include "base/mem.h"

int memory_admit(struct spool *s, uint64_t size)
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

int memory_put_begin(struct spool *s, struct spool_put **put_r)
{
    struct memory *m = memory_of(s);

    return put_new(put_r, s, m->mem, new_id(m));
}

size_t memory_put_backlog(struct spool_put *put)
{
    (void)put;
    return 0; /* nothing waits for a disk here */
}

void memory_put_on_drain(struct spool_put *put, void (*drained)(void *user), void *user)
{
    (void)put;
    (void)drained;
    (void)user;
}

uint64_t memory_put_size(struct spool_put *put)
{
    return put->body->size;
}

int64_t memory_put_read(struct spool_put *put, uint64_t offset, void *p, size_t n)
{
    return put_copy_out(put->body, offset, p, n);
}

int memory_put_share(struct spool_put *put, struct spool_put **put_r)
{
    return put_new_share(put_r, put, new_id(memory_of(put->spool)));
}

void memory_put_abort(struct spool_put *put)
{
    put_del(&put);
}

uint64_t memory_put_id(struct spool_put *put)
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
    size_t i = memory_lower_bound(m, msg->id);

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

int memory_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
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
        completion_queue(m, c);
        m->stats.commits++;
    }
    /* Bodies are counted under the lock: another sharer may be a message already. */
    for (size_t i = 0; i < n; i++)
        put_del(&puts[i]);
    memory_announce(m);
    if (rc != 0)
        mem_free(m->mem, c);
    mem_free(m->mem, made);
    return rc;
}
