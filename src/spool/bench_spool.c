/*
 * spool/bench_spool.c: how fast is the log, on this disk, now? Not a test: bench/run runs it, or a person by hand. One JSON
 * object on standard output.
 *
 *   bench_spool DIR life SIZE OUTSTANDING SECONDS   accept, read back, remove within a second
 *   bench_spool DIR hold SIZE OUTSTANDING SECONDS   accept only
 *   bench_spool DIR raw SIZE BATCH SECONDS          the bare loop: pwrite and fdatasync of BATCH
 *                                                   bodies at a time over a written file
 *   bench_spool DIR reopen COUNT                    hold COUNT messages of 1 KB, open again
 *   bench_spool DIR aside COUNT                     COUNT small messages that are due, all put aside;
 *                                                   then hastened
 *   bench_spool DIR bodies                          the bodies of a store that nobody serves,
 *                                                   one after the other, as they are
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "spool/spool_open.h"

#define META                                                                                   \
    "a packed envelope of some hundred and twenty octets: sender, recipients, the client's "   \
    "facts, and so on and so forth."

#define SPARES       6
#define WARM_SECONDS 4.0

struct bench {
    struct spool *s;
    size_t size, outstanding;
    bool life, held;
    bool due; /* at times in no order; else never */
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

/* Octets written to the device that dir is on, by anybody: 0 where the kernel does not say. */
static uint64_t device_written(const char *dir)
{
    unsigned long long v[7] = {0};
    char path[64];
    struct stat st;
    FILE *f;

    if (stat(dir, &st) < 0)
        return 0;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(st.st_dev),
             minor(st.st_dev));
    if ((f = fopen(path, "r")) == NULL)
        return 0;
    for (size_t i = 0; i < 7; i++)
        if (fscanf(f, "%llu", &v[i]) != 1)
            v[6] = 0;
    fclose(f);
    return v[6] * 512;
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
    struct unit_state unit = {.status = b->held ? UNIT_HELD : UNIT_PENDING,
                                      .attempts = 1,
                              .group = SPOOL_GROUP_FIRST};
    enum spool_state state = b->held ? SPOOL_HELD : SPOOL_ACTIVE;
    struct flight *f = malloc(sizeof(*f));
    const struct spool_ops *ops = b->s->ops;
    struct spool_put *put;
    int rc;

    if (f == NULL || ops->put_begin(b->s, &put) != 0)
        die("put", BARID_ENOMEM);
    if (b->due)
        unit.due_us = (int64_t)(ops->put_id(put) * 0x9e3779b97f4a7c15u >> 32);
    if ((rc = ops->put_body(put, body, b->size)) != 0 ||
        (rc = ops->put_describe(put, state, BARID_S(META), BARID_S("Subject: x\r\n"), &unit,
                                1)) != 0)
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

/* What a run began with. */
struct mark {
    double at, cpu;
    uint64_t written, device, syncs;
};

static struct mark mark(struct bench *b, const char *dir)
{
    struct spool_stats st;

    b->s->ops->stats(b->s, &st);
    return (struct mark){now(), cpu(), written(), device_written(dir), st.syncs};
}

static double at_share(const double *sorted, size_t n, double share)
{
    return n > 0 ? sorted[(size_t)((double)(n - 1) * share)] * 1e6 : 0;
}

static void print_latency(double *latency, size_t n)
{
    qsort(latency, n, sizeof(double), by_value);
    printf("\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f}\n", at_share(latency, n, 0.5),
           at_share(latency, n, 0.99), at_share(latency, n, 0.999));
}

