/* message/mime_fuzz.c: any octets give a tree within the limits or an error; every text of it
 * is UTF-8. */
#include <stdlib.h>

#include "base/encode.h"
#include "message/mime.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    mime_library_init();
    return 0;
}

static void check(const struct mime_part *p, size_t depth)
{
    barid_slice name, value, data;

    if (depth > MIME_DEPTH_MAX || !utf8_valid(mime_type(p)) || !utf8_valid(mime_file_name(p)))
        abort();
    for (size_t i = 0; i < mime_header_count(p); i++) {
        mime_header(p, i, &name, &value);
        if (!utf8_valid(name) || !utf8_valid(value))
            abort();
    }
    if (mime_data(p, false, &data) < 0 || mime_data(p, true, &data) < 0)
        abort();
    for (size_t i = 0; i < mime_children(p); i++)
        check(mime_child(p, i), depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mime *m = NULL;

    if (mime_parse(&m, (barid_slice){(const char *)data, size}, NULL) == 0)
        check(mime_root(m), 1);
    mime_del(&m);
    return 0;
}
