/*
 * io/loop.c: one libuv loop with deferred tasks, posted tasks, and the alarm of timer.c.
 *
 * A turn: timers and deferred tasks (prepare), wait for events and run their callbacks (poll),
 * deferred tasks again (check). So whatever an event or a timer deferred runs before the loop
 * waits. A task deferred by a deferred task waits for the next turn, which the idle handle
 * keeps from blocking; at rest no handle but the alarm is active, and no CPU is used.
 *
 * Only loop_post takes the lock; the posted list is taken whole and run outside it.
 */
#include "io/loop_int.h"

#include "base/mem.h"

static void list_reset(struct task_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
}

static void list_push(struct task_list *l, struct loop_task *task)
{
    task->next = NULL;
    *l->tail = task;
    l->tail = &task->next;
}

/* Takes what is queued now; a task may queue itself again or free itself while it runs. */
static void list_run(struct task_list *l)
{
    struct loop_task *task = l->head;

    list_reset(l);
    while (task != NULL) {
        struct loop_task *next = task->next;

        task->run(task);
        task = next;
    }
}

uint64_t loop_now_ms(const struct loop *loop)
{
    /* libuv reads the same clock once per turn, which is cheaper; a test's clock is asked each
     * time. */
    if (loop->clock == &clock_system)
        return uv_now(&loop->uv);
    return clock_mono_ms(loop->clock);
}

const struct clock *loop_clock(const struct loop *loop)
{
    return loop->clock;
}

const struct log *loop_log(const struct loop *loop)
{
    return loop->log;
}

static void on_alarm(uv_timer_t *alarm)
{
    struct loop *loop = alarm->data;

    loop->alarm_ms = UINT64_MAX;
}

static void set_alarm(struct loop *loop)
{
    uint64_t next = timers_next(loop);
    uint64_t now = loop_now_ms(loop);

    if (next == loop->alarm_ms)
        return;
    loop->alarm_ms = next;
    if (next == UINT64_MAX)
        uv_timer_stop(&loop->alarm);
    else
        uv_timer_start(&loop->alarm, on_alarm, next > now ? next - now : 0, 0);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being active is all that matters */
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = prepare->data;

    bool worked = timers_run(loop);

    worked = loop->deferred.head != NULL || worked;
    list_run(&loop->deferred);
    if (loop->deferred.head != NULL || (loop->single && worked))
        uv_idle_start(&loop->idle, on_idle);
    else
        uv_idle_stop(&loop->idle);
    uv_update_time(&loop->uv); /* callbacks took time: the alarm counts from now */
    set_alarm(loop);
}

static void on_check(uv_check_t *check)
{
    struct loop *loop = check->data;

    list_run(&loop->deferred);
}

static void on_wake(uv_async_t *wake)
{
    struct loop *loop = wake->data;
    struct task_list batch;

    list_reset(&batch);
    uv_mutex_lock(&loop->lock);
    if (loop->posted.head != NULL) {
        batch.head = loop->posted.head;
        list_reset(&loop->posted);
    }
    uv_mutex_unlock(&loop->lock);
    list_run(&batch);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    bool first;

    uv_mutex_lock(&loop->lock);
    first = loop->posted.head == NULL;
    list_push(&loop->posted, task);
    /* Within the lock: once the task has run, its owner may delete the loop, and must find
     * nobody inside. */
    if (first)
        uv_async_send(&loop->wake);
    uv_mutex_unlock(&loop->lock);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    list_push(&loop->deferred, task);
}

char *loop_plain_buf(struct loop *loop)
{
    if (loop->plain_buf == NULL)
        loop->plain_buf = mem_alloc(NULL, LOOP_PLAIN_SIZE);
    return loop->plain_buf;
}

/* The handles that cannot fail to initialise. */
static void init_handles(struct loop *loop)
{
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->alarm);
    loop->prepare.data = loop->check.data = loop->alarm.data = loop;
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
}

int loop_new(struct loop **loop_r, const struct clock *clock, const struct log *log,
             struct err *err)
{
    struct loop *loop = mem_zalloc(NULL, sizeof(*loop));
    int rc;

