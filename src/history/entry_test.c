/* history/entry_test.c: entries as octets and back, whatever is cut or changed; the filter and its footer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "history/history_int.h"

#define T(lit)                                                                                 \
    {                                                                                          \
        "" lit, sizeof(lit) - 1                                                                \
    }
static const struct history_entry full = {.kind = HISTORY_DEFERRED,
                                          .id = 0x0123456789abcdef,
                                          .sender = T("a@example.com"),
                                          .rcpts = T("b@example.org c@example.org"),
                                          .hop = T("example.org"),
                                          .remote = T("mx.example.org (192.0.2.1:25)"),
                                          .reply = T("451 4.3.0 later"),
                                          .where = T("policy.lua:17"),
                                          .text = T("t"),
                                          .other = UINT64_MAX,
                                          .due_us = INT64_MAX,
                                          .attempts = 300,
                                          .suspect = true};

static void same(const struct history_entry *a, const struct history_entry *b)
{
    assert_true(a->kind == b->kind && a->id == b->id && a->other == b->other &&
                a->due_us == b->due_us);
    assert_true(a->attempts == b->attempts && a->suspect == b->suspect);
    assert_true(slice_eq(a->sender, b->sender) && slice_eq(a->rcpts, b->rcpts) &&
                slice_eq(a->hop, b->hop));
    assert_true(slice_eq(a->remote, b->remote) && slice_eq(a->reply, b->reply) &&
                slice_eq(a->where, b->where));
    assert_true(slice_eq(a->text, b->text));
}

static void test_there_and_back(void **state)
{
    const struct history_entry entries[] = {full, {.kind = HISTORY_GONE, .id = 1}};
    char record[1024];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct history_entry got;
        size_t n = entry_encode(&entries[i], -5, record);

        assert_true(n <= entry_room(&entries[i]));
        entry_seal(record);
        assert_int_equal(entry_length(slice_of(record, n), true), n);
        assert_int_equal(entry_id(record), entries[i].id);
        assert_int_equal(entry_decode(slice_of(record, n), &got), 0);
        assert_int_equal(got.time_us, -5);
        same(&got, &entries[i]);
    }
}

/* Every prefix is no record, every changed octet is noticed, and none of it is read past its end. */
static void test_damaged(void **state)
{
    struct history_entry got;
    char record[1024];
    size_t n = entry_encode(&full, 1, record), bits = 0;

    (void)state;
    entry_seal(record);
    for (size_t i = 0; i < n; i++) {
        char *piece = malloc(i + 1);

        memcpy(piece, record, i);
        assert_int_equal(entry_length(slice_of(piece, i), true), 0);
        free(piece);
    }
    for (size_t i = 0; i < n * 8; i++, bits++) {
        char *piece = malloc(n);

        memcpy(piece, record, n);
        piece[i / 8] = (char)(piece[i / 8] ^ 1 << i % 8);
        assert_int_equal(entry_length(slice_of(piece, n), true), 0);
        (void)entry_decode(slice_of(piece, n), &got); /* whatever it says, it stays inside */
        free(piece);
    }
    printf("# proof: damaged history records: %zu prefixes and %zu flipped bits are none\n", n,
           bits);
}

static void test_long_fields_are_cut(void **state)
{
    struct history_entry e = {.kind = HISTORY_SPOOLED, .id = 2}, got;
    char *text = calloc(1, HISTORY_TEXT_MAX + 1), *record = malloc(ENTRY_MAX);
    size_t n;

    (void)state;
    e.sender = e.rcpts = e.hop = e.remote = e.reply = e.where = e.text =
        slice_of(text, HISTORY_TEXT_MAX + 1);
    e.other = UINT64_MAX;
    e.due_us = -1;
    e.attempts = UINT32_MAX;
    assert_true(entry_room(&e) <= ENTRY_MAX);
    n = entry_encode(&e, 0, record);
    assert_true(n <= entry_room(&e));
    assert_int_equal(entry_length(slice_of(record, n), false), n);
    assert_int_equal(entry_decode(slice_of(record, n), &got), 0);
    assert_int_equal(got.rcpts.n, HISTORY_TEXT_MAX);
    assert_int_equal(got.due_us, -1);
    free(text);
    free(record);
}

static void test_unknown_fields_are_skipped(void **state)
{
    static const char more[] = "\x0f\x81\x01\xff\x03xyz\x05";
    struct history_entry got;
    char record[1024];
    size_t n = entry_encode(&full, 1, record);

    (void)state;
    memcpy(record + n, more, 8);
    store_le(record, n + 8 - HEAD_SIZE, 4);
    assert_int_equal(entry_decode(slice_of(record, n + 8), &got), 0);
    same(&got, &full);
    record[n + 4] = 4; /* longer than what is there */
    assert_int_equal(entry_decode(slice_of(record, n + 8), &got), BARID_ECORRUPT);
}

/* Ids are never denied, few are suspected. */
static void test_filter(void **state)
{
    char *filter = calloc(1, FILTER_SIZE), footer[FOOTER_SIZE];
    const uint64_t base = UINT64_C(1764400000000) << 20;
    size_t wrong = 0;
    uint64_t end;

    (void)state;
    for (uint64_t i = 0; i < 100000; i++)
        filter_add(filter, base + i * 7);
    filter_seal(filter);
    for (uint64_t i = 0; i < 100000; i++) {
        assert_true(filter_may_have(filter + filter_block_of(base + i * 7) * FILTER_BLOCK,
                                    base + i * 7));
        wrong += filter_may_have(filter + filter_block_of(base + i * 7 + 1) * FILTER_BLOCK,
                                 base + i * 7 + 1);
    }
    assert_true(wrong < 5000);
    memset(filter, 0, FILTER_BLOCK); /* a damaged block denies nothing */
    assert_true(filter_may_have(filter, 1));
    footer_make(footer, 12345);
    assert_int_equal(footer_read(footer, &end), 0);
    assert_int_equal(end, 12345);
    footer[9] ^= 1;
    assert_int_equal(footer_read(footer, &end), BARID_ECORRUPT);
    free(filter);
    printf("# proof: history filter: 100000 ids found, %zu of 100000 others suspected\n",
           wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_long_fields_are_cut),
        cmocka_unit_test(test_unknown_fields_are_skipped),
        cmocka_unit_test(test_filter),
    };

    return cmocka_run_group_tests_name("history_entry", tests, NULL, NULL);
}
