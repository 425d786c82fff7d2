/* spool/format_test.c: octets of the log, its scan, and the index. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/rng.h"
#include "base/slice.h"
#include "spool/log_format.h"
#include "spool/log_index.h"

#define NONCE 77

static void units_come_back(void **state)
{
    struct unit_state units[6] = {
        {.due_us = 5},
        {.due_us = 5},
        {.status = UNIT_DONE, .attempts = 1, .reply = {"250 ok", 6}},
        {.status = UNIT_DONE, .attempts = 1, .reply = {"250 ok", 6}},
        {.status = UNIT_FAILED, .attempts = 2, .reply = {"no", 2}},
        {.status = UNIT_HELD, .due_us = 9, .attempts = 3},
    };
    struct unit_state back[6];
    uint8_t p[256];
    size_t n = log_units_size(units, 6);

    (void)state;
    assert_int_equal(n, 4 * 19 + 6 + 2); /* four runs */
    assert_int_equal(log_units_encode(units, 6, p) - p, n);
    assert_int_equal(log_units_decode(back, 6, p, n), 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(back[i].status, units[i].status);
        assert_int_equal(back[i].due_us, units[i].due_us);
        assert_int_equal(back[i].attempts, units[i].attempts);
        assert_true(slice_eq(back[i].reply, units[i].reply));
    }
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(log_units_decode(back, 6, p, cut), BARID_ECORRUPT);
    assert_int_equal(log_units_decode(back, 5, p, n), BARID_ECORRUPT);
}

static void check_unit(const struct unit_state *a, const struct unit_state *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->due_us, b->due_us);
    assert_int_equal(a->attempts, b->attempts);
    assert_int_equal(a->group, b->group);
    assert_int_equal(a->suspect, b->suspect);
    assert_memory_equal(a->ahead_s, b->ahead_s, sizeof(a->ahead_s));
    assert_true(slice_eq(a->reply, b->reply));
}

/* What next hops need is in a block that others do not have: each of it alone is kept, and keeps runs apart. */
static void units_of_next_hops_come_back(void **state)
{
    struct unit_state units[7] = {
        {.group = 0xfffffffe, .due_us = 5, .reply = {"450 x", 5}},
        {.group = 0xfffffffe, .due_us = 5, .reply = {"450 x", 5}},
        {.group = 0xfffffffe, .due_us = 5, .reply = {"450 x", 5}, .suspect = true},
        {.group = 0xfffffffe, .due_us = 5, .reply = {"450 x", 5}, .ahead_s = {0, 60}},
        {.suspect = true},
        {.ahead_s = {1, 2, 3, UINT32_MAX}},
        {.status = UNIT_GIVEN_UP, .reply = {"550 no", 6}},
    };
    struct unit_state back[7];
    uint8_t p[512];
    size_t n = log_units_size(units, 7);

    (void)state;
    assert_int_equal(n, 6 * LOG_RUN_SIZE + 5 * 5 + 4 * (2 + UNIT_AHEAD_MAX) + 3 * 5 + 6);
    assert_true(log_units_size(&units[5], 1) == LOG_RUN_MOST);
    assert_int_equal(log_units_encode(units, 7, p) - p, n);
    assert_int_equal(log_units_decode(back, 7, p, n), 0);
    for (size_t i = 0; i < 7; i++)
        check_unit(&back[i], &units[i]);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(log_units_decode(back, 7, p, cut), BARID_ECORRUPT);
    p[LOG_RUN_SIZE] = (UNIT_AHEAD_MAX + 1) << 1; /* more intervals than there can be */
    assert_int_equal(log_units_decode(back, 7, p, n), BARID_ECORRUPT);
    p[LOG_RUN_SIZE] = 0;
    memcpy(p + LOG_RUN_SIZE + 1, "\1\0\0\0", 4); /* no group of a unit */
    assert_int_equal(log_units_decode(back, 7, p, n), BARID_ECORRUPT);
}

/* Octets as they were written before there were next hops. */
static void units_of_before_are_read(void **state)
{
    static const uint8_t p[] = {2, 0, 0, 0, UNIT_PENDING, 3, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 'n', 'o'};
    struct unit_state want = {.attempts = 3, .due_us = 9, .reply = {"no", 2}}, back[2];
    uint8_t again[sizeof(p)];

    (void)state;
    assert_int_equal(log_units_decode(back, 2, p, sizeof(p)), 0);
    check_unit(&back[0], &want);
    check_unit(&back[1], &want);
    assert_int_equal(log_units_size(back, 2), sizeof(p));
    log_units_encode(back, 2, again);
    assert_memory_equal(again, p, sizeof(p));
}

