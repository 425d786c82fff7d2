/*
 * barid/verifier.h: stored verifiers of passwords (RFC 5803, RFC 5802 3): what a users file
 * holds instead of a password. One verifier serves SCRAM of its hash, PLAIN and LOGIN.
 *
 *   SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$StoredKey:ServerKey
 *
 * Passwords are UTF-8. They are used as they are: SASLprep (RFC 4013) is not applied, so a
 * password outside ASCII must be typed in the same normal form everywhere; control characters
 * and malformed UTF-8 are refused. make and check run PBKDF2: milliseconds of CPU, so call
 * them on a thread that may block.
 */
#ifndef BARID_VERIFIER_H
#define BARID_VERIFIER_H

#include "barid/event.h"
#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* New verifiers, and what unknown users are shown (so the two cannot be told apart). */
#define BARID_VERIFIER_ITERATIONS 4096 /* RFC 5802 5.1: at least 4096 */
/* A stored count above it is refused: one login could occupy a core for seconds. */
#define BARID_VERIFIER_ITERATIONS_MAX 10000000
#define BARID_VERIFIER_SALT     16 /* octets of salt to draw for a new verifier */
#define BARID_VERIFIER_SALT_MAX 64
/* The longest text, with its NUL: name, count, salt and two keys of SHA-256 in base64. */
#define BARID_VERIFIER_TEXT_MAX 256
#define BARID_VERIFIER_KEY_MAX  32

typedef struct barid_verifier {
    enum barid_auth_mechanism mechanism; /* SCRAM_SHA_1 or SCRAM_SHA_256 */
    uint32_t iterations;
    uint8_t salt[BARID_VERIFIER_SALT_MAX];
    size_t salt_n;
    uint8_t stored_key[BARID_VERIFIER_KEY_MAX]; /* 20 octets with SHA-1, 32 with SHA-256 */
    uint8_t server_key[BARID_VERIFIER_KEY_MAX];
    size_t key_n;
} barid_verifier;

/*
 * Derive a verifier. 0; BARID_EINVALID (mechanism, iterations 0 or above the limit, salt empty or
 * too long); BARID_ESYNTAX (the password is empty, too long, or holds what is refused above);
 * BARID_ENOMEM.
 */
BARID_API int barid_verifier_make(barid_verifier *v_r, enum barid_auth_mechanism mechanism,
                                  barid_slice password, barid_slice salt, uint32_t iterations);
/* Write the text and a NUL into out (BARID_VERIFIER_TEXT_MAX octets). The length without NUL. */
BARID_API size_t barid_verifier_format(const barid_verifier *v, char *out);
/* 0, BARID_ESYNTAX, BARID_ELIMIT (iterations or salt), BARID_EUNSUPPORTED (another scheme). */
BARID_API int barid_verifier_parse(barid_slice text, barid_verifier *v_r);
/* Does password belong to v? Compared in constant time. 1, 0, or BARID_ENOMEM. */
BARID_API int barid_verifier_check(const barid_verifier *v, barid_slice password);

#ifdef __cplusplus
}
#endif
#endif