    *loop_r = NULL;
    if (loop == NULL || (loop->read_buf = mem_alloc(NULL, LOOP_READ_SIZE)) == NULL) {
        mem_free(NULL, loop);
        return err_set(err, BARID_ENOMEM, "event loop: out of memory");
    }
    loop->clock = clock != NULL ? clock : &clock_system;
    loop->log = log;
    loop->alarm_ms = UINT64_MAX;
    list_reset(&loop->deferred);
    list_reset(&loop->posted);
    if ((rc = uv_loop_init(&loop->uv)) != 0)
        goto fail;
    if ((rc = uv_mutex_init(&loop->lock)) != 0) {
        uv_loop_close(&loop->uv);
        goto fail;
    }
    if ((rc = uv_async_init(&loop->uv, &loop->wake, on_wake)) != 0)
        goto fail_uv;
    loop->wake.data = loop;
    if (poller_init(&loop->poller, &loop->uv, err) != 0) {
        uv_close((uv_handle_t *)&loop->wake, NULL);
        goto fail_uv;
    }
    init_handles(loop);
    *loop_r = loop;
    return 0;
fail_uv:
    uv_mutex_destroy(&loop->lock);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
    uv_loop_close(&loop->uv);
fail:
    mem_free(NULL, loop->read_buf);
    mem_free(NULL, loop);
    return rc == 0 ? BARID_EIO : err_set(err, BARID_EIO, "event loop: %s", uv_strerror(rc));
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_turn(struct loop *loop, bool wait)
{
    loop->single = true;
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    loop->single = false;
}

void loop_stop(struct loop *loop)
{
    uv_stop(&loop->uv);
}

static void on_signal(uv_signal_t *uv, int signum)
{
    struct loop_signal *s = uv->data;

    s->fn(s->user, signum);
}

static void on_signal_closed(uv_handle_t *h)
{
    mem_free(NULL, h->data);
}

int loop_signal(struct loop *loop, int signum, void (*fn)(void *user, int signum), void *user,
                struct err *err)
{
    struct loop_signal *s = mem_zalloc(NULL, sizeof(*s));
    int rc;

    if (s == NULL)
        return err_set(err, BARID_ENOMEM, "signal %d: out of memory", signum);
    rc = uv_signal_init(&loop->uv, &s->uv);
    if (rc != 0) {
        mem_free(NULL, s);
        return err_set(err, BARID_EIO, "signal %d: %s", signum, uv_strerror(rc));
    }
    s->uv.data = s;
    s->fn = fn;
    s->user = user;
    rc = uv_signal_start(&s->uv, on_signal, signum);
    if (rc != 0) {
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
        return err_set(err, BARID_EIO, "signal %d: %s", signum, uv_strerror(rc));
    }
    s->next = loop->signals;
    loop->signals = s;
    return 0;
}

static void abandon_handle(uv_handle_t *h, void *all)
{
    struct loop *loop = LIST_ENTRY(h->loop, struct loop, uv);

    if (h->type == UV_POLL && !uv_is_closing(h) && h != (uv_handle_t *)&loop->poller.uv)
        ((struct io_handle *)h)->abandon((struct io_handle *)h, *(bool *)all);
}

static void abandon(struct loop *loop, bool all)
{
    uv_walk(&loop->uv, abandon_handle, &all);
    poller_abandon(&loop->poller, all);
}

struct drain {
    struct loop *loop;
    unsigned looked;
};

static void on_drain_look(uv_timer_t *timer)
{
    struct drain *d = timer->data;

    d->looked++;
    abandon(d->loop, false); /* what has become quiet since */
}

/* Deleted streams may still hold a last reply: turn until they are done, for a bounded time by
 * the real clock, as a test's clock may stand still. */
static void drain(struct loop *loop)
{
    struct drain d = {.loop = loop};
    uv_timer_t timer;

    uv_timer_init(&loop->uv, &timer);
    timer.data = &d;
    uv_timer_start(&timer, on_drain_look, LOOP_DRAIN_LOOK_MS, LOOP_DRAIN_LOOK_MS);
    while (loop->flushing > 0 && d.looked < LOOP_DRAIN_MS / LOOP_DRAIN_LOOK_MS)
        uv_run(&loop->uv, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

void loop_del(struct loop **loop_r)
{
    struct loop *loop = *loop_r;

    if (loop == NULL)
        return;
    *loop_r = NULL;
    abandon(loop, false);
    drain(loop);
    abandon(loop, true);
    poller_deinit(&loop->poller);
    for (struct loop_signal *s = loop->signals; s != NULL; s = s->next)
        uv_close((uv_handle_t *)&s->uv, on_signal_closed);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->alarm, NULL);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT); /* close callbacks */
    list_run(&loop->deferred);         /* the memory of closed streams */
    uv_loop_close(&loop->uv);
    uv_mutex_destroy(&loop->lock);
    mem_free(NULL, loop->heap.at);
    mem_free(NULL, loop->plain_buf);
    mem_free(NULL, loop->read_buf);
    mem_free(NULL, loop);
}
