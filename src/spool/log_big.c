/*
 * spool/log_big.c: bodies above SPOOL_BODY_MEMORY go to files of their own while they arrive.
 *
 * A put's thread appends chunks to the body's queue; a writer thread makes the file, writes,
 * and starts the disk early, so that the final sync has little left to do. States:
 *
 *   OPEN ──seal──▶ SEALED (all written, file and directory synced, the commit goes on)
 *     │  └─────────▶ failed: error is set, and the commit is answered with it
 *     └──release──▶ DROPPED (a writer removes file and body)
 *
 * All of it is guarded by the store's lock; a body is worked on by one writer at a time (busy).
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"
#include "spool/io_table.h"
#include "spool/log_int.h"

#define FLUSH_EVERY (4u << 20)   /* octets after which the disk is told to begin */
#define CHUNK_SIZE  (256u << 10) /* octets gathered before a writer is bothered */

struct big_body {
    struct store *store;
    uint64_t name;
    struct big_body *next; /* in store.bigs */
    bool queued, busy, made, sealing, dropped, keep;
    int fd;
    int error;                      /* why it cannot go on */
    struct put_chunk *first, **end; /* octets to write; those being written stay first */
    size_t backlog;
    uint64_t written, flushed;
    struct log_op *op; /* waits for the seal */
    void (*drained)(void *user); /* waits for backlog 0 or an error; NULL when told */
    void *drained_user;
};

uint64_t big_name(const struct big_body *big)
{
    return big->name;
}

static void wake(struct store *s, struct big_body *big)
{
    if (big->queued)
        return;
    big->queued = true;
    big->next = s->bigs;
    s->bigs = big;
    pthread_cond_signal(&s->big_work);
}

