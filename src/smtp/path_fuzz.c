/* smtp/path_fuzz.c: what parses as a path is inside its text, prints back to itself, and its
 * domain stands alone. */
#include <stdlib.h>

#include "barid/address.h"
#include "base/slice.h"

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

static void check(barid_slice text, unsigned flags)
{
    barid_path path, again;
    char local[BARID_LOCAL_PART_MAX];
    size_t used;

    if (barid_path_parse(text, flags, &path, &used) < 0)
        return;
    must(used <= text.n);
    inside(path.raw, text);
    inside(path.local, path.raw);
    inside(path.domain, path.raw);
    inside(path.route, text);
    must(path.null == (path.raw.n == 0));
    must(!path.utf8 || (flags & BARID_PATH_UTF8_OK));
    must(barid_local_unquote(&path, local) <= path.local.n);
    if (path.domain.n > 0)
        must(path.literal ? barid_address_literal_valid(path.domain)
                          : barid_domain_valid(path.domain, true));
    must(barid_mailbox_parse(path.raw, flags & ~(unsigned)BARID_PATH_LENIENT, &again) == 0);
    must(slice_eq(path.local, again.local) && slice_eq(path.domain, again.domain));
    /* Strict takes nothing that lenient refuses. */
    must(barid_path_parse(text, flags | BARID_PATH_LENIENT, &again, &used) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check(slice_of(data + 1, size - 1), data[0] & 31);
    return 0;
}
