/* message/explain_fuzz.c: any octets read as a trace; its entries written again read the same.
 */
#include <stdlib.h>

#include "base/slice.h"
#include "message/explain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void inside(barid_slice part, barid_slice whole)
{
    must(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static bool text_same(barid_slice whole, barid_slice kept)
{
    return slice_eq(slice_head(whole, kept.n), kept) && (kept.n == whole.n || kept.n == 512);
}

/* Every entry of the copy is that of the original, as far as the copy was not cut. */
static void compare(barid_slice original, barid_slice copy, size_t n)
{
    size_t at = 0, copy_at = 0;
    int64_t clock = 0, copy_clock = 0;
    struct explain_entry a, b;

    for (size_t i = 0; i < n; i++) {
        must(explain_next(original, &at, &clock, &a) == 1);
        must(explain_next(copy, &copy_at, &copy_clock, &b) == 1);
        must(a.event == b.event && a.verdict == b.verdict && a.rcpt_index == b.rcpt_index &&
             a.at_us == b.at_us && a.code == b.code);
        must(text_same(a.handler, b.handler) && text_same(a.where, b.where) &&
             text_same(a.text, b.text));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    struct explain_entry entry;
    struct explain copy;
    struct arena arena;
    size_t at = 0, before = 0, n = 0;
    int64_t clock = 0;
    int rc;

    arena_init(&arena, NULL, 0);
    explain_init(&copy, &arena);
    while ((rc = explain_next(in, &at, &clock, &entry)) == 1) {
        must(at > before && at <= in.n);
        before = at;
        inside(entry.handler, in);
        inside(entry.where, in);
        inside(entry.text, in);
        explain_add(&copy, &entry);
        n += !copy.cut;
    }
    must(rc == 0 || rc == BARID_ECORRUPT);
    must(copy.n <= EXPLAIN_MAX);
    compare(in, explain_data(&copy), n);
    arena_deinit(&arena);
    return 0;
}
