/* policy/network_fuzz.c: a block that parses holds its own first and last address, and not the
 * one beyond. */
#include <stdlib.h>

#include "base/slice.h"
#include "policy/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check(struct network *n)
{
    unsigned width = n->family == BARID_FAMILY_IPV4 ? 32 : 128;
    const struct network_list list = {n, 1};
    barid_endpoint e = {.family = n->family};

    memcpy(e.addr, n->addr, sizeof(e.addr));
    must(network_contains(&list, &e));
    if (n->family == BARID_FAMILY_UNIX)
        return;
    must(n->bits <= width);
    for (unsigned bit = n->bits; bit < width; bit++) {
        must((e.addr[bit / 8] & (0x80u >> bit % 8)) == 0);
        e.addr[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
    }
    must(network_contains(&list, &e));
    if (n->bits > 0) {
        e.addr[(n->bits - 1) / 8] ^= (uint8_t)(0x80u >> (n->bits - 1) % 8);
        must(!network_contains(&list, &e));
    }
    e.family = BARID_FAMILY_UNIX;
    must(!network_contains(&list, &e));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct network n;
    int rc = network_parse(slice_of(data, size), &n, &err);

    must(rc == 0 || (rc == BARID_ESYNTAX && err.text[0] != '\0'));
    if (rc == 0)
        check(&n);
    return 0;
}
