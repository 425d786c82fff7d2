/* smtp/verifier.c: stored verifiers of passwords, RFC 5803 3 and its text. */
#include "barid/verifier.h"

#include <stdio.h>

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/sasl_scram_common.h"

int barid_verifier_make(barid_verifier *v_r, enum barid_auth_mechanism mechanism,
                        barid_slice password, barid_slice salt, uint32_t iterations)
{
    uint8_t salted[BARID_VERIFIER_KEY_MAX];
    int r;

    *v_r = (barid_verifier){.mechanism = mechanism,
                            .iterations = iterations,
                            .salt_n = salt.n,
                            .key_n = scram_key_size(mechanism)};
    if (v_r->key_n == 0 || iterations == 0 || iterations > BARID_VERIFIER_ITERATIONS_MAX ||
        salt.n == 0 || salt.n > BARID_VERIFIER_SALT_MAX)
        return BARID_EINVALID;
    if (!scram_password_valid(password))
        return BARID_ESYNTAX;
    memcpy(v_r->salt, salt.p, salt.n);
    if ((r = scram_salted(mechanism, password, salt, iterations, salted)) == 0)
        r = scram_keys(mechanism, salted, NULL, v_r->stored_key, v_r->server_key);
    mem_wipe(salted, sizeof(salted));
    return r;
}

size_t barid_verifier_format(const barid_verifier *v, char *out)
{
    /* On the caller's memory: cap equals max, so it never grows; the NUL keeps its place. */
    struct buf b = {
        .p = out, .cap = BARID_VERIFIER_TEXT_MAX - 1, .max = BARID_VERIFIER_TEXT_MAX - 1};

    b.len = (size_t)snprintf(
        out, BARID_VERIFIER_TEXT_MAX,
        "%s$%u:", v->mechanism == BARID_AUTH_SCRAM_SHA_1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256",
        v->iterations);
    (void)base64_encode(&b, slice_of(v->salt, v->salt_n));
    (void)buf_byte(&b, '$');
    (void)base64_encode(&b, slice_of(v->stored_key, v->key_n));
    (void)buf_byte(&b, ':');
    (void)base64_encode(&b, slice_of(v->server_key, v->key_n));
    out[b.len] = '\0';
    return b.len;
}

/* Decode into a field of at most max octets. */
static int get_base64(barid_slice text, uint8_t *out, size_t max, size_t *n_r)
{
    char room[BARID_VERIFIER_SALT_MAX + 3];
    struct buf b = {.p = room, .cap = sizeof(room), .max = sizeof(room)};
    int r;

    if (text.n > (max + 2) / 3 * 4)
        return BARID_ELIMIT;
    if ((r = base64_decode(&b, text)) < 0)
        return r;
    if (b.len > max)
        return BARID_ELIMIT;
    memcpy(out, room, b.len);
    *n_r = b.len;
    mem_wipe(room, sizeof(room));
    return 0;
}

static bool get_key(barid_slice text, uint8_t *out, size_t want)
{
    size_t n;

    return get_base64(text, out, want, &n) == 0 && n == want;
}

int barid_verifier_parse(barid_slice text, barid_verifier *v_r)
{
    barid_slice scheme = slice_cut(text, '$', &text), salt, stored;
    uint64_t iterations;
    int r;

    *v_r = (barid_verifier){0};
    if (slice_eq(scheme, BARID_S("SCRAM-SHA-256")))
        v_r->mechanism = BARID_AUTH_SCRAM_SHA_256;
    else if (slice_eq(scheme, BARID_S("SCRAM-SHA-1")))
        v_r->mechanism = BARID_AUTH_SCRAM_SHA_1;
    else
        return BARID_EUNSUPPORTED;
    v_r->key_n = scram_key_size(v_r->mechanism);
    if ((r = slice_u64(slice_cut(text, ':', &text), BARID_VERIFIER_ITERATIONS_MAX,
                       &iterations)) < 0)
        return r;
    v_r->iterations = (uint32_t)iterations;
    salt = slice_cut(text, '$', &text);
    if ((r = get_base64(salt, v_r->salt, sizeof(v_r->salt), &v_r->salt_n)) < 0)
        return r;
    stored = slice_cut(text, ':', &text);
    if (iterations == 0 || v_r->salt_n == 0 || !get_key(stored, v_r->stored_key, v_r->key_n) ||
        !get_key(text, v_r->server_key, v_r->key_n))
        return BARID_ESYNTAX;
    return 0;
}

int barid_verifier_check(const barid_verifier *v, barid_slice password)
{
    barid_verifier made;
    int r = barid_verifier_make(&made, v->mechanism, password, slice_of(v->salt, v->salt_n),
                                v->iterations);

    if (r == 0)
        r = scram_equal(made.stored_key, v->stored_key, v->key_n);
    else if (r != BARID_ENOMEM)
        r = 0; /* a password that could not have been stored */
    mem_wipe(&made, sizeof(made));
    return r;
}
