/*
 * spool/conformance_testing.c: one suite for every implementation of interface/spool.h. A case
 * that needs more than memory (reopening) skips a backend that cannot; nothing else may.
 */
#include "spool/conformance_int_testing.h"

#include <stdlib.h>

#include "base/slice.h"

static void fixture_open(struct fixture *f)
{
    struct err e = {0};

    if (f->backend->open(f->store, &f->clock.clock, &f->s, &e) != 0)
        fail_msg("open: %s", e.text);
}

void fixture_reopen(struct fixture *f)
{
    if (!f->backend->persistent)
        return;
    f->s->ops->close(f->s);
    fixture_open(f);
}

struct spool_message fixture_info(struct fixture *f, uint64_t id)
{
    struct spool_loaded loaded;
    struct spool_message m;

    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    m = loaded.info;
    f->s->ops->loaded_free(&loaded);
    return m;
}

void fixture_claim_one(struct fixture *f, int64_t now_us, struct spool_claim *claim)
{
    size_t n = 0;

    assert_int_equal(f->s->ops->claim(f->s, now_us, 1, claim, &n), 0);
    assert_int_equal(n, 1);
}

void fixture_claim_none(struct fixture *f, int64_t now_us)
{
    struct spool_claim claim;
    size_t n = 7;

    assert_int_equal(f->s->ops->claim(f->s, now_us, 1, &claim, &n), 0);
    assert_int_equal(n, 0);
}

void fixture_update_one(struct fixture *f, const struct spool_claim *claim, uint32_t unit,
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

void fixture_set_state(struct fixture *f, uint64_t id, enum spool_state state)
{
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->set_state(f->s, id, state, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

void fixture_erase(struct fixture *f, uint64_t id)
{
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->erase(f->s, id, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

struct unit_state unit_over(enum unit_status status, const char *reply)
{
    return (struct unit_state){.status = status, .attempts = 1, .reply = slice_str(reply)};
}

/* --- the suite */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    f->backend = *state;
    clock_fake_init(&f->clock, START_US);
    f->store = f->backend->create();
    fixture_open(f);
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
        CASE(a_unit_given_up_is_claimed),
        CASE(groups_come_back),
        CASE(messages_tell_their_group),
        CASE(choosing_puts_aside),
        CASE(what_is_put_aside_comes_back),
        CASE(claims_one_by_its_id),
        CASE(a_claim_is_put_aside),
        CASE(hastens_a_group),
        CASE(hastens_one_group_of_several),
        CASE(a_restart_forgets_what_was_hastened),
        CASE(has_a_key),
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
