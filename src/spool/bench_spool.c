/*
 * spool/bench_spool.c: how fast is the log, on this disk, now? Not a test: run it by hand.
 *
 *   bench_spool DIR life  SIZE OUTSTANDING SECONDS    accept, read back, remove within a second
 *   bench_spool DIR hold  SIZE OUTSTANDING SECONDS    accept only
 *   bench_spool DIR raw   SIZE OUTSTANDING SECONDS    the bare loop: the same batches over a
 * written file bench_spool DIR reopen COUNT                      hold COUNT messages of 1 KB,
 * then open again
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "spool/spool_open.h"

#define META                                                                                   \
    "a packed envelope of some hundred and twenty octets: sender, recipients, the client's "   \
    "facts, and so on and so forth."

#define SPARES 6

struct bench {
    struct spool *s;
    size_t size, outstanding;
    bool life;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t in_flight;
    uint64_t *done_ids; /* acknowledged, to be removed */
    size_t n_done, cap_done;
    double *latency;
    size_t n_latency, cap_latency;
};

struct flight {
    struct bench *b;
    uint64_t id;
    double began;
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Octets handed to write calls. Not write_bytes of the same file: that counts whole large pages
 * that a write touches, more than twice what reaches the device. */
static uint64_t written(void)
{
    char line[64];
    unsigned long long n = 0;
    FILE *f = fopen("/proc/self/io", "r");

    while (f != NULL && fgets(line, sizeof(line), f) != NULL)
        sscanf(line, "wchar: %llu", &n);
    if (f != NULL)
        fclose(f);
    return n;
}

static void die(const char *what, int rc)
{
    fprintf(stderr, "bench_spool: %s: %s\n", what, barid_strerror(rc));
    exit(70);
}

static void on_durable(void *user, int err)
{
    struct flight *f = user;
    struct bench *b = f->b;

    if (err != 0)
        die("commit", err);
    pthread_mutex_lock(&b->lock);
    b->in_flight--;
    if (b->n_latency < b->cap_latency)
        b->latency[b->n_latency++] = now() - f->began;
    if (b->n_done < b->cap_done)
        b->done_ids[b->n_done++] = f->id;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
    free(f);
}

static void submit(struct bench *b, const char *body)
{
    struct unit_state unit = {.status = UNIT_PENDING, .due_us = INT64_MAX - 1};
    struct flight *f = malloc(sizeof(*f));
    const struct spool_ops *ops = b->s->ops;
    struct spool_put *put;
    int rc;

    if (f == NULL || ops->put_begin(b->s, &put) != 0)
        die("put", BARID_ENOMEM);
    if ((rc = ops->put_body(put, body, b->size)) != 0 ||
        (rc = ops->put_describe(put, SPOOL_ACTIVE, BARID_S(META), BARID_S("Subject: x\r\n"),
                                &unit, 1)) != 0)
        die("put", rc);
    *f = (struct flight){b, ops->put_id(put), now()};
    if ((rc = ops->commit(b->s, &put, 1, on_durable, f)) != 0)
        die("commit", rc);
}

static void deliver(struct bench *b, const uint64_t *ids, size_t n, char *scratch)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t size;
        void *body;
        int rc = b->s->ops->body_open(b->s, ids[i], &body, &size);

