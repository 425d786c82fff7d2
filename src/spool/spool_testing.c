/* spool/spool_testing.c: see spool_testing.h. */
#include "spool/spool_testing.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "spool testing: %s\n", what);
    abort();
}

void waiter_init(struct waiter *w)
{
    *w = (struct waiter){.err = 0};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->cond, NULL);
}

void waiter_deinit(struct waiter *w)
{
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
}

void waiter_done(void *user, int err)
{
    struct waiter *w = user;

    pthread_mutex_lock(&w->lock);
    w->calls++;
    w->err = err;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

int waiter_wait(struct waiter *w)
{
    int err;

    pthread_mutex_lock(&w->lock);
    while (w->calls == 0)
        pthread_cond_wait(&w->cond, &w->lock);
    must(w->calls == 1, "done was called more than once");
    w->calls = 0;
    err = w->err;
    pthread_mutex_unlock(&w->lock);
    return err;
}

struct unit_state test_unit(int64_t due_us)
{
    return (struct unit_state){.status = UNIT_PENDING, .due_us = due_us};
}

void test_unit_hop(struct unit_state *unit, uint64_t seed, uint32_t attempts, size_t i)
{
    uint64_t z = (seed + 1) * 0x9e3779b97f4a7c15u + (attempts * 5 + i) * 0xbf58476d1ce4e5b9u;

    z = (z ^ (z >> 31)) * 0x94d049bb133111ebu;
    z ^= z >> 30;
    unit->attempts = attempts;
    unit->group = z % 4 == 0 ? SPOOL_GROUP_NONE : SPOOL_GROUP_FIRST + (uint32_t)(z >> 8) % 1000;
    unit->suspect = z >> 4 & 1;
    for (unsigned k = 0; k < UNIT_AHEAD_MAX; k++)
        unit->ahead_s[k] = z >> 5 & 1 ? (uint32_t)(z >> (32 + 4 * k)) & 3 : 0;
}

bool test_unit_has_hop(const struct unit_state *unit, uint64_t seed, size_t i)
{
    struct unit_state want = {0};

    test_unit_hop(&want, seed, unit->attempts, i);
    return unit->group == want.group && unit->suspect == want.suspect &&
           memcmp(unit->ahead_s, want.ahead_s, sizeof(want.ahead_s)) == 0;
}

/* Octet i is '!' + (31 seed + 7 i + i / 512) mod 90: within 512 octets it goes round in steps of
 * 7, so that a piece is copied out of one turn and a bit. */
void test_fill(uint64_t seed, uint64_t offset, char *p, size_t n)
{
    char turn[90 + 512];

    for (unsigned i = 0, value = 0; i < sizeof(turn); i++, value = (value + 7) % 90)
        turn[i] = (char)('!' + value);
    while (n > 0) {
        uint64_t value = (seed * 31 + offset * 7 + offset / 512) % 90;
        size_t part = 512 - (size_t)(offset % 512);

        part = part < n ? part : n;
        memcpy(p, turn + value * 13 % 90, part); /* 7 * 13 = 1 mod 90 */
        offset += part;
        p += part;
        n -= part;
    }
}

struct spool_put *test_put(struct spool *s, uint64_t seed, size_t n, enum spool_state state,
                           const struct unit_state *units, size_t n_units)
{
    struct spool_put *put;
    char meta[64], header[64], piece[8192];

    if (s->ops->put_begin(s, &put) != 0)
        return NULL;
    for (size_t at = 0; at < n; at += sizeof(piece)) {
        size_t part = n - at < sizeof(piece) ? n - at : sizeof(piece);

        test_fill(seed, at, piece, part);
        if (s->ops->put_body(put, piece, part) == 0)
            continue;
        s->ops->put_abort(put);
        return NULL;
    }
    snprintf(meta, sizeof(meta), "meta-%llu", (unsigned long long)seed);
    snprintf(header, sizeof(header), "header-%llu", (unsigned long long)seed);
    if (s->ops->put_describe(put, state, slice_str(meta), slice_str(header), units, n_units) !=
        0) {
        s->ops->put_abort(put);
        return NULL;
    }
    return put;
}

int test_commit(struct spool *s, struct spool_put **puts, size_t n)
{
    struct waiter w;
    int rc;

    waiter_init(&w);
    rc = s->ops->commit(s, puts, n, waiter_done, &w);
    if (rc == 0)
        rc = waiter_wait(&w);
    waiter_deinit(&w);
    return rc;
}

uint64_t test_accept(struct spool *s, uint64_t seed, size_t n, int64_t due_us)
{
    struct unit_state unit = test_unit(due_us);
    struct spool_put *put = test_put(s, seed, n, SPOOL_ACTIVE, &unit, 1);
    uint64_t id;

    must(put != NULL, "cannot make a put");
    id = s->ops->put_id(put);
    must(test_commit(s, &put, 1) == 0, "cannot commit");
    return id;
}

static int verify_body(struct spool *s, uint64_t id, uint64_t seed, size_t n)
{
    char got[8192], want[sizeof(got)];
    uint64_t size, at = 0;
    int64_t part;
    void *body;
    int rc = s->ops->body_open(s, id, &body, &size);

    if (rc != 0)
        return rc;
    if (size != n)
        rc = BARID_ECORRUPT;
    while (rc == 0 && (part = s->ops->body_read(body, at, got, sizeof(got))) != 0) {
        if (part < 0) {
            rc = (int)part;
            break;
        }
        test_fill(seed, at, want, (size_t)part);
        if (memcmp(got, want, (size_t)part) != 0)
            rc = BARID_ECORRUPT;
        at += (uint64_t)part;
    }
    s->ops->body_close(body);
    return rc == 0 && at != n ? BARID_ECORRUPT : rc;
}

int test_verify(struct spool *s, uint64_t id, uint64_t seed, size_t n)
{
    struct spool_loaded loaded;
    char meta[64], header[64];
    int rc = s->ops->load(s, id, &loaded);

    if (rc != 0)
        return rc;
    snprintf(meta, sizeof(meta), "meta-%llu", (unsigned long long)seed);
    snprintf(header, sizeof(header), "header-%llu", (unsigned long long)seed);
    if (!slice_eq(loaded.meta, slice_str(meta)) ||
        !slice_eq(loaded.header, slice_str(header)) || loaded.info.id != id ||
        loaded.info.size != strlen(header) + 2 + n)
        rc = BARID_ECORRUPT;
    s->ops->loaded_free(&loaded);
    return rc != 0 ? rc : verify_body(s, id, seed, n);
}

void test_dir_make(char *dir)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(dir, TEST_DIR_SIZE, "%s/barid-spool-XXXXXX", tmp != NULL ? tmp : "/tmp");
    must(mkdtemp(dir) != NULL, "cannot make a directory");
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

void test_dir_remove(const char *dir)
{
    must(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "cannot remove a directory");
}
