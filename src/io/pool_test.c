/* The worker pool: who runs what where, the bound of the queue, the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>

#include "io/pool.h"

enum { JOBS = 200 };

struct fixture {
    struct loop *loop;
    pthread_t runner;
    unsigned done, wrong;
    pthread_mutex_t gate; /* held by the test: jobs wait in run */
};

struct job {
    struct pool_job job; /* first */
    struct fixture *f;
    unsigned in, out;
    bool gated;
};

static void on_run(struct pool_job *pj)
{
    struct job *j = (struct job *)pj;

    if (j->gated) {
        pthread_mutex_lock(&j->f->gate);
        pthread_mutex_unlock(&j->f->gate);
    }
    j->out = j->in * 2 + pthread_equal(j->f->runner, pthread_self());
}

static void on_done(struct pool_job *pj)
{
    struct job *j = (struct job *)pj;

    j->f->done++;
    j->f->wrong += j->out != j->in * 2 || !pthread_equal(j->f->runner, pthread_self());
}

static void test_results(void **state)
{
    static struct job jobs[JOBS];
    struct fixture f = {.runner = pthread_self()};
    struct pool *pool;

    (void)state;
    assert_int_equal(loop_new(&f.loop, NULL, NULL, NULL), 0);
    assert_int_equal(pool_new(&pool, 4, JOBS, NULL), 0);
    for (unsigned i = 0; i < JOBS; i++) {
        jobs[i] = (struct job){{on_run, on_done, NULL, NULL, {NULL, NULL}}, &f, i, 0, false};
        assert_int_equal(pool_start(pool, f.loop, &jobs[i].job), 0);
    }
    while (f.done < JOBS)
        loop_turn(f.loop, true);
    assert_int_equal(f.wrong, 0);
    pool_del(&pool);
    assert_null(pool);
    pool_del(&pool);
    loop_del(&f.loop);
}

/* One thread that waits, a queue of two: the third that would wait is refused, and its done
 * never called. */
static void test_bound_and_end(void **state)
{
    struct job jobs[5];
    struct fixture f = {.runner = pthread_self(), .gate = PTHREAD_MUTEX_INITIALIZER};
    struct pool *pool;
    unsigned refused = 0, accepted = 0;

    (void)state;
    assert_int_equal(loop_new(&f.loop, NULL, NULL, NULL), 0);
    assert_int_equal(pool_new(&pool, 1, 2, NULL), 0);
    pthread_mutex_lock(&f.gate);
    for (unsigned i = 0; i < 5; i++) {
        int rc;

        jobs[i] = (struct job){{on_run, on_done, NULL, NULL, {NULL, NULL}}, &f, i, 0, true};
        rc = pool_start(pool, f.loop, &jobs[i].job);
        refused += rc == BARID_EFULL;
        accepted += rc == 0;
    }
    /* two queue, and a third at most is in the thread's hands */
    assert_int_equal(refused + accepted, 5);
    assert_in_range(accepted, 2, 3);
    pthread_mutex_unlock(&f.gate);
    pool_del(&pool); /* finishes what was started */
    while (f.done < accepted)
        loop_turn(f.loop, true);
    loop_turn(f.loop, false);
    assert_int_equal(f.done, accepted);
    assert_int_equal(f.wrong, 0);
    loop_del(&f.loop);
    pthread_mutex_destroy(&f.gate);
}

static void test_refused(void **state)
{
    struct pool *pool;
    struct err err;

    (void)state;
    assert_int_equal(pool_new(&pool, 0, 1, &err), BARID_EINVALID);
    assert_int_equal(pool_new(&pool, POOL_THREADS_MAX + 1, 1, &err), BARID_EINVALID);
    assert_int_equal(pool_new(&pool, 1, 0, &err), BARID_EINVALID);
    assert_null(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_results),
                                       cmocka_unit_test(test_bound_and_end),
                                       cmocka_unit_test(test_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
