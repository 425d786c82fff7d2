/*
 * base/crc32c.c: CRC-32C (Castagnoli, RFC 3720 B.4): the check sum of spool records.
 *
 * Two ways to one result. With SSE4.2 the crc32 instruction takes 8 bytes; it has a latency
 * of three cycles but starts one every cycle, so long input runs in three lanes that are
 * joined by moving a crc over a lane of zeros. Without it, eight table look-ups take 8 bytes.
 *
 * Every table is a linear map over bits: the entry of n is the xor of the entries of the
 * bits of n. So eight constants per table say all, and the compiler writes out the rest;
 * nothing is initialised at run time and nothing is writable.
 */
#include "base/crc32c_int.h"

#include <string.h>

#include "base/encode.h"

#define BIT(n, bit, value) (((n) >> (bit)&1) != 0 ? (value) : 0u)
#define LINEAR(n, b0, b1, b2, b3, b4, b5, b6, b7)                                              \
    (BIT(n, 0, b0) ^ BIT(n, 1, b1) ^ BIT(n, 2, b2) ^ BIT(n, 3, b3) ^ BIT(n, 4, b4) ^           \
     BIT(n, 5, b5) ^ BIT(n, 6, b6) ^ BIT(n, 7, b7))
#define TIMES_4(f, n) f(n), f((n) + 1), f((n) + 2), f((n) + 3)
#define TIMES_16(f, n)                                                                         \
    TIMES_4(f, n), TIMES_4(f, (n) + 4), TIMES_4(f, (n) + 8), TIMES_4(f, (n) + 12)
#define TIMES_64(f, n)                                                                         \
    TIMES_16(f, n), TIMES_16(f, (n) + 16), TIMES_16(f, (n) + 32), TIMES_16(f, (n) + 48)
#define TABLE(f)                                                                               \
    {                                                                                          \
        TIMES_64(f, 0), TIMES_64(f, 64), TIMES_64(f, 128), TIMES_64(f, 192)                    \
    }

/* BYTE_k(n): the crc of byte n followed by k bytes of zero. */
#define BYTE_0(n)                                                                              \
    LINEAR(n, 0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede,          \
           0x417b1dbc, 0x82f63b78)
#define BYTE_1(n)                                                                              \
    LINEAR(n, 0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302,          \
           0xff17c604, 0xfbc3faf9)
#define BYTE_2(n)                                                                              \
    LINEAR(n, 0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14,          \
           0xc76580d9, 0x8b277743)
#define BYTE_3(n)                                                                              \
    LINEAR(n, 0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b,          \
           0xaba65fe7, 0x52a0c93f)
#define BYTE_4(n)                                                                              \
    LINEAR(n, 0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557,          \
           0x37516aae, 0x6ea2d55c)
#define BYTE_5(n)                                                                              \
    LINEAR(n, 0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d,          \
           0x0e045beb, 0x1c08b7d6)
#define BYTE_6(n)                                                                              \
    LINEAR(n, 0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd,          \
           0x7ab7077a, 0xf56e0ef4)
#define BYTE_7(n)                                                                              \
    LINEAR(n, 0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599,          \
           0x1a00cb32, 0x34019664)

static const uint32_t by_byte[8][256] = {
    TABLE(BYTE_0), TABLE(BYTE_1), TABLE(BYTE_2), TABLE(BYTE_3),
    TABLE(BYTE_4), TABLE(BYTE_5), TABLE(BYTE_6), TABLE(BYTE_7),
};

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *at = p;

    crc = ~crc;
    for (; n >= 8; at += 8, n -= 8) {
        crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 |
               (uint32_t)at[3] << 24;
        crc = by_byte[7][crc & 255] ^ by_byte[6][crc >> 8 & 255] ^ by_byte[5][crc >> 16 & 255] ^
              by_byte[4][crc >> 24] ^ by_byte[3][at[4]] ^ by_byte[2][at[5]] ^
              by_byte[1][at[6]] ^ by_byte[0][at[7]];
    }
    for (; n > 0; at++, n--)
        crc = by_byte[0][(crc ^ *at) & 255] ^ crc >> 8;
    return ~crc;
}

#ifdef CRC32C_SSE42
#include <nmmintrin.h>

/* Long enough that joining lanes costs nothing beside it, short enough for a small mail. */
#define LANE_BYTES 1024

/* LANE_k(n): a crc with n in its byte k, moved over LANE_BYTES of zeros. */
#define LANE_0(n)                                                                              \
    LINEAR(n, 0xfe314258, 0xf98ef241, 0xf6f19273, 0xe80f5217, 0xd5f2d2df, 0xae09d34f,          \
           0x59ffd06f, 0xb3ffa0de)
#define LANE_1(n)                                                                              \
    LINEAR(n, 0x6213374d, 0xc4266e9a, 0x8da0abc5, 0x1ead217b, 0x3d5a42f6, 0x7ab485ec,          \
           0xf5690bd8, 0xef3e6141)
#define LANE_2(n)                                                                              \
    LINEAR(n, 0xdb90b473, 0xb2cd1e17, 0x60764adf, 0xc0ec95be, 0x84355d8d, 0x0d86cdeb,          \
           0x1b0d9bd6, 0x361b37ac)
#define LANE_3(n)                                                                              \
    LINEAR(n, 0x6c366f58, 0xd86cdeb0, 0xb535cb91, 0x6f87e1d3, 0xdf0fc3a6, 0xbbf3f1bd,          \
           0x720b958b, 0xe4172b16)

static const uint32_t over_lane[4][256] = {TABLE(LANE_0), TABLE(LANE_1), TABLE(LANE_2),
                                           TABLE(LANE_3)};

static uint64_t move_over_lane(uint64_t crc)
{
    return over_lane[0][crc & 255] ^ over_lane[1][crc >> 8 & 255] ^
           over_lane[2][crc >> 16 & 255] ^ over_lane[3][crc >> 24 & 255];
}

static uint64_t load(const unsigned char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

__attribute__((target("sse4.2"))) static uint64_t three_lanes(uint64_t crc,
                                                              const unsigned char *p)
{
    uint64_t second = 0, third = 0;

    for (size_t i = 0; i < LANE_BYTES; i += 8) {
        crc = _mm_crc32_u64(crc, load(p + i));
        second = _mm_crc32_u64(second, load(p + LANE_BYTES + i));
        third = _mm_crc32_u64(third, load(p + 2 * LANE_BYTES + i));
    }
    return move_over_lane(move_over_lane(crc) ^ second) ^ third;
}

__attribute__((target("sse4.2"))) uint32_t crc32c_sse42(uint32_t crc, const void *p, size_t n)
{
    const unsigned char *at = p;
    uint64_t state = ~crc;
    uint32_t rest;

    for (; n >= 3 * LANE_BYTES; at += 3 * LANE_BYTES, n -= 3 * LANE_BYTES)
        state = three_lanes(state, at);
    for (; n >= 8; at += 8, n -= 8)
        state = _mm_crc32_u64(state, load(at));
    rest = (uint32_t)state;
    for (; n > 0; at++, n--)
        rest = _mm_crc32_u8(rest, *at);
    return ~rest;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#ifdef CRC32C_SSE42
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(crc, p, n);
#endif
    return crc32c_portable(crc, p, n);
}
