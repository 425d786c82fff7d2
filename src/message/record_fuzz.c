/* message/record_fuzz.c: any octets are a record or are refused; what was read is written and
 * read again to the same. */
#include <stdlib.h>

#include "base/slice.h"
#include "message/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct mail m, again;
    struct unit *units, *units_again;
    size_t n, n_again;
    struct buf out, out_again;

    arena_init(&arena, NULL, 0);
    buf_init(&out, NULL, 0);
    buf_init(&out_again, NULL, 0);
    if (record_decode(&m, &arena, slice_of(data, size), BARID_S("A: b\r\n"), &units, &n) == 0) {
        if (record_encode(&m, units, n, &out) < 0)
            abort();
        if (record_decode(&again, &arena, buf_slice(&out), BARID_S("A: b\r\n"), &units_again,
                          &n_again) < 0)
            abort();
        if (record_encode(&again, units_again, n_again, &out_again) < 0)
            abort();
        if (n != n_again || m.n_rcpts != again.n_rcpts ||
            !slice_eq(buf_slice(&out), buf_slice(&out_again)))
            abort();
    }
    buf_deinit(&out);
    buf_deinit(&out_again);
    arena_deinit(&arena);
    return 0;
}
