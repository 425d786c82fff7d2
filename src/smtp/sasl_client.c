/*
 * smtp/sasl_client.c: the client of PLAIN, LOGIN and CRAM-MD5, and the front of SCRAM, whose
 * messages are in sasl_client_scram.c.
 */
#include "smtp/sasl_client_int.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "smtp/cram.h"

static bool is_scram(enum barid_auth_mechanism mechanism)
{
    return scram_key_size(mechanism) > 0;
}

static bool clean(barid_slice s)
{
    return slice_find(s, '\0') == s.n;
}

int sasl_client_new(struct sasl_client **x_r, const struct sasl_client_config *config,
                    const barid_mem *mem)
{
    struct sasl_client *x;

    *x_r = NULL;
    if (config->mechanism == BARID_AUTH_NONE || config->mechanism > BARID_AUTH_SCRAM_SHA_256 ||
        config->authcid.n == 0 || config->authcid.n > SASL_NAME_MAX ||
        config->authzid.n > SASL_NAME_MAX || config->password.n > SASL_PASSWORD_MAX ||
        !clean(config->authcid) || !clean(config->authzid) || !clean(config->password) ||
        (is_scram(config->mechanism) && config->random == NULL))
        return BARID_EINVALID;
    if ((x = mem_zalloc(mem, sizeof(*x))) == NULL)
        return BARID_ENOMEM;
    x->mem = mem;
    x->config = *config;
    buf_init(&x->out, mem, SASL_MESSAGE_MAX);
    buf_init(&x->auth_message, mem, 3 * SCRAM_MESSAGE_MAX);
    if (is_scram(config->mechanism))
        sasl_client_scram_nonce(x);
    *x_r = x;
    return 0;
}

void sasl_client_del(struct sasl_client **xp)
{
    struct sasl_client *x = *xp;
    const barid_mem *mem;

    if (x == NULL)
        return;
    *xp = NULL;
    mem = x->mem;
    buf_wipe(&x->out);
    buf_wipe(&x->auth_message);
    mem_wipe(x, sizeof(*x));
    mem_free(mem, x);
}

bool sasl_client_has_initial(const struct sasl_client *x)
{
    return x->config.mechanism == BARID_AUTH_PLAIN || is_scram(x->config.mechanism);
}

bool sasl_client_done(const struct sasl_client *x)
{
    return x->done;
}

static int plain_message(struct sasl_client *x)
{
    const struct sasl_client_config *c = &x->config;
    int r = buf_reserve(&x->out, c->authzid.n + c->authcid.n + c->password.n + 2);

    if (r < 0)
        return r;
    (void)buf_append(&x->out, c->authzid);
    (void)buf_byte(&x->out, '\0');
    (void)buf_append(&x->out, c->authcid);
    (void)buf_byte(&x->out, '\0');
    (void)buf_append(&x->out, c->password);
    x->done = true;
    return 0;
}

static int cram_message(struct sasl_client *x, barid_slice challenge)
{
    uint8_t digest[CRAM_DIGEST];
    int r;

    if (x->steps > 1)
        return BARID_ESYNTAX;
    if ((r = cram_digest(x->config.password, challenge, digest)) == 0 &&
        (r = buf_append(&x->out, x->config.authcid)) == 0 && (r = buf_byte(&x->out, ' ')) == 0)
        r = hex_encode(&x->out, slice_of(digest, sizeof(digest)));
    x->done = r == 0;
    return r;
}

/* The prompts differ between servers ("VXNlcm5hbWU6", "User Name"): their order does not. */
static int login_message(struct sasl_client *x)
{
    barid_slice out = x->steps == 1 ? x->config.authcid : x->config.password;
    int r;

    if (x->steps > 2)
        return BARID_ESYNTAX;
    if ((r = buf_reserve(&x->out, out.n)) == 0)
        r = buf_append(&x->out, out);
    x->done = x->steps == 2;
    return r;
}

int sasl_client_initial(struct sasl_client *x, barid_slice *out_r)
{
    int r;

    buf_clear(&x->out);
    r = x->config.mechanism == BARID_AUTH_PLAIN ? plain_message(x) : sasl_client_scram_first(x);
    *out_r = buf_slice(&x->out);
    return r;
}

int sasl_client_step(struct sasl_client *x, barid_slice challenge, barid_slice *out_r)
{
    int r = BARID_ESYNTAX;

    buf_clear(&x->out);
    x->steps++;
    if (x->config.mechanism == BARID_AUTH_CRAM_MD5)
        r = cram_message(x, challenge);
    else if (x->config.mechanism == BARID_AUTH_LOGIN)
        r = login_message(x);
    else if (is_scram(x->config.mechanism))
        r = sasl_client_scram_step(x, challenge);
    *out_r = buf_slice(&x->out);
    return r;
}
