/*
 * smtp/sasl_scram.c: the server of SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677).
 *
 *   FIRST  C: gs2-header "n=" name ",r=" nonce [ext]        -> CREDENTIAL
 *   answer S: "r=" nonce ours ",s=" salt ",i=" iterations    -> FINAL
 *   FINAL  C: "c=" gs2-header ",r=" nonce [ext] ",p=" proof
 *          S: "v=" signature                                 -> LAST
 *   LAST   C: nothing                                        -> SUCCESS
 *
 * No channel binding: "p=" is refused, "y" is fine as we never offer -PLUS (RFC 5802 6). An
 * unknown user is shown a salt made of auth_seed and the name, which stays the same from one
 * attempt to the next, and fails at FINAL like a wrong password.
 */
#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/sasl_int.h"

/* --- FIRST -------------------------------------------------------------------------------- */

/* gs2-header = ("n" / "y") "," [ "a=" authzid ] "," */
static int parse_gs2(struct sasl_server *x, barid_slice *in)
{
    barid_slice all = *in, flag = slice_cut(*in, ',', in), authzid;
    char name[SASL_MESSAGE_MAX];
    size_t n;

    if (flag.n > 0 && flag.p[0] == 'p')
        return BARID_EUNSUPPORTED;
    if (!slice_eq(flag, BARID_S("n")) && !slice_eq(flag, BARID_S("y")))
        return BARID_ESYNTAX;
    if (in->n > 0 && in->p[0] == ',') {
        *in = slice_from(*in, 1);
    } else if (!scram_attribute(in, 'a', &authzid) || !scram_name_decode(authzid, name, &n) ||
               !sasl_set_name(slice_of(name, n), x->authzid, &x->identity.authzid)) {
        return BARID_ESYNTAX;
    }
    n = all.n - in->n;
    if (n > sizeof(x->scram.gs2))
        return BARID_ESYNTAX;
    memcpy(x->scram.gs2, all.p, n);
    x->scram.gs2_n = n;
    return 0;
}

/* client-first-message-bare = [reserved-mext ","] username "," nonce ["," extensions] */
static int parse_first_bare(struct sasl_server *x, barid_slice bare)
{
    barid_slice in = bare, user, nonce;
    char name[SCRAM_MESSAGE_MAX];
    size_t n;
    int r;

    if (bare.n > SCRAM_MESSAGE_MAX)
        return BARID_ELIMIT;
    /* reserved-mext "m=" is a mandatory extension nobody knows: it fails here as it must. */
    if (!scram_attribute(&in, 'n', &user) || !scram_attribute(&in, 'r', &nonce) ||
        !scram_name_decode(user, name, &n) ||
        !sasl_set_name(slice_of(name, n), x->authcid, &x->identity.authcid) ||
        !scram_nonce_valid(nonce, SCRAM_NONCE_MAX))
        return BARID_ESYNTAX;
    memcpy(x->scram.nonce, nonce.p, nonce.n);
    memcpy(x->scram.nonce + nonce.n, x->server_nonce, x->server_nonce_n);
    x->scram.client_nonce_n = nonce.n;
    x->scram.nonce_n = nonce.n + x->server_nonce_n;
    if ((r = buf_append(&x->scram.auth_message, bare)) < 0)
        return r;
    return buf_byte(&x->scram.auth_message, ',');
}

static enum sasl_state step_first(struct sasl_server *x, barid_slice in)
{
    int r;

    if ((r = parse_gs2(x, &in)) < 0 || (r = parse_first_bare(x, in)) < 0)
        return sasl_fail(x, r);
    return x->state = SASL_CREDENTIAL;
}

/* --- answer ------------------------------------------------------------------------------- */

/* A verifier that no password matches, with the shape of a new one. */
static int fake_verifier(struct sasl_server *x, barid_verifier *v)
{
    struct buf text;
    uint8_t mac[BARID_VERIFIER_KEY_MAX];
    int r;

    *v = (barid_verifier){.mechanism = x->mech->id,
                          .iterations = x->scram.fake_iterations,
                          .salt_n = BARID_VERIFIER_SALT,
                          .key_n = scram_key_size(x->mech->id)};
    buf_init(&text, x->mem, 0);
    if ((r = buf_fmt(&text, "salt %d ", (int)x->mech->id)) == 0 &&
        (r = buf_append(&text, x->identity.authcid)) == 0 &&
        (r = scram_hmac(BARID_AUTH_SCRAM_SHA_256, x->scram.auth_seed,
                        sizeof(x->scram.auth_seed), buf_slice(&text), mac)) == 0)
        memcpy(v->salt, mac, BARID_VERIFIER_SALT);
    buf_deinit(&text);
    return r;
}

static enum sasl_state send_server_first(struct sasl_server *x)
{
    const barid_verifier *v = &x->scram.verifier;
    struct buf *out = &x->challenge;
    int r;

    buf_clear(out);
    if ((r = buf_str(out, "r=")) < 0 ||
        (r = buf_append(out, slice_of(x->scram.nonce, x->scram.nonce_n))) < 0 ||
        (r = buf_str(out, ",s=")) < 0 ||
        (r = base64_encode(out, slice_of(v->salt, v->salt_n))) < 0 ||
        (r = buf_fmt(out, ",i=%u", v->iterations)) < 0 ||
        (r = buf_append(&x->scram.auth_message, buf_slice(out))) < 0)
        return sasl_fail(x, r);
    x->scram.phase = SCRAM_FINAL;
    return x->state = SASL_CHALLENGE;
}

