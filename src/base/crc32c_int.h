/* base/crc32c_int.h: the two ways of crc32c(), so that a test can compare them. */
#ifndef BASE_CRC32C_INT_H
#define BASE_CRC32C_INT_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_portable(uint32_t crc, const void *p, size_t n);

#if defined(__x86_64__)
#define CRC32C_SSE42 1
/* Only where the CPU has SSE4.2. */
uint32_t crc32c_sse42(uint32_t crc, const void *p, size_t n);
#endif

#endif
