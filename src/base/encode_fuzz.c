/*
 * base/encode_fuzz.c: what base64 and hex accept encodes back to the same text (hex up to
 * case), UTF-8 does not change its mind when a valid text is cut in two valid ones, and both
 * ways of crc32c agree.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c_int.h"
#include "base/encode.h"
#include "base/slice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

typedef int (*coder)(struct buf *out, barid_slice in);

static void check_coder(coder decode, coder encode, barid_slice text)
{
    struct buf bytes, back;
    int rc;

    buf_init(&bytes, NULL, 0);
    buf_init(&back, NULL, 0);
    rc = decode(&bytes, text);
    must(rc == 0 || (rc == BARID_ESYNTAX && bytes.len == 0));
    if (rc == 0) {
        must(encode(&back, buf_slice(&bytes)) == 0);
        must(decode == hex_decode ? slice_eq_nocase(buf_slice(&back), text)
                                  : slice_eq(buf_slice(&back), text));
    }
    buf_deinit(&back);
    buf_deinit(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    barid_slice in = slice_of(data, size);
    bool valid = utf8_valid(in);

    check_coder(base64_decode, base64_encode, in);
    check_coder(hex_decode, hex_encode, in);
    must(!ascii_only(in) || valid);
    for (size_t cut = 0; cut <= size && cut < 64; cut++) {
        bool head = utf8_valid(slice_head(in, cut)), tail = utf8_valid(slice_from(in, cut));

        must(!(head && tail) || valid);
        must(!(valid && head) || tail);
    }
    must(crc32c(0, data, size) == crc32c_portable(0, data, size));
    return 0;
}
