/* Posting from threads, order, deferring, signals, stopping. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "io/loop.h"

enum { THREADS = 4, POSTS = 500 };

struct posted {
    struct loop_task task; /* first */
    struct counter *counter;
    unsigned thread, number;
};

struct counter {
    struct loop *loop;
    unsigned last[THREADS]; /* number of the newest task seen, from 1 */
    unsigned seen;
    bool disorder;
    pthread_t runner;
};

static void on_posted(struct loop_task *task)
{
    struct posted *p = (struct posted *)task;
    struct counter *c = p->counter;

    if (p->number != c->last[p->thread] + 1 || !pthread_equal(c->runner, pthread_self()))
        c->disorder = true;
    c->last[p->thread] = p->number;
    if (++c->seen == THREADS * POSTS)
        loop_stop(c->loop);
}

static void *post_all(void *arg)
{
    struct posted *p = arg;

    for (unsigned i = 0; i < POSTS; i++)
        loop_post(p[i].counter->loop, &p[i].task);
    return NULL;
}

static void test_post_from_threads(void **state)
{
    static struct posted tasks[THREADS][POSTS];
    struct counter c = {.runner = pthread_self()};
    pthread_t threads[THREADS];

    (void)state;
    assert_int_equal(loop_new(&c.loop, NULL, NULL, NULL), 0);
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < POSTS; i++)
            tasks[t][i] = (struct posted){{on_posted, NULL}, &c, t, i + 1};
        assert_int_equal(pthread_create(&threads[t], NULL, post_all, tasks[t]), 0);
    }
    loop_run(c.loop);
    for (unsigned t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(c.seen, THREADS * POSTS);
    assert_false(c.disorder);
    loop_del(&c.loop);
    assert_null(c.loop);
}

struct step {
    struct loop_task task; /* first */
    struct loop *loop;
    char name;
    char *log;
    struct step *next; /* deferred by this one */
    bool again;        /* posts itself once more */
    bool stop;
};

static void note(char *log, char c)
{
    size_t n = strlen(log);

    log[n] = c;
    log[n + 1] = '\0';
}

static void on_step(struct loop_task *task)
{
    struct step *s = (struct step *)task;

    note(s->log, s->name);
    if (s->next != NULL)
        loop_defer(s->loop, &s->next->task);
    if (s->again) {
        s->again = false;
        loop_post(s->loop, task);
    }
    if (s->stop)
        loop_stop(s->loop);
}

static void test_defer_order(void **state)
{
    struct loop *loop;
    char log[32] = "";

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    {
        struct step last = {{on_step, NULL}, loop, 'd', log, NULL, false, true};
        struct step inner = {{on_step, NULL}, loop, 'c', log, &last, false, false};
        struct step a = {{on_step, NULL}, loop, 'a', log, &inner, false, false};
        struct step b = {{on_step, NULL}, loop, 'b', log, NULL, false, false};

        loop_post(loop, &a.task);
        loop_post(loop, &b.task);
        loop_run(loop);
    }
    /* both posts of the batch, then what they deferred, then what that deferred, without a wait
     */
    assert_string_equal(log, "abcd");
    loop_del(&loop);
}

static void test_defer_runs_in_the_same_turn(void **state)
{
    struct loop *loop;
    char log[32] = "";

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    {
        struct step inner = {{on_step, NULL}, loop, 'y', log, NULL, false, false};
        struct step outer = {{on_step, NULL}, loop, 'x', log, &inner, false, false};

        loop_post(loop, &outer.task);
        loop_turn(loop, true);
    }
    assert_string_equal(log, "xy");
    loop_del(&loop);
}

static void test_post_again_from_within(void **state)
{
    struct loop *loop;
    char log[32] = "";

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    {
        struct step twice = {{on_step, NULL}, loop, 't', log, NULL, true, false};

        loop_post(loop, &twice.task);
        loop_turn(loop, true);
        loop_turn(loop, true);
    }
    assert_string_equal(log, "tt");
    loop_del(&loop);
}

static void on_signal(void *user, int signum)
{
    struct step *s = user;

    assert_int_equal(signum, SIGUSR1);
    note(s->log, 's');
    loop_stop(s->loop);
}

static void test_signal(void **state)
{
    struct loop *loop;
    char log[32] = "";
    struct step s = {.log = log};

    (void)state;
    assert_int_equal(loop_new(&loop, NULL, NULL, NULL), 0);
    s.loop = loop;
    assert_int_equal(loop_signal(loop, SIGUSR1, on_signal, &s, NULL), 0);
    raise(SIGUSR1);
    loop_run(loop);
    assert_string_equal(log, "s");
    {
        struct err err;

        assert_int_equal(loop_signal(loop, SIGKILL, on_signal, &s, &err), BARID_EIO);
        assert_non_null(strstr(err.text, "signal 9"));
    }
    loop_del(&loop);
}

/* A loop that cannot have its descriptors says so and leaves nothing behind. */
static void test_no_descriptors(void **state)
{
    struct loop *loop = NULL;
    struct rlimit old, none;
    struct err err;
    int rc;

    (void)state;
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none);
    rc = loop_new(&loop, NULL, NULL, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(rc, BARID_EIO);
    assert_null(loop);
    assert_non_null(strstr(err.text, "event loop: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_defer_order),
        cmocka_unit_test(test_defer_runs_in_the_same_turn),
        cmocka_unit_test(test_post_again_from_within),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_no_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
