/* io/listen_address_fuzz.c: an address that parses prints as one that is the same; one that
 * does not has a reason. */
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "io/listener.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct listen_address a, again;
    struct err err = {0};
    char text[128];

    if (listen_address_parse(slice_of(data, size), &a, &err) < 0) {
        must(err.text[0] != '\0');
        return 0;
    }
    must(memchr(a.path, '\0', sizeof(a.path)) != NULL);
    must((a.path[0] != '\0') == (a.endpoint.family == BARID_FAMILY_UNIX));
    listen_address_format(&a, text, sizeof(text));
    must(listen_address_parse(slice_str(text), &again, &err) == 0);
    must(a.any == again.any && strcmp(a.path, again.path) == 0 &&
         a.endpoint.family == again.endpoint.family && a.endpoint.port == again.endpoint.port &&
         memcmp(a.endpoint.addr, again.endpoint.addr, sizeof(a.endpoint.addr)) == 0);
    return 0;
}
