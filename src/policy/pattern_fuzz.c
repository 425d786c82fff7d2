/* policy/pattern_fuzz.c: subject and pattern, parted by the first octet's count, through both
 * string libraries. */
#include <stdlib.h>

#include "base/slice.h"
#include "policy/pattern_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct compare *c;
    size_t cut;

    if (size == 0 || size > 60)
        return 0; /* the standard matcher takes exponential time on long input */
    if (c == NULL)
        c = compare_new();
    cut = data[0] % size;
    if (!compare_same(c, slice_of(data + 1, cut), slice_of(data + 1 + cut, size - 1 - cut)))
        abort();
    return 0;
}
