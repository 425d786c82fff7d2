/* spool/conformance_group_testing.c: groups of next hops, what is put aside and hastened; see conformance_testing.h. */
#include "spool/conformance_int_testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

#define LATER_US (START_US + 1000)

static struct unit_state sent(uint32_t group, uint32_t attempts, int64_t due_us)
{
    return (struct unit_state){.due_us = due_us, .group = group, .attempts = attempts};
}

static uint64_t accept_units(struct fixture *f, const struct unit_state *units, size_t n)
{
    struct spool_put *put = test_put(f->s, 5, 10, SPOOL_ACTIVE, units, n);
    uint64_t id = f->s->ops->put_id(put);

    assert_int_equal(test_commit(f->s, &put, 1), 0);
    return id;
}

static uint64_t accept_sent(struct fixture *f, uint32_t group, uint32_t attempts,
                            int64_t due_us)
{
    struct unit_state unit = sent(group, attempts, due_us);

    return accept_units(f, &unit, 1);
}

static void change_one(struct fixture *f, uint64_t id, uint32_t unit, struct unit_state state)
{
    struct unit_change change = {unit, state};
    struct waiter w;

    waiter_init(&w);
    assert_int_equal(f->s->ops->change(f->s, id, &change, 1, waiter_done, &w), 0);
    assert_int_equal(waiter_wait(&w), 0);
    waiter_deinit(&w);
}

/* Chooses all but one group. */
struct choosing {
    uint32_t no;
    size_t asked;
    uint64_t last_id;
    uint32_t last_group;
};

static bool choose(void *user, uint64_t id, uint32_t group)
{
    struct choosing *c = user;

    c->asked++;
    c->last_id = id;
    c->last_group = group;
    return group != c->no;
}

/* All that is due is put aside: n. */
static void put_all_aside(struct fixture *f, uint32_t group, size_t n)
{
    struct choosing c = {.no = group};
    struct spool_claim claims[4];
    size_t claimed, aside;

    assert_int_equal(
        f->s->ops->claim_some(f->s, START_US, 4, choose, &c, claims, &claimed, &aside), 0);
    assert_int_equal(claimed, 0);
    assert_int_equal(aside, n);
    assert_int_equal(c.asked, n);
}

static void claim_one(struct fixture *f, uint64_t id, struct spool_claim *claim)
{
    assert_int_equal(f->s->ops->claim_one(f->s, id, START_US, claim), 0);
    assert_int_equal(claim->id, id);
}

static void cannot_claim_one(struct fixture *f, uint64_t id)
{
    struct spool_claim claim;

    assert_int_equal(f->s->ops->claim_one(f->s, id, START_US, &claim), BARID_ENOTFOUND);
}

static void let_go(struct fixture *f, struct spool_claim *claim)
{
    f->s->ops->release(f->s, claim->id, claim->lease);
    free(claim->units);
}

void a_unit_given_up_is_claimed(void **state)
{
    struct fixture *f = *state;
    struct unit_state unit = {
        .status = UNIT_GIVEN_UP, .due_us = START_US, .attempts = 9, .group = 44};
    uint64_t id = accept_units(f, &unit, 1);
    struct spool_claim claim;

    assert_int_equal(f->s->ops->next_due(f->s), START_US);
    assert_int_equal(fixture_info(f, id).group, 44);
    fixture_claim_one(f, START_US, &claim);
    fixture_update_one(f, &claim, 0, unit, 0); /* once more */
    free(claim.units);
    fixture_claim_one(f, START_US, &claim);
    fixture_update_one(f, &claim, 0, unit_over(UNIT_FAILED, "550 told"), 0);
    free(claim.units);
    assert_int_equal(test_verify(f->s, id, 5, 10), BARID_ENOTFOUND);
}

void groups_come_back(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {sent(77, 0, START_US), sent(78, 2, START_US)};
    struct spool_loaded loaded;
    struct spool_claim claim;
    uint64_t id;

    units[0].ahead_s[0] = 5;
    units[1].suspect = true;
    id = accept_units(f, units, 2);
    fixture_claim_one(f, START_US, &claim);
    units[0].ahead_s[UNIT_AHEAD_MAX - 1] = 60;
    units[0].suspect = true;
    fixture_update_one(f, &claim, 0, units[0], 0);
    let_go(f, &claim);
    units[1].group = 79;
    change_one(f, id, 1, units[1]);
    fixture_reopen(f);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(loaded.units[i].group, units[i].group);
        assert_true(loaded.units[i].suspect);
        assert_memory_equal(loaded.units[i].ahead_s, units[i].ahead_s,
                            sizeof(units[i].ahead_s));
    }
    f->s->ops->loaded_free(&loaded);
}

