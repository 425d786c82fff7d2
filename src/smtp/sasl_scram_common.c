/*
 * smtp/sasl_scram_common.c: see the header.
 *
 *   SaltedPassword := Hi(password, salt, i)
 *   ClientKey      := HMAC(SaltedPassword, "Client Key")
 *   StoredKey      := H(ClientKey)
 *   ServerKey      := HMAC(SaltedPassword, "Server Key")
 */
#include "smtp/sasl_scram_common.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/sasl_server.h"

static const EVP_MD *digest_of(enum barid_auth_mechanism mechanism)
{
    return mechanism == BARID_AUTH_SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
}

size_t scram_key_size(enum barid_auth_mechanism mechanism)
{
    return mechanism == BARID_AUTH_SCRAM_SHA_1     ? 20
           : mechanism == BARID_AUTH_SCRAM_SHA_256 ? 32
                                                   : 0;
}

int scram_hmac(enum barid_auth_mechanism mechanism, const uint8_t *key, size_t key_n,
               barid_slice text, uint8_t *out)
{
    unsigned n = 0;
    const unsigned char *p =
        text.n > 0 ? (const unsigned char *)text.p : (const unsigned char *)"";

    if (HMAC(digest_of(mechanism), key, (int)key_n, p, text.n, out, &n) == NULL)
        return BARID_ENOMEM;
    return 0;
}

int scram_hash(enum barid_auth_mechanism mechanism, const uint8_t *in, size_t n, uint8_t *out)
{
    return EVP_Digest(in, n, out, NULL, digest_of(mechanism), NULL) == 1 ? 0 : BARID_ENOMEM;
}

int scram_salted(enum barid_auth_mechanism mechanism, barid_slice password, barid_slice salt,
                 uint32_t iterations, uint8_t *out)
{
    if (PKCS5_PBKDF2_HMAC(password.p, (int)password.n, (const unsigned char *)salt.p,
                          (int)salt.n, (int)iterations, digest_of(mechanism),
                          (int)scram_key_size(mechanism), out) != 1)
        return BARID_ENOMEM;
    return 0;
}

int scram_keys(enum barid_auth_mechanism mechanism, const uint8_t *salted, uint8_t *client_key,
               uint8_t *stored_key, uint8_t *server_key)
{
    uint8_t key[BARID_VERIFIER_KEY_MAX];
    size_t n = scram_key_size(mechanism);
    int r;

    if ((r = scram_hmac(mechanism, salted, n, BARID_S("Client Key"), key)) == 0 &&
        (r = scram_hash(mechanism, key, n, stored_key)) == 0)
        r = scram_hmac(mechanism, salted, n, BARID_S("Server Key"), server_key);
    if (client_key != NULL)
        memcpy(client_key, key, n);
    mem_wipe(key, sizeof(key));
    return r;
}

bool scram_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

bool scram_password_valid(barid_slice password)
{
    if (password.n == 0 || password.n > SASL_PASSWORD_MAX || !utf8_valid(password))
        return false;
    for (size_t i = 0; i < password.n; i++)
        if ((unsigned char)password.p[i] < 32 || password.p[i] == 127)
            return false;
    return true;
}

bool scram_attribute(barid_slice *message, char k, barid_slice *value_r)
{
    if (message->n < 2 || message->p[0] != k || message->p[1] != '=')
        return false;
    *value_r = slice_cut(slice_from(*message, 2), ',', message);
    return true;
}

bool scram_name_decode(barid_slice s, char *out, size_t *n_r)
{
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 32 || c == 127)
            return false;
        if (c == '=') {
            barid_slice code = slice_head(slice_from(s, i + 1), 2);

            if (slice_eq(code, BARID_S("2C")))
                c = ',';
            else if (!slice_eq(code, BARID_S("3D")))
                return false;
            i += 2;
        }
        out[n++] = (char)c;
    }
    *n_r = n;
    return n > 0 && utf8_valid(slice_of(out, n));
}

int scram_name_encode(struct buf *out, barid_slice s)
{
    int r = 0;

    for (size_t i = 0; i < s.n && r == 0; i++) {
        if (s.p[i] == ',')
            r = buf_str(out, "=2C");
        else if (s.p[i] == '=')
            r = buf_str(out, "=3D");
        else
            r = buf_byte(out, s.p[i]);
    }
    return r;
}

bool scram_nonce_valid(barid_slice s, size_t max)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',')
            return false;
    return s.n > 0 && s.n <= max;
}
