/* smtp/sasl_cram.c: CRAM-MD5 (RFC 2195): challenge, then name SP hex(HMAC-MD5(secret,
 * challenge)). */
#include "smtp/sasl_int.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/cram.h"

int cram_digest(barid_slice secret, barid_slice challenge, uint8_t out[CRAM_DIGEST])
{
    unsigned n = 0;

    return HMAC(EVP_md5(), secret.n > 0 ? secret.p : "", (int)secret.n,
                (const unsigned char *)challenge.p, challenge.n, out, &n) != NULL
               ? 0
               : BARID_EUNSUPPORTED;
}

static enum sasl_state cram_begin(struct sasl_server *x)
{
    return sasl_challenge(x, slice_of(x->cram_challenge, x->cram_challenge_n));
}

static enum sasl_state cram_step(struct sasl_server *x, barid_slice in)
{
    /* The last space: a name may hold some. */
    size_t space = slice_find_last(in, ' ');
    struct buf digest = {.p = (char *)x->cram_digest, .cap = CRAM_DIGEST, .max = CRAM_DIGEST};

    if (space == in.n || in.n - space - 1 != 2 * CRAM_DIGEST ||
        hex_decode(&digest, slice_from(in, space + 1)) < 0 ||
        !sasl_set_name(slice_head(in, space), x->authcid, &x->identity.authcid))
        return sasl_fail(x, BARID_ESYNTAX);
    return x->state = SASL_CREDENTIAL;
}

static enum sasl_state cram_answer(struct sasl_server *x, const struct sasl_credential *c)
{
    bool usable = c->known && c->kind == BARID_SECRET_PLAIN && c->secret.n > 0;
    uint8_t want[CRAM_DIGEST];
    bool equal;
    int r;

    /* The same work without a secret. */
    r = cram_digest(usable ? c->secret : BARID_S("no such user"), buf_slice(&x->challenge),
                    want);
    equal = r == 0 && scram_equal(want, x->cram_digest, CRAM_DIGEST);
    mem_wipe(want, sizeof(want));
    if (r < 0)
        return sasl_fail(x, r);
    return usable && equal ? (x->state = SASL_SUCCESS) : sasl_fail(x, BARID_ENOTFOUND);
}

const struct sasl_mech sasl_cram_md5 = {
    .id = BARID_AUTH_CRAM_MD5,
    .begin = cram_begin,
    .step = cram_step,
    .answer = cram_answer,
};
