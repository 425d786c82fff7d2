/*
 * spool/log.c: the embedded durable store: opening, closing, accepting, and the table of
 * operations. The design is at the head of log_int.h, what is on the disk in log_format.h.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_dir.h"
#include "spool/log_int.h"

#define SEGMENT_DEFAULT (64u << 20)
#define SEGMENT_MIN     (64u << 10)
#define CLEAN_DEFAULT   (1u << 30)

int store_err(int io_rc)
{
    return io_rc == -ENOSPC || io_rc == -EDQUOT ? BARID_EFULL : BARID_EIO;
}

void store_fail(struct store *s, int io_rc, const char *what)
{
    if (s->failed)
        return;
    /* Never tried again: the kernel marks pages clean after a failed sync, and the next one
     * lies. */
    s->failed = true;
    s->stats.failed = true;
    snprintf(s->stats.failure, sizeof(s->stats.failure), "%s: %s", what, strerror(-io_rc));
    log_record(s->log, LOG_LEVEL_ERROR, "spool", "closed for writing until restarted",
               LOG_CSTR("why", s->stats.failure));
    pthread_cond_signal(&s->work);
    pthread_cond_signal(&s->ready);
}

int store_writable(const struct store *s)
{
    if (s->options.read_only)
        return BARID_EUNSUPPORTED;
    return s->failed ? BARID_EIO : 0;
}

void store_announce(struct store *s)
{
    uint32_t top = index_top(&s->index);
    bool news = top != 0 && index_entry(&s->index, top)->next_us < s->announced_us;

    if (news)
        s->announced_us = index_entry(&s->index, top)->next_us;
    pthread_mutex_unlock(&s->lock);
    if (!news)
        return;
    pthread_mutex_lock(&s->watch_lock);
    if (s->changed != NULL)
        s->changed(s->changed_user);
    pthread_mutex_unlock(&s->watch_lock);
}

uint64_t store_new_id(struct store *s)
{
    uint64_t id;

    pthread_mutex_lock(&s->lock);
    id = s->last_id = put_next_id(s->last_id, &s->clock);
    pthread_mutex_unlock(&s->lock);
    return id;
}

/* --- accept */

/* Room is measured for each large mail, and for small ones (a step each) after so much was
 * admitted, or a part of what was above the soft mark, whichever is less. Measuring for each is
 * a system call too many; segments are whole before they are written, so an old figure costs no
 * message. */
#define ADMIT_MAX   (16u << 20)
#define ADMIT_SHARE 16
#define ADMIT_STEP  (64u << 10)

/* Asks the file system, and says how much may be admitted before it is asked again. */
static int admit_measured(struct store *s, uint64_t size, uint64_t spares)
{
    uint64_t space = 0, over;

    if (s->io->free_space(s->io->user, s->dir, &space) < 0)
        return 0; /* not known: commit will tell */
    space += spares;
    if (space < s->options.soft_free || space - s->options.soft_free < size)
        return BARID_EFULL;
    over = (space - s->options.soft_free) / ADMIT_SHARE;
    pthread_mutex_lock(&s->lock);
    s->admit_left = over < ADMIT_MAX ? over : ADMIT_MAX;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int log_admit(struct spool *spool, uint64_t size)
{
    struct store *s = store_of(spool);
    uint64_t spares = 0;
    bool known;
    int rc;

    pthread_mutex_lock(&s->lock);
    rc = store_writable(s);
    if (rc == 0 && s->full)
        rc = BARID_EFULL;
    spares = s->n_spares * s->options.segment_size;
    if ((known = size <= ADMIT_STEP && s->admit_left >= ADMIT_STEP))
        s->admit_left -= ADMIT_STEP;
    pthread_mutex_unlock(&s->lock);
    return rc != 0 || known ? rc : admit_measured(s, size, spares);
}

static int log_put_begin(struct spool *spool, struct spool_put **put_r)
{
    struct store *s = store_of(spool);

    if (s->options.read_only)
        return BARID_EUNSUPPORTED;
    return put_new(put_r, spool, s->mem, store_new_id(s));
}

static uint64_t log_put_size(struct spool_put *put)
{
    return put->body->size;
}

static int log_put_share(struct spool_put *put, struct spool_put **put_r)
{
    return put_new_share(put_r, put, store_new_id(store_of(put->spool)));
}

static uint64_t log_put_id(struct spool_put *put)
{
    return put->id;
}

/* Files of the commit, each once; they are synced before the log is written. Lock held. */
static void seal_bigs(struct store *s, struct log_op *op)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < op->n_puts; i++) {
            struct big_body *big = op->puts[i]->body->big;
            bool again = false;

            for (size_t k = 0; k < i && big != NULL; k++)
                again |= op->puts[k]->body->big == big;
            if (big == NULL || again)
                continue;
            if (pass == 0)
                op->bigs_left++;
            else
                big_seal(s, big, op);
        }
    }
    s->n_sealing += op->bigs_left > 0;
}

