/* message/template_fuzz.c: the input is a template and, after the first NUL, an address:
 * results stay beneath the root. */
#include <stdlib.h>

#include "base/slice.h"
#include "message/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(barid_slice path)
{
    if (path.n == 0 || path.p[0] == '/')
        abort();
    while (path.n > 0) {
        barid_slice part = slice_cut(path, '/', &path);

        if (part.n == 0 || slice_eq(part, BARID_S(".")) || slice_eq(part, BARID_S("..")))
            abort();
        if (slice_find(part, '\0') < part.n)
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice value, text = slice_cut(slice_of(data, size), '\0', &value), result;
    struct arena arena;
    struct mail m;
    struct rcpt rcpt = {.index = 0};

    arena_init(&arena, NULL, 0);
    rcpt.box.local = rcpt.box.user = value;
    rcpt.box.tag = slice_from(value, value.n / 2);
    rcpt.box.domain = slice_head(value, value.n / 3);
    if (mail_init(&m, &arena, NULL, 0) < 0)
        abort();
    m.sender = rcpt.box;
    if (template_expand(text, &m, &rcpt, &arena, &result, NULL) == 0)
        check(result);
    if (template_expand(text, &m, NULL, &arena, &result, NULL) == 0)
        check(result);
    arena_deinit(&arena);
    return 0;
}
