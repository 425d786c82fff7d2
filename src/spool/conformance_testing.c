/*
 * spool/conformance_testing.c: one suite for every implementation of interface/spool.h. A case
 * that needs more than memory (reopening) skips a backend that cannot; nothing else may.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "spool/conformance_testing.h"
#include "spool/spool_testing.h"

#define START_US 1800000000000000

struct fixture {
    const struct conformance_backend *backend;
    void *store; /* what the backend keeps between openings */
    struct clock_fake clock;
    struct spool *s;
};

static void open_store(struct fixture *f)
{
    struct err e = {0};

    if (f->backend->open(f->store, &f->clock.clock, &f->s, &e) != 0)
        fail_msg("open: %s", e.text);
}

static void reopen(struct fixture *f)
{
    if (!f->backend->persistent)
        return;
    f->s->ops->close(f->s);
    open_store(f);
}

static struct spool_message info(struct fixture *f, uint64_t id)
{
    struct spool_loaded loaded;
    struct spool_message m;

    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    m = loaded.info;
    f->s->ops->loaded_free(&loaded);
    return m;
}

static void claim_one(struct fixture *f, int64_t now_us, struct spool_claim *claim)
{
    size_t n = 0;

    assert_int_equal(f->s->ops->claim(f->s, now_us, 1, claim, &n), 0);
    assert_int_equal(n, 1);
}

static void claim_none(struct fixture *f, int64_t now_us)
{
    struct spool_claim claim;
    size_t n = 7;

    assert_int_equal(f->s->ops->claim(f->s, now_us, 1, &claim, &n), 0);
    assert_int_equal(n, 0);
}

static void update_one(struct fixture *f, const struct spool_claim *claim, uint32_t unit,
                       struct unit_state state, int want)
{
    struct unit_change change = {unit, state};
    struct waiter w;
    int rc;