static int log_commit(struct spool *spool, struct spool_put **puts, size_t n, spool_done done,
                      void *user)
{
    struct store *s = store_of(spool);
    struct log_op *op = NULL;
    int rc = put_check_commit(spool, puts, n);

    if (rc == 0)
        rc = op_new_put(s, puts, n, done, user, &op);
    pthread_mutex_lock(&s->lock);
    if (rc == 0)
        rc = store_writable(s);
    if (rc == 0 && s->full)
        rc = BARID_EFULL;
    if (op != NULL) {
        int adopted = op_adopt(s, op);

        rc = rc != 0 ? rc : adopted;
        if (rc != 0)
            op_disown(s, op);
    }
    if (rc == 0) {
        seal_bigs(s, op);
        if (op->bigs_left == 0)
            op_enqueue(s, op, true);
    }
    pthread_mutex_unlock(&s->lock);
    if (rc == 0)
        return 0;
    if (op != NULL) {
        op->n_puts = 0;
        op_del(s, op);
    }
    for (size_t i = 0; i < n; i++)
        big_abort(puts[i]);
    return rc;
}

/* --- the rest */

static int64_t log_next_due(struct spool *spool)
{
    struct store *s = store_of(spool);
    uint32_t top;
    int64_t next;

    pthread_mutex_lock(&s->lock);
    top = index_top(&s->index);
    next = s->announced_us = top != 0 ? index_entry(&s->index, top)->next_us : INT64_MAX;
    pthread_mutex_unlock(&s->lock);
    return next;
}

static void log_watch(struct spool *spool, void (*changed)(void *user), void *user)
{
    struct store *s = store_of(spool);

    pthread_mutex_lock(&s->watch_lock);
    s->changed = changed;
    s->changed_user = user;
    pthread_mutex_unlock(&s->watch_lock);
}

