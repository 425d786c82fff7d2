/*
 * smtp/sasl_client_scram.c: the client of SCRAM (RFC 5802 5, RFC 7677).
 *
 *   C: n,,n=user,r=nonce    S: r=nonce..,s=salt,i=count
 *   C: c=biws,r=..,p=proof  S: v=signature    C: (nothing)
 *
 * done only after the signature was right: a server that skips it is not believed.
 */
#include "smtp/sasl_client_int.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"

void sasl_client_scram_nonce(struct sasl_client *x)
{
    uint8_t raw[SCRAM_NONCE_RANDOM];
    struct buf b = {.p = x->nonce, .cap = sizeof(x->nonce), .max = sizeof(x->nonce)};

    x->config.random(x->config.random_user, raw, sizeof(raw));
    (void)base64_encode(&b, slice_of(raw, sizeof(raw)));
    x->nonce_n = b.len;
}

static int put_gs2(const struct sasl_client *x, struct buf *out)
{
    int r = buf_str(out, "n,");

    if (r == 0 && x->config.authzid.n > 0 && (r = buf_str(out, "a=")) == 0)
        r = scram_name_encode(out, x->config.authzid);
    return r == 0 ? buf_byte(out, ',') : r;
}

int sasl_client_scram_first(struct sasl_client *x)
{
    struct buf *m = &x->auth_message;
    int r;

    buf_clear(m); /* so that it can be asked for again */
    if ((r = buf_str(m, "n=")) == 0 && (r = scram_name_encode(m, x->config.authcid)) == 0 &&
        (r = buf_str(m, ",r=")) == 0 &&
        (r = buf_append(m, slice_of(x->nonce, x->nonce_n))) == 0 &&
        (r = put_gs2(x, &x->out)) == 0)
        r = buf_append(&x->out, buf_slice(m));
    return r;
}

struct server_first {
    barid_slice nonce;
    uint8_t salt[BARID_VERIFIER_SALT_MAX + 3];
    size_t salt_n;
    uint32_t iterations;
};

static int parse_first(const struct sasl_client *x, barid_slice in, struct server_first *f)
{
    struct buf salt = {.p = (char *)f->salt, .cap = sizeof(f->salt), .max = sizeof(f->salt)};
    barid_slice text, count;
    uint64_t iterations;
    int r;

    if (in.n > SCRAM_MESSAGE_MAX || !scram_attribute(&in, 'r', &f->nonce) ||
        !scram_attribute(&in, 's', &text) || !scram_attribute(&in, 'i', &count))
        return BARID_ESYNTAX;
    /* The server's nonce begins with ours and adds to it. */
    if (f->nonce.n <= x->nonce_n || memcmp(f->nonce.p, x->nonce, x->nonce_n) != 0 ||
        !scram_nonce_valid(f->nonce, SCRAM_MESSAGE_MAX))
        return BARID_ESYNTAX;
    if ((r = base64_decode(&salt, text)) < 0)
        return r;
    f->salt_n = salt.len;
    if ((r = slice_u64(count, SASL_CLIENT_ITERATIONS_MAX, &iterations)) < 0)
        return r;
    f->iterations = (uint32_t)iterations;
    return iterations < SASL_CLIENT_ITERATIONS_MIN ? BARID_ELIMIT
           : salt.len > 0                          ? 0
                                                   : BARID_ESYNTAX;
}

/* ClientProof into proof, the server's signature into x. auth_message is complete. */
static int prove(struct sasl_client *x, const struct server_first *f, uint8_t *proof)
{
    enum barid_auth_mechanism mech = x->config.mechanism;
    uint8_t salted[BARID_VERIFIER_KEY_MAX], stored[BARID_VERIFIER_KEY_MAX];
    uint8_t server[BARID_VERIFIER_KEY_MAX], mac[BARID_VERIFIER_KEY_MAX];
    size_t n = scram_key_size(mech);
    barid_slice message = buf_slice(&x->auth_message);
    int r;

    if ((r = scram_salted(mech, x->config.password, slice_of(f->salt, f->salt_n), f->iterations,
                          salted)) == 0 &&
        (r = scram_keys(mech, salted, proof, stored, server)) == 0 &&
        (r = scram_hmac(mech, stored, n, message, mac)) == 0 &&
        (r = scram_hmac(mech, server, n, message, x->signature)) == 0)
        for (size_t i = 0; i < n; i++)
            proof[i] ^= mac[i];
    mem_wipe(salted, sizeof(salted));
    mem_wipe(stored, sizeof(stored));
    mem_wipe(server, sizeof(server));
    mem_wipe(mac, sizeof(mac));
    return r;
}

static int put_final(struct sasl_client *x, barid_slice challenge)
{
    struct server_first f;
    struct buf gs2;
    uint8_t proof[BARID_VERIFIER_KEY_MAX];
    struct buf *out = &x->out, *m = &x->auth_message;
    int r;

    if ((r = parse_first(x, challenge, &f)) < 0)
        return r;
    buf_init(&gs2, x->mem, 0);
    if ((r = put_gs2(x, &gs2)) == 0 && (r = buf_str(out, "c=")) == 0 &&
        (r = base64_encode(out, buf_slice(&gs2))) == 0 && (r = buf_str(out, ",r=")) == 0 &&
        (r = buf_append(out, f.nonce)) == 0 && (r = buf_byte(m, ',')) == 0 &&
        (r = buf_append(m, challenge)) == 0 && (r = buf_byte(m, ',')) == 0 &&
        (r = buf_append(m, buf_slice(out))) == 0 && (r = prove(x, &f, proof)) == 0 &&
        (r = buf_str(out, ",p=")) == 0)
        r = base64_encode(out, slice_of(proof, scram_key_size(x->config.mechanism)));
    buf_deinit(&gs2);
    mem_wipe(proof, sizeof(proof));
    return r;
}

static int check_signature(struct sasl_client *x, barid_slice challenge)
{
    uint8_t room[BARID_VERIFIER_KEY_MAX + 3];
    struct buf b = {.p = (char *)room, .cap = sizeof(room), .max = sizeof(room)};
    barid_slice text;

    if (!scram_attribute(&challenge, 'v', &text) || base64_decode(&b, text) < 0)
        return BARID_ESYNTAX;
    if (b.len != scram_key_size(x->config.mechanism) || !scram_equal(room, x->signature, b.len))
        return BARID_ENOTFOUND;
    x->done = true;
    return 0;
}

int sasl_client_scram_step(struct sasl_client *x, barid_slice challenge)
{
    if (x->steps == 1)
        return put_final(x, challenge);
    return x->steps == 2 ? check_signature(x, challenge) : BARID_ESYNTAX;
}