    waiter_init(&w);
    rc = f->s->ops->update(f->s, claim->id, claim->lease, &change, 1, waiter_done, &w);
    assert_int_equal(rc, want);
    if (rc == 0)
        assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

static void set_state(struct fixture *f, uint64_t id, enum spool_state state)
{
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->set_state(f->s, id, state, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

static void erase(struct fixture *f, uint64_t id)
{
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->erase(f->s, id, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

static struct unit_state over(enum unit_status status, const char *reply)
{
    return (struct unit_state){.status = status, .attempts = 1, .reply = slice_str(reply)};
}

/* --- accepting */

static void accepts_and_reads_back(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {0,
                            1,
                            4064,
                            4065,
                            65536,
                            SPOOL_BODY_MEMORY,
                            SPOOL_BODY_MEMORY + 1,
                            3 * SPOOL_BODY_MEMORY + 5};
    uint64_t ids[8];

    for (size_t i = 0; i < 8; i++)
        ids[i] = test_accept(f->s, i, sizes[i], START_US);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 8; i++)
            assert_int_equal(test_verify(f->s, ids[i], i, sizes[i]), 0);
        reopen(f);
    }
}

static void put_is_not_there_before_commit(void **state)
{
    struct fixture *f = *state;
    struct unit_state unit = test_unit(START_US);
    struct spool_put *put = test_put(f->s, 1, 100, SPOOL_ACTIVE, &unit, 1);
    struct spool_loaded loaded;
    struct spool_message m;
    uint64_t id;

    assert_non_null(put);
    id = f->s->ops->put_id(put);
    assert_int_equal(f->s->ops->put_id(put), id);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), BARID_ENOTFOUND);
    assert_int_equal(f->s->ops->after(f->s, 0, &m), BARID_ENOTFOUND);
    f->s->ops->put_abort(put);
    reopen(f);
    assert_int_equal(f->s->ops->after(f->s, 0, &m), BARID_ENOTFOUND);
}

static void ids_ascend_and_never_repeat(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    for (int i = 0; i < 40; i++) {
        uint64_t id = test_accept(f->s, 1, 10, START_US);

        assert_true(id > last);
        last = id;
        erase(f, id);
        if (i % 10 == 0)
            clock_fake_advance(&f->clock, 1000);
        if (i % 10 == 5) {
            f->clock.wall_us -= 3600 * 1000000ll; /* the clock was set back */
            reopen(f);
        }
    }
}

static void body_can_be_read_before_commit(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {5000, SPOOL_BODY_MEMORY + 70000};
    struct unit_state unit = test_unit(START_US);

    for (size_t k = 0; k < 2; k++) {
        struct spool_put *put = test_put(f->s, k, sizes[k], SPOOL_ACTIVE, &unit, 1);
        char got[3000], want[3000];

        assert_non_null(put);
        assert_int_equal(f->s->ops->put_size(put), sizes[k]);
        for (uint64_t at = 0; at + 3000 <= sizes[k]; at += 1777) {
            assert_int_equal(f->s->ops->put_read(put, at, got, 3000), 3000);
            test_fill(k, at, want, 3000);
            assert_memory_equal(got, want, 3000);
        }
        assert_int_equal(f->s->ops->put_read(put, sizes[k] - 10, got, 3000), 10);
        assert_int_equal(f->s->ops->put_read(put, sizes[k], got, 3000), 0);
        f->s->ops->put_abort(put);
    }
}

static void body_can_be_replaced(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {10, 3 * SPOOL_BODY_MEMORY};
    struct unit_state unit = test_unit(START_US);
    char piece[100];

    test_fill(77, 0, piece, 100);
    for (size_t k = 0; k < 2; k++) {
        struct spool_put *put = test_put(f->s, 77, sizes[k], SPOOL_ACTIVE, &unit, 1);
        uint64_t id;

        assert_non_null(put);
        id = f->s->ops->put_id(put);
        assert_int_equal(f->s->ops->put_truncate(put), 0);
        assert_int_equal(f->s->ops->put_size(put), 0);
        assert_int_equal(f->s->ops->put_body(put, piece, 100), 0);
        assert_int_equal(test_commit(f->s, &put, 1), 0);
        assert_int_equal(test_verify(f->s, id, 77, 100), 0);
        reopen(f);
        assert_int_equal(test_verify(f->s, id, 77, 100), 0);
    }
}

static void describes_itself(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[3] = {test_unit(START_US + 5), over(UNIT_DONE, "250 ok"),
                                  test_unit(START_US + 2)};
    struct spool_put *put;
    struct spool_loaded loaded;
    uint64_t id;

    units[2].attempts = 9;
    put = test_put(f->s, 4, 50, SPOOL_QUARANTINED, units, 3);
    assert_non_null(put);
    id = f->s->ops->put_id(put);
    assert_int_equal(
        f->s->ops->put_describe(put, SPOOL_HELD, BARID_S("m2"), BARID_S("h2"), units, 3), 0);
    assert_int_equal(test_commit(f->s, &put, 1), 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
        assert_int_equal(loaded.info.state, SPOOL_HELD);
        assert_int_equal(loaded.info.next_due_us, START_US + 2);
        assert_int_equal(loaded.info.size, 2 + 2 + 50);
        assert_int_equal(loaded.info.units, 3);
        assert_int_equal(loaded.n_units, 3);
        assert_true(slice_eq(loaded.meta, BARID_S("m2")));
        assert_true(slice_eq(loaded.header, BARID_S("h2")));
        assert_int_equal(loaded.units[0].status, UNIT_PENDING);
        assert_int_equal(loaded.units[1].status, UNIT_DONE);
        assert_true(slice_eq(loaded.units[1].reply, BARID_S("250 ok")));
        assert_int_equal(loaded.units[2].due_us, START_US + 2);
        assert_int_equal(loaded.units[2].attempts, 9);
        f->s->ops->loaded_free(&loaded);
        reopen(f);
    }
}

static void refuses_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    const struct spool_ops *ops = f->s->ops;
    struct unit_state units[2] = {over(UNIT_DONE, ""), over(UNIT_FAILED, "550 no")};
    struct unit_state bad = {.status = (enum unit_status)9};
    struct unit_state *many = calloc(SPOOL_UNITS_MAX + 1, sizeof(*many));
    struct spool_put *put;
    struct waiter w;