static void report(struct bench *b, const char *what, const struct mark *from,
                   const struct mark *to, size_t n)
{
    double bodies = (double)n * (double)b->size;
    uint64_t syncs = to->syncs - from->syncs;

    printf("{\"what\":\"%s\",\"size\":%zu,\"outstanding\":%zu,\"messages\":%zu,"
           "\"rate\":%.1f,\"cpu_us\":%.2f,\"batch\":%.2f,\"written\":%.4f,\"device\":%.4f,",
           what, b->size, b->outstanding, n, (double)n / (to->at - from->at),
           (to->cpu - from->cpu) / (double)n * 1e6, (double)n / (double)(syncs > 0 ? syncs : 1),
           (double)(to->written - from->written) / bodies,
           (double)(to->device - from->device) / bodies);
    print_latency(b->latency, b->n_latency);
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

static void open_store(struct bench *b, const char *dir, bool read_only)
{
    struct spool_log_options options = {.dir = dir, .spares = SPARES, .read_only = read_only};
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
    struct mark from, to;
    size_t n;

    b.cap_latency = b.cap_done = 8u << 20;
    b.latency = malloc(b.cap_latency * sizeof(double));
    b.done_ids = malloc(b.cap_done * sizeof(uint64_t));
    if (b.latency == NULL || b.done_ids == NULL)
        die("start", BARID_ENOMEM);
    open_store(&b, dir, false);
    await_spares(&b);
    /* Until segments are recycled and the removals of the first ones have come round. */
    run(&b, b.life ? WARM_SECONDS : 0.2, SIZE_MAX);
    await_spares(&b);
    sync(); /* what others left to be written is not ours */
    b.n_latency = 0;
    from = mark(&b, dir);
    n = run(&b, seconds, SIZE_MAX);
    to = mark(&b, dir);
    report(&b, what, &from, &to, n);
    b.s->ops->close(b.s);
    free(b.latency);
    free(b.done_ids);
}

static int raw_file(const char *dir, const char *p, size_t batch, size_t size)
{
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s.raw", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die("raw", BARID_EIO);
    unlink(path);
    for (size_t i = 0; i < size; i += batch)
        if (pwrite(fd, p, batch, (off_t)i) < 0)
            die("raw", BARID_EIO);
    sync();
    return fd;
}

static void bench_raw(const char *dir, size_t size, double per_sync, double seconds)
{
    size_t batch = (size_t)((double)size * per_sync + 4095) / 4096 * 4096, at = 0;
    size_t file = (256u << 20) / batch * batch, n = 0, cap = 8u << 20;
    char *p = malloc(batch);
    double *latency = malloc(cap * sizeof(double)), began;
    int fd;

    if (p == NULL || latency == NULL)
        die("raw", BARID_ENOMEM);
    memset(p, 'r', batch);
    fd = raw_file(dir, p, batch, file);
    for (began = now(); now() - began < seconds && n < cap; at = (at + batch) % file) {
        double t = now();

        if (pwrite(fd, p, batch, (off_t)at) < 0 || fdatasync(fd) < 0)
            die("raw", BARID_EIO);
        latency[n++] = now() - t;
    }
    printf("{\"what\":\"raw\",\"size\":%zu,\"batch\":%.2f,\"rate\":%.1f,", size, per_sync,
           (double)n * per_sync / (now() - began));
    print_latency(latency, n);
    close(fd);
    free(latency);
    free(p);
}

static void bench_reopen(const char *dir, size_t count)
{
    struct bench b = {.size = 1024,
                      .outstanding = 500,
                      .held = true,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .cond = PTHREAD_COND_INITIALIZER};
    struct spool_stats st;
    double began, took;

    open_store(&b, dir, false);
    count = run(&b, 1e9, count);
    b.s->ops->close(b.s);
    began = now();
    open_store(&b, dir, false);
    took = now() - began;
    b.s->ops->stats(b.s, &st);
    if (st.messages[SPOOL_HELD] != count)
        die("reopen", BARID_ECORRUPT);
    printf("{\"what\":\"reopen\",\"messages\":%zu,\"seconds\":%.3f}\n", count, took);
    b.s->ops->close(b.s);
}

static bool none(void *user, uint64_t id, uint32_t group)
{
    (void)user;
    (void)id;
    (void)group;
    return false;
}

/* The queue of a destination that is down: all of it is looked at, none of it is taken. */
static void bench_aside(const char *dir, size_t count)
{
    struct bench b = {.size = 100,
                      .outstanding = 500,
                      .due = true,
                      .lock = PTHREAD_MUTEX_INITIALIZER,
                      .cond = PTHREAD_COND_INITIALIZER};
    double began, took, busy;
    size_t n, aside, hastened;

    open_store(&b, dir, false);
    count = run(&b, 1e9, count);
    began = now();
    busy = cpu();
    if (b.s->ops->claim_some(b.s, INT64_MAX - 2, SIZE_MAX, none, NULL, NULL, &n, &aside) != 0 || aside != count)
        die("aside", BARID_ECORRUPT);
    took = now() - began;
    busy = cpu() - busy;
    began = now();
    if (b.s->ops->hasten(b.s, SPOOL_GROUP_FIRST, &hastened) != 0 || hastened != count)
        die("hasten", BARID_ECORRUPT);
    printf("{\"what\":\"aside\",\"messages\":%zu,\"seconds\":%.3f,\"cpu_seconds\":%.3f,\"hasten_seconds\":%.3f}\n",
           count, took, busy, now() - began);
    b.s->ops->close(b.s);
}

static void print_body(struct spool *s, uint64_t id)
{
    char part[65536];
    uint64_t size;
    void *body;
    int64_t n;
    int rc = s->ops->body_open(s, id, &body, &size);

    if (rc != 0)
        die("body", rc);
    for (uint64_t at = 0; (n = s->ops->body_read(body, at, part, sizeof(part))) > 0;
         at += (uint64_t)n)
        fwrite(part, 1, (size_t)n, stdout);
    if (n < 0)
        die("body", (int)n);
    s->ops->body_close(body);
}

static void print_bodies(const char *dir)
{
    struct spool_message m = {0};
    struct bench b = {0};

    open_store(&b, dir, true);
    while (b.s->ops->after(b.s, m.id, &m) == 0)
        print_body(b.s, m.id);
    b.s->ops->close(b.s);
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_spool DIR life|hold SIZE OUTSTANDING SECONDS\n"
                    "       bench_spool DIR raw SIZE BATCH SECONDS\n"
                    "       bench_spool DIR reopen COUNT\n"
                    "       bench_spool DIR aside COUNT\n"
                    "       bench_spool DIR bodies\n");
    return 64;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[2] : "";

    if (argc == 3 && strcmp(what, "bodies") == 0)
        print_bodies(argv[1]);
    else if (argc == 4 && strcmp(what, "reopen") == 0)
        bench_reopen(argv[1], strtoul(argv[3], NULL, 10));
    else if (argc == 4 && strcmp(what, "aside") == 0)
        bench_aside(argv[1], strtoul(argv[3], NULL, 10));
    else if (argc == 6 && strcmp(what, "raw") == 0)
        bench_raw(argv[1], strtoul(argv[3], NULL, 10), strtod(argv[4], NULL),
                  strtod(argv[5], NULL));
    else if (argc == 6 && (strcmp(what, "life") == 0 || strcmp(what, "hold") == 0))
        bench_store(argv[1], what, strtoul(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
                    strtod(argv[5], NULL));
    else
        return usage();
    return 0;
}