static int log_after(struct spool *spool, uint64_t id, struct spool_message *message_r)
{
    struct store *s = store_of(spool);
    int rc = BARID_ENOTFOUND;
    uint32_t place;

    pthread_mutex_lock(&s->lock);
    while ((place = index_after(&s->index, id)) != 0) {
        const struct log_entry *e = index_entry(&s->index, place);

        id = e->id;
        if ((e->flags & ENTRY_GONE) != 0)
            continue;
        entry_describe(e, message_r);
        rc = 0;
        break;
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void log_stats(struct spool *spool, struct spool_stats *stats_r)
{
    struct store *s = store_of(spool);
    uint64_t space = 0;

    if (s->io->free_space(s->io->user, s->dir, &space) < 0)
        space = 0;
    pthread_mutex_lock(&s->lock);
    *stats_r = s->stats;
    stats_r->full = s->full;
    stats_r->disk_bytes += s->n_spares * s->options.segment_size;
    stats_r->free_bytes = space + s->n_spares * s->options.segment_size;
    pthread_mutex_unlock(&s->lock);
}

/* --- opening and closing */

/* The last segment is not sealed, for no OPEN record after it remembers its ids; but all of it
 * is durable, and with a sidecar the next start need not read it. */
static void last_sidecar(struct store *s, struct log_segment *seg)
{
    if (seg != NULL && !s->failed && seg->live > 0 && !seg->rows_lost)
        sidecar_write(s, seg); /* failing costs time at the next start and nothing else */
}

static void stop_threads(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_broadcast(&s->work);
    pthread_cond_broadcast(&s->clean);
    pthread_mutex_unlock(&s->lock);
    if (s->n_threads > 0)
        pthread_join(s->committer, NULL);
    pthread_mutex_lock(&s->lock);
    s->committer_over = true;
    pthread_cond_broadcast(&s->keep);
    pthread_cond_broadcast(&s->big_work);
    pthread_mutex_unlock(&s->lock);
    if (s->n_threads > 1)
        pthread_join(s->keeper, NULL);
    if (s->n_threads > 2)
        pthread_join(s->cleaner, NULL);
    for (unsigned i = 0; i < LOG_BIG_THREADS && s->n_threads > 3 + i; i++)
        pthread_join(s->big_writers[i], NULL);
    last_sidecar(s, s->sealing);
    last_sidecar(s, s->active);
}

static int start_threads(struct store *s, struct err *e)
{
    pthread_t *threads[] = {&s->committer, &s->keeper, &s->cleaner, &s->big_writers[0],
                            &s->big_writers[1]};
    void *(*const run[])(void *) = {committer_thread, keeper_thread, cleaner_thread, big_thread,
                                    big_thread};

    for (; s->n_threads < sizeof(threads) / sizeof(*threads); s->n_threads++) {
        if (pthread_create(threads[s->n_threads], NULL, run[s->n_threads], s) != 0)
            return err_set(e, BARID_EIO, "%s: no thread to be had", s->options.dir);
    }
    return 0;
}

static void free_index(struct store *s)
{
    for (uint32_t place = 1; place < index_places(&s->index); place++) {
        struct log_entry *e = index_entry(&s->index, place);

        if (e->id == 0 || e->extra == NULL)
            continue;
        units_deinit(&e->extra->units);
        mem_free(s->mem, e->extra);
    }
    index_deinit(&s->index);
}

static void store_del(struct store *s)
{
    struct map_iter it = {0};
    struct log_body *next;

    free_index(s);
    while (map_next(&s->bodies, &it))
        mem_free(s->mem, it.value);
    map_deinit(&s->bodies);
    for (; s->dead_files != NULL; s->dead_files = next) {
        next = s->dead_files->next_dead;
        mem_free(s->mem, s->dead_files);
    }
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        if (s->segments[slot] != NULL)
            segment_del(s, s->segments[slot]);
    }
    mem_free(s->mem, s->segments);
    log_dir_close(s);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->keep);
    pthread_cond_destroy(&s->ready);
    pthread_cond_destroy(&s->clean);
    pthread_cond_destroy(&s->big_work);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->watch_lock);
    mem_free(s->mem, s);
}

static void log_close(struct spool *spool)
{
    struct store *s = store_of(spool);

    stop_threads(s);
    store_del(s);
}

static const struct spool_ops log_ops = {
    .name = "log",
    .close = log_close,
    .admit = log_admit,
    .put_begin = log_put_begin,
    .put_body = big_put_body,
    .put_backlog = big_backlog,
    .put_on_drain = big_on_drain,
    .put_size = log_put_size,
    .put_read = big_read,
    .put_truncate = big_truncate,
    .put_share = log_put_share,
    .put_abort = big_abort,
    .put_id = log_put_id,
    .put_describe = put_set_text,
    .commit = log_commit,
    .claim = state_claim,
    .claim_some = state_claim_some,
    .claim_one = state_claim_one,
    .put_aside = state_put_aside,
    .hasten = state_hasten,
    .next_due = log_next_due,
    .watch = log_watch,
    .update = state_update,
    .release = state_release,
    .load = read_load,
    .loaded_free = read_loaded_free,
    .body_open = read_body_open,
    .body_read = read_body_read,
    .body_close = read_body_close,
    .after = log_after,
    .set_state = state_set,
    .change = state_change,
    .erase = state_erase,
    .stats = log_stats,
};

