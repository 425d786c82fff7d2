/* message/header_test.c: scanning, edits, folding, writing back; random blocks; each allocation
 * failing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/slice.h"
#include "base/testing.h"
#include "message/header.h"

#define SAMPLE                                                                                 \
    "Received: from a\r\n\tby b\r\nreceived: from c\r\nSubject : hello\r\n world\r\n"          \
    "not a field\r\nX-Empty:\r\nTo: a@example.com\r\n"

static barid_slice text(const char *s)
{
    return slice_str(s);
}

static void assert_written(const struct header_list *h, const char *want)
{
    struct buf out;

    buf_init(&out, NULL, 0);
    assert_int_equal(header_write(h, &out), 0);
    assert_int_equal(out.len, strlen(want));
    if (out.len > 0)
        assert_memory_equal(out.p, want, out.len);
    buf_deinit(&out);
}

static void assert_value(struct header_list *h, size_t i, const char *want)
{
    barid_slice v;

    assert_int_equal(header_value(h, i, h->arena, &v), 0);
    assert_int_equal(v.n, strlen(want));
    assert_true(slice_eq(v, text(want)));
}

static void test_scan(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text(SAMPLE)), 0);
    assert_int_equal(h.n, 6);
    assert_int_equal(header_count(&h, text("RECEIVED")), 2);
    assert_int_equal(header_find(&h, text("Received"), 1), 1);
    assert_int_equal(header_find(&h, text("Received"), 2), SIZE_MAX);
    assert_int_equal(header_find(&h, text("subject"), 0), 2);
    assert_true(slice_eq(h.f[2].name, text("Subject")));
    assert_int_equal(h.f[3].name.n, 0);
    assert_int_equal(header_find(&h, text(""), 0), SIZE_MAX);
    assert_value(&h, 0, "from a\tby b");
    assert_value(&h, 2, "hello world");
    assert_value(&h, 4, "");
    assert_int_equal(h.f[1].offset, 25);
    for (size_t i = 0; i < h.n; i++)
        assert_ptr_equal(h.f[i].raw.p, h.block.p + h.f[i].offset); /* no copies */
    assert_written(&h, SAMPLE);
    arena_deinit(&arena);
}

static void test_what_is_no_field(void **state)
{
    static const struct {
        const char *block;
        size_t n;          /* entries */
        const char *first; /* name of the first */
    } rows[] = {
        {"", 0, ""},
        {"\r\n", 1, ""},
        {": no name\r\n", 1, ""},
        {" begins with space\r\nA: b\r\n", 2, ""},
        {"A: b", 1, "A"},           /* cut off */
        {"A: b\nB: c\r\n", 1, "A"}, /* a bare LF ends no line */
        {"A: b\rB: c\r\n", 1, "A"},
        {"A\x80: b\r\n", 1, ""},
        {"A b: c\r\n", 1, ""},
        {"A\r\n: c\r\n", 2, ""},
        {"A:\r\n \r\nB:\r\n", 2, "A"},
        {"From someone Sat\r\nA: b\r\n", 2, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct arena arena;
        struct header_list h;

        arena_init(&arena, NULL, 0);
        assert_int_equal(header_parse(&h, &arena, text(rows[i].block)), 0);
        assert_int_equal(h.n, rows[i].n);
        if (h.n > 0)
            assert_true(slice_eq(h.f[0].name, text(rows[i].first)));
        assert_written(&h, rows[i].block);
        arena_deinit(&arena);
    }
}

static void test_edits(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text(SAMPLE)), 0);
    assert_int_equal(header_add(&h, text("X-Last"), text("  1 "), SIZE_MAX), 0);
    assert_int_equal(header_add(&h, text("X-First"), text(""), 0), 0);
    assert_int_equal(header_set(&h, text("SUBJECT"), text("new")), 0);
    assert_int_equal(header_remove(&h, text("received")), 2);
    assert_int_equal(header_remove(&h, text("received")), 0);
    assert_int_equal(header_set(&h, text("X-New"), text("2")), 0);
    assert_int_equal(header_prepend_raw(&h, text("Received: 1\r\n\tfolded\r\nReceived: 2\r\n")),
                     0);
    assert_int_equal(header_count(&h, text("Received")), 2);
    assert_written(
        &h,
        "Received: 1\r\n\tfolded\r\nReceived: 2\r\nX-First:\r\nSUBJECT: new\r\nnot a field\r\n"
        "X-Empty:\r\nTo: a@example.com\r\nX-Last: 1\r\nX-New: 2\r\n");
    assert_value(&h, header_find(&h, text("subject"), 0), "new");
    arena_deinit(&arena);
}

static void test_set_replaces_first_and_drops_others(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text("A: 1\r\nB: 2\r\nA: 3\r\n")), 0);
    assert_int_equal(header_set(&h, text("a"), text("x")), 0);
    assert_written(&h, "a: x\r\nB: 2\r\n");
    arena_deinit(&arena);
}

