/*
 * spool/nomem_test.c: every operation of a store with its n-th allocation failing, for all n and
 * both stores. What fails says so and changes nothing: what was acknowledged is whole, what was
 * refused is not there. The log is opened once more on the same disk and asked again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "base/testing.h"
#include "spool/disk_testing.h"
#include "spool/spool_open.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000
#define SEGMENT  (64u << 10)
#define GROUP    77
#define LARGE    (SPOOL_BODY_MEMORY + 5000)

struct backend {
    struct disk disk;
    bool is_log;
};

static int open_store(struct backend *b, const barid_mem *mem, struct spool **s)
{
    if (b->is_log)
        return spool_log_open(s,
                              &(struct spool_log_options){.dir = "spool",
                                                          .io = &b->disk.io,
                                                          .segment_size = SEGMENT,
                                                          .soft_free = 1,
                                                          .hard_free = 1,
                                                          .mem = mem},
                              NULL);
    return spool_memory_open(s, &(struct spool_memory_options){.mem = mem}, NULL);
}

/* What is known for sure about a message. */
enum fact { MAYBE, THERE, GONE };

#define MESSAGES 8

struct known {
    uint64_t id[MESSAGES];
    size_t size[MESSAGES];
    enum fact fact[MESSAGES];
    size_t n;
    bool failed; /* an operation said that it failed */
};

static int result(struct known *k, int rc)
{
    if (rc != 0 && rc != BARID_ENOMEM && rc != BARID_EIO)
        fail_msg("an allocation that fails is no %s", barid_strerror(rc));
    k->failed = k->failed || rc != 0;
    return rc;
}

/* rc of an operation that calls waiter_done. */
static int wait_for(struct waiter *w, int rc)
{
    if (rc == 0)
        rc = waiter_wait(w);
    waiter_deinit(w);
    return rc;
}

static void put_one(struct spool *s, struct known *k, size_t size, enum spool_state state)
{
    struct unit_state units[] = {test_unit(START_US), test_unit(START_US + 1)};
    struct spool_put *put = test_put(s, k->n, size, state, units, 2);

    k->failed = k->failed || put == NULL;
    if (put == NULL)
        return;
    k->id[k->n] = s->ops->put_id(put);
    k->size[k->n] = size;
    k->fact[k->n] = result(k, test_commit(s, &put, 1)) == 0 ? THERE : GONE;
    k->n++;
}

/* Read back before commit, replaced, shared; then all or none. */
static void put_two(struct spool *s, struct known *k)
{
    struct unit_state unit = test_unit(START_US);
    struct spool_put *puts[2] = {test_put(s, k->n, 100, SPOOL_ACTIVE, &unit, 1), NULL};
    char text[64], p[100];
    int rc = puts[0] == NULL ? BARID_ENOMEM : s->ops->put_truncate(puts[0]);

    test_fill(k->n, 0, p, sizeof(p));
    if (rc == 0)
        rc = s->ops->put_body(puts[0], p, sizeof(p));
    if (rc == 0 && s->ops->put_read(puts[0], 0, text, sizeof(text)) == sizeof(text))
        assert_memory_equal(text, p, sizeof(text));
    if (rc == 0)
        rc = s->ops->put_share(puts[0], &puts[1]);
    if (rc == 0)
        rc = s->ops->put_describe(puts[1], SPOOL_HELD, BARID_S("m"), BARID_S("h"), &unit, 1);
    if (result(k, rc) != 0) {
        for (int i = 0; i < 2; i++) {
            if (puts[i] != NULL)
                s->ops->put_abort(puts[i]);
        }
        return;
    }
    k->id[k->n] = s->ops->put_id(puts[0]);
    k->size[k->n] = sizeof(p);
    k->fact[k->n] = result(k, test_commit(s, puts, 2)) == 0 ? THERE : GONE;
    k->n++;
}

static void deliver(struct spool *s, struct known *k)
{
    struct unit_change change = {0, {.status = UNIT_PENDING, .reply = {"450 later", 9}}};
    struct spool_claim claims[MESSAGES];
    size_t n = 0;

    if (result(k, s->ops->claim(s, START_US, MESSAGES, claims, &n)) != 0)
        return;
    for (size_t i = 0; i < n; i++) {
        struct waiter w;

        change.unit = claims[i].units[0];
        change.state.due_us = START_US + 50;
        waiter_init(&w);
        result(k, i % 2 ? wait_for(&w, s->ops->update(s, claims[i].id, claims[i].lease, &change,
                                                      1, waiter_done, &w))
                        : (waiter_deinit(&w), 0));
        s->ops->release(s, claims[i].id, claims[i].lease);
        free(claims[i].units);
    }
}

static bool choose_none(void *user, uint64_t id, uint32_t group)
{
    (void)user;
    (void)id;
    return group == SPOOL_GROUP_NONE;
}

static void claim_by_id(struct spool *s, struct known *k, uint64_t id, int64_t now_us)
{
    struct spool_claim claim;
    int rc = s->ops->claim_one(s, id, now_us, &claim);

    if (rc == 0) {
        s->ops->put_aside(s, id, claim.lease, GROUP);
        free(claim.units);
        rc = s->ops->claim_one(s, id, now_us, &claim);
        if (rc == 0) {
            s->ops->release(s, id, claim.lease);
            free(claim.units);
        }
    }
    if (rc != BARID_ENOTFOUND)
        result(k, rc);
}

