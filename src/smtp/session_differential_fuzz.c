/* smtp/session_differential_fuzz.c: the octets choose a server and a dialogue, which a session
 * and the reference carry out; they must agree. See differential_testing.h. */
#include <stdio.h>
#include <stdlib.h>

#include "smtp/differential_testing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *why = differential_run(data, size, FAULT_NONE, NULL);

    if (why != NULL) {
        fprintf(stderr, "difference: %s\n", why);
        abort();
    }
    return 0;
}
