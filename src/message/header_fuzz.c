/* message/header_fuzz.c: any block is written back as it came; what is added is one field;
 * hidden recipients end. */
#include <stdlib.h>

#include "base/slice.h"
#include "message/mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add(struct mail *m, barid_slice value)
{
    struct header_list again;
    struct buf out;
    size_t n = m->header.n;

    buf_init(&out, NULL, 0);
    if (header_add(&m->header, BARID_S("X-Fuzz"), value, 0) == 0) {
        if (header_write(&m->header, &out) < 0 ||
            header_parse(&again, m->arena, buf_slice(&out)) < 0)
            abort();
        if (again.n != n + 1)
            abort();
    }
    buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice block, value = slice_cut(slice_of(data, size), '\0', &block);
    struct mailbox box = {.local = BARID_S("a"), .domain = BARID_S("b")};
    struct arena arena;
    struct mail m;
    struct rcpt *rcpt;
    struct buf out;
    bool *hidden;

    arena_init(&arena, NULL, 0);
    buf_init(&out, NULL, 0);
    if (mail_init(&m, &arena, NULL, 0) < 0 ||
        mail_add_rcpt(&m, &box, BARID_S("c@d"), &rcpt) < 0)
        abort();
    if (mail_set_header(&m, block, true) == 0) {
        if (header_write(&m.header, &out) < 0 || !slice_eq(buf_slice(&out), block))
            abort();
        if (mail_hidden_rcpts(&m, &arena, &hidden) < 0)
            abort();
        add(&m, value);
    }
    buf_deinit(&out);
    arena_deinit(&arena);
    return 0;
}
