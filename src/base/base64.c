/*
 * base/base64.c: base64 with the standard alphabet (RFC 4648 4). Decoding is strict, because
 * two texts for one secret or one body are two chances to disagree about it.
 */
#include "base/encode.h"

/* Decoded value of each ASCII byte; 64 where the byte is not in the alphabet. */
#define BAD 64
static const unsigned char values[128] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62,
    64, 64, 64, 63, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,
    1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22,
    23, 24, 25, 64, 64, 64, 64, 64, 64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
    39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 64, 64, 64, 64, 64,
};

int base64_encode(struct buf *out, barid_slice in)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)in.p;
    size_t groups = in.n / 3 + (in.n % 3 != 0), left = in.n;
    int rc = groups > SIZE_MAX / 4 ? BARID_ELIMIT : buf_reserve(out, groups * 4);
    char *at;

    if (rc < 0 || groups == 0)
        return rc;
    at = out->p + out->len;
    out->len += groups * 4;
    for (; left >= 3; p += 3, left -= 3) {
        uint32_t bits = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];

        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = alphabet[bits >> 6 & 63];
        *at++ = alphabet[bits & 63];
    }
    if (left > 0) {
        uint32_t bits = (uint32_t)p[0] << 16 | (left == 2 ? (uint32_t)p[1] << 8 : 0);

        *at++ = alphabet[bits >> 18];
        *at++ = alphabet[bits >> 12 & 63];
        *at++ = left == 2 ? alphabet[bits >> 6 & 63] : '=';
        *at = '=';
    }
    return 0;
}

static uint32_t value_of(char c)
{
    unsigned char u = (unsigned char)c;

    return u < sizeof(values) ? values[u] : BAD;
}

/* Four digits make three bytes; false when one is not a digit. */
static bool decode_group(const char *p, char *out)
{
    uint32_t a = value_of(p[0]), b = value_of(p[1]), c = value_of(p[2]), d = value_of(p[3]);
    uint32_t bits = a << 18 | b << 12 | c << 6 | d;

    if (((a | b | c | d) & BAD) != 0)
        return false;
    out[0] = (char)(bits >> 16);
    out[1] = (char)(bits >> 8);
    out[2] = (char)bits;
    return true;
}

/* A last group "xx==" or "xxx=": the bits that no byte uses must be zero (RFC 4648 3.5). */
static bool decode_padded(const char *p, size_t pads, char *out)
{
    char group[4] = {p[0], p[1], pads == 2 ? 'A' : p[2], 'A'}, bytes[3];

    if (!decode_group(group, bytes) || bytes[3 - pads] != 0)
        return false;
    out[0] = bytes[0];
    if (pads == 1)
        out[1] = bytes[1];
    return true;
}

int base64_decode(struct buf *out, barid_slice in)
{
    size_t pads = 0, whole;
    bool ok = true;
    char *at;
    int rc;

    if (in.n == 0)
        return 0;
    if (in.n % 4 != 0)
        return BARID_ESYNTAX;
    if (in.p[in.n - 1] == '=')
        pads = in.p[in.n - 2] == '=' ? 2 : 1;
    rc = buf_reserve(out, in.n / 4 * 3 - pads);
    if (rc < 0)
        return rc;
    at = out->p + out->len;
    whole = in.n / 4 - (pads > 0);
    for (size_t i = 0; ok && i < whole; i++)
        ok = decode_group(in.p + i * 4, at + i * 3);
    if (ok && pads > 0)
        ok = decode_padded(in.p + whole * 4, pads, at + whole * 3);
    if (!ok)
        return BARID_ESYNTAX;
    out->len += in.n / 4 * 3 - pads;
    return 0;
}
