/*
 * message/hidden_fuzz.c: recipients, one a line up to an empty line, then a header block. A
 * mailbox is hidden or not wherever it stands in the envelope, and a field that names it
 * plainly uncovers it whatever the others hold.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"
#include "message/mail.h"

#define RCPTS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void add_rcpts(struct mail *m, barid_slice *in)
{
    while (in->n > 0 && m->n_rcpts < RCPTS) {
        barid_slice line = slice_cut(*in, '\n', in);
        struct mailbox box;
        struct rcpt *rcpt;

        if (line.n == 0)
            return;
        if (mailbox_from_text(&box, m->arena, line, '+') == 0 && !box.null)
            must(mail_add_rcpt(m, &box, line, &rcpt) == 0);
    }
}

static void check_same(const struct mail *m, const bool *hidden)
{
    for (size_t i = 0; i < m->n_rcpts; i++)
        for (size_t k = 0; k < i; k++)
            must(!mailbox_same(&m->rcpts[i]->box, &m->rcpts[k]->box) || hidden[i] == hidden[k]);
}

/* The block again behind a field that names the first recipient. */
static void check_named(struct mail *m, barid_slice block)
{
    barid_slice address = m->rcpts[0]->box.address;
    size_t n = address.n + block.n + 16;
    char *text = arena_alloc(m->arena, n);
    bool *hidden;
    int len;

    must(text != NULL);
    len = snprintf(text, n, "To: <%.*s>\r\n", (int)address.n, address.p);
    if (block.n > 0)
        memcpy(text + len, block.p, block.n);
    if (mail_set_header(m, slice_of(text, (size_t)len + block.n), true) < 0)
        return;
    must(mail_hidden_rcpts(m, m->arena, &hidden) == 0);
    must(!hidden[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    struct arena arena;
    struct mail m;
    bool *hidden;

    arena_init(&arena, NULL, 0);
    if (mail_init(&m, &arena, NULL, 0) == 0) {
        add_rcpts(&m, &in);
        if (mail_set_header(&m, in, true) == 0) {
            must(mail_hidden_rcpts(&m, &arena, &hidden) == 0);
            check_same(&m, hidden);
            /* Folded into the field before it, the block would belong to that. */
            if (m.n_rcpts > 0 && (in.n == 0 || (in.p[0] != ' ' && in.p[0] != '\t')))
                check_named(&m, in);
        }
    }
    arena_deinit(&arena);
    return 0;
}
