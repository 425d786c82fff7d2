/* control/control_test.c: what a stop of the daemon meets: a request that waits for the pool while the control object goes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/slice.h"
#include "control/control.h"
#include "io/pool.h"
#include "spool/spool_open.h"

/* Occupies the one thread of the pool until it is opened. */
static struct {
    struct pool_job job;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool is_open;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void gate_run(struct pool_job *job)
{
    (void)job;
    pthread_mutex_lock(&gate.lock);
    while (!gate.is_open)
        pthread_cond_wait(&gate.cond, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_done(struct pool_job *job)
{
    (void)job;
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_open = true;
    pthread_cond_signal(&gate.cond);
    pthread_mutex_unlock(&gate.lock);
}

/* A spool that counts who lists it. */
static struct spool_ops counting_ops;
static struct spool counting = {.ops = &counting_ops}, *memory;
static unsigned listed;

static int counting_after(struct spool *s, uint64_t id, struct spool_message *m)
{
    (void)s;
    listed++;
    return memory->ops->after(memory, id, m);
}

static int listening(struct sockaddr_un *sa)
{
    char dir[] = "/tmp/barid-control-XXXXXX";
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    assert_non_null(mkdtemp(dir));
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/socket", dir);
    assert_int_equal(bind(fd, (struct sockaddr *)sa, sizeof(*sa)), 0);
    assert_int_equal(listen(fd, 4), 0);
    return fd;
}

static void test_deleted_while_a_request_waits(void **state)
{
    static const char question[] = "GET /v1/queue HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const struct control_ops no_ops;
    struct control_options o = {.spool = &counting, .ops = &no_ops};
    struct control *control;
    struct sockaddr_un sa;
    int fd = listening(&sa), client;

    (void)state;
    assert_int_equal(spool_memory_open(&memory, &(struct spool_memory_options){0}, NULL), 0);
    counting_ops = *memory->ops;
    counting_ops.after = counting_after;
    assert_int_equal(loop_new(&o.loop, NULL, NULL, NULL), 0);
    assert_int_equal(pool_new(&o.pool, 1, 8, NULL), 0);
    gate.job = (struct pool_job){.run = gate_run, .done = gate_done};
    assert_int_equal(pool_start(o.pool, o.loop, &gate.job), 0);
    assert_int_equal(control_new(&control, &o, fd, NULL), 0);
    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(send(client, question, sizeof(question) - 1, 0), sizeof(question) - 1);
    for (int i = 0; i < 100; i++)
        loop_turn(o.loop, false);
    assert_int_equal(listed, 0);
    control_del(&control);
    open_gate();
    pool_del(&o.pool);
    assert_true(listed > 0); /* it did wait, and ran behind the end of the control object */
    for (int i = 0; i < 100; i++)
        loop_turn(o.loop, false); /* and its memory is given back here */
    loop_del(&o.loop);
    memory->ops->close(memory);
    close(client);
    unlink(sa.sun_path);
    *strrchr(sa.sun_path, '/') = '\0';
    rmdir(sa.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deleted_while_a_request_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