    assert_non_null(many);
    waiter_init(&w);
    assert_int_equal(ops->put_begin(f->s, &put), 0);
    assert_int_equal(ops->put_describe(put, SPOOL_ACTIVE, BARID_S(""), BARID_S(""), units, 2),
                     BARID_EINVALID);
    assert_int_equal(ops->put_describe(put, SPOOL_ACTIVE, BARID_S(""), BARID_S(""), NULL, 0),
                     BARID_EINVALID);
    assert_int_equal(ops->put_describe(put, SPOOL_HELD, BARID_S(""), BARID_S(""), &bad, 1),
                     BARID_EINVALID);
    assert_int_equal(
        ops->put_describe(put, (enum spool_state)4, BARID_S(""), BARID_S(""), units, 2),
        BARID_EINVALID);
    assert_int_equal(
        ops->put_describe(put, SPOOL_HELD, BARID_S(""), BARID_S(""), many, SPOOL_UNITS_MAX + 1),
        BARID_ELIMIT);
    assert_int_equal(ops->commit(f->s, &put, 1, waiter_done, &w),
                     BARID_EINVALID); /* not described */
    assert_int_equal(ops->commit(f->s, NULL, 0, waiter_done, &w), BARID_EINVALID);
    assert_int_equal(w.calls, 0);
    assert_int_equal(ops->set_state(f->s, 1, SPOOL_HELD, waiter_done, &w), BARID_ENOTFOUND);
    assert_int_equal(ops->erase(f->s, 1, waiter_done, &w), BARID_ENOTFOUND);
    assert_int_equal(ops->update(f->s, 1, 1, NULL, 0, waiter_done, &w), BARID_ENOTFOUND);
    assert_int_equal(ops->change(f->s, 1, NULL, 0, waiter_done, &w), BARID_ENOTFOUND);
    ops->release(f->s, 1, 1);
    ops->body_close(NULL);
    assert_int_equal(w.calls, 0);
    waiter_deinit(&w);
    free(many);
}

static void long_replies_are_cut(void **state)
{
    struct fixture *f = *state;
    struct unit_state unit = test_unit(START_US);
    char reply[SPOOL_UNIT_REPLY_MAX + 100];
    struct spool_loaded loaded;
    struct spool_claim claim;
    uint64_t id = test_accept(f->s, 1, 10, START_US);

    memset(reply, 'r', sizeof(reply));
    claim_one(f, START_US, &claim);
    unit.reply = slice_of(reply, sizeof(reply));
    unit.due_us = START_US + 9;
    update_one(f, &claim, 0, unit, 0);
    free(claim.units);
    reopen(f);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    assert_int_equal(loaded.units[0].reply.n, SPOOL_UNIT_REPLY_MAX);
    f->s->ops->loaded_free(&loaded);
}

/* --- sharing */

static void puts_share_a_body(void **state)
{
    struct fixture *f = *state;
    const struct spool_ops *ops = f->s->ops;
    const size_t sizes[] = {20000, 2 * SPOOL_BODY_MEMORY};
    struct unit_state unit = test_unit(START_US);

    for (size_t k = 0; k < 2; k++) {
        struct spool_put *puts[3];
        uint64_t ids[3];

        puts[0] = test_put(f->s, 9, sizes[k], SPOOL_ACTIVE, &unit, 1);
        assert_non_null(puts[0]);
        for (int i = 1; i < 3; i++) {
            assert_int_equal(ops->put_share(puts[0], &puts[i]), 0);
            assert_int_equal(ops->put_describe(puts[i], SPOOL_HELD, BARID_S("meta-9"),
                                               BARID_S("header-9"), &unit, 1),
                             0);
        }
        for (int i = 0; i < 3; i++) {
            ids[i] = ops->put_id(puts[i]);
            assert_int_equal(ops->put_body(puts[i], "x", 1), BARID_EINVALID);
        }
        assert_int_equal(test_commit(f->s, puts, 3), 0);
        assert_true(ids[0] != ids[1] && ids[1] != ids[2]);
        for (int i = 0; i < 3; i++) {
            for (int left = i; left < 3; left++)
                assert_int_equal(test_verify(f->s, ids[left], 9, sizes[k]), 0);
            erase(f, ids[i]);
            reopen(f);
            assert_int_equal(test_verify(f->s, ids[i], 9, sizes[k]), BARID_ENOTFOUND);
        }
    }
}