static void heads_keep_groups(void **state)
{
    struct log_record r = {.type = LOG_STATE, .id = 7, .group = 0x80402010, .marks = LOG_MIXED | LOG_TRIED}, back;
    uint8_t p[LOG_RECORD_SIZE];

    (void)state;
    log_record_encode(&r, p);
    assert_int_equal(log_record_decode(&back, p), 0);
    assert_int_equal(back.group, r.group);
    assert_int_equal(back.marks, r.marks);
}

/* A record with a body of n octets at off; where the next one goes. */
static size_t add(uint8_t *segment, size_t off, uint64_t id, size_t n, uint32_t synced_to,
                  uint32_t left, uint8_t flags)
{
    struct log_record r = {.nonce = NONCE,
                           .type = LOG_BODY,
                           .flags = flags,
                           .synced_to = synced_to,
                           .group_left = left,
                           .id = id,
                           .body_len = n};

    memset(segment + off + LOG_RECORD_SIZE, (int)id, n);
    r.body_crc = crc32c(0, segment + off + LOG_RECORD_SIZE, n);
    log_record_encode(&r, segment + off);
    off += log_record_length(&r);
    return (flags & LOG_BATCH_END) != 0 ? log_align(off, LOG_BLOCK) : off;
}

/* Ids found, 0 for damage. */
static size_t scan(const uint8_t *segment, size_t size, uint64_t known_end, uint64_t *ids)
{
    struct log_scan s;
    struct log_record r;
    size_t off, length, n = 0;
    enum log_found found;

    log_scan_init(&s, segment, size, NONCE, known_end);
    while ((found = log_scan_next(&s, &r, &off, &length)) != LOG_FOUND_END)
        ids[n++] = found == LOG_FOUND_RECORD ? r.id : 0;
    return n;
}

static void scan_tells_torn_from_damaged(void **state)
{
    size_t size = 16 * LOG_BLOCK, first, second, third, end;
    uint8_t *p = calloc(1, size);
    uint64_t ids[16];

    (void)state;
    assert_non_null(p);
    first = add(p, LOG_BLOCK, 1, 100, LOG_BLOCK, 0, LOG_BATCH_END);
    second = add(p, first, 2, 100, (uint32_t)first, 0, LOG_BATCH_END);
    third = add(p, second, 3, 100, (uint32_t)second, 1, 0); /* a group of two */
    end = add(p, third, 4, 100, (uint32_t)second, 0, LOG_BATCH_END);
    assert_int_equal(scan(p, size, 0, ids), 4);
    p[third + 90] ^= 1; /* torn: the group was never acknowledged */
    assert_int_equal(scan(p, size, 0, ids), 2);
    assert_int_equal(scan(p, size, end, ids),
                     4); /* durable, says the next segment: one of it is damage */
    assert_int_equal(ids[2], 3);
    assert_int_equal(ids[3], 0);
    p[third + 90] ^= 1;
    p[LOG_BLOCK + 90] ^= 1; /* the first was durable when the second was made */
    assert_int_equal(scan(p, size, 0, ids), 4);
    assert_int_equal(ids[0], 0);
    assert_int_equal(ids[1], 2);
    free(p);
}

static void index_finds_orders_and_schedules(void **state)
{
    struct log_index x;
    struct rng_seeded rng;
    uint64_t ids[500];
    uint32_t places[500], at;

    (void)state;
    rng_seeded_init(&rng, 4);
    index_init(&x, NULL, 9);
    assert_int_equal(index_reserve(&x, 500), 0);
    for (size_t i = 0; i < 500; i++) {
        ids[i] = (rng_u64(&rng.rng) % 1000000) * 500 + i + 1;
        places[i] = index_insert(&x, ids[i]);
        index_due(&x, places[i], (int64_t)(rng_u64(&rng.rng) % 1000), i % 5 != 0);
    }
    for (size_t i = 0; i < 500; i += 2)
        index_remove(&x, places[i]);
    for (size_t i = 0; i < 500; i++)
        assert_int_equal(index_find(&x, ids[i]), i % 2 ? places[i] : 0);
    size_t n = 0;
    for (uint64_t id = 0; (at = index_after(&x, id)) != 0; n++) {
        assert_true(index_entry(&x, at)->id > id);
        id = index_entry(&x, at)->id;
    }
    assert_int_equal(n, 250);
    int64_t last = 0;
    for (n = 0; (at = index_top(&x)) != 0; n++) {
        assert_true(index_entry(&x, at)->next_us >= last);
        last = index_entry(&x, at)->next_us;
        index_due(&x, at, last, false);
    }
    assert_int_equal(n, 200);
    index_deinit(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_come_back),
        cmocka_unit_test(units_of_next_hops_come_back),
        cmocka_unit_test(units_of_before_are_read),
        cmocka_unit_test(heads_keep_groups),
        cmocka_unit_test(scan_tells_torn_from_damaged),
        cmocka_unit_test(index_finds_orders_and_schedules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
