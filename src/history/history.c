/*
 * history/history.c: the callers, the thread, and what is between them.
 *
 * note copies one record into `filling` under the lock; the thread takes the whole buffer, leaves the other one, and then, without the
 * lock, adds checksums, writes and tells those who listen. The first entry after a silence wakes it; then it naps while more gather, so
 * that a busy server makes ten wake-ups a second and not one for each mail.
 */
#include "history/history_int.h"

#include <time.h>

#include "base/mem.h"
#include "base/slice.h"

static struct log_history *log_history_of(struct history *h)
{
    return LIST_ENTRY(h, struct log_history, history);
}

/* --- callers ---------------------------------------------------------------------------------------- */

static bool too_full(const struct log_history *h)
{
    return h->filled > HISTORY_BUFFER_MAX / 2;
}

static void drop(struct log_history *h, uint64_t n)
{
    h->stats.dropped += n;
    h->dropped_unsaid += n;
}

static void log_note(struct history *history, const struct history_entry *e)
{
    struct log_history *h = log_history_of(history);
    size_t room = entry_room(e);
    int64_t at;

    if (h->o.dir == NULL && atomic_load_explicit(&h->n_feeds, memory_order_relaxed) == 0)
        return;
    at = e->time_us != 0 ? e->time_us : clock_wall_us(h->o.clock);
    pthread_mutex_lock(&h->lock);
    h->stats.noted++;
    if (room > HISTORY_BUFFER_MAX - h->filled) {
        drop(h, 1);
    } else {
        h->filled += entry_encode(e, at, h->filling + h->filled);
        h->filled_n++;
        h->queued++;
    }
    if (!h->napping || too_full(h))
        pthread_cond_signal(&h->work);
    pthread_mutex_unlock(&h->lock);
}

/* --- the thread ------------------------------------------------------------------------------------- */

static void write_out(struct log_history *h, barid_slice records, size_t n)
{
    int rc = 0;

    for (barid_slice s = records; s.n > 0; s = slice_from(s, entry_length(s, false)))
        entry_seal((char *)s.p);
    if (h->o.dir != NULL)
        rc = writer_append(&h->writer, records);
    if (atomic_load_explicit(&h->n_feeds, memory_order_relaxed) > 0)
        feeds_give(h, records);
    pthread_mutex_lock(&h->lock);
    if (rc < 0)
        drop(h, n);
    else
        h->stats.written += n;
    pthread_mutex_unlock(&h->lock);
}

static void say_dropped(struct log_history *h)
{
    uint64_t n;

    pthread_mutex_lock(&h->lock);
    n = h->dropped_unsaid;
    h->dropped_unsaid = 0;
    pthread_mutex_unlock(&h->lock);
    if (n > 0)
        log_record(h->o.log, LOG_LEVEL_WARN, "history",
                   "entries were dropped: they could not be written (fast enough)",
                   LOG_INT("entries", n));
}