static void a_sharer_may_leave(void **state)
{
    struct fixture *f = *state;
    const struct spool_ops *ops = f->s->ops;
    struct unit_state unit = test_unit(START_US);
    struct spool_put *puts[3];
    uint64_t ids[3];
    char piece[100];

    puts[0] = test_put(f->s, 3, 500, SPOOL_ACTIVE, &unit, 1);
    assert_non_null(puts[0]);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(ops->put_share(puts[0], &puts[i]), 0);
        assert_int_equal(ops->put_describe(puts[i], SPOOL_ACTIVE, BARID_S("meta-3"),
                                           BARID_S("header-3"), &unit, 1),
                         0);
    }
    ops->put_abort(puts[1]);
    assert_int_equal(ops->put_truncate(puts[2]), 0); /* gets its own */
    test_fill(3, 0, piece, 100);
    assert_int_equal(ops->put_body(puts[2], piece, 100), 0);
    ids[0] = ops->put_id(puts[0]);
    ids[2] = ops->put_id(puts[2]);
    assert_int_equal(test_commit(f->s, &puts[0], 1), 0);
    assert_int_equal(test_commit(f->s, &puts[2], 1), 0);
    reopen(f);
    assert_int_equal(test_verify(f->s, ids[0], 3, 500), 0);
    assert_int_equal(test_verify(f->s, ids[2], 3, 100), 0);
}

static void sharers_must_come_together(void **state)
{
    struct fixture *f = *state;
    const struct spool_ops *ops = f->s->ops;
    struct unit_state unit = test_unit(START_US);
    struct spool_put *first = test_put(f->s, 3, 500, SPOOL_ACTIVE, &unit, 1), *second;
    struct spool_message m;

    assert_non_null(first);
    assert_int_equal(ops->put_share(first, &second), 0);
    assert_int_equal(test_commit(f->s, &first, 1), BARID_EINVALID);
    ops->put_abort(second);
    assert_int_equal(ops->after(f->s, 0, &m), BARID_ENOTFOUND);
}

/* --- schedule */

