/*
 * control/events.c: listeners of the history as answers of HTTP.
 *
 *   reading --nothing there--> suspended --the history wakes, or a ping is due--> reading
 *
 * The history wakes from its own thread: it posts one task for all listeners, which those that have nothing leave again at once. The task
 * may still be queued when the control object goes: it is a block of its own that frees itself then.
 */
#include "control/events.h"

#include <microhttpd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"
#include "control/history_json.h"
#include "control/json_text.h"
#include "io/timer.h"

#define READ_BLOCK 16384

struct waker {
    struct loop_task task;
    struct events *events; /* NULL: gone */
    atomic_bool posted;
};

struct events {
    struct loop *loop;
    struct history *history;
    void (*turn)(void *user);
    void *user;
    struct waker *waker;
    struct timer *ping;
    struct list listeners;
};

struct listener {
    struct list node;
    struct events *events;
    struct MHD_Connection *connection;
    struct history_feed *feed;
    char *line; /* being sent: n octets with its LF, from json_dumps */
    size_t n, at;
    bool suspended, ping_due, last;
};

/* --- waking ------------------------------------------------------------------------------------------- */

static void resume_all(struct events *e)
{
    LIST_EACH(it, &e->listeners)
    {
        struct listener *l = LIST_ENTRY(it, struct listener, node);

        if (!l->suspended)
            continue;
        l->suspended = false;
        MHD_resume_connection(l->connection);
    }
}

static void run_waker(struct loop_task *task)
{
    struct waker *w = LIST_ENTRY(task, struct waker, task);

    atomic_store(&w->posted, false);
    if (w->events == NULL) {
        mem_free(NULL, w);
        return;
    }
    resume_all(w->events);
    w->events->turn(w->events->user);
}

static void on_wake(void *user) /* a thread of the history */
{
    struct events *e = user;

    if (!atomic_exchange(&e->waker->posted, true))
        loop_post(e->loop, &e->waker->task);
}

static void on_ping(void *user)
{
    struct events *e = user;

    LIST_EACH(it, &e->listeners)
    LIST_ENTRY(it, struct listener, node)->ping_due = true;
    timer_set(e->ping,
              list_empty(&e->listeners) ? UINT64_MAX : loop_now_ms(e->loop) + EVENTS_PING_MS);
    resume_all(e);
    e->turn(e->user);
}

struct events *events_new(struct loop *loop, struct history *history, void (*turn)(void *user),
                          void *user)
{
    struct events *e = xalloc(sizeof(*e));

    *e = (struct events){.loop = loop,
                         .history = history,
                         .turn = turn,
                         .user = user,
                         .waker = xalloc(sizeof(*e->waker))};
    e->waker->events = e;
    e->waker->task.run = run_waker;
    list_init(&e->listeners);
    return e;
}

void events_end(struct events *e)
{
    LIST_EACH(it, &e->listeners)
    {
        struct listener *l = LIST_ENTRY(it, struct listener, node);

        e->history->ops->feed_close(&l->feed);
    }
    resume_all(e);
    timer_del(&e->ping);
}

void events_del(struct events **e_p)
{
    struct events *e = *e_p;

    *e_p = NULL;
    if (e == NULL)
        return;
    e->waker->events = NULL;
    if (!atomic_load(&e->waker->posted))
        mem_free(NULL, e->waker);
    mem_free(NULL, e);
}

/* --- one who listens ------------------------------------------------------------------------------------ */

static bool set_line(struct listener *l, json_t *o)
{
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;

    json_decref(o);
    if (text == NULL)
        return false;
    l->line = text;
    l->n = strlen(text) + 1;
    l->at = 0;
    text[l->n - 1] = '\n'; /* in place of the NUL */
    return true;
}

/* 1 = there is a line, 0 = nothing now, or a barid_err. */
static int next_line(struct listener *l)
{
    struct history_entry e;
    int rc;

    free(l->line);
    l->line = NULL;
    if (l->feed == NULL || l->last)
        return BARID_ECLOSED;
    rc = l->events->history->ops->feed_next(l->feed, &e);
    if (rc == 1)
        return set_line(l, history_entry_json(&e)) ? 1 : BARID_ENOMEM;
    if (rc < 0) {
        l->last = true;
        return set_line(l, json_pack("{s:s,s:s}", "event", "lost", "text",
                                     "this client was too slow: events were lost"))
                   ? 1
                   : rc;
    }
    if (!l->ping_due)
        return 0;
    l->ping_due = false;
    return set_line(l, json_pack("{s:s}", "event", "ping")) ? 1 : BARID_ENOMEM;
}

static ssize_t on_read(void *user, uint64_t pos, char *out, size_t max)
{
    struct listener *l = user;
    size_t n;

    (void)pos;
    if (l->line == NULL || l->at == l->n) {
        int rc = next_line(l);

        if (rc < 0)
            return l->last ? MHD_CONTENT_READER_END_OF_STREAM
                           : MHD_CONTENT_READER_END_WITH_ERROR;
        if (rc == 0) {
            l->suspended = true;
            MHD_suspend_connection(l->connection);
            return 0;
        }
    }
    n = l->n - l->at < max ? l->n - l->at : max;
    memcpy(out, l->line + l->at, n);
    l->at += n;
    return (ssize_t)n;
}

static void on_free(void *user)
{
    struct listener *l = user;

    if (l->feed != NULL)
        l->events->history->ops->feed_close(&l->feed);
    list_remove(&l->node);
    free(l->line);
    mem_free(NULL, l);
}

static int start_pings(struct events *e)
{
    if (e->ping == NULL && (e->ping = timer_new(e->loop, on_ping, e)) == NULL)
        return BARID_ENOMEM;
    if (list_empty(&e->listeners))
        timer_set(e->ping, loop_now_ms(e->loop) + EVENTS_PING_MS);
    return 0;
}

int events_listen(struct events *e, struct MHD_Connection *connection,
                  struct MHD_Response **response_r)
{
    struct listener *l;
    int rc;

    if (e->history == NULL || e->history->ops->feed_open == NULL)
        return BARID_EUNSUPPORTED;
    rc = start_pings(e);
    if (rc == 0 && (l = mem_zalloc(NULL, sizeof(*l))) == NULL)
        rc = BARID_ENOMEM;
    if (rc < 0)
        return rc;
    /* The first line comes at once: who reads it knows that from now on nothing is missed. */
    *l = (struct listener){.events = e, .connection = connection, .ping_due = true};
    list_init(&l->node);
    rc = e->history->ops->feed_open(e->history, on_wake, e, &l->feed);
    if (rc < 0) {
        mem_free(NULL, l);
        return rc;
    }
    list_append(&e->listeners, &l->node);
    *response_r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, READ_BLOCK, on_read, l, on_free);
    if (*response_r != NULL)
        return 0;
    on_free(l);
    return BARID_ENOMEM;
}
