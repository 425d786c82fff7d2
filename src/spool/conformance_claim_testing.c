/* spool/conformance_claim_testing.c: the schedule; see conformance_testing.h. */
#include "spool/conformance_int_testing.h"

#include <stdlib.h>

#include "base/slice.h"

void claims_what_is_due_earliest_first(void **state)
{
    struct fixture *f = *state;
    uint64_t late = test_accept(f->s, 1, 10, START_US + 300),
             soon = test_accept(f->s, 2, 10, START_US + 100);
    uint64_t middle = test_accept(f->s, 3, 10, START_US + 200);
    struct spool_claim claims[5];
    size_t n;

    assert_int_equal(f->s->ops->next_due(f->s), START_US + 100);
    fixture_claim_none(f, START_US + 99);
    assert_int_equal(f->s->ops->claim(f->s, START_US + 250, 5, claims, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(claims[0].id, soon);
    assert_int_equal(claims[1].id, middle);
    assert_int_equal(claims[0].n_units, 1);
    assert_int_equal(claims[0].units[0], 0);
    assert_true(claims[0].lease != claims[1].lease);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 300);
    assert_int_equal(fixture_info(f, soon).next_due_us, INT64_MAX);
    assert_int_equal(fixture_info(f, late).next_due_us, START_US + 300);
    free(claims[0].units);
    free(claims[1].units);
}

void units_are_leased_and_end_alone(void **state)
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
    fixture_claim_one(f, START_US, &first);
    assert_int_equal(first.n_units, 2);
    assert_int_equal(first.units[0], 0);
    assert_int_equal(first.units[1], 2);
    fixture_claim_none(f, START_US + 49);
    fixture_claim_one(f, START_US + 50, &second);
    assert_int_equal(second.n_units, 1);
    assert_int_equal(second.units[0], 1);
    fixture_update_one(f, &second, 0, unit_over(UNIT_DONE, ""),
                       BARID_EINVALID); /* of the other lease */
    fixture_update_one(f, &first, 0, unit_over(UNIT_DONE, "250 taken"), 0);
    fixture_update_one(f, &first, 0, unit_over(UNIT_DONE, ""),
                       BARID_EINVALID); /* that lease is over */
    again.reply = BARID_S("451 later");
    again.attempts = 1;
    fixture_update_one(f, &first, 2, again, 0);
    fixture_update_one(f, &second, 1, unit_over(UNIT_FAILED, "550 no"), 0);
    free(first.units);
    free(second.units);
    fixture_reopen(f);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    assert_int_equal(loaded.units[0].status, UNIT_DONE);
    assert_true(slice_eq(loaded.units[0].reply, BARID_S("250 taken")));
    assert_int_equal(loaded.units[1].status, UNIT_FAILED);
    assert_int_equal(loaded.units[2].status, UNIT_PENDING);
    assert_int_equal(loaded.units[2].attempts, 1);
    assert_true(slice_eq(loaded.units[2].reply, BARID_S("451 later")));
    assert_int_equal(loaded.info.next_due_us, START_US + 70);
    f->s->ops->loaded_free(&loaded);
    fixture_claim_one(f, START_US + 70, &first);
    assert_int_equal(first.n_units, 1);
    fixture_update_one(f, &first, 2, unit_over(UNIT_DONE, ""), 0);
    free(first.units);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND); /* all over: gone */
    fixture_reopen(f);
    assert_int_equal(test_verify(f->s, id, 5, 100), BARID_ENOTFOUND);
}

void released_units_come_again(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {test_unit(START_US), test_unit(START_US + 1)};
    struct spool_put *put = test_put(f->s, 5, 100, SPOOL_ACTIVE, units, 2);
    struct spool_claim claim;

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    test_accept(f->s, 6, 10, START_US + 3);
    for (int i = 0; i < 2; i++) {
        fixture_claim_one(f, START_US + 1, &claim);
        assert_int_equal(claim.n_units, 2);
        assert_int_equal(f->s->ops->next_due(f->s), START_US + 3);
        f->s->ops->release(f->s, claim.id, claim.lease);
        assert_int_equal(f->s->ops->next_due(f->s), START_US);
        free(claim.units);
    }
    fixture_update_one(f, &claim, 0, unit_over(UNIT_DONE, ""), BARID_EINVALID);
}

void leases_end_with_the_process(void **state)
{
    struct fixture *f = *state;
    uint64_t id = test_accept(f->s, 6, 10, START_US);
    struct spool_claim claim;

    fixture_claim_one(f, START_US, &claim);
    free(claim.units);
    if (!f->backend->persistent)
        return;
    fixture_reopen(f);
    fixture_claim_one(f, START_US, &claim);
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

void tells_when_something_is_due_earlier(void **state)
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
    fixture_set_state(f, id, SPOOL_HELD);
    assert_int_equal(watched_calls(&w), 1);
    test_accept(f->s, 1, 10, START_US + 100);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 100);
    fixture_claim_one(f, START_US + 100, &claim);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 500);
    f->s->ops->release(f->s, claim.id, claim.lease);
    free(claim.units);
    f->s->ops->watch(f->s, NULL, NULL);
    assert_int_equal(watched_calls(&w), 3);
}
