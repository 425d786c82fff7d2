/* smtp/reply_fuzz.c: replies are the same whole and byte by byte, and hold no controls. */
#include <stdlib.h>

#include "base/slice.h"
#include "smtp/reply_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void note(struct buf *log, const struct reply_parser *p)
{
    must(p->code >= 200 && p->code <= 599 && p->lines <= REPLY_LINES_MAX);
    for (size_t i = 0; i < p->text.len; i++)
        must(p->text.p[i] == '\n' ||
             ((unsigned char)p->text.p[i] >= 32 && p->text.p[i] != 127));
    buf_fmt(log, "%u ", p->code);
    buf_append(log, p->enhanced);
    buf_byte(log, '|');
    buf_append(log, buf_slice(&p->text));
    buf_byte(log, '\0');
}

static void run(barid_slice in, size_t piece, struct buf *log)
{
    struct reply_parser p;
    int r = 0;

    reply_parser_init(&p, NULL);
    while (in.n > 0 && r >= 0) {
        barid_slice part = slice_head(in, piece);
        size_t used;

        r = reply_parser_feed(&p, part, &used);
        must(used <= part.n && (r != 0 || used == part.n));
        if (r == 1)
            note(log, &p);
        in = slice_from(in, used);
    }
    buf_fmt(log, "end %d", r < 0 ? r : 0);
    reply_parser_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole, bytes;

    buf_init(&whole, NULL, 0);
    buf_init(&bytes, NULL, 0);
    run(slice_of(data, size), size, &whole);
    run(slice_of(data, size), 1, &bytes);
    must(slice_eq(buf_slice(&whole), buf_slice(&bytes)));
    buf_deinit(&whole);
    buf_deinit(&bytes);
    return 0;
}
