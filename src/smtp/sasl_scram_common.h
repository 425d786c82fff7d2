/*
 * smtp/sasl_scram_common.h: the arithmetic of SCRAM (RFC 5802 3) that servers, clients and
 * stored verifiers share. mechanism is BARID_AUTH_SCRAM_SHA_1 or _SHA_256 everywhere.
 */
#ifndef SMTP_SASL_SCRAM_COMMON_H
#define SMTP_SASL_SCRAM_COMMON_H

#include "barid/event.h"
#include "barid/verifier.h"
#include "base/buf.h"

/* Nonce of one side, and messages: generous against what is seen (32, 200), small against
 * abuse. */
#define SCRAM_NONCE_MAX   128
#define SCRAM_MESSAGE_MAX 2048
/* Octets of randomness in our half of the nonce; base64 text of 24. */
#define SCRAM_NONCE_RANDOM 18

size_t scram_key_size(enum barid_auth_mechanism mechanism); /* 20, 32; 0 = not SCRAM */

/* All: 0 or BARID_ENOMEM (libcrypto refused). Outputs hold BARID_VERIFIER_KEY_MAX octets. */
int scram_hmac(enum barid_auth_mechanism mechanism, const uint8_t *key, size_t key_n,
               barid_slice text, uint8_t *out);
int scram_hash(enum barid_auth_mechanism mechanism, const uint8_t *in, size_t n, uint8_t *out);
/* SaltedPassword := Hi(password, salt, i). Slow. */
int scram_salted(enum barid_auth_mechanism mechanism, barid_slice password, barid_slice salt,
                 uint32_t iterations, uint8_t *out);
/* client_key, stored_key, server_key of a SaltedPassword; client_key may be NULL. */
int scram_keys(enum barid_auth_mechanism mechanism, const uint8_t *salted, uint8_t *client_key,
               uint8_t *stored_key, uint8_t *server_key);

bool scram_equal(const uint8_t *a, const uint8_t *b, size_t n); /* in constant time */

/* A password that may be hashed: see barid/verifier.h. */
bool scram_password_valid(barid_slice password);

/*
 * Cut "k=value," off the front of *message. False when the next attribute is not k. The value
 * ends at the comma or the end.
 */
bool scram_attribute(barid_slice *message, char k, barid_slice *value_r);
/* RFC 5802 5.1 saslname: "=2C" is ',', "=3D" is '='. Decode into out (at least s.n): false when
 * malformed or not UTF-8 or empty. Encode: 0, BARID_ENOMEM, BARID_ELIMIT. */
bool scram_name_decode(barid_slice s, char *out, size_t *n_r);
int scram_name_encode(struct buf *out, barid_slice s);
/* printable = %x21-2B / %x2D-7E, 1 to SCRAM_NONCE_MAX octets */
bool scram_nonce_valid(barid_slice s, size_t max);

#endif
