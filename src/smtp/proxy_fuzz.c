/* smtp/proxy_fuzz.c: a PROXY header means the same whole, with more behind it, and in any
 * prefix. */
#include <stdlib.h>

#include "base/slice.h"
#include "smtp/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    struct proxy_header h;
    size_t used, again;
    int r = proxy_parse(in, &h, &used);

    if (r == 0) {
        must(used <= size && used <= PROXY_MAX && (h.version == 1 || h.version == 2));
        must(proxy_parse(slice_head(in, used), &h, &again) == 0 && again == used);
        must(proxy_parse(slice_head(in, used - 1), &h, &again) == BARID_EAGAIN);
    } else {
        must(used == 0);
        /* Bounded: it never asks for more than the limit. */
        must(r != BARID_EAGAIN || size < PROXY_MAX);
    }
    return 0;
}
