/*
 * smtp/sasl_server.c: the front of the server exchanges: state and argument checks, identity,
 * secrets. What the messages mean is in sasl_plain.c, sasl_login.c, sasl_cram.c and
 * sasl_scram.c.
 *
 *   start/step:  CHALLENGE -> CHALLENGE | CREDENTIAL | SUCCESS | FAILURE
 *   answer:      CREDENTIAL -> CHALLENGE | SUCCESS | FAILURE
 *   SUCCESS and FAILURE are final: every further call returns FAILURE with BARID_EINVALID.
 */
#include "smtp/sasl_int.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"

static const struct sasl_mech *const mechs[] = {
    &sasl_plain, &sasl_login, &sasl_cram_md5, &sasl_scram_sha_1, &sasl_scram_sha_256,
};

enum sasl_state sasl_fail(struct sasl_server *x, int error)
{
    x->error = error;
    return x->state = SASL_FAILURE;
}

enum sasl_state sasl_challenge(struct sasl_server *x, barid_slice text)
{
    buf_clear(&x->challenge);
    if (buf_append(&x->challenge, text) < 0)
        return sasl_fail(x, BARID_ENOMEM);
    return x->state = SASL_CHALLENGE;
}

bool sasl_set_name(barid_slice in, char *room, barid_slice *name_r)
{
    if (in.n == 0 || in.n > SASL_NAME_MAX || !utf8_valid(in))
        return false;
    for (size_t i = 0; i < in.n; i++)
        if ((unsigned char)in.p[i] < 32 || in.p[i] == 127)
            return false;
    memcpy(room, in.p, in.n);
    *name_r = slice_of(room, in.n);
    return true;
}

bool sasl_set_password(struct sasl_server *x, barid_slice in)
{
    if (!scram_password_valid(in))
        return false;
    memcpy(x->password, in.p, in.n);
    x->identity.password = slice_of(x->password, in.n);
    return true;
}

/* Random octets as text without ',' (nonce) or anything that ends a msg-id (challenge). */
static void random_text(const struct sasl_server_config *config, char *out, size_t octets)
{
    static const char digit[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint8_t raw[SCRAM_NONCE_MAX];

    config->random(config->random_user, raw, octets);
    for (size_t i = 0; i < octets; i++)
        out[i] = digit[raw[i] & 63];
    mem_wipe(raw, sizeof(raw));
}

/* RFC 2195 2: the form of a msg-id. Random where the RFC has a clock: it must not repeat. */
static void make_cram_challenge(struct sasl_server *x, const struct sasl_server_config *config)
{
    barid_slice host = slice_head(config->hostname, BARID_DOMAIN_MAX);
    char *p = x->cram_challenge;

    *p++ = '<';
    random_text(config, p, SCRAM_NONCE_RANDOM);
    p += SCRAM_NONCE_RANDOM;
    *p++ = '@';
    if (host.n > 0)
        memcpy(p, host.p, host.n);
    p += host.n;
    *p++ = '>';
    x->cram_challenge_n = (size_t)(p - x->cram_challenge);
}

int sasl_server_new(struct sasl_server **x_r, const struct sasl_server_config *config,
                    const barid_mem *mem)
{
    struct sasl_server *x;
    size_t i = 0;

    *x_r = NULL;
    while (i < sizeof(mechs) / sizeof(mechs[0]) && mechs[i]->id != config->mechanism)
        i++;
    if (i == sizeof(mechs) / sizeof(mechs[0]) || config->random == NULL ||
        config->auth_seed == NULL)
        return BARID_EINVALID;
    if ((x = mem_zalloc(mem, sizeof(*x))) == NULL)
        return BARID_ENOMEM;
    x->mem = mem;
    x->mech = mechs[i];
    x->state = SASL_CHALLENGE;
    buf_init(&x->challenge, mem, SCRAM_MESSAGE_MAX);
    buf_init(&x->scram.auth_message, mem, 3 * SCRAM_MESSAGE_MAX);
    memcpy(x->scram.auth_seed, config->auth_seed, sizeof(x->scram.auth_seed));
    x->scram.fake_iterations =
        config->fake_iterations ? config->fake_iterations : BARID_VERIFIER_ITERATIONS;
    random_text(config, x->server_nonce, SCRAM_NONCE_RANDOM * 4 / 3);
    x->server_nonce_n = SCRAM_NONCE_RANDOM * 4 / 3;
    make_cram_challenge(x, config);
    *x_r = x;
    return 0;
}

void sasl_server_del(struct sasl_server **xp)
{
    struct sasl_server *x = *xp;

    if (x == NULL)
        return;
    *xp = NULL;
    buf_wipe(&x->challenge);
    buf_wipe(&x->scram.auth_message);
    const barid_mem *mem = x->mem;
    mem_wipe(x, sizeof(*x));
    mem_free(mem, x);
}

enum sasl_state sasl_server_start(struct sasl_server *x, const barid_slice *initial)
{
    if (x->state != SASL_CHALLENGE)
        return sasl_fail(x, BARID_EINVALID);
    if (!x->mech->client_first) {
        /* RFC 4954 4: an initial response to a mechanism that starts with a challenge is a
         * 501. */
        return initial != NULL ? sasl_fail(x, BARID_ESYNTAX) : x->mech->begin(x);
    }
    if (initial == NULL)
        return x->mech->begin ? x->mech->begin(x) : sasl_challenge(x, BARID_S(""));
    return sasl_server_step(x, *initial);
}

enum sasl_state sasl_server_step(struct sasl_server *x, barid_slice response)
{
    if (x->state != SASL_CHALLENGE)
        return sasl_fail(x, BARID_EINVALID);
    if (response.n > SASL_MESSAGE_MAX)
        return sasl_fail(x, BARID_ELIMIT);
    return x->mech->step(x, response);
}

enum sasl_state sasl_server_answer(struct sasl_server *x, const struct sasl_credential *c)
{
    if (x->state != SASL_CREDENTIAL)
        return sasl_fail(x, BARID_EINVALID);
    mem_wipe(x->password, sizeof(x->password));
    x->identity.password = (barid_slice){0};
    return x->mech->answer(x, c);
}

barid_slice sasl_server_challenge(const struct sasl_server *x)
{
    return buf_slice(&x->challenge);
}

const struct sasl_identity *sasl_server_identity(const struct sasl_server *x)
{
    return &x->identity;
}

int sasl_server_error(const struct sasl_server *x)
{
    return x->error;
}
