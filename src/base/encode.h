/* base/encode.h: base64 (RFC 4648 4), hex, crc32c, UTF-8 checks. */
#ifndef BASE_ENCODE_H
#define BASE_ENCODE_H

#include "base/buf.h"

int base64_encode(struct buf *out, barid_slice in);           /* 0, ENOMEM, ELIMIT */
/* Strict: canonical padding, no white space. 0, BARID_ESYNTAX, ENOMEM, ELIMIT. */
int base64_decode(struct buf *out, barid_slice in);
int hex_encode(struct buf *out, barid_slice in);              /* lower case */
int hex_decode(struct buf *out, barid_slice in);              /* 0, BARID_ESYNTAX, ... */

/* CRC-32C (Castagnoli), SSE4.2 where the CPU has it; start with crc 0. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

/* Well-formed UTF-8: no overlong forms, surrogates, or code points above U+10FFFF. */
bool utf8_valid(barid_slice s);
/* The code point at *at, which moves behind it. s must be well-formed. */
uint32_t utf8_next(barid_slice s, size_t *at);
bool ascii_only(barid_slice s);

#endif
