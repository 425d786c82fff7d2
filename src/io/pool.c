/*
 * io/pool.c: a fixed number of threads and one bounded queue.
 *
 * A job is owned by its starter, then the queue, then one thread, then (through loop_post) the
 * loop of its starter; the lock and loop_post order these, so a job needs no lock of its own.
 * pool_del lets everything queued run and its done be posted: the loops must outlive the pool,
 * and turn once more if the done is to be seen.
 */
#include "io/pool.h"

#include <pthread.h>
#include <signal.h>

#include "base/mem.h"

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* a job came, or stopping */
    struct pool_job *head, **tail;
    size_t queued, max_queued;
    unsigned idle; /* threads that wait */
    bool waking;   /* one of them was woken and has not looked yet */
    bool stopping;
    unsigned n_threads;
    pthread_t threads[];
};

/* Lock held. One thread is woken at a time, and wakes the next one when there is more: a thread that is awake has often done short jobs
 * before another would have come to life for each. */
static void wake(struct pool *pool)
{
    if (pool->head == NULL || pool->idle == 0 || pool->waking)
        return;
    pool->waking = true;
    pthread_cond_signal(&pool->filled);
}

static void wait(struct pool *pool)
{
    pool->idle++;
    pthread_cond_wait(&pool->filled, &pool->lock);
    pool->idle--;
    pool->waking = false;
}

/* The next job, or NULL when there will be none. */
static struct pool_job *take(struct pool *pool)
{
    struct pool_job *job;

    pthread_mutex_lock(&pool->lock);
    while (pool->head == NULL && !pool->stopping)
        wait(pool);
    job = pool->head;
    if (job != NULL) {
        pool->head = job->next;
        if (pool->head == NULL)
            pool->tail = &pool->head;
        pool->queued--;
    }
    wake(pool);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

static void on_done(struct loop_task *task)
{
    struct pool_job *job = LIST_ENTRY(task, struct pool_job, task);

    job->done(job);
}

static void *work(void *arg)
{
    struct pool *pool = arg;
    struct pool_job *job;

    while ((job = take(pool)) != NULL) {
        job->run(job);
        job->task.run = on_done;
        loop_post(job->loop, &job->task);
    }
    return NULL;
}

static void stop(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->lock);
    mem_free(NULL, pool);
}

/* Signals belong to the loop that watches them. Returns 0 or an errno value. */
static int start_threads(struct pool *pool, unsigned threads)
{
    sigset_t all, old;
    int e = 0;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (e == 0 && pool->n_threads < threads) {
        e = pthread_create(&pool->threads[pool->n_threads], NULL, work, pool);
        pool->n_threads += e == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

int pool_new(struct pool **pool_r, unsigned threads, size_t max_queued, struct err *err)
{
    struct pool *pool;
    int e;

    *pool_r = NULL;
    if (threads == 0 || threads > POOL_THREADS_MAX || max_queued == 0)
        return err_set(err, BARID_EINVALID,
                       "worker pool: from 1 to %d threads and a queue are needed",
                       POOL_THREADS_MAX);
    pool = mem_zalloc(NULL, sizeof(*pool) + threads * sizeof(pool->threads[0]));
    if (pool == NULL)
        return err_set(err, BARID_ENOMEM, "worker pool: out of memory");
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->filled, NULL);
    pool->tail = &pool->head;
    pool->max_queued = max_queued;
    e = start_threads(pool, threads);
    if (e != 0) {
        stop(pool);
        return err_errno(err, BARID_EIO, e, "worker pool: cannot start a thread");
    }
    *pool_r = pool;
    return 0;
}

int pool_start(struct pool *pool, struct loop *loop, struct pool_job *job)
{
    int rc = 0;

    job->loop = loop;
    job->next = NULL;
    pthread_mutex_lock(&pool->lock);
    if (pool->queued >= pool->max_queued) {
        rc = BARID_EFULL;
    } else {
        *pool->tail = job;
        pool->tail = &job->next;
        pool->queued++;
        wake(pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return rc;
}

void pool_del(struct pool **pool_r)
{
    struct pool *pool = *pool_r;

    if (pool == NULL)
        return;
    *pool_r = NULL;
    stop(pool);
}