static void claims_what_is_due_earliest_first(void **state)
{
    struct fixture *f = *state;
    uint64_t late = test_accept(f->s, 1, 10, START_US + 300),
             soon = test_accept(f->s, 2, 10, START_US + 100);
    uint64_t middle = test_accept(f->s, 3, 10, START_US + 200);
    struct spool_claim claims[5];
    size_t n;

    assert_int_equal(f->s->ops->next_due(f->s), START_US + 100);
    claim_none(f, START_US + 99);
    assert_int_equal(f->s->ops->claim(f->s, START_US + 250, 5, claims, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(claims[0].id, soon);
    assert_int_equal(claims[1].id, middle);
    assert_int_equal(claims[0].n_units, 1);
    assert_int_equal(claims[0].units[0], 0);
    assert_true(claims[0].lease != claims[1].lease);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 300);
    assert_int_equal(info(f, soon).next_due_us, INT64_MAX);
    assert_int_equal(info(f, late).next_due_us, START_US + 300);
    free(claims[0].units);
    free(claims[1].units);
}

static void units_are_leased_and_end_alone(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[3] = {test_unit(START_US), test_unit(START_US + 50),
                                  test_unit(START_US)};
    struct spool_put *put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 3);
    struct spool_claim first, second;
    struct unit_state again = test_unit(START_US + 70);
    struct spool_loaded loaded;
    uint64_t id = f->s->ops->put_id(put);

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    claim_one(f, START_US, &first);
    assert_int_equal(first.n_units, 2);
    assert_int_equal(first.units[0], 0);
    assert_int_equal(first.units[1], 2);
    claim_none(f, START_US + 49);
    claim_one(f, START_US + 50, &second);
    assert_int_equal(second.n_units, 1);
    assert_int_equal(second.units[0], 1);
    update_one(f, &second, 0, over(UNIT_DONE, ""), BARID_EINVALID); /* of the other lease */
    update_one(f, &first, 0, over(UNIT_DONE, "250 taken"), 0);
    update_one(f, &first, 0, over(UNIT_DONE, ""), BARID_EINVALID); /* that lease is over */
    again.reply = BARID_S("451 later");
    again.attempts = 1;
    update_one(f, &first, 2, again, 0);
    update_one(f, &second, 1, over(UNIT_FAILED, "550 no"), 0);
    free(first.units);
    free(second.units);
    reopen(f);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    assert_int_equal(loaded.units[0].status, UNIT_DONE);
    assert_true(slice_eq(loaded.units[0].reply, BARID_S("250 taken")));
    assert_int_equal(loaded.units[1].status, UNIT_FAILED);
    assert_int_equal(loaded.units[2].status, UNIT_PENDING);
    assert_int_equal(loaded.units[2].attempts, 1);
    assert_true(slice_eq(loaded.units[2].reply, BARID_S("451 later")));
    assert_int_equal(loaded.info.next_due_us, START_US + 70);
    f->s->ops->loaded_free(&loaded);
    claim_one(f, START_US + 70, &first);
    assert_int_equal(first.n_units, 1);
    update_one(f, &first, 2, over(UNIT_DONE, ""), 0);
    free(first.units);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND); /* all over: gone */
    reopen(f);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND);
}

static void released_units_come_again(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US + 1)};
    struct spool_put *put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 2);
    struct spool_claim claim;

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    test_accept(f->s, 6, 10, START_US + 3);
    for (int i = 0; i < 2; i++) {
        claim_one(f, START_US + 1, &claim);
        assert_int_equal(claim.n_units, 2);
        assert_int_equal(f->s->ops->next_due(f->s), START_US + 3);
        f->s->ops->release(f->s, claim.id, claim.lease);
        assert_int_equal(f->s->ops->next_due(f->s), START_US);
        free(claim.units);
    }
    update_one(f, &claim, 0, over(UNIT_DONE, ""), BARID_EINVALID);
}

static void leases_end_with_the_process(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 6, 10, START_US);
    struct spool_claim claim;

    claim_one(f, START_US, &claim);
    free(claim.units);
    if (!f->backend->persistent)
        return;
    reopen(f);
    claim_one(f, START_US, &claim);
    assert_int_equal(claim.id, id);
    free(claim.units);
}

struct watched {
    pthread_mutex_t lock;
    int calls;
};

static void on_changed(void *user)
{
    struct watched *w = user;

    pthread_mutex_lock(&w->lock);
    w->calls++;
    pthread_mutex_unlock(&w->lock);
}

static int watched_calls(struct watched *w)
{
    int calls;

    pthread_mutex_lock(&w->lock);
    calls = w->calls;
    pthread_mutex_unlock(&w->lock);
    return calls;
}

