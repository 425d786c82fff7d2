/* base/testing.c: helpers of unit tests. Never linked into the library or the daemon. */
#include "base/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"

/* --- allocations that fail --- */

#define RUNS_MAX 100000 /* a scenario with more allocations than these does not end */

#if defined(__SANITIZE_ADDRESS__)
#define LEAKS_ARE_FOUND true
#elif defined(__has_feature)
#define LEAKS_ARE_FOUND __has_feature(address_sanitizer)
#else
#define LEAKS_ARE_FOUND false
#endif

/* Of the whole program, for its last line. */
static struct {
    size_t begun, scenarios, failures;
    bool uncounted; /* some allocations did not come from a fail_mem */
    pid_t pid;      /* a child says nothing */
} proof;

static void print_proof(void)
{
    if (proof.pid != getpid() || proof.begun != proof.scenarios)
        return;
    printf("# proof: n-th allocation (%s): %zu scenarios, %zu failures injected%s\n",
           program_invocation_short_name, proof.scenarios, proof.failures,
           proof.uncounted && !LEAKS_ARE_FOUND ? "" : ", 0 leaks");
}

void fail_mem_uncounted(void)
{
    proof.uncounted = true;
}

bool fail_mem_hit(struct fail_mem *f)
{
    if (__atomic_add_fetch(&f->count, 1, __ATOMIC_SEQ_CST) != f->fail_at)
        return false;
    __atomic_store_n(&f->failed, true, __ATOMIC_SEQ_CST);
    return true;
}

static void *fail_realloc(void *old, size_t size, void *user)
{
    struct fail_mem *f = user;
    bool is_new = old == NULL;
    void *p = fail_mem_hit(f) ? NULL : realloc(old, size);

    if (p != NULL && is_new)
        __atomic_add_fetch(&f->live, 1, __ATOMIC_SEQ_CST);
    return p;
}

static void *fail_malloc(size_t size, void *user)
{
    return fail_realloc(NULL, size, user);
}

static void fail_free(void *p, void *user)
{
    struct fail_mem *f = user;

    if (p == NULL)
        return;
    __atomic_sub_fetch(&f->live, 1, __ATOMIC_SEQ_CST);
    free(p);
}

static void arm(struct fail_mem *f, size_t fail_at)
{
    f->mem = (barid_mem){fail_malloc, fail_realloc, fail_free, f};
    f->count = 0;
    f->fail_at = fail_at;
    f->failed = false;
    f->live = 0;
}

void fail_mem_init(struct fail_mem *f, size_t fail_at)
{
    *f = (struct fail_mem){.settle = 0};
    arm(f, fail_at);
}

static void check_run(const struct fail_mem *f)
{
    if (f->live == 0 && f->fail_at < RUNS_MAX)
        return;
    fprintf(stderr, "testing: allocation %zu of %zu failing: %ld blocks left behind\n",
            f->fail_at, f->count, f->live);
    abort();
}

bool fail_mem_next(struct fail_mem *f)
{
    bool first = f->fail_at == 0;

    if (proof.pid == 0) {
        proof.pid = getpid();
        atexit(print_proof);
    }
    if (first) {
        proof.begun++;
        f->injected = 0;
    } else {
        check_run(f);
        f->injected += f->failed;
        f->clean = f->failed ? 0 : f->clean + 1;
    }
    if (f->clean > 0 && f->clean >= f->settle) {
        proof.scenarios++;
        proof.failures += f->injected;
        *f = (struct fail_mem){.settle = f->settle, .injected = f->injected};
        return false;
    }
    arm(f, f->fail_at + 1);
    return true;
}

/* A helper that loses text would make a test pass for the wrong reason. */
static void must(int rc)
{
    if (rc < 0) {
        fprintf(stderr, "testing: %s\n", barid_strerror(rc));
        abort();
    }
}

static void add_value(struct buf *text, const struct log_field *f)
{
    switch (f->type) {
    case LOG_FIELD_STR:
        for (size_t i = 0; i < f->str.n; i++) {
            unsigned char c = (unsigned char)f->str.p[i];

            must(c < 0x20 || c == 0x7f ? buf_fmt(text, "\\x%02x", (unsigned)c)
                                       : buf_byte(text, (char)c));
        }
        break;
    case LOG_FIELD_INT:
        must(buf_fmt(text, "%lld", (long long)f->num));
        break;
    case LOG_FIELD_BOOL:
        must(buf_str(text, f->num != 0 ? "true" : "false"));
        break;
    case LOG_FIELD_NUM:
        must(buf_fmt(text, "%g", f->real));
        break;
    }
}

static void remember(void *user, enum log_level level, const char *area, const char *what,
                     const struct log_field *fields)
{
    static const char *const names[] = {"ERROR", "WARN", "INFO", "DEBUG"};
    struct log_memory *l = user;

    must(buf_fmt(&l->text, "%s %s %s", names[level], area, what));
    for (; fields->key != NULL; fields++) {
        must(buf_fmt(&l->text, " %s=", fields->key));
        add_value(&l->text, fields);
    }
    must(buf_byte(&l->text, '\n'));
}

void log_memory_init(struct log_memory *l)
{
    l->log = (struct log){.write = remember, .user = l, .level = LOG_LEVEL_DEBUG};
    buf_init(&l->text, NULL, 0);
}

void log_memory_deinit(struct log_memory *l)
{
    buf_deinit(&l->text);
}

/* Each piece lies alone in a block of its size, so that a sanitizer sees a read past it. */
static void feed_piece(const struct cut_ops *ops, void *user, barid_slice piece)
{
    char *copy = xalloc(piece.n);

    memcpy(copy, piece.p, piece.n);
    ops->feed(user, copy, piece.n);
    free(copy);
}

/* Pieces of length(); rng NULL: all pieces are `most` long. */
static void feed_run(const struct cut_ops *ops, void *user, barid_slice input, size_t most,
                     const struct rng *rng)
{
    ops->begin(user);
    while (input.n > 0) {
        size_t n = rng != NULL ? (size_t)(rng_u64(rng) % most) + 1 : most;
        barid_slice piece = slice_head(input, n);

        feed_piece(ops, user, piece);
        input = slice_from(input, piece.n);
    }
    ops->end(user);
}

void test_cuts(const struct cut_ops *ops, void *user, barid_slice input, unsigned rounds,
               uint64_t seed)
{
    struct rng_seeded r;

    rng_seeded_init(&r, seed);
    feed_run(ops, user, input, input.n > 0 ? input.n : 1, NULL);
    feed_run(ops, user, input, 1, NULL);
    for (unsigned i = 0; i < rounds; i++) {
        /* Rounds of mostly tiny pieces find other mistakes than rounds of large ones. */
        size_t most = (size_t)2 << (rng_u64(&r.rng) % 10);

        feed_run(ops, user, input, most, &r.rng);
    }
}
