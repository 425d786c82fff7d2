/*
 * bench/hooks_io.c: what src/io is to the server and the policy, without a socket, a clock that is asked, or a system call: it
 * takes the place of src/io at link time. One thread; tasks run when hooks_io_turn is called; no deadline passes.
 */
#include "hooks_io.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "io/dns.h"
#include "io/listener.h"
#include "io/pool.h"
#include "io/timer.h"

/* --- loop --- */

struct loop {
    struct loop_task *first, **last;
};
static struct loop the_loop = {.last = &the_loop.first};
struct loop *const hooks_io_loop = &the_loop;

uint64_t loop_now_ms(const struct loop *loop)
{
    (void)loop;
    return 1000000;
}

const struct clock *loop_clock(const struct loop *loop)
{
    (void)loop;
    return &clock_system;
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    task->next = NULL;
    *loop->last = task;
    loop->last = &task->next;
}

void hooks_io_turn(void)
{
    struct loop_task *task;

    while ((task = the_loop.first) != NULL) {
        the_loop.first = task->next;
        if (task->next == NULL)
            the_loop.last = &the_loop.first;
        task->run(task);
    }
}

/* --- timers --- */

struct timer {
    uint64_t deadline_ms;
};

struct timer *timer_new(struct loop *loop, void (*fn)(void *user), void *user)
{
    (void)loop;
    (void)fn;
    (void)user;
    return calloc(1, sizeof(struct timer));
}

void timer_set(struct timer *t, uint64_t deadline_ms)
{
    t->deadline_ms = deadline_ms;
}

void timer_del(struct timer **t)
{
    free(*t);
    *t = NULL;
}

/* --- streams: one at a time is open --- */

struct stream {
    const struct stream_ops *ops;
    void *user;
    barid_endpoint peer, local;
};

static struct stream *open_stream;
static char reply[HOOKS_IO_REPLY_MAX];
static size_t reply_n;

void stream_bind(struct stream *s, const struct stream_ops *ops, void *user)
{
    s->ops = ops;
    s->user = user;
}

void stream_read(struct stream *s, bool on)
{
    (void)s;
    (void)on;
}

int stream_write(struct stream *s, const void *p, size_t n)
{
    (void)s;
    if (n > sizeof(reply) - reply_n)
        return BARID_ELIMIT;
    memcpy(reply + reply_n, p, n);
    reply_n += n;
    return 0;
}

size_t stream_backlog(const struct stream *s)
{
    (void)s;
    return 0;
}

int stream_tls_accept_early(struct stream *s, struct tls_ctx *ctx, const void *early, size_t n)
{
    (void)s;
    (void)ctx;
    (void)early;
    (void)n;
    return BARID_EINVALID;
}

bool stream_is_tls(const struct stream *s)
{
    (void)s;
    return false;
}

const barid_endpoint *stream_peer(const struct stream *s)
{
    return &s->peer;
}

const barid_endpoint *stream_local(const struct stream *s)
{
    return &s->local;
}

void stream_linger(struct stream *s)
{
    (void)s;
}

void stream_del(struct stream **s)
{
    if (*s == open_stream)
        open_stream = NULL;
    free(*s);
    *s = NULL;
}

barid_slice hooks_io_say(barid_slice text)
{
    reply_n = 0;
    if (open_stream != NULL)
        open_stream->ops->on_read(open_stream->user, text.p, text.n);
    hooks_io_turn();
    return (barid_slice){reply, reply_n};
}

/* --- listeners --- */

struct listener {
    void (*on_accept)(void *user, struct stream *s);
    void *user;
};
static struct listener *last_listener;

int listener_new(struct listener **l_r, struct loop *loop, int fd,
                 void (*on_accept)(void *user, struct stream *s), void *user, struct err *err)
{
    (void)loop;
    (void)fd;
    (void)err;
    if ((*l_r = last_listener = calloc(1, sizeof(struct listener))) == NULL)
        return BARID_ENOMEM;
    **l_r = (struct listener){on_accept, user};
    return 0;
}

void listener_del(struct listener **l)
{
    free(*l);
    *l = NULL;
}

struct listener *hooks_io_listener(void)
{
    return last_listener;
}

barid_slice hooks_io_connect(struct listener *l)
{
    struct stream *s = calloc(1, sizeof(*s));

    reply_n = 0;
    if (s != NULL) {
        s->peer = s->local =
            (barid_endpoint){.family = BARID_FAMILY_IPV4, .addr = {127, 0, 0, 1}, .port = 25};
        open_stream = s;
        l->on_accept(l->user, s);
        hooks_io_turn();
    }
    return (barid_slice){reply, reply_n};
}

bool hooks_io_is_open(void)
{
    return open_stream != NULL;
}

/* --- what no session here comes to --- */

struct tls_ctx *tls_ref(struct tls_ctx *ctx)
{
    return ctx;
}

void tls_unref(struct tls_ctx **ctx)
{
    *ctx = NULL;
}

int pool_start(struct pool *pool, struct loop *loop, struct pool_job *job)
{
    (void)pool;
    (void)loop;
    (void)job;
    return BARID_EFULL;
}

int dns_ask(struct dns *dns, barid_slice name, enum dns_type type,
            void (*done)(void *user, const struct dns_answer *answer), void *user,
            struct dns_query **query_r)
{
    (void)dns;
    (void)name;
    (void)type;
    (void)done;
    (void)user;
    (void)query_r;
    return BARID_EIO;
}

void dns_cancel(struct dns_query **query)
{
    *query = NULL;
}

const char *dns_status_name(enum dns_status status)
{
    (void)status;
    return "";
}

void dns_reverse_name(const uint8_t *addr, bool ipv6, const char *suffix_or_null, char *out)
{
    (void)addr;
    (void)ipv6;
    (void)suffix_or_null;
    *out = '\0';
}
