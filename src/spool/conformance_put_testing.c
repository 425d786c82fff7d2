/* spool/conformance_put_testing.c: accepting, sharing; see conformance_testing.h. */
#include "spool/conformance_int_testing.h"

#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

void accepts_and_reads_back(void **state)
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
        fixture_reopen(f);
    }
}

void put_is_not_there_before_commit(void **state)
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
    fixture_reopen(f);
    assert_int_equal(f->s->ops->after(f->s, 0, &m), BARID_ENOTFOUND);
}

void ids_ascend_and_never_repeat(void **state)
{
    struct fixture *f = *state;
    uint64_t last = 0;

    for (int i = 0; i < 40; i++) {
        uint64_t id = test_accept(f->s, 1, 10, START_US);

        assert_true(id > last);
        last = id;
        fixture_erase(f, id);
        if (i % 10 == 0)
            clock_fake_advance(&f->clock, 1000);
        if (i % 10 == 5) {
            f->clock.wall_us -= 3600 * 1000000ll; /* the clock was set back */
            fixture_reopen(f);
        }
    }
}

void body_can_be_read_before_commit(void **state)
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

void body_can_be_replaced(void **state)
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
        fixture_reopen(f);
        assert_int_equal(test_verify(f->s, id, 77, 100), 0);
    }
}

void describes_itself(void **state)
{
    struct fixture *f = *state;
    struct unit_state units[3] = {test_unit(START_US + 5), unit_over(UNIT_DONE, "250 ok"),
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
        fixture_reopen(f);
    }
}

void refuses_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    const struct spool_ops *ops = f->s->ops;
    struct unit_state units[2] = {unit_over(UNIT_DONE, ""), unit_over(UNIT_FAILED, "550 no")};
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

void long_replies_are_cut(void **state)
{
    struct fixture *f = *state;
    struct unit_state unit = test_unit(START_US);
    char reply[SPOOL_UNIT_REPLY_MAX + 100];
    struct spool_loaded loaded;
    struct spool_claim claim;
    uint64_t id = test_accept(f->s, 1, 10, START_US);

    memset(reply, 'r', sizeof(reply));
    fixture_claim_one(f, START_US, &claim);
    unit.reply = slice_of(reply, sizeof(reply));
    unit.due_us = START_US + 9;
    fixture_update_one(f, &claim, 0, unit, 0);
    free(claim.units);
    fixture_reopen(f);
    assert_int_equal(f->s->ops->load(f->s, id, &loaded), 0);
    assert_int_equal(loaded.units[0].reply.n, SPOOL_UNIT_REPLY_MAX);
    f->s->ops->loaded_free(&loaded);
}

/* --- sharing */

void puts_share_a_body(void **state)
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
            fixture_erase(f, ids[i]);
            fixture_reopen(f);
            assert_int_equal(test_verify(f->s, ids[i], 9, sizes[k]), BARID_ENOTFOUND);
        }
    }
}

void a_sharer_may_leave(void **state)
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
    fixture_reopen(f);
    assert_int_equal(test_verify(f->s, ids[0], 3, 500), 0);
    assert_int_equal(test_verify(f->s, ids[2], 3, 100), 0);
}

void sharers_must_come_together(void **state)
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
