/*
 * daemon/log_sink.c: the thread that writes log lines.
 *
 * Two buffers: producers append to `filling` under the lock, the thread takes it as a whole and writes the other one without
 * the lock. A producer therefore holds the lock for one formatted append at most. The descriptor belongs to the thread; a
 * new one is handed over in next_fd and taken between two writes, so that a line is never split over two files.
 *
 * The first line after a silence is written at once; then the thread naps while lines gather. Waking it for each of them would
 * cost a busy server more than everything else about the log.
 */
#include "daemon/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/slice.h"
#include "daemon/log_format.h"

struct log_sink {
    struct log log; /* level: atomic, see log_wants */
    const struct clock *clock;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work; /* something to write after a silence, or somebody waits for idle, or stop */
    pthread_cond_t idle; /* everything was written */
    struct buf filling;
    struct buf line; /* one record being formatted; under the lock */
    bool started, writing, stop, json;
    bool napping;     /* lines gather: no need to signal work */
    unsigned waiting; /* for idle: no nap */
    int fd;      /* the thread's; -1 = stderr */
    int next_fd; /* -2 = none */
    char *file;  /* NULL = stderr */
    uint64_t dropped_unsaid;
    _Atomic uint64_t dropped;
};

#define NO_NEXT_FD (-2)

static int open_file(const char *file, struct err *err)
{
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "log file %s", file);
    return fd;
}

static void append_line(struct log_sink *s, enum log_level level, const char *area, const char *what,
                        const struct log_field *fields)
{
    int64_t now = clock_wall_us(s->clock);

    buf_clear(&s->line);
    if ((s->json ? log_format_json : log_format_text)(&s->line, now, level, area, what, fields) < 0 ||
        buf_append(&s->filling, buf_slice(&s->line)) < 0) {
        atomic_fetch_add_explicit(&s->dropped, 1, memory_order_relaxed);
        s->dropped_unsaid++;
    }
}

/* Lines are about to be dropped: no time to nap. Under the lock. */
static bool too_full(const struct log_sink *s)
{
    return s->filling.len > LOG_SINK_BUFFER / 2;
}

static void say_dropped(struct log_sink *s)
{
    uint64_t n = s->dropped_unsaid;
    const struct log_field fields[] = {LOG_INT("records", n), {.key = NULL}};

    if (n == 0 || too_full(s))
        return;
    s->dropped_unsaid = 0;
    append_line(s, LOG_LEVEL_WARN, "log", "records were dropped: the log could not be written fast enough", fields);
}

static void sink_write(void *user, enum log_level level, const char *area, const char *what,
                       const struct log_field *fields)
{
    struct log_sink *s = user;

    pthread_mutex_lock(&s->lock);
    append_line(s, level, area, what, fields);
    if (!s->napping || too_full(s))
        pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

static void write_all(int fd, barid_slice s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) { /* stderr that somebody else made non-blocking */
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
            continue;
        }
        if (n <= 0)
            return; /* a full disk or a closed pipe: there is nobody left to tell */
        s = slice_from(s, (size_t)n);
    }
}

static void take_next_fd(struct log_sink *s)
{
    if (s->next_fd == NO_NEXT_FD)
        return;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = s->next_fd;
    s->next_fd = NO_NEXT_FD;
}

/* Under the lock, given up meanwhile. */
static void nap(struct log_sink *s)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOG_SINK_NAP_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    s->napping = true;
    while (s->waiting == 0 && !s->stop && !too_full(s))
        if (pthread_cond_clockwait(&s->work, &s->lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    s->napping = false;
}

static void *sink_thread(void *user)
{
    struct log_sink *s = user;
    struct buf out;

    buf_init(&out, NULL, LOG_SINK_BUFFER);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->filling.len == 0 && !s->stop) {
            pthread_cond_broadcast(&s->idle);
            pthread_cond_wait(&s->work, &s->lock);
        }
        if (s->filling.len == 0)
            break;
        struct buf full = s->filling;
        s->filling = out;
        out = full;
        say_dropped(s);
        take_next_fd(s);
        s->writing = true;
        pthread_mutex_unlock(&s->lock);
        write_all(s->fd >= 0 ? s->fd : STDERR_FILENO, buf_slice(&out));
        buf_clear(&out);
        pthread_mutex_lock(&s->lock);
        s->writing = false;
        nap(s);
    }
    pthread_cond_broadcast(&s->idle);
    pthread_mutex_unlock(&s->lock);
    buf_deinit(&out);
    return NULL;
}

