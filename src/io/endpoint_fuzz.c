/* io/endpoint_fuzz.c: what parses prints as a text that parses to the same, through struct
 * sockaddr too. */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "io/endpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static bool same(const barid_endpoint *a, const barid_endpoint *b)
{
    size_t n = a->family == BARID_FAMILY_IPV4 ? 4 : 16;

    return a->family == b->family && a->port == b->port && memcmp(a->addr, b->addr, n) == 0;
}

static void check(const barid_endpoint *e)
{
    struct sockaddr_storage sa;
    char text[ENDPOINT_SIZE];
    barid_endpoint again;
    bool mapped = e->family == BARID_FAMILY_IPV6 &&
                  memcmp(e->addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0;

    must(e->family == BARID_FAMILY_IPV4 || e->family == BARID_FAMILY_IPV6);
    endpoint_format(e, text);
    must(endpoint_parse(slice_str(text), &again) == 0 && same(e, &again));
    must(endpoint_to_sockaddr(e, &sa) > 0);
    endpoint_from_sockaddr(&sa, &again);
    must(mapped ? again.family == BARID_FAMILY_IPV4 && memcmp(again.addr, e->addr + 12, 4) == 0
                : same(e, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    char text[ENDPOINT_SIZE];
    barid_endpoint e, again;

    if (endpoint_parse(in, &e) == 0)
        check(&e);
    if (endpoint_parse_address(in, &e) == 0) {
        must(e.port == 0);
        endpoint_text(&e, text);
        must(endpoint_parse_address(slice_str(text), &again) == 0 && same(&e, &again));
        check(&e);
    }
    return 0;
}
