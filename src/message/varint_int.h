/*
 * message/varint_int.h: numbers of variable length as records and traces write them: seven bits
 * an octet, lowest first, the top bit set on all but the last (LEB128). Shared by record.c and
 * explain.c.
 */
#ifndef MESSAGE_VARINT_INT_H
#define MESSAGE_VARINT_INT_H

#include "barid/types.h"

#define VARINT_MAX 10 /* octets of a 64-bit number */

static inline size_t varint_put(char *out, uint64_t v)
{
    size_t n = 0;

    for (; v > 0x7f; v >>= 7)
        out[n++] = (char)(0x80 | (v & 0x7f));
    out[n++] = (char)v;
    return n;
}

/* Moves *at past the number. False when it is cut off or does not fit 64 bits. */
static inline bool varint_get(barid_slice in, size_t *at, uint64_t *v_r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64 && *at < in.n; shift += 7) {
        uint8_t octet = (uint8_t)in.p[(*at)++];

        if (shift == 63 && octet > 1)
            return false;
        v |= (uint64_t)(octet & 0x7f) << shift;
        if (octet < 0x80) {
            *v_r = v;
            return true;
        }
    }
    return false;
}

/* Signed numbers with small magnitudes stay short: 0, -1, 1, -2, ... */
static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0);
}
static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t)((v >> 1) ^ (v & 1 ? UINT64_MAX : 0));
}

#endif
