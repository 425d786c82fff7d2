/* base/hex.c: bytes as pairs of hexadecimal digits (RFC 4648 8). */
#include "base/encode.h"

int hex_encode(struct buf *out, barid_slice in)
{
    static const char digits[] = "0123456789abcdef";
    int rc = in.n > SIZE_MAX / 2 ? BARID_ELIMIT : buf_reserve(out, in.n * 2);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];

        out->p[out->len++] = digits[c >> 4];
        out->p[out->len++] = digits[c & 15];
    }
    return 0;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int hex_decode(struct buf *out, barid_slice in)
{
    size_t before = out->len;
    int rc;

    if (in.n % 2 != 0)
        return BARID_ESYNTAX;
    rc = buf_reserve(out, in.n / 2);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < in.n; i += 2) {
        int high = digit_value(in.p[i]), low = digit_value(in.p[i + 1]);

        if (high < 0 || low < 0) {
            out->len = before;
            return BARID_ESYNTAX;
        }
        out->p[out->len++] = (char)(high << 4 | low);
    }
    return 0;
}
