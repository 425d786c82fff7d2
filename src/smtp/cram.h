/* smtp/cram.h: the digest of CRAM-MD5 (RFC 2195 2), for both sides. */
#ifndef SMTP_CRAM_H
#define SMTP_CRAM_H

#include "barid/types.h"

#define CRAM_DIGEST 16

/* HMAC-MD5(secret, challenge). 0, or BARID_EUNSUPPORTED (a libcrypto that has no MD5). */
int cram_digest(barid_slice secret, barid_slice challenge, uint8_t out[CRAM_DIGEST]);

#endif