/* What is put aside and hastened is known without memory, or said not to be. */
static void send_groups(struct spool *s, struct known *k)
{
    struct unit_state units[] = {test_unit(START_US), test_unit(START_US + 100)};
    struct spool_claim claims[MESSAGES];
    size_t n, aside, hastened = 0;
    struct spool_put *put;

    units[0].group = GROUP + 1;
    units[1].group = GROUP;
    units[1].attempts = 1;
    put = test_put(s, k->n, 1, SPOOL_ACTIVE, units, 2);
    k->failed = k->failed || put == NULL;
    if (put == NULL)
        return;
    k->id[k->n] = s->ops->put_id(put);
    k->size[k->n] = 1;
    k->fact[k->n++] = result(k, test_commit(s, &put, 1)) == 0 ? THERE : GONE;
    n = 0;
    result(k, s->ops->claim_some(s, START_US, MESSAGES, choose_none, NULL, claims, &n, &aside));
    for (size_t i = 0; i < n; i++) {
        s->ops->release(s, claims[i].id, claims[i].lease);
        free(claims[i].units);
    }
    if (result(k, s->ops->hasten(s, GROUP, &hastened)) == 0 && k->fact[k->n - 1] == THERE)
        assert_int_equal(hastened, 1);
    claim_by_id(s, k, k->id[k->n - 1], START_US);
}

static void operate(struct spool *s, struct known *k)
{
    struct unit_change change = {1, {.status = UNIT_HELD, .reply = {"by hand", 7}}};
    struct spool_message m = {0};
    struct spool_stats stats;
    struct waiter w;

    for (size_t i = 0; i < k->n; i++) {
        if (k->fact[i] != THERE)
            continue;
        waiter_init(&w);
        result(k, wait_for(&w,
                           s->ops->set_state(s, k->id[i], SPOOL_QUARANTINED, waiter_done, &w)));
        if (i % 2 == 0 && k->size[i] != 100) {
            waiter_init(&w);
            result(k, wait_for(&w, s->ops->change(s, k->id[i], &change, 1, waiter_done, &w)));
        }
        if (i % 3 != 2)
            continue;
        waiter_init(&w);
        k->fact[i] = MAYBE;
        if (result(k, wait_for(&w, s->ops->erase(s, k->id[i], waiter_done, &w))) == 0)
            k->fact[i] = GONE;
    }
    while (s->ops->after(s, m.id, &m) == 0)
        assert_int_not_equal(m.id, 0);
    s->ops->stats(s, &stats);
}

static void check(struct spool *s, struct known *k, bool may_fail)
{
    for (size_t i = 0; i < k->n; i++) {
        int rc = test_verify(s, k->id[i], i, k->size[i]);

        if (may_fail && rc == BARID_ENOMEM) {
            k->failed = true;
            continue;
        }
        if (k->fact[i] != MAYBE)
            assert_int_equal(rc, k->fact[i] == THERE ? 0 : BARID_ENOTFOUND);
        else
            assert_true(rc == 0 || rc == BARID_ENOTFOUND);
    }
}

static void scenario(struct backend *b, struct fail_mem *mem)
{
    struct known k = {.n = 0};
    struct spool *s;
    int rc = result(&k, open_store(b, &mem->mem, &s));

    if (rc == 0) {
        put_one(s, &k, 3000, SPOOL_ACTIVE);
        put_one(s, &k, LARGE, SPOOL_ACTIVE);
        put_two(s, &k);
        put_one(s, &k, 0, SPOOL_HELD);
        deliver(s, &k);
        check(s, &k, true);
        send_groups(s, &k);
        check(s, &k, true);
        operate(s, &k);
        check(s, &k, true);
        s->ops->close(s);
    }
    if (!mem->failed)
        assert_false(k.failed);
    if (!b->is_log)
        return;
    assert_int_equal(open_store(b, NULL, &s), 0);
    check(s, &k, false);
    s->ops->close(s);
}

static void run(bool is_log)
{
    struct fail_mem mem = {.settle = is_log ? 3 : 1}; /* its threads allocate, too */

    while (fail_mem_next(&mem)) {
        struct backend b = {.is_log = is_log};

        disk_init(&b.disk);
        scenario(&b, &mem);
        disk_deinit(&b.disk);
    }
    assert_true(mem.injected > 40);
}

static void memory_stands_each_failure(void **state)
{
    (void)state;
    run(false);
}

static void log_stands_each_failure(void **state)
{
    (void)state;
    run(true);
}

/* A store with messages opens, or says that it cannot, and is whole afterwards. */
static void opening_stands_each_failure(void **state)
{
    struct fail_mem mem = {.settle = 3};

    (void)state;
    while (fail_mem_next(&mem)) {
        struct backend b = {.is_log = true};
        struct known k = {.n = 0};
        struct spool *s;

        disk_init(&b.disk);
        assert_int_equal(open_store(&b, NULL, &s), 0);
        for (size_t i = 0; i < MESSAGES; i++)
            put_one(s, &k, i == 3 ? LARGE : 1000 * i, i % 2 ? SPOOL_HELD : SPOOL_ACTIVE);
        s->ops->close(s);
        if (result(&k, open_store(&b, &mem.mem, &s)) == 0) {
            check(s, &k, true);
            s->ops->close(s);
        }
        assert_true(mem.failed || !k.failed);
        assert_int_equal(open_store(&b, NULL, &s), 0);
        check(s, &k, false);
        s->ops->close(s);
        disk_deinit(&b.disk);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_stands_each_failure),
        cmocka_unit_test(log_stands_each_failure),
        cmocka_unit_test(opening_stands_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