static void test_cut_off_line_is_ended_before_adding(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text("A: 1\r\nB: 2")), 0);
    assert_int_equal(header_add(&h, text("C"), text("3"), SIZE_MAX), 0);
    assert_written(&h, "A: 1\r\nB: 2\r\nC: 3\r\n");
    arena_deinit(&arena);
}

/* A client's first line must not continue our Received field. */
static void test_first_line_is_no_continuation(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(
        header_parse(&h, &arena, text(" for <evil@example.net>\r\n more\r\nA: b\r\n")), 0);
    assert_int_equal(header_add(&h, text("Z"), text("1"), SIZE_MAX), 0);
    assert_int_equal(header_find(&h, text("X-Not-A-Field"), 0), SIZE_MAX);
    assert_int_equal(header_prepend_raw(&h, text("Received: ours\r\n")), 0);
    assert_int_equal(header_add(&h, text("Y"), text("2"), 0), 0);
    assert_written(&h, "Y: 2\r\nReceived: ours\r\nX-Not-A-Field: for <evil@example.net>\r\n "
                       "more\r\nA: b\r\nZ: 1\r\n");
    arena_deinit(&arena);
}

static void test_refused(void **state)
{
    static const struct {
        const char *name;
        barid_slice value;
    } rows[] = {
        {"", {"x", 1}},
        {"A:", {"x", 1}},
        {"A B", {"x", 1}},
        {"A\r\nB", {"x", 1}},
        {"\xc3\xa4", {"x", 1}},
        {"A", {"x\ry", 3}},
        {"A", {"x\ny", 3}},
        {"A", {"x\0y", 3}},
        {"A", {"x\r\nB: y", 7}},
        {"A", {"\r\n", 2}},
        {"A-name-that-is-longer-than-a-line-should-be-is-refused-as-nothing-could-be-folded-"
         "there",
         {"x", 1}},
    };
    static const char *const raws[] = {
        "", "A: b", "A: b\r\n\r\n", " folded\r\n", "no field\r\n", "A: b\r\nno\r\n"};
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text("A: 1\r\n")), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_int_equal(header_add(&h, text(rows[i].name), rows[i].value, 0), BARID_ESYNTAX);
        assert_int_equal(header_set(&h, text(rows[i].name), rows[i].value), BARID_ESYNTAX);
    }
    for (size_t i = 0; i < sizeof(raws) / sizeof(*raws); i++)
        assert_int_equal(header_prepend_raw(&h, text(raws[i])), BARID_ESYNTAX);
    assert_false(h.edited);
    assert_written(&h, "A: 1\r\n");
    arena_deinit(&arena);
}

/* Unfolding what was folded gives the value back; lines are within 78 where a space allows it,
 * always within 998. */
static void check_folding(barid_slice value)
{
    struct arena arena;
    struct header_list h, again;
    struct buf out;
    barid_slice back, want = slice_trim(value);
    bool broken = false;

    arena_init(&arena, NULL, 0);
    buf_init(&out, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text("")), 0);
    assert_int_equal(header_add(&h, text("X-Folded"), value, 0), 0);
    assert_int_equal(header_write(&h, &out), 0);
    assert_int_equal(header_parse(&again, &arena, buf_slice(&out)), 0);
    assert_int_equal(again.n, 1);
    assert_int_equal(header_value(&again, 0, &arena, &back), 0);
    for (size_t at = 0, start = 0; at + 1 < out.len; at++) {
        if (out.p[at] != '\r')
            continue;
        assert_int_equal(out.p[at + 1], '\n');
        assert_true(at - start <= 998);
        broken |= at - start == 998 || at - start > 990;
        start = at + 2;
    }
    if (!broken)
        assert_true(slice_eq(back, want));
    else
        assert_true(back.n >= want.n);
    buf_deinit(&out);
    arena_deinit(&arena);
}

static void test_folding(void **state)
{
    struct rng_seeded rng;
    char *long_word = malloc(5000);

    (void)state;
    memset(long_word, 'x', 5000);
    for (size_t n = 0; n < 300; n++)
        check_folding(slice_of(long_word, n));
    for (size_t n = 900; n < 1100; n++)
        check_folding(slice_of(long_word, n));
    check_folding(slice_of(long_word, 5000));
    rng_seeded_init(&rng, 11);
    for (int i = 0; i < 300; i++) {
        size_t n = rng_u64(&rng.rng) % 3000;

        for (size_t k = 0; k < n; k++)
            long_word[k] = " \tab"[rng_u64(&rng.rng) % (i % 2 ? 4 : 3)];
        for (size_t k = 0; i % 3 && k < n; k++)
            if (rng_u64(&rng.rng) % 16)
                long_word[k] = 'w';
        check_folding(slice_of(long_word, n));
    }
    free(long_word);
}