static void tells_when_something_is_due_earlier(void **state)
{
    struct fixture *f = *state;
    struct watched w = {PTHREAD_MUTEX_INITIALIZER, 0};
    struct spool_claim claim;
    uint64_t id;

    f->s->ops->watch(f->s, on_changed, &w);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    test_accept(f->s, 1, 10, START_US + 500);
    /* The watcher may run just after done: another commit waits for it. */
    id = test_accept(f->s, 1, 10, START_US + 900);
    assert_int_equal(watched_calls(&w), 1);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 500);
    set_state(f, id, SPOOL_HELD);
    assert_int_equal(watched_calls(&w), 1);
    test_accept(f->s, 1, 10, START_US + 100);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 100);
    claim_one(f, START_US + 100, &claim);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 500);
    f->s->ops->release(f->s, claim.id, claim.lease);
    free(claim.units);
    f->s->ops->watch(f->s, NULL, NULL);
    assert_int_equal(watched_calls(&w), 3);
}

/* --- operating */

static void held_messages_are_not_claimed(void **state)
{
    struct fixture *f = *state;
    const enum spool_state states[] = {SPOOL_HELD, SPOOL_REMOVED, SPOOL_QUARANTINED};
    struct spool_stats stats;
    struct spool_claim claim;
    uint64_t id = test_accept(f->s, 6, 10, START_US);

    for (size_t i = 0; i < 3; i++) {
        set_state(f, id, states[i]);
        reopen(f);
        assert_int_equal(info(f, id).state, states[i]);
        assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
        claim_none(f, START_US);
        f->s->ops->stats(f->s, &stats);
        assert_int_equal(stats.messages[states[i]], 1);
        assert_int_equal(stats.messages[SPOOL_ACTIVE], 0);
    }
    set_state(f, id, SPOOL_ACTIVE);
    claim_one(f, START_US, &claim);
    set_state(f, id, SPOOL_HELD); /* the lease goes on */
    update_one(f, &claim, 0, over(UNIT_DONE, "250 ok"), 0);
    free(claim.units);
    assert_int_equal(test_verify(f->s, id, 6, 10), 0); /* over, but held: stays */
    reopen(f);
    assert_int_equal(test_verify(f->s, id, 6, 10), 0);
    set_state(f, id, SPOOL_ACTIVE);
    assert_int_equal(test_verify(f->s, id, 6, 10), BARID_ENOTFOUND);
}

static int operator_change(struct fixture *f, uint64_t id, uint32_t unit,
                           struct unit_state state)
{
    struct unit_change change = {unit, state};
    struct waiter w;
    int rc;

    waiter_init(&w);
    rc = f->s->ops->change(f->s, id, &change, 1, waiter_done, &w);
    if (rc == 0)
        rc = waiter_wait(&w);
    waiter_deinit(&w);
    return rc;
}

static void operators_change_units(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US + 50)},
                      held = {.status = UNIT_HELD};
    struct spool_put *put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 2);
    struct spool_claim claim;
    uint64_t id = f->s->ops->put_id(put);

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    claim_one(f, START_US, &claim);
    assert_int_equal(operator_change(f, id, 0, held), BARID_EAGAIN);
    assert_int_equal(operator_change(f, id, 2, held), BARID_EINVALID);
    assert_int_equal(operator_change(f, id, 1, held), 0);
    update_one(f, &claim, 0, over(UNIT_DONE, ""), 0);
    free(claim.units);
    claim_none(f, INT64_MAX);
    reopen(f);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    assert_int_equal(info(f, id).state, SPOOL_ACTIVE); /* a held unit keeps it */
    assert_int_equal(operator_change(f, id, 1, test_unit(START_US + 9)), 0);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 9);
    assert_int_equal(operator_change(f, id, 1, over(UNIT_FAILED, "given up")), 0);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND);
}