static void set_defaults(struct spool_log_options *o)
{
    if (o->segment_size == 0)
        o->segment_size = SEGMENT_DEFAULT;
    if (o->segment_size < SEGMENT_MIN)
        o->segment_size = SEGMENT_MIN;
    o->segment_size = log_align(o->segment_size, LOG_BLOCK);
    if (o->spares == 0)
        o->spares = 2;
    if (o->spares_max == 0)
        o->spares_max = 16;
    if (o->spares_max > LOG_SPARES_MAX / 2)
        o->spares_max = LOG_SPARES_MAX / 2;
    if (o->spares > o->spares_max)
        o->spares = o->spares_max;
    if (o->soft_free == 0)
        o->soft_free = 4 * o->segment_size;
    if (o->hard_free == 0)
        o->hard_free = o->segment_size;
    if (o->clean_above == 0)
        o->clean_above = CLEAN_DEFAULT;
}

static void init_conditions(struct store *s)
{
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(
        &attr, CLOCK_MONOTONIC); /* its alarms are not to follow the wall clock */
    pthread_cond_init(&s->work, &attr);
    pthread_cond_init(&s->keep, &attr);
    pthread_cond_init(&s->ready, &attr);
    pthread_cond_init(&s->clean, &attr);
    pthread_cond_init(&s->big_work, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->watch_lock, NULL);
}

static struct store *store_new(const struct spool_log_options *options)
{
    struct store *s = mem_zalloc(options->mem, sizeof(*s));
    uint64_t seed[2];

    if (s == NULL)
        return NULL;
    s->spool.ops = &log_ops;
    s->mem = options->mem;
    s->options = *options;
    set_defaults(&s->options);
    s->io = options->io != NULL ? options->io : &io_table_system;
    s->clock = options->clock != NULL ? *options->clock : clock_system;
    s->rng = options->rng != NULL ? *options->rng : rng_system;
    s->log = options->log;
    s->dir = s->seg_dir = s->big_dir = s->lock_fd = -1;
    s->queue_end = &s->queue;
    s->announced_us = INT64_MAX;
    s->last_id = options->id_seed != 0 ? options->id_seed - 1 : 0;
    rng_fill(&s->rng, seed, sizeof(seed));
    map_init(&s->bodies, s->mem, seed);
    index_init(&s->index, s->mem, seed[0]);
    init_conditions(s);
    return s;
}

/* What a start must not do, for tests that must then fail: goes on in the last segment that has
 * records. */
static bool append_to_found(struct store *s)
{
    struct log_segment *seg = segment_by_number(s, s->prev_segno);
    char name[LOG_NAME_SIZE];

    if ((s->options.broken & SPOOL_BROKEN_APPEND) == 0 || seg == NULL)
        return false;
    segment_name(seg->segno, ".idx", name);
    s->io->unlink(s->io->user, s->seg_dir, name);
    seg->rows_lost = seg->sidecar;
    seg->sealed = seg->sidecar = false;
    s->active = seg;
    return true;
}

/* Spares beyond the wanted number go to a full disk's aid only when something is freed: leave
 * them. */
static int open_store(struct store *s, struct err *e)
{
    int rc = log_dir_open(s, e);

    if (rc == 0)
        rc = recover(s, e);
    if (rc != 0 || s->options.read_only)
        return rc;
    /* Even with no space at all: an operator must be able to remove mail. */
    if (!append_to_found(s) && (rc = segment_make(s, true, &s->active)) != 0)
        return err_set(e, rc, "%s: cannot add a segment: %s", s->options.dir,
                       barid_strerror(rc));
    s->full = s->active->reserve;
    s->want_next = WANT_ANY;
    return start_threads(s, e);
}

int spool_log_open(struct spool **spool_r, const struct spool_log_options *options,
                   struct err *e)
{
    struct store *s = store_new(options);
    struct err own = {0};
    int rc;

    if (s == NULL)
        return err_set(e, BARID_ENOMEM, "spool: out of memory");
    if ((rc = open_store(s, &own)) != 0) {
        stop_threads(s);
        store_del(s);
        return err_set(e, rc, "%s", own.text);
    }
    *spool_r = &s->spool;
    return 0;
}