static enum sasl_state scram_answer(struct sasl_server *x, const struct sasl_credential *c)
{
    barid_verifier fake, stored;
    bool usable;
    int r;

    /* The fake is always made, so that the time does not tell whether it is used. */
    if ((r = fake_verifier(x, &fake)) < 0)
        return sasl_fail(x, r);
    usable = barid_verifier_parse(c->secret, &stored) == 0 && c->known &&
             c->kind == BARID_SECRET_VERIFIER && stored.mechanism == x->mech->id;
    x->known = usable;
    x->scram.verifier = usable ? stored : fake;
    mem_wipe(&stored, sizeof(stored));
    return send_server_first(x);
}

/* --- FINAL, LAST -------------------------------------------------------------------------- */

/* c= repeats the gs2-header in base64 (RFC 5802 5.1): else somebody changed it under way. */
static bool binding_right(const struct sasl_server *x, barid_slice value)
{
    char room[sizeof(x->scram.gs2) + 3];
    struct buf b = {.p = room, .cap = sizeof(room), .max = sizeof(room)};

    return base64_decode(&b, value) == 0 &&
           slice_eq(buf_slice(&b), slice_of(x->scram.gs2, x->scram.gs2_n));
}

struct final {
    barid_slice without_proof;
    uint8_t proof[BARID_VERIFIER_KEY_MAX];
};

static int parse_final(const struct sasl_server *x, barid_slice in, struct final *f)
{
    char room[BARID_VERIFIER_KEY_MAX + 3];
    struct buf proof = {.p = room, .cap = sizeof(room), .max = sizeof(room)};
    barid_slice rest = in, binding, nonce;
    size_t comma = slice_find_last(in, ',');

    if (in.n > SCRAM_MESSAGE_MAX)
        return BARID_ELIMIT;
    if (!scram_attribute(&rest, 'c', &binding) || !scram_attribute(&rest, 'r', &nonce) ||
        !binding_right(x, binding) ||
        !slice_eq(nonce, slice_of(x->scram.nonce, x->scram.nonce_n)))
        return BARID_ESYNTAX;
    /* Optional extensions lie between; the proof is last. */
    rest = slice_from(in, comma + 1);
    if (rest.n < 2 || rest.p[0] != 'p' || rest.p[1] != '=' ||
        base64_decode(&proof, slice_from(rest, 2)) < 0 ||
        proof.len != scram_key_size(x->mech->id))
        return BARID_ESYNTAX;
    memcpy(f->proof, room, proof.len);
    f->without_proof = slice_head(in, comma);
    return 0;
}

/*
 * ClientKey := ClientProof XOR HMAC(StoredKey, AuthMessage); right when H(ClientKey) is
 * StoredKey. 1, 0, or an error. signature: HMAC(ServerKey, AuthMessage).
 */
static int check_proof(struct sasl_server *x, const struct final *f, uint8_t *signature)
{
    const barid_verifier *v = &x->scram.verifier;
    barid_slice message;
    uint8_t key[BARID_VERIFIER_KEY_MAX], hash[BARID_VERIFIER_KEY_MAX];
    int r;

    if ((r = buf_byte(&x->scram.auth_message, ',')) < 0 ||
        (r = buf_append(&x->scram.auth_message, f->without_proof)) < 0)
        return r;
    message = buf_slice(&x->scram.auth_message);
    if ((r = scram_hmac(v->mechanism, v->stored_key, v->key_n, message, key)) == 0) {
        for (size_t i = 0; i < v->key_n; i++)
            key[i] ^= f->proof[i];
        if ((r = scram_hash(v->mechanism, key, v->key_n, hash)) == 0 &&
            (r = scram_hmac(v->mechanism, v->server_key, v->key_n, message, signature)) == 0)
            r = scram_equal(hash, v->stored_key, v->key_n);
    }
    mem_wipe(key, sizeof(key));
    mem_wipe(hash, sizeof(hash));
    return r;
}

static enum sasl_state step_final(struct sasl_server *x, barid_slice in)
{
    uint8_t signature[BARID_VERIFIER_KEY_MAX];
    struct final f;
    int r;

    if ((r = parse_final(x, in, &f)) < 0 || (r = check_proof(x, &f, signature)) < 0)
        return sasl_fail(x, r);
    if (!x->known || r == 0)
        return sasl_fail(x, BARID_ENOTFOUND);
    buf_clear(&x->challenge);
    if ((r = buf_str(&x->challenge, "v=")) < 0 ||
        (r = base64_encode(&x->challenge, slice_of(signature, x->scram.verifier.key_n))) < 0)
        return sasl_fail(x, r);
    x->scram.phase = SCRAM_LAST;
    return x->state = SASL_CHALLENGE;
}

static enum sasl_state scram_step(struct sasl_server *x, barid_slice in)
{
    if (x->scram.phase == SCRAM_FIRST)
        return step_first(x, in);
    if (x->scram.phase == SCRAM_FINAL)
        return step_final(x, in);
    /* RFC 4954 4: SMTP has no place for data with success, so it came as a challenge that the
     * client answers with nothing. */
    return in.n == 0 ? (x->state = SASL_SUCCESS) : sasl_fail(x, BARID_ESYNTAX);
}

const struct sasl_mech sasl_scram_sha_1 = {
    .id = BARID_AUTH_SCRAM_SHA_1,
    .client_first = true,
    .step = scram_step,
    .answer = scram_answer,
};

const struct sasl_mech sasl_scram_sha_256 = {
    .id = BARID_AUTH_SCRAM_SHA_256,
    .client_first = true,
    .step = scram_step,
    .answer = scram_answer,
};