        if (rc != 0 || b->s->ops->body_read(body, 0, scratch, b->size) != (int64_t)b->size)
            die("read back", rc);
        b->s->ops->body_close(body);
        if ((rc = b->s->ops->erase(b->s, ids[i], NULL, NULL)) != 0)
            die("erase", rc);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void report(struct bench *b, const char *what, double took, double used, uint64_t bytes,
                   size_t n)
{
    struct spool_stats st;

    b->s->ops->stats(b->s, &st);
    qsort(b->latency, b->n_latency, sizeof(double), by_value);
    printf(
        "%s %zu B W=%zu: %.0f msgs/s, %.1f us CPU each, %.2f B written per body B, batches of "
        "%.1f, "
        "p50 %.0f p99 %.0f p99.9 %.0f us\n",
        what, b->size, b->outstanding, (double)n / took, used / (double)n * 1e6,
        (double)bytes / (double)n / (double)b->size,
        (double)n / (double)(st.syncs > 0 ? st.syncs : 1), b->latency[b->n_latency / 2] * 1e6,
        b->latency[b->n_latency * 99 / 100] * 1e6, b->latency[b->n_latency * 999 / 1000] * 1e6);
}

static size_t run(struct bench *b, double seconds, size_t most)
{
    char *body = malloc(b->size + 1), *scratch = malloc(b->size + 1);
    double began = now();
    size_t n = 0;

    memset(body, 'b', b->size);
    while (now() - began < seconds && n < most) {
        uint64_t ids[256];
        size_t n_ids = 0, room;

        pthread_mutex_lock(&b->lock);
        while (b->in_flight >= b->outstanding)
            pthread_cond_wait(&b->cond, &b->lock);
        room = b->outstanding - b->in_flight;
        b->in_flight += room;
        while (b->life && n_ids < 256 && b->n_done > 0)
            ids[n_ids++] = b->done_ids[--b->n_done];
        pthread_mutex_unlock(&b->lock);
        for (size_t i = 0; i < room; i++)
            submit(b, body);
        n += room;
        deliver(b, ids, n_ids, scratch);
    }
    pthread_mutex_lock(&b->lock);
    while (b->in_flight > 0)
        pthread_cond_wait(&b->cond, &b->lock);
    pthread_mutex_unlock(&b->lock);
    free(body);
    free(scratch);
    return n;
}

static void open_store(struct bench *b, const char *dir)
{
    struct spool_log_options options = {.dir = dir, .spares = SPARES};
    struct err e = {0};

    if (spool_log_open(&b->s, &options, &e) != 0) {
        fprintf(stderr, "bench_spool: %s\n", e.text);
        exit(70);
    }
}

/* Writing spares ahead is paid once in the life of a store: it is not what is measured. */
static void await_spares(struct bench *b)
{
    struct timespec pause = {.tv_nsec = 20000000};
    struct spool_stats st;

    for (int i = 0; i < 1000; i++) {
        b->s->ops->stats(b->s, &st);
        if (st.disk_bytes >= (SPARES + 2) * (64ull << 20))
            return;
        nanosleep(&pause, NULL);
    }
}

static void bench_store(const char *dir, const char *what, size_t size, size_t outstanding,
                        double seconds)
{
    struct bench b = {.size = size,
                      .outstanding = outstanding,
                      .life = strcmp(what, "life") == 0,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .cond = PTHREAD_COND_INITIALIZER};
    double began, used;
    uint64_t bytes;
    size_t n;

    b.cap_latency = b.cap_done = 8u << 20;
    b.latency = malloc(b.cap_latency * sizeof(double));
    b.done_ids = malloc(b.cap_done * sizeof(uint64_t));
    if (b.latency == NULL || b.done_ids == NULL)
        die("start", BARID_ENOMEM);
    open_store(&b, dir);
    await_spares(&b);
    run(&b, 4.0, SIZE_MAX);
    await_spares(&b);
    b.n_latency = 0;
    bytes = written();
    began = now();
    used = cpu();
    n = run(&b, seconds, SIZE_MAX);
    report(&b, what, now() - began, cpu() - used, written() - bytes, n);
    b.s->ops->close(b.s);
    free(b.latency);
    free(b.done_ids);
}

/* write + fdatasync over a file that was written before, batches of all that is outstanding. */
static void bench_raw(const char *dir, size_t size, size_t outstanding, double seconds)
{
    size_t batch = (size * outstanding + 4095) / 4096 * 4096, at = 0, file = 256u << 20, n = 0;
    char path[4096], *p = calloc(1, batch);
    double began;
    int fd;

    snprintf(path, sizeof(path), "%s.raw", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (size_t i = 0; i < file; i += batch)
        if (pwrite(fd, p, batch, (off_t)i) < 0)
            die("raw", BARID_EIO);
    fsync(fd);
    for (began = now(); now() - began < seconds; n += outstanding) {
        if (at + batch > file)
            at = 0;
        if (pwrite(fd, p, batch, (off_t)at) < 0 || fdatasync(fd) < 0)
            die("raw", BARID_EIO);
        at += batch;
    }
    printf("raw %zu B W=%zu: %.0f msgs/s\n", size, outstanding, (double)n / (now() - began));
    close(fd);
    unlink(path);
    free(p);
}

static void bench_reopen(const char *dir, size_t count)
{
    struct bench b = {.size = 1024,
                      .outstanding = 500,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .cond = PTHREAD_COND_INITIALIZER};
    struct rusage before, after;
    double began;

    open_store(&b, dir);
    run(&b, 1e9, count);
    b.s->ops->close(b.s);
    getrusage(RUSAGE_SELF, &before);
    began = now();
    open_store(&b, dir);
    getrusage(RUSAGE_SELF, &after);
    printf("reopen of %zu held: %.3f s\n", count, now() - began);
    b.s->ops->close(b.s);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[2], "reopen") == 0) {
        bench_reopen(argv[1], strtoul(argv[3], NULL, 10));
        return 0;
    }
    if (argc != 6) {
        fprintf(stderr, "usage: bench_spool DIR life|hold|raw SIZE OUTSTANDING SECONDS, or DIR "
                        "reopen COUNT\n");
        return 64;
    }
    if (strcmp(argv[2], "raw") == 0)
        bench_raw(argv[1], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                  strtod(argv[5], NULL));
    else
        bench_store(argv[1], argv[2], strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                    strtod(argv[5], NULL));
    return 0;
}
