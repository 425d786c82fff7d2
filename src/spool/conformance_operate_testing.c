/* spool/conformance_operate_testing.c: operating, and many threads; see conformance_testing.h. */
#include "spool/conformance_int_testing.h"

#include <stdlib.h>

void held_messages_are_not_claimed(void **state)
{
    struct fixture *f = *state;
    const enum spool_state states[] = {SPOOL_HELD, SPOOL_REMOVED, SPOOL_QUARANTINED};
    struct spool_stats stats;
    struct spool_claim claim;
    uint64_t id = test_accept(f->s, 6, 10, START_US);

    for (size_t i = 0; i < 3; i++) {
        fixture_set_state(f, id, states[i]);
        fixture_reopen(f);
        assert_int_equal(fixture_info(f, id).state, states[i]);
        assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
        fixture_claim_none(f, START_US);
        f->s->ops->stats(f->s, &stats);
        assert_int_equal(stats.messages[states[i]], 1);
        assert_int_equal(stats.messages[SPOOL_ACTIVE], 0);
    }
    fixture_set_state(f, id, SPOOL_ACTIVE);
    fixture_claim_one(f, START_US, &claim);
    fixture_set_state(f, id, SPOOL_HELD); /* the lease goes on */
    fixture_update_one(f, &claim, 0, unit_over(UNIT_DONE, "250 ok"), 0);
    free(claim.units);
    assert_int_equal(test_verify(f->s, id, 6, 10), 0); /* over, but held: stays */
    fixture_reopen(f);
    assert_int_equal(test_verify(f->s, id, 6, 10), 0);
    fixture_set_state(f, id, SPOOL_ACTIVE);
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

void operators_change_units(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US + 50)},
                      held = {.status = UNIT_HELD};
    struct spool_put *put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 2);
    struct spool_claim claim;
    uint64_t id = f->s->ops->put_id(put);

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    fixture_claim_one(f, START_US, &claim);
    assert_int_equal(operator_change(f, id, 0, held), BARID_EAGAIN);
    assert_int_equal(operator_change(f, id, 2, held), BARID_EINVALID);
    assert_int_equal(operator_change(f, id, 1, held), 0);
    fixture_update_one(f, &claim, 0, unit_over(UNIT_DONE, ""), 0);
    free(claim.units);
    fixture_claim_none(f, INT64_MAX);
    fixture_reopen(f);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    assert_int_equal(fixture_info(f, id).state, SPOOL_ACTIVE); /* a held unit keeps it */
    assert_int_equal(operator_change(f, id, 1, test_unit(START_US + 9)), 0);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 9);
    assert_int_equal(operator_change(f, id, 1, unit_over(UNIT_FAILED, "given up")), 0);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND);
}

void lists_in_order_of_id(void **state)
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
        fixture_erase(f, ids[i]);
    fixture_reopen(f);
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

void an_open_body_outlives_its_message(void **state)
{
    struct fixture *f = *state;
    const size_t sizes[] = {30000, 2 * SPOOL_BODY_MEMORY};

    for (size_t k = 0; k < 2; k++) {
        uint64_t id = test_accept(f->s, 8, sizes[k], START_US), size;
        char got[1000], want[1000];
        void *body;

        assert_int_equal(f->s->ops->body_open(f->s, id, &body, &size), 0);
        assert_int_equal(size, sizes[k]);
        fixture_erase(f, id);
        assert_int_equal(f->s->ops->body_read(body, 20000, got, 1000), 1000);
        test_fill(8, 20000, want, 1000);
        assert_memory_equal(got, want, 1000);
        f->s->ops->body_close(body);
        assert_int_equal(f->s->ops->body_open(f->s, id, &body, &size), BARID_ENOTFOUND);
    }
}

void erasing_ends_a_lease(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 6, 10, START_US);
    struct spool_claim claim;

    fixture_claim_one(f, START_US, &claim);
    fixture_erase(f, id);
    fixture_update_one(f, &claim, 0, unit_over(UNIT_DONE, ""), BARID_ENOTFOUND);
    f->s->ops->release(f->s, id, claim.lease);
    free(claim.units);
}

void updates_without_done_arrive(void **state)
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
    change.state = unit_over(UNIT_DONE, "");
    assert_int_equal(f->s->ops->update(f->s, gone, claims[1].lease, &change, 1, NULL, NULL), 0);
    free(claims[0].units);
    free(claims[1].units);
    fixture_reopen(f);
    assert_int_equal(fixture_info(f, kept).next_due_us, START_US + 77);
    assert_int_equal(test_verify(f->s, gone, 7, 10), BARID_ENOTFOUND);
}

/* There is nothing that could be of another lease. */
void no_changes_are_answered(void **state)
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
    assert_int_equal(fixture_info(f, id).next_due_us, START_US);
}

void a_thousand_units(void **state)
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
    fixture_reopen(f);
    for (int i = 0; i < 10; i++) {
        fixture_claim_one(f, START_US + i, &claim);
        assert_int_equal(claim.n_units, 100);
        for (uint32_t k = 0; k < 100; k++) {
            struct unit_change change = {claim.units[k],
                                         unit_over(UNIT_DONE, k % 2 ? "250 yes" : "250 ok")};

            assert_int_equal(f->s->ops->update(f->s, id, claim.lease, &change, 1, NULL, NULL),
                             0);
        }
        free(claim.units);
        if (i == 5)
            fixture_reopen(f);
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

void stands_many_threads(void **state)
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
    fixture_reopen(f);
    while (f->s->ops->after(f->s, m.id, &m) == 0)
        left++;
    assert_int_equal(left, RUNNERS * ROUNDS / 3);
}