void messages_tell_their_group(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[3] = {sent(77, 0, START_US), sent(77, 0, LATER_US),
                                  sent(0, 0, LATER_US)};
    uint64_t one = accept_units(f, units, 2), mixed = accept_units(f, units, 3);
    struct unit_state wrong = sent(SPOOL_GROUP_MIXED, 0, START_US);
    struct spool_claim claim;
    struct spool_put *put;

    assert_int_equal(fixture_info(f, test_accept(f->s, 1, 1, LATER_US)).group,
                     SPOOL_GROUP_NONE);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fixture_info(f, one).group, 77);
        assert_int_equal(fixture_info(f, mixed).group, SPOOL_GROUP_MIXED);
        fixture_reopen(f);
    }
    fixture_claim_one(f, START_US, &claim);
    assert_int_equal(claim.id, one);
    assert_int_equal(claim.group, 77);
    assert_int_equal(fixture_info(f, one).group, 77); /* leased ones count */
    free(claim.units);
    change_one(f, mixed, 2, unit_over(UNIT_DONE, ""));
    assert_int_equal(fixture_info(f, mixed).group, 77);
    claim_one(f, mixed, &claim);
    assert_int_equal(claim.group, 77);
    let_go(f, &claim);
    assert_int_equal(f->s->ops->put_begin(f->s, &put), 0);
    assert_int_equal(
        f->s->ops->put_describe(put, SPOOL_ACTIVE, BARID_S(""), BARID_S(""), &wrong, 1),
        BARID_EINVALID);
    f->s->ops->put_abort(put);
}

void choosing_puts_aside(void **state)
{
    struct fixture *f = *state;
    uint64_t no = accept_sent(f, 77, 0, START_US - 2),
             yes = accept_sent(f, 78, 0, START_US - 1);
    struct choosing c = {.no = 77};
    struct spool_claim claims[2];
    struct spool_stats stats;
    struct spool_message m;
    size_t n, aside;

    assert_int_equal(f->s->ops->claim_some(f->s, START_US, 1, choose, &c, claims, &n, &aside),
                     0);
    assert_int_equal(n, 0); /* at most one together */
    assert_int_equal(aside, 1);
    assert_int_equal(c.last_id, no);
    assert_int_equal(c.last_group, 77);
    assert_int_equal(f->s->ops->next_due(f->s), START_US - 1);
    assert_int_equal(f->s->ops->claim_some(f->s, START_US, 2, choose, &c, claims, &n, &aside),
                     0);
    assert_int_equal(n, 1);
    assert_int_equal(aside, 0);
    assert_int_equal(claims[0].id, yes);
    assert_int_equal(claims[0].group, 78);
    free(claims[0].units);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    fixture_claim_none(f, START_US);
    /* For all else it is there. */
    assert_int_equal(f->s->ops->after(f->s, 0, &m), 0);
    assert_int_equal(m.id, no);
    assert_int_equal(m.next_due_us, START_US - 2);
    assert_int_equal(test_verify(f->s, no, 5, 10), 0);
    f->s->ops->stats(f->s, &stats);
    assert_int_equal(stats.messages[SPOOL_ACTIVE], 2);
    fixture_erase(f, no);
    cannot_claim_one(f, no);
}