void log_sink_new(struct log_sink **s_r, const struct clock *clock)
{
    struct log_sink *s = xalloc(sizeof(*s));

    s->log = (struct log){.write = sink_write, .user = s, .level = LOG_LEVEL_INFO};
    s->clock = clock;
    s->fd = -1;
    s->next_fd = NO_NEXT_FD;
    buf_init(&s->filling, NULL, LOG_SINK_BUFFER);
    buf_init(&s->line, NULL, 0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    pthread_cond_init(&s->idle, NULL);
    *s_r = s;
}

int log_sink_start(struct log_sink *s, struct err *err)
{
    int rc = pthread_create(&s->thread, NULL, sink_thread, s);

    s->started = rc == 0;
    return rc == 0 ? 0 : err_errno(err, BARID_EIO, rc, "cannot start the log thread");
}

const struct log *log_sink_log(struct log_sink *s)
{
    return &s->log;
}

/* Under the lock. */
static void hand_over(struct log_sink *s, int fd)
{
    if (s->next_fd >= 0)
        close(s->next_fd);
    s->next_fd = fd;
}

int log_sink_configure(struct log_sink *s, const char *file, bool json, enum log_level level, struct err *err)
{
    int fd = file != NULL ? open_file(file, err) : -1;

    if (file != NULL && fd < 0)
        return BARID_EIO;
    pthread_mutex_lock(&s->lock);
    mem_free(NULL, s->file);
    s->file = file != NULL ? xstrdup(slice_str(file)) : NULL;
    s->json = json;
    __atomic_store_n(&s->log.level, level, __ATOMIC_RELAXED);
    hand_over(s, fd);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int log_sink_reopen(struct log_sink *s, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&s->lock);
    if (s->file != NULL) {
        int fd = open_file(s->file, err);

        if (fd >= 0)
            hand_over(s, fd);
        else
            rc = BARID_EIO;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

uint64_t log_sink_dropped(const struct log_sink *s)
{
    return atomic_load_explicit(&s->dropped, memory_order_relaxed);
}

void log_sink_flush(struct log_sink *s)
{
    struct timespec until;

    if (!s->started)
        return;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LOG_SINK_FLUSH_MS / 1000;
    pthread_mutex_lock(&s->lock);
    s->waiting++;
    pthread_cond_signal(&s->work);
    while (s->filling.len > 0 || s->writing)
        if (pthread_cond_timedwait(&s->idle, &s->lock, &until) == ETIMEDOUT)
            break;
    s->waiting--;
    pthread_mutex_unlock(&s->lock);
}

/* False: a reader that does not read must not keep the process: the thread ends with it. */
static bool end_thread(struct log_sink *s)
{
    log_sink_flush(s);
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    bool stuck = s->writing;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    if (stuck)
        pthread_detach(s->thread);
    else
        pthread_join(s->thread, NULL);
    return !stuck;
}

void log_sink_del(struct log_sink **s_p)
{
    struct log_sink *s = *s_p;

    *s_p = NULL;
    if (s == NULL)
        return;
    if (s->started && !end_thread(s))
        return;
    take_next_fd(s);
    if (!s->started) /* the start failed: what was said about it */
        write_all(s->fd >= 0 ? s->fd : STDERR_FILENO, buf_slice(&s->filling));
    if (s->fd >= 0)
        close(s->fd);
    mem_free(NULL, s->file);
    buf_deinit(&s->filling);
    buf_deinit(&s->line);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    mem_free(NULL, s);
}