static void lists_in_order_of_id(void **state)
{
    struct fixture *f = *state;
    struct unit_state unit = test_unit(START_US);
    struct spool_put *early = test_put(f->s, 1, 10, SPOOL_ACTIVE, &unit, 1);
    struct spool_message m = {0};
    uint64_t ids[40], first = f->s->ops->put_id(early), at = 0;

    for (int i = 0; i < 40; i++)
        ids[i] = test_accept(f->s, 2, 10, START_US + 1000 - i);
    assert_int_equal(test_commit(f->s, &early, 1), 0); /* began first, came last */
    for (int i = 0; i < 40; i += 3)
        erase(f, ids[i]);
    reopen(f);
    assert_int_equal(f->s->ops->after(f->s, 0, &m), 0);
    assert_int_equal(m.id, first);
    at = m.id;
    for (int i = 0; i < 40; i++) {
        if (i % 3 == 0)
            continue;
        assert_int_equal(f->s->ops->after(f->s, at, &m), 0);
        assert_int_equal(m.id, ids[i]);
        assert_int_equal(m.next_due_us, START_US + 1000 - i);
        at = m.id;
    }
    assert_int_equal(f->s->ops->after(f->s, at, &m), BARID_ENOTFOUND);
    assert_int_equal(f->s->ops->after(f->s, UINT64_MAX, &m), BARID_ENOTFOUND);
}

static void an_open_body_outlives_its_message(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {30000, 2 * SPOOL_BODY_MEMORY};

    for (size_t k = 0; k < 2; k++) {
        uint64_t id = test_accept(f->s, 8, sizes[k], START_US), size;
        char got[1000], want[1000];
        void *body;

        assert_int_equal(f->s->ops->body_open(f->s, id, &body, &size), 0);
        assert_int_equal(size, sizes[k]);
        erase(f, id);
        assert_int_equal(f->s->ops->body_read(body, 20000, got, 1000), 1000);
        test_fill(8, 20000, want, 1000);
        assert_memory_equal(got, want, 1000);
        f->s->ops->body_close(body);
        assert_int_equal(f->s->ops->body_open(f->s, id, &body, &size), BARID_ENOTFOUND);
    }
}

static void erasing_ends_a_lease(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 6, 10, START_US);
    struct spool_claim claim;

    claim_one(f, START_US, &claim);
    erase(f, id);
    update_one(f, &claim, 0, over(UNIT_DONE, ""), BARID_ENOTFOUND);
    f->s->ops->release(f->s, id, claim.lease);
    free(claim.units);
}