/* The body so far becomes the beginning of the file. */
static int go_big(struct store *s, struct put_body *body)
{
    struct big_body *big = mem_zalloc(s->mem, sizeof(*big));

    if (big == NULL)
        return BARID_ENOMEM;
    big->store = s;
    big->name = store_new_id(s);
    big->fd = -1;
    big->first = body->head;
    big->end = body->head == NULL ? &big->first : &body->tail->next;
    big->backlog = (size_t)body->size;
    body->head = body->tail = NULL;
    body->big = big;
    pthread_mutex_lock(&s->lock);
    if (big->backlog > 0)
        wake(s, big);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int append(struct store *s, struct big_body *big, const void *p, size_t n)
{
    struct put_chunk *c;
    int rc;

    if ((c = mem_alloc(s->mem, sizeof(*c) + n)) == NULL)
        return BARID_ENOMEM;
    c->next = NULL;
    c->n = c->cap = n;
    memcpy(c->data, p, n);
    pthread_mutex_lock(&s->lock);
    if ((rc = big->error) == 0) {
        *big->end = c;
        big->end = &c->next;
        big->backlog += n;
        if (big->backlog >= CHUNK_SIZE)
            wake(s, big);
    }
    pthread_mutex_unlock(&s->lock);
    if (rc != 0)
        mem_free(s->mem, c);
    return rc;
}

int big_put_body(struct spool_put *put, const void *p, size_t n)
{
    struct store *s = store_of(put->spool);
    struct put_body *body = put->body;
    int rc = 0;

    if (body->frozen)
        return BARID_EINVALID;
    if (body->big == NULL && body->size + n <= SPOOL_BODY_MEMORY)
        return put_append(put, p, n);
    if (body->big == NULL)
        rc = go_big(s, body);
    if (rc == 0 && n > 0)
        rc = append(s, body->big, p, n);
    if (rc != 0)
        return rc;
    body->crc = crc32c(body->crc, p, n);
    body->size += n;
    return 0;
}

size_t big_backlog(struct spool_put *put)
{
    struct store *s = store_of(put->spool);
    size_t n;

    if (put->body->big == NULL)
        return 0;
    pthread_mutex_lock(&s->lock);
    n = put->body->big->error != 0 ? 0 : put->body->big->backlog;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void big_on_drain(struct spool_put *put, void (*drained)(void *user), void *user)
{
    struct store *s = store_of(put->spool);

    if (put->body->big == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    put->body->big->drained = drained;
    put->body->big->drained_user = user;
    /* A writer that has come to the end meanwhile would not look again, and neither would one
     * for what is too little to bother it with. */
    if (drained != NULL)
        wake(s, put->body->big);
    pthread_mutex_unlock(&s->lock);
}

/* From the chunks that still wait; how many octets. Lock held. */
static size_t read_backlog(const struct big_body *big, uint64_t offset, char *p, size_t n)
{
    uint64_t at = big->written;
    size_t done = 0;

    for (const struct put_chunk *c = big->first; c != NULL && done < n;
         at += c->n, c = c->next) {
        size_t skip, part;

        if (offset + done >= at + c->n)
            continue;
        skip = (size_t)(offset + done - at);
        part = c->n - skip < n - done ? c->n - skip : n - done;
        memcpy(p + done, c->data + skip, part);
        done += part;
    }
    return done;
}

int64_t big_read(struct spool_put *put, uint64_t offset, void *p, size_t n)
{
    struct store *s = store_of(put->spool);
    struct big_body *big = put->body->big;
    size_t done = 0;
    int64_t got = 0;

    if (big == NULL)
        return put_copy_out(put->body, offset, p, n);
    while (done < n) {
        size_t part = n - done;
        int fd;

        pthread_mutex_lock(&s->lock);
        fd = big->fd;
        if (offset + done >= big->written) {
            done += read_backlog(big, offset + done, (char *)p + done, part);
            pthread_mutex_unlock(&s->lock);
            break;
        }
        if (part > big->written - offset - done)
            part = (size_t)(big->written - offset - done);
        pthread_mutex_unlock(&s->lock);
        /* The descriptor stays: only release closes it, and that is this thread's to call. */
        got = io_read_all(s->io, fd, (char *)p + done, part, offset + done);
        if (got < (int64_t)part)
            return BARID_EIO;
        done += part;
    }
    return (int64_t)done;
}

void big_release(struct store *s, struct big_body *big, bool keep_file)
{
    big->dropped = true;
    big->keep = keep_file;
    big->drained = NULL;
    wake(s, big);
}

int big_truncate(struct spool_put *put)
{
    struct store *s = store_of(put->spool);
    struct big_body *big = put->body->big;
    bool last = put->body->refs == 1;
    int rc = put_restart(put);

    if (rc != 0 || big == NULL || !last)
        return rc;
    pthread_mutex_lock(&s->lock);
    big_release(s, big, false);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

void big_abort(struct spool_put *put)
{
    struct store *s = store_of(put->spool);

    if (put->body->big != NULL && put->body->refs == 1) {
        pthread_mutex_lock(&s->lock);
        big_release(s, put->body->big, false);
        pthread_mutex_unlock(&s->lock);
    }
    put_del(&put);
}

void big_seal(struct store *s, struct big_body *big, struct log_op *op)
{
    big->sealing = true;
    big->op = op;
    wake(s, big);
}

/* --- the writers: lock not held, but for the parts that say so */

static int make_file(struct store *s, struct big_body *big, int *fd_r)
{
    char name[LOG_NAME_SIZE];
    uint64_t space = 0;

    if (s->io->free_space(s->io->user, s->big_dir, &space) == 0 && space < s->options.hard_free)
        return -ENOSPC;
    segment_name(big->name, "", name);
    *fd_r = s->io->open(s->io->user, s->big_dir, name, O_RDWR | O_CREAT | O_EXCL, 0600);
    return *fd_r < 0 ? *fd_r : 0;
}

static int write_chunks(struct store *s, struct big_body *big, int fd, struct put_chunk *first,
                        size_t n)
{
    uint64_t at = big->written;
    size_t left = n;
    int rc = 0;

    for (struct put_chunk *c = first; rc == 0; c = c->next) {
        rc = io_write_block(s->io, fd, c->data, c->n, at);
        at += c->n;
        left -= c->n;
        if (left == 0)
            break; /* the next one may just be being appended: its link is not ours to read */
    }
    if (rc >= 0 && at - big->flushed >= FLUSH_EVERY) {
        s->io->flush(s->io->user, fd, big->flushed, at - big->flushed);
        big->flushed = at;
    }
    return rc;
}

static void free_chunks(struct store *s, struct big_body *big, size_t n)
{
    while (n > 0) {
        struct put_chunk *c = big->first;

        n -= c->n;
        big->first = c->next;
        mem_free(s->mem, c);
    }
    if (big->first == NULL)
        big->end = &big->first;
}

static void fail(struct big_body *big, int rc)
{
    big->error = store_err(rc);
}

/* Writes what waits. Lock held, given up meanwhile. */
static void stream(struct store *s, struct big_body *big)
{
    struct put_chunk *first = big->first;
    size_t n = big->backlog;
    bool make = !big->made;
    int fd = big->fd, rc = 0;

    big->made = true;
    pthread_mutex_unlock(&s->lock);
    if (make)
        rc = make_file(s, big, &fd);
    if (rc >= 0)
        rc = write_chunks(s, big, fd, first, n);
    pthread_mutex_lock(&s->lock);
    if (make && fd >= 0)
        big->fd = fd;
    if (rc < 0) {
        fail(big, rc);
        return;
    }
    big->written += n;
    big->backlog -= n;
    free_chunks(s, big, n);
}

/* File, then its name, then the commit. Lock held, given up meanwhile. */
static void seal(struct store *s, struct big_body *big)
{
    struct log_op *op = big->op;
    int rc = big->error, names = 0;

    big->sealing = false;
    pthread_mutex_unlock(&s->lock);
    if (rc == 0 && (rc = s->io->datasync(s->io->user, big->fd)) >= 0)
        rc = names = s->io->sync(s->io->user, s->big_dir);
    pthread_mutex_lock(&s->lock);
    /* Other bodies have their names in there, and the next sync would say that all is well. */
    if (names < 0)
        store_fail(s, names, "cannot sync the names of large bodies");
    if (rc < 0 && big->error == 0)
        fail(big, rc);
    if (big->error != 0)
        op->err = big->error;
    if (--op->bigs_left > 0)
        return;
    s->n_sealing--;
    pthread_cond_signal(&s->work);
    if (op->err == 0 && !s->failed) {
        op_enqueue(s, op, true);
        return;
    }
    if (op->err == 0)
        op->err = BARID_EIO;
    op_fail(s, op, op->err, false);
    pthread_mutex_unlock(&s->lock);
    op_answer(s, op);
    pthread_mutex_lock(&s->lock);
}

/* Lock held, given up meanwhile. */
static void finish(struct store *s, struct big_body *big)
{
    char name[LOG_NAME_SIZE];
    struct put_chunk *next;

    pthread_mutex_unlock(&s->lock);
    if (big->fd >= 0)
        s->io->close(s->io->user, big->fd);
    if (big->fd >= 0 && !big->keep) {
        segment_name(big->name, "", name);
        s->io->unlink(s->io->user, s->big_dir, name);
    }
    for (struct put_chunk *c = big->first; c != NULL; c = next) {
        next = c->next;
        mem_free(s->mem, c);
    }
    mem_free(s->mem, big);
    pthread_mutex_lock(&s->lock);
}

static void take_out(struct store *s, struct big_body *big)
{
    struct big_body **link = &s->bigs;

    while (big->queued && *link != big)
        link = &(*link)->next;
    if (big->queued)
        *link = big->next;
    big->queued = false;
}

/* Once: who waited goes on, and may be gone by the next time. Lock held, given up meanwhile. */
static void tell_drained(struct store *s, struct big_body *big)
{
    void (*drained)(void *user) = big->drained;
    void *user = big->drained_user;

    big->drained = NULL;
    if (drained == NULL)
        return;
    pthread_mutex_unlock(&s->lock);
    drained(user);
    pthread_mutex_lock(&s->lock);
}

static void work(struct store *s, struct big_body *big)
{
    big->busy = true;
    if (big->backlog > 0 && big->error == 0 && !big->dropped)
        stream(s, big);
    if (big->sealing && (big->backlog == 0 || big->error != 0))
        seal(s, big);
    if (big->backlog == 0 || big->error != 0)
        tell_drained(s, big);
    big->busy = false;
    if (big->dropped && !big->sealing) {
        take_out(s, big);
        finish(s, big);
    } else if (big->sealing || (big->backlog >= CHUNK_SIZE && big->error == 0))
        wake(s, big);
}

/* One that nobody works on. */
static struct big_body *take(struct store *s)
{
    struct big_body **link = &s->bigs;

    while (*link != NULL && (*link)->busy)
        link = &(*link)->next;
    if (*link != NULL) {
        struct big_body *big = *link;

        *link = big->next;
        big->queued = false;
        return big;
    }
    return NULL;
}

void *big_thread(void *store)
{
    struct store *s = store;

    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct big_body *big = take(s);

        if (big != NULL) {
            work(s, big);
            /* Another writer may have looked away from one that was busy here. */
            if (s->bigs != NULL)
                pthread_cond_signal(&s->big_work);
        } else if (s->committer_over && s->bigs == NULL) {
            break;
        } else {
            pthread_cond_wait(&s->big_work, &s->lock);
        }
    }
    pthread_cond_broadcast(
        &s->big_work); /* the others may have waited for what was done here */
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