void what_is_put_aside_comes_back(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {sent(77, 0, START_US - 5), sent(77, 0, START_US)};
    uint64_t id = accept_units(f, units, 2);
    struct spool_claim claim, first;

    put_all_aside(f, 77, 1);
    change_one(f, id, 1, units[1]);
    assert_int_equal(f->s->ops->next_due(f->s), START_US - 5);
    put_all_aside(f, 77, 1);
    fixture_set_state(f, id, SPOOL_HELD);
    fixture_set_state(f, id, SPOOL_ACTIVE);
    assert_int_equal(f->s->ops->next_due(f->s), START_US - 5);
    /* A lease of one of its units that ends: released it comes back, updated it does not. */
    fixture_claim_one(f, START_US - 1, &first);
    assert_int_equal(first.n_units, 1);
    put_all_aside(f, 77, 1);
    let_go(f, &first);
    assert_int_equal(f->s->ops->next_due(f->s), START_US - 5);
    fixture_claim_one(f, START_US - 1, &first);
    put_all_aside(f, 77, 1);
    fixture_update_one(f, &first, 0, unit_over(UNIT_DONE, ""), 0);
    free(first.units);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    claim_one(f, id, &claim);
    let_go(f, &claim);
    assert_int_equal(f->s->ops->next_due(f->s), START_US);
    put_all_aside(f, 77, 1);
    fixture_reopen(f);
    if (f->backend->persistent)
        assert_int_equal(f->s->ops->next_due(f->s), START_US);
}

void claims_one_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[3] = {sent(77, 0, START_US), sent(77, 0, LATER_US),
                                  sent(77, 0, START_US)};
    uint64_t several = accept_units(f, units, 3), due = accept_sent(f, 78, 0, START_US);
    struct spool_claim claim;

    claim_one(f, several, &claim);
    assert_int_equal(claim.n_units, 2);
    assert_int_equal(claim.units[1], 2);
    let_go(f, &claim);
    claim_one(f, due, &claim); /* it need not be put aside */
    cannot_claim_one(f, due);
    fixture_update_one(f, &claim, 0, sent(78, 1, LATER_US), 0);
    free(claim.units);
    cannot_claim_one(f, due);
    cannot_claim_one(f, 12345);
    put_all_aside(f, 77, 1);
    claim_one(f, several, &claim);
    assert_int_equal(f->s->ops->next_due(f->s),
                     LATER_US); /* of its other unit: in the schedule again */
    free(claim.units);
    fixture_set_state(f, several, SPOOL_HELD);
    cannot_claim_one(f, several);
}

void a_claim_is_put_aside(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[2] = {sent(77, 1, START_US), sent(78, 1, LATER_US)};
    uint64_t one = accept_sent(f, 77, 0, START_US), two = accept_units(f, units, 2),
             ids[2] = {one, two};
    struct spool_claim claim;

    for (size_t i = 0; i < 2; i++) {
        fixture_claim_one(f, START_US, &claim);
        assert_int_equal(claim.id, ids[i]);
        f->s->ops->put_aside(f->s, claim.id, claim.lease + 100, 90);
        assert_int_equal(f->s->ops->next_due(f->s),
                         i == 0 ? START_US : LATER_US); /* of another lease: nothing */
        f->s->ops->put_aside(f->s, claim.id, claim.lease, 90);
        fixture_update_one(f, &claim, 0, unit_over(UNIT_DONE, ""), BARID_EINVALID);
        free(claim.units);
        assert_int_equal(fixture_info(f, ids[i]).group, 90);
    }
    fixture_claim_none(f, START_US);
    assert_int_equal(f->s->ops->next_due(f->s), INT64_MAX);
    for (size_t i = 0; i < 2; i++) {
        claim_one(f, ids[i], &claim);
        assert_int_equal(claim.group, 90);
        f->s->ops->put_aside(f->s, claim.id, claim.lease, 90);
        free(claim.units);
    }
    change_one(f, two, 0, sent(79, 1, START_US + 5)); /* recorded otherwise, and back */
    assert_int_equal(fixture_info(f, two).group, SPOOL_GROUP_MIXED);
    assert_int_equal(f->s->ops->next_due(f->s), START_US + 5);
    fixture_reopen(f);
    if (!f->backend->persistent)
        return;
    assert_int_equal(fixture_info(f, one).group, 77);
    assert_int_equal(f->s->ops->next_due(f->s), START_US);
}

static size_t hasten(struct fixture *f, uint32_t group)
{
    size_t n = 99;

    assert_int_equal(f->s->ops->hasten(f->s, group, &n), 0);
    return n;
}

