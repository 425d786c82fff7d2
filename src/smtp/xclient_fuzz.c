/* smtp/xclient_fuzz.c: what XCLIENT takes is clean text, and an attribute without a value says
 * nothing. */
#include <stdlib.h>

#include "base/slice.h"
#include "smtp/xclient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check(const struct xclient *x, const char *scratch, size_t size)
{
    for (size_t i = 0; i < XCLIENT_ATTRS; i++) {
        barid_slice v = x->value[i];

        must(v.n == 0 ||
             (x->state[i] == XCLIENT_VALUE && v.p >= scratch && v.p + v.n <= scratch + size));
        for (size_t k = 0; k < v.n; k++)
            must((unsigned char)v.p[k] > 32 && v.p[k] != 127);
    }
    must((x->addr.family != BARID_FAMILY_NONE) == (x->state[XCLIENT_ADDR] == XCLIENT_VALUE));
    must((x->dest.family != BARID_FAMILY_NONE) ==
         (x->state[XCLIENT_DESTADDR] == XCLIENT_VALUE));
    must(x->addr.port == 0 || x->state[XCLIENT_PORT] == XCLIENT_VALUE);
    must(x->dest.port == 0 || x->state[XCLIENT_DESTPORT] == XCLIENT_VALUE);
    must(!x->esmtp || x->state[XCLIENT_PROTO] == XCLIENT_VALUE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice args = slice_of(data, size), bad;
    char *scratch = malloc(size > 0 ? size : 1); /* exactly what the contract asks for */
    struct xclient x;
    int r;

    if (scratch == NULL)
        return 0;
    r = xclient_parse(args, scratch, &x, &bad);
    must(r == 0 || r == BARID_ESYNTAX || r == BARID_ENOTFOUND);
    must(bad.n == 0 || (r < 0 && bad.p >= args.p && bad.p + bad.n <= args.p + args.n));
    if (r == 0)
        check(&x, scratch, size);
    free(scratch);
    return 0;
}