static void test_folding_shape(void **state)
{
    struct arena arena;
    struct header_list h;

    (void)state;
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, text("")), 0);
    assert_int_equal(
        header_add(
            &h, text("Subject"),
            text("one two three four five six seven eight nine ten eleven twelve thirteen "
                 "fourteen fifteen"),
            0),
        0);
    assert_written(&h,
                   "Subject: one two three four five six seven eight nine ten eleven twelve\r\n"
                   " thirteen fourteen fifteen\r\n");
    arena_deinit(&arena);
}

/* A hard cut never splits a UTF-8 character. */
static void test_hard_cut_keeps_characters(void **state)
{
    char value[3001];
    struct arena arena;
    struct header_list h;
    struct buf out;

    (void)state;
    for (size_t i = 0; i < 1500; i++)
        memcpy(value + 2 * i, "\xc3\xa4", 2);
    for (size_t shift = 0; shift < 2; shift++) {
        value[3000] = 'x';
        arena_init(&arena, NULL, 0);
        buf_init(&out, NULL, 0);
        assert_int_equal(header_parse(&h, &arena, text("")), 0);
        assert_int_equal(header_add(&h, text(shift ? "Ab" : "A"), slice_of(value, 3000), 0), 0);
        assert_int_equal(header_write(&h, &out), 0);
        for (size_t i = 0; i + 3 < out.len; i++)
            if (out.p[i] == '\r')
                assert_int_equal((uint8_t)out.p[i - 1], 0xa4);
        buf_deinit(&out);
        arena_deinit(&arena);
    }
}

static void test_limit(void **state)
{
    size_t n = HEADER_FIELDS_MAX;
    char *block = malloc((n + 1) * 5);
    struct arena arena;
    struct header_list h;

    (void)state;
    for (size_t i = 0; i <= n; i++)
        memcpy(block + i * 5, "A:b\r\n", 5);
    arena_init(&arena, NULL, 0);
    assert_int_equal(header_parse(&h, &arena, slice_of(block, n * 5)), 0);
    assert_int_equal(header_add(&h, text("B"), text("1"), 0), BARID_ELIMIT);
    assert_int_equal(header_prepend_raw(&h, text("B: 1\r\n")), BARID_ELIMIT);
    assert_int_equal(header_parse(&h, &arena, slice_of(block, (n + 1) * 5)), BARID_ELIMIT);
    arena_deinit(&arena);
    free(block);
}

/* Whatever the octets: the entries cover the block, and it is written back as it came. */
static void test_random_blocks(void **state)
{
    static const char octets[] = "A:\r\n \tb\r\n\r\n";
    struct rng_seeded rng;
    char block[64];

    (void)state;
    rng_seeded_init(&rng, 3);
    for (int i = 0; i < 20000; i++) {
        size_t n = rng_u64(&rng.rng) % sizeof(block), at = 0;
        struct arena arena;
        struct header_list h;

        for (size_t k = 0; k < n; k++)
            block[k] = octets[rng_u64(&rng.rng) % (sizeof(octets) - 1)];
        arena_init(&arena, NULL, 0);
        assert_int_equal(header_parse(&h, &arena, slice_of(block, n)), 0);
        for (size_t k = 0; k < h.n; k++) {
            assert_int_equal(h.f[k].offset, at);
            at += h.f[k].raw.n;
        }
        assert_int_equal(at, n);
        arena_deinit(&arena);
    }
}

static void scenario(const barid_mem *mem)
{
    struct arena arena;
    struct header_list h;
    struct buf out;
    barid_slice v;

    arena_init(&arena, mem, 0);
    buf_init(&out, mem, 0);
    if (header_parse(&h, &arena, text(" none\r\n" SAMPLE "Cut: off")) == 0) {
        bool first = header_add(&h, text("X-One"), text("1"), 0) == 0;
        bool raw = header_prepend_raw(&h, text("Received: 1\r\n")) == 0;
        bool set = header_set(&h, text("To"), text("b@example.com")) == 0;

        for (int i = 0; i < 40; i++)
            header_add(&h, text("X-Many"), text("1"), SIZE_MAX);
        assert_int_equal(header_count(&h, text("X-One")), first);
        assert_int_equal(header_count(&h, text("Received")), raw ? 3 : 2);
        assert_int_equal(header_count(&h, text("To")), 1);
        if (header_value(&h, header_find(&h, text("To"), 0), &arena, &v) == 0)
            assert_true(slice_eq(v, text(set ? "b@example.com" : "a@example.com")));
        if (header_write(&h, &out) < 0)
            assert_int_equal(out.len, 0);
    }
    buf_deinit(&out);
    arena_deinit(&arena);
}

static void test_no_memory(void **state)
{
    struct fail_mem f = {0};

    (void)state;
    while (fail_mem_next(&f))
        scenario(&f.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_what_is_no_field),
        cmocka_unit_test(test_edits),
        cmocka_unit_test(test_set_replaces_first_and_drops_others),
        cmocka_unit_test(test_cut_off_line_is_ended_before_adding),
        cmocka_unit_test(test_first_line_is_no_continuation),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_folding_shape),
        cmocka_unit_test(test_hard_cut_keeps_characters),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_random_blocks),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