void hastens_a_group(void **state)
{
    struct fixture *f = *state;
    uint64_t second = accept_sent(f, 77, 1, LATER_US + 1),
             first = accept_sent(f, 77, 3, LATER_US);
    struct spool_claim claim;
    struct spool_put *held;
    struct unit_state unit = sent(77, 1, LATER_US);
    size_t n;

    accept_sent(f, 77, 0, LATER_US); /* not before its time */
    accept_sent(f, 78, 1, LATER_US);
    held = test_put(f->s, 5, 10, SPOOL_HELD, &unit, 1);
    assert_int_equal(test_commit(f->s, &held, 1), 0);
    assert_int_equal(f->s->ops->hasten(f->s, SPOOL_GROUP_MIXED, &n), BARID_EINVALID);
    assert_int_equal(hasten(f, 79), 0);
    fixture_claim_none(f, START_US);
    assert_int_equal(hasten(f, 77), 2);
    assert_int_equal(f->s->ops->next_due(f->s), 0);
    assert_int_equal(fixture_info(f, first).next_due_us, 0);
    fixture_claim_one(f, START_US, &claim);
    assert_int_equal(claim.id, second); /* the oldest */
    assert_int_equal(hasten(f, 77), 1); /* what is leased is not */
    let_go(f, &claim);
    claim_one(f, second, &claim); /* still */
    fixture_update_one(f, &claim, 0, sent(77, 2, LATER_US), 0);
    free(claim.units);
    cannot_claim_one(f, second); /* again by its schedule */
    put_all_aside(f, 77, 1);
    assert_int_equal(hasten(f, 77), 2);
    claim_one(f, first, &claim); /* put aside and hastened */
    free(claim.units);
    fixture_claim_one(f, START_US, &claim);
    assert_int_equal(claim.id, second);
    f->s->ops->put_aside(f->s, second, claim.lease, 78);
    free(claim.units);
    fixture_set_state(f, second, SPOOL_ACTIVE); /* says all again */
    fixture_claim_none(f, START_US);
    assert_int_equal(f->s->ops->next_due(f->s), LATER_US);
}

void hastens_one_group_of_several(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[5] = {sent(77, 1, LATER_US), sent(78, 1, LATER_US),
                                  sent(77, 0, LATER_US), sent(77, 1, LATER_US),
                                  sent(79, 1, LATER_US)};
    uint64_t id = accept_units(f, units, 5);
    struct spool_claim claim, other;

    units[1].group = 77 + 32; /* looks like 77 + 1 and like 77 from afar */
    accept_units(f, &units[1], 2);
    assert_int_equal(hasten(f, 77), 1);
    fixture_claim_one(f, START_US, &claim);
    assert_int_equal(claim.id, id);
    assert_int_equal(claim.group, SPOOL_GROUP_MIXED);
    assert_int_equal(claim.n_units, 2);
    assert_int_equal(claim.units[0], 0);
    assert_int_equal(claim.units[1], 3);
    fixture_claim_none(f, START_US);
    assert_int_equal(hasten(f, 77), 0); /* they are held */
    assert_int_equal(hasten(f, 78), 1);
    claim_one(f, id, &other);
    assert_int_equal(other.n_units, 2); /* of two groups, so the third comes along */
    assert_int_equal(other.units[1], 4);
    let_go(f, &other);
    let_go(f, &claim);
    fixture_set_state(f, id, SPOOL_ACTIVE);
    fixture_claim_none(f, START_US);
    assert_int_equal(hasten(f, 79), 1);
    claim_one(f, id, &claim);
    assert_int_equal(claim.n_units, 1);
    assert_int_equal(claim.units[0], 4);
    free(claim.units);
}

void a_restart_forgets_what_was_hastened(void **state)
{
    struct fixture *f = *state;
    uint64_t id = accept_sent(f, 77, 1, LATER_US);

    assert_int_equal(hasten(f, 77), 1);
    assert_int_equal(f->s->ops->next_due(f->s), 0);
    fixture_reopen(f);
    if (!f->backend->persistent)
        return;
    assert_int_equal(f->s->ops->next_due(f->s), LATER_US);
    assert_int_equal(fixture_info(f, id).next_due_us, LATER_US);
    assert_int_equal(hasten(f, 77), 1); /* the head of its record says what is needed */
}

void has_a_key(void **state)
{
    struct fixture *f = *state;
    static const uint8_t none[sizeof(f->s->key)];
    uint8_t key[sizeof(none)];

    memcpy(key, f->s->key, sizeof(key));
    assert_memory_not_equal(key, none, sizeof(key));
    fixture_reopen(f);
    assert_memory_equal(f->s->key, key, sizeof(key));
}