static void updates_without_done_arrive(void **state)
{
    struct fixture *f = *state;
    struct unit_change change = {0, test_unit(START_US + 77)};
    uint64_t kept = test_accept(f->s, 6, 10, START_US),
             gone = test_accept(f->s, 7, 10, START_US);
    struct spool_claim claims[2];
    size_t n;

    assert_int_equal(f->s->ops->claim(f->s, START_US, 2, claims, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(f->s->ops->update(f->s, kept, claims[0].lease, &change, 1, NULL, NULL), 0);
    change.state = over(UNIT_DONE, "");
    assert_int_equal(f->s->ops->update(f->s, gone, claims[1].lease, &change, 1, NULL, NULL), 0);
    free(claims[0].units);
    free(claims[1].units);
    reopen(f);
    assert_int_equal(info(f, kept).next_due_us, START_US + 77);
    assert_int_equal(test_verify(f->s, gone, 7, 10), BARID_ENOTFOUND);
}

/* There is nothing that could be of another lease. */
static void no_changes_are_answered(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 6, 10, START_US);
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->update(f->s, id, 99, NULL, 0, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    assert_int_equal(f->s->ops->change(f->s, id, NULL, 0, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    assert_int_equal(f->s->ops->update(f->s, id, 99, NULL, 0, NULL, NULL), 0);
    waiter_deinit(&w);
    assert_int_equal(info(f, id).next_due_us, START_US);
}

static void a_thousand_units(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[1000];
    struct spool_put *put;
    struct spool_claim claim;
    uint64_t id;

    for (int i = 0; i < 1000; i++)
        units[i] = test_unit(START_US + i / 100);
    put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 1000);
    assert_non_null(put);
    id = f->s->ops->put_id(put);
    assert_int_equal(test_commit(f->s, &put, 1), 0);
    reopen(f);
    for (int i = 0; i < 10; i++) {
        claim_one(f, START_US + i, &claim);
        assert_int_equal(claim.n_units, 100);
        for (uint32_t k = 0; k < 100; k++) {
            struct unit_change change = {claim.units[k],
                                         over(UNIT_DONE, k % 2 ? "250 yes" : "250 ok")};

            assert_int_equal(f->s->ops->update(f->s, id, claim.lease, &change, 1, NULL, NULL),
                             0);
        }
        free(claim.units);
        if (i == 5)
            reopen(f);
    }
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND);
}

/* --- many threads */

#define RUNNERS 4
#define ROUNDS  60

struct runner {
    struct spool *s;
    unsigned number;
    bool ok;
};

/* Accepts, reads back, holds or delivers; leaves every third message. */
static void *run(void *arg)
{
    struct runner *r = arg;
    const struct spool_ops *ops = r->s->ops;
    struct waiter w;

    r->ok = true;
    waiter_init(&w);
    for (unsigned i = 0; i < ROUNDS && r->ok; i++) {
        uint64_t seed = r->number * 1000 + i,
                 id = test_accept(r->s, seed, 300 + i * 20, START_US);

        r->ok = test_verify(r->s, id, seed, 300 + i * 20) == 0;
        if (i % 3 == 0)
            continue;
        r->ok = r->ok && ops->set_state(r->s, id, SPOOL_HELD, waiter_done, &w) == 0 &&
                waiter_wait(&w) == 0;
        r->ok = r->ok && ops->erase(r->s, id, i % 2 ? NULL : waiter_done, &w) == 0;
        if (r->ok && i % 2 == 0)
            r->ok = waiter_wait(&w) == 0;
    }
    waiter_deinit(&w);
    return NULL;
}

static void stands_many_threads(void **state)
{
    struct fixture *f = *state;
    struct runner runners[RUNNERS];
    pthread_t threads[RUNNERS];
    struct spool_message m = {0};
    unsigned left = 0;

    for (unsigned i = 0; i < RUNNERS; i++) {
        runners[i] = (struct runner){f->s, i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &runners[i]), 0);
    }
    for (unsigned i = 0; i < RUNNERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(runners[i].ok);
    }
    reopen(f);
    while (f->s->ops->after(f->s, m.id, &m) == 0)
        left++;
    assert_int_equal(left, RUNNERS * ROUNDS / 3);
}

/* --- the suite */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->backend = *state;
    clock_fake_init(&f->clock, START_US);
    f->store = f->backend->create();
    open_store(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    f->s->ops->close(f->s);
    f->backend->destroy(f->store);
    free(f);
    return 0;
}

#define CASE(f)                                                                                \
    {                                                                                          \
#f, f, setup, teardown, NULL                                                           \
    }

int conformance_run(const struct conformance_backend *backend)
{
    struct CMUnitTest cases[] = {
        CASE(accepts_and_reads_back),
        CASE(put_is_not_there_before_commit),
        CASE(ids_ascend_and_never_repeat),
        CASE(body_can_be_read_before_commit),
        CASE(body_can_be_replaced),
        CASE(describes_itself),
        CASE(refuses_what_makes_no_sense),
        CASE(long_replies_are_cut),
        CASE(puts_share_a_body),
        CASE(a_sharer_may_leave),
        CASE(sharers_must_come_together),
        CASE(claims_what_is_due_earliest_first),
        CASE(units_are_leased_and_end_alone),
        CASE(released_units_come_again),
        CASE(leases_end_with_the_process),
        CASE(tells_when_something_is_due_earlier),
        CASE(held_messages_are_not_claimed),
        CASE(operators_change_units),
        CASE(lists_in_order_of_id),
        CASE(an_open_body_outlives_its_message),
        CASE(erasing_ends_a_lease),
        CASE(updates_without_done_arrive),
        CASE(no_changes_are_answered),
        CASE(a_thousand_units),
        CASE(stands_many_threads),
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        cases[i].initial_state = (void *)(uintptr_t)backend;
    return _cmocka_run_group_tests(backend->name, cases, sizeof(cases) / sizeof(*cases), NULL,
                                   NULL);
}
