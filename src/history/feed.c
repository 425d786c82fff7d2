/*
 * history/feed.c: those who listen. Two buffers each, as between the callers and the thread: the thread fills one under the lock, the
 * listener reads the other one without.
 */
#include "history/history_int.h"

#include <string.h>

#include "base/mem.h"
#include "base/slice.h"

static struct log_history *log_history_of(struct history *h)
{
    return LIST_ENTRY(h, struct log_history, history);
}

static void feed_free(struct history_feed *f)
{
    const barid_mem *mem = f->h->o.mem;

    mem_free(mem, f->filling);
    mem_free(mem, f->reading);
    mem_free(mem, f);
}

int feed_open(struct history *history, void (*wake)(void *user), void *user,
              struct history_feed **feed_r)
{
    struct log_history *h = log_history_of(history);
    struct history_feed *f = mem_zalloc(h->o.mem, sizeof(*f));
    bool room;

    *feed_r = NULL;
    if (f == NULL)
        return BARID_ENOMEM;
    f->h = h;
    f->wake = wake;
    f->user = user;
    f->filling = mem_alloc(h->o.mem, HISTORY_FEED_MAX);
    f->reading = mem_alloc(h->o.mem, HISTORY_FEED_MAX);
    if (f->filling == NULL || f->reading == NULL) {
        feed_free(f);
        return BARID_ENOMEM;
    }
    pthread_mutex_lock(&h->feeds_lock);
    room = atomic_load(&h->n_feeds) < HISTORY_FEEDS_MAX;
    if (room) {
        list_append(&h->feeds, &f->node);
        atomic_fetch_add(&h->n_feeds, 1);
    }
    pthread_mutex_unlock(&h->feeds_lock);
    if (!room) {
        feed_free(f);
        return BARID_ELIMIT;
    }
    *feed_r = f;
    return 0;
}

int feed_next(struct history_feed *f, struct history_entry *entry_r)
{
    size_t n;
    bool lost = false;

    if (f->at == f->n) {
        char *other = f->reading;

        pthread_mutex_lock(&f->h->feeds_lock);
        f->reading = f->filling;
        f->filling = other;
        f->n = f->filled;
        f->filled = f->at = 0;
        f->asleep = f->n == 0;
        lost = f->lost;
        pthread_mutex_unlock(&f->h->feeds_lock);
    }
    if (f->n == 0)
        return lost ? BARID_ELIMIT : 0;
    n = entry_length(slice_of(f->reading + f->at, f->n - f->at), false);
    (void)entry_decode(slice_of(f->reading + f->at, n), entry_r); /* as we made it */
    f->at += n;
    return 1;
}

void feed_close(struct history_feed **f_p)
{
    struct history_feed *f = *f_p;

    *f_p = NULL;
    if (f == NULL)
        return;
    pthread_mutex_lock(&f->h->feeds_lock);
    list_remove(&f->node);
    atomic_fetch_sub(&f->h->n_feeds, 1);
    pthread_mutex_unlock(&f->h->feeds_lock);
    feed_free(f);
}

static void give(struct history_feed *f, barid_slice records)
{
    for (size_t n; records.n > 0 && !f->lost; records = slice_from(records, n)) {
        n = entry_length(records, false);
        f->lost = n > HISTORY_FEED_MAX - f->filled;
        if (!f->lost) {
            memcpy(f->filling + f->filled, records.p, n);
            f->filled += n;
        }
    }
    if (f->asleep) {
        f->asleep = false;
        f->wake(f->user);
    }
}

void feeds_give(struct log_history *h, barid_slice records)
{
    pthread_mutex_lock(&h->feeds_lock);
    LIST_EACH(it, &h->feeds)
    give(LIST_ENTRY(it, struct history_feed, node), records);
    pthread_mutex_unlock(&h->feeds_lock);
}
