/*
 * tests/early_ack.c: the daemon with a store that lies: commit is answered at once, the record is given to the real store
 * some milliseconds later, as by a cache that is written now and then. crash_test.py must find that out.
 *
 * Linked with --wrap=spool_log_open; never part of barid.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "spool/spool_open.h"

#define BEHIND_MS 5

int __real_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e);
int __wrap_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e);

struct late {
    struct late *next;
    struct spool_put **puts;
    size_t n;
    spool_done done;
    void *user;
};

/* One store a process. The list under the lock; late commits keep their order. */
static struct {
    struct spool_ops ops;
    const struct spool_ops *real;
    struct spool *spool;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct late *first, **end;
    bool stop;
} cache = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .work = PTHREAD_COND_INITIALIZER, .end = &cache.first};

static void nobody_waits(void *user, int err)
{
    (void)user;
    (void)err;
}

static void let_time_pass(void)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += BEHIND_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (pthread_cond_timedwait(&cache.work, &cache.lock, &until) == 0)
        continue;
}

/* Lock held, given up meanwhile: the lie, and later the truth. */
static void answer_then_write(void)
{
    struct late *list = cache.first, *next;

    cache.first = NULL;
    cache.end = &cache.first;
    pthread_mutex_unlock(&cache.lock);
    for (struct late *l = list; l != NULL; l = l->next)
        l->done(l->user, 0);
    pthread_mutex_lock(&cache.lock);
    let_time_pass();
    for (; list != NULL; list = next) {
        next = list->next;
        if (cache.real->commit(cache.spool, list->puts, list->n, nobody_waits, NULL) != 0)
            abort();
        mem_free(NULL, list->puts);
        mem_free(NULL, list);
    }
}

static void *behind(void *user)
{
    (void)user;
    pthread_mutex_lock(&cache.lock);
    while (cache.first != NULL || !cache.stop) {
        if (cache.first != NULL)
            answer_then_write();
        else
            pthread_cond_wait(&cache.work, &cache.lock);
    }
    pthread_mutex_unlock(&cache.lock);
    return NULL;
}

static int early_commit(struct spool *s, struct spool_put **puts, size_t n, spool_done done,
                        void *user)
{
    struct late *l = mem_zalloc(NULL, sizeof(*l));

    (void)s;
    if (l == NULL || (l->puts = mem_alloc(NULL, n * sizeof(struct spool_put *))) == NULL)
        abort();
    memcpy(l->puts, puts, n * sizeof(struct spool_put *));
    l->n = n;
    l->done = done;
    l->user = user;
    pthread_mutex_lock(&cache.lock);
    *cache.end = l;
    cache.end = &l->next;
    pthread_cond_signal(&cache.work);
    pthread_mutex_unlock(&cache.lock);
    return 0;
}

static void late_close(struct spool *s)
{
    pthread_mutex_lock(&cache.lock);
    cache.stop = true;
    pthread_cond_signal(&cache.work);
    pthread_mutex_unlock(&cache.lock);
    pthread_join(cache.thread, NULL);
    cache.real->close(s);
}

int __wrap_spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                          struct err *e)
{
    int rc = __real_spool_log_open(spool_r, options, e);

    if (rc < 0)
        return rc;
    cache.spool = *spool_r;
    cache.real = cache.spool->ops;
    cache.ops = *cache.real;
    cache.ops.commit = early_commit;
    cache.ops.close = late_close;
    cache.spool->ops = &cache.ops;
    if (pthread_create(&cache.thread, NULL, behind, NULL) != 0)
        abort();
    return 0;
}
