/*
 * smtp/client_auth.c: AUTH (RFC 4954) on the client's side.
 *
 *   C: AUTH MECH [initial]   S: 334 challenge   C: response ...   S: 235
 *
 * The strongest mechanism that both sides allow on this kind of connection. Once: a refused
 * password is not offered again to a weaker mechanism.
 */
#include "smtp/client_int.h"

#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"

/* RFC 4954 4: an initial response must fit the command line of 512 octets. */
#define INITIAL_LINE_MAX 510

static const struct {
    enum barid_auth_mechanism id;
    const char *name;
} strongest[] = {
    {BARID_AUTH_SCRAM_SHA_256, "SCRAM-SHA-256"},
    {BARID_AUTH_SCRAM_SHA_1, "SCRAM-SHA-1"},
    {BARID_AUTH_CRAM_MD5, "CRAM-MD5"},
    {BARID_AUTH_PLAIN, "PLAIN"},
    {BARID_AUTH_LOGIN, "LOGIN"},
};

/* LOGIN and CRAM-MD5 have no place for an identity to act as. */
static bool can_carry(enum barid_auth_mechanism id, const barid_client_config *k)
{
    return k->authzid.n == 0 || (id != BARID_AUTH_LOGIN && id != BARID_AUTH_CRAM_MD5);
}

static const char *choose(struct barid_client *c)
{
    uint32_t allowed = c->tls ? c->config->mechanisms_secure : c->config->mechanisms_plain;

    for (size_t i = 0; i < sizeof(strongest) / sizeof(strongest[0]); i++)
        if ((allowed & c->offered & 1u << strongest[i].id) &&
            can_carry(strongest[i].id, c->config)) {
            c->mechanism = strongest[i].id;
            return strongest[i].name;
        }
    return NULL;
}

/* A line whose tail is base64 of a secret. */
static void secret_line(struct barid_client *c, const char *command, barid_slice secret)
{
    struct buf line;
    char shown[64];
    size_t n = strlen(command);

    buf_init(&line, c->mem, 0);
    memcpy(shown, command, n);
    shown[n] = '*';
    if (buf_reserve(&line, n + (secret.n + 2) / 3 * 4) < 0) {
        client_lost(c, BARID_ENOMEM);
        return;
    }
    (void)buf_append(&line, slice_of(command, n));
    (void)base64_encode(&line, secret);
    client_line(c, buf_slice(&line), slice_of(shown, n + 1));
    buf_wipe(&line);
}

static void start(struct barid_client *c, const char *name)
{
    barid_slice initial;
    char command[32] = "AUTH ";
    int r;

    memcpy(command + 5, name, strlen(name) + 1);
    if (!sasl_client_has_initial(c->sasl)) {
        client_line(c, slice_str(command), (barid_slice){0});
        return;
    }
    if ((r = sasl_client_initial(c->sasl, &initial)) < 0) {
        client_lost(c, r);
    } else if (strlen(command) + 1 + (initial.n + 2) / 3 * 4 > INITIAL_LINE_MAX) {
        c->auth_initial_later = true;
        client_line(c, slice_str(command), (barid_slice){0});
    } else {
        command[5 + strlen(name)] = ' ';
        secret_line(c, command, initial);
    }
}

void client_auth(struct barid_client *c)
{
    struct sasl_client_config k = {.authcid = c->config->authcid,
                                   .authzid = c->config->authzid,
                                   .password = c->config->password,
                                   .random = c->config->random,
                                   .random_user = c->config->random_user};
    const char *name;
    int r;

    if (k.authcid.n == 0) {
        client_enter(c, PHASE_READY);
        return;
    }
    client_enter(c, PHASE_AUTH);
    if ((name = choose(c)) == NULL && c->config->auth_optional) {
        client_enter(c, PHASE_READY);
        return;
    }
    if (name == NULL) {
        client_give_up(c, BARID_EUNSUPPORTED, "no authentication mechanism in common");
        return;
    }
    k.mechanism = c->mechanism;
    if ((r = sasl_client_new(&c->sasl, &k, c->mem)) < 0)
        client_give_up(c, r, "the identity cannot be used with this mechanism");
    else
        start(c, name);
}

/* Bytes of a challenge to the response. */
static int respond(struct barid_client *c, barid_slice *response_r)
{
    struct buf challenge;
    int r;

    buf_init(&challenge, c->mem, 0);
    if ((r = base64_decode(&challenge, buf_slice(&c->reply.text))) == 0)
        r = sasl_client_step(c->sasl, buf_slice(&challenge), response_r);
    buf_wipe(&challenge);
    return r;
}

static void challenged(struct barid_client *c)
{
    barid_slice response;
    int r;

    if (c->auth_error != 0 || ++c->auth_rounds > BARID_CLIENT_CHALLENGES_MAX) {
        client_lost(c, BARID_ESYNTAX); /* it does not take "*" for an answer */
        return;
    }
    if (c->auth_initial_later) {
        c->auth_initial_later = false;
        /* Made before, when it turned out too long for the command line. */
        r = sasl_client_initial(c->sasl, &response);
    } else {
        r = respond(c, &response);
    }
    if (r < 0) {
        c->auth_error = r;
        client_line(c, BARID_S("*"), (barid_slice){0}); /* RFC 4954 4: cancel */
    } else {
        secret_line(c, "", response);
    }
}

void client_reply_auth(struct barid_client *c)
{
    if (c->reply.code == 334) {
        challenged(c);
        return;
    }
    if (c->auth_error != 0) {
        client_give_up(c, c->auth_error, "the server's side of the exchange is wrong");
    } else if (c->reply.code / 100 != 2) {
        client_give_up(c, 0, NULL);
    } else if (!sasl_client_done(c->sasl)) {
        /* SCRAM: it said yes without proof that it knows the password. */
        client_give_up(c, BARID_ENOTFOUND, "the server did not prove its identity");
    } else {
        c->auth_done = true;
        client_enter(c, PHASE_READY);
    }
    sasl_client_del(&c->sasl);
}