/* Under the lock, given up meanwhile. */
static void nap(struct log_history *h)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += HISTORY_NAP_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    h->napping = true;
    while (h->waiting == 0 && !h->stop && !too_full(h))
        if (pthread_cond_clockwait(&h->work, &h->lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    h->napping = false;
}

static void *history_thread(void *user)
{
    struct log_history *h = user;

    pthread_mutex_lock(&h->lock);
    for (;;) {
        char *full = h->filling;
        size_t size = h->filled, n = h->filled_n;

        if (size == 0) {
            if (h->stop)
                break;
            pthread_cond_wait(&h->work, &h->lock);
            continue;
        }
        h->filling = h->writing;
        h->writing = full;
        h->filled = h->filled_n = 0;
        pthread_mutex_unlock(&h->lock);
        write_out(h, slice_of(full, size), n);
        say_dropped(h);
        pthread_mutex_lock(&h->lock);
        h->handled += n;
        pthread_cond_broadcast(&h->done);
        nap(h);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* --- opening and closing ---------------------------------------------------------------------------- */

static int log_read(struct history *history, uint64_t id,
                    bool (*each)(void *user, const struct history_entry *e), void *user)
{
    struct log_history *h = log_history_of(history);

    history_flush(history);
    return h->o.dir != NULL ? history_read_dir(h->o.dir, h->o.mem, id, each, user) : 0;
}

static const struct history_ops log_ops = {.note = log_note,
                                           .read = log_read,
                                           .feed_open = feed_open,
                                           .feed_next = feed_next,
                                           .feed_close = feed_close};

static void note_nothing(struct history *h, const struct history_entry *e)
{
    (void)h;
    (void)e;
}
static const struct history_ops read_only_ops = {.note = note_nothing, .read = log_read};

static int start(struct log_history *h, struct err *err)
{
    int rc;

    h->filling = mem_alloc(h->o.mem, HISTORY_BUFFER_MAX);
    h->writing = mem_alloc(h->o.mem, HISTORY_BUFFER_MAX);
    if (h->filling == NULL || h->writing == NULL)
        return err_set(err, BARID_ENOMEM, "history: out of memory");
    rc = h->o.dir != NULL ? writer_init(&h->writer, &h->o, err) : 0;
    if (rc < 0)
        return rc;
    rc = pthread_create(&h->thread, NULL, history_thread, h);
    h->started = rc == 0;
    return rc == 0 ? 0 : err_errno(err, BARID_EIO, rc, "history: no thread");
}

static void take_options(struct log_history *h, const struct history_options *o)
{
    h->o = *o;
    h->o.dir = h->dir;
    h->o.clock = o->clock != NULL ? o->clock : &clock_system;
    h->o.days = o->days != 0 ? o->days : HISTORY_DAYS;
    h->o.file_max = o->file_max != 0 ? o->file_max : HISTORY_FILE_MAX;
    h->writer = (struct writer){.o = &h->o, .dir_fd = -1, .fd = -1};
}

int history_open(struct history **h_r, const struct history_options *o, struct err *err)
{
    struct log_history *h = mem_zalloc(o->mem, sizeof(*h));
    int rc = 0;

    *h_r = NULL;
    if (h == NULL)
        return err_set(err, BARID_ENOMEM, "history: out of memory");
    if (o->dir != NULL && (h->dir = mem_strdup(o->mem, slice_str(o->dir))) == NULL)
        rc = err_set(err, BARID_ENOMEM, "history: out of memory");
    take_options(h, o);
    h->history.ops = o->read_only ? &read_only_ops : &log_ops;
    list_init(&h->feeds);
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->feeds_lock, NULL);
    pthread_cond_init(&h->work, NULL);
    pthread_cond_init(&h->done, NULL);
    *h_r = &h->history;
    if (rc == 0 && !o->read_only)
        rc = start(h, err);
    if (rc < 0)
        history_close(h_r);
    return rc;
}

void history_flush(struct history *history)
{
    struct log_history *h = log_history_of(history);
    uint64_t until;

    pthread_mutex_lock(&h->lock);
    until = h->queued;
    h->waiting++;
    pthread_cond_signal(&h->work);
    while (h->started && h->handled < until)
        pthread_cond_wait(&h->done, &h->lock);
    h->waiting--;
    pthread_mutex_unlock(&h->lock);
}

void history_stats(struct history *history, struct history_stats *stats_r)
{
    struct log_history *h = log_history_of(history);

    pthread_mutex_lock(&h->lock);
    *stats_r = h->stats;
    pthread_mutex_unlock(&h->lock);
}

void history_close(struct history **h_p)
{
    struct log_history *h;

    if (*h_p == NULL)
        return;
    h = log_history_of(*h_p);
    *h_p = NULL;
    if (h->started) {
        pthread_mutex_lock(&h->lock);
        h->stop = true;
        pthread_cond_signal(&h->work);
        pthread_mutex_unlock(&h->lock);
        pthread_join(h->thread, NULL);
    }
    writer_deinit(&h->writer);
    mem_free(h->o.mem, h->filling);
    mem_free(h->o.mem, h->writing);
    mem_free(h->o.mem, h->dir);
    pthread_cond_destroy(&h->work);
    pthread_cond_destroy(&h->done);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->feeds_lock);
    mem_free(h->o.mem, h);
}
