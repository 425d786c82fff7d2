/* base/testing.c: helpers of unit tests. Never linked into the library or the daemon. */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/slice.h"

static bool fails_now(struct fail_mem *f)
{
    f->count++;
    if (f->count != f->fail_at)
        return false;
    f->failed = true;
    return true;
}

static void *fail_malloc(size_t size, void *user)
{
    struct fail_mem *f = user;
    void *p = fails_now(f) ? NULL : malloc(size);

    if (p != NULL)
        f->live++;
    return p;
}

static void *fail_realloc(void *old, size_t size, void *user)
{
    struct fail_mem *f = user;
    bool is_new = old == NULL;
    void *p = fails_now(f) ? NULL : realloc(old, size);

    if (p != NULL && is_new)
        f->live++;
    return p;
}

static void fail_free(void *p, void *user)
{
    struct fail_mem *f = user;

    if (p == NULL)
        return;
    f->live--;
    free(p);
}

void fail_mem_init(struct fail_mem *f, size_t fail_at)
{
    *f = (struct fail_mem){
        .mem = {fail_malloc, fail_realloc, fail_free, f},
        .fail_at = fail_at,
    };
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
