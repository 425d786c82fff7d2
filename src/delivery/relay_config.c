/* delivery/relay_config.c: a hop and a mail in the words of the client session. */
#include "delivery/relay_int.h"

static void fill_random(void *user, void *p, size_t n)
{
    rng_fill(user, p, n);
}

/* What the hop does not use is as if it was not offered. */
static uint32_t ignored(const struct hop *hop)
{
    return (hop->starttls ? 0u : BARID_EXT_STARTTLS) |
           (hop->pipelining ? 0u : BARID_EXT_PIPELINING) |
           (hop->chunking ? 0u : BARID_EXT_CHUNKING) |
           (hop->eightbit ? 0u : BARID_EXT_8BITMIME) |
           (hop->binary && hop->chunking ? 0u : BARID_EXT_BINARYMIME) |
           (hop->smtputf8 ? 0u : BARID_EXT_SMTPUTF8) | (hop->dsn ? 0u : BARID_EXT_DSN);
}

/* With implicit TLS there is no STARTTLS to ask for. */
static enum barid_client_tls tls_mode(const struct hop *hop)
{
    if (hop->implicit_tls || hop->tls == HOP_TLS_OFF)
        return BARID_CLIENT_TLS_NONE;
    return hop->tls == HOP_TLS_OPPORTUNISTIC ? BARID_CLIENT_TLS_OPPORTUNISTIC
                                             : BARID_CLIENT_TLS_REQUIRED;
}

void relay_config(barid_client_config *config, const struct hop *hop, const struct rng *rng)
{
    *config = (barid_client_config){
        .size = sizeof(*config),
        .protocol = hop->protocol == HOP_LMTP ? BARID_LMTP : BARID_SMTP,
        .helo = hop->helo,
        .tls = tls_mode(hop),
        .implicit_tls = hop->implicit_tls,
        .mechanisms_plain = hop->mechanisms_plain,
        .mechanisms_secure = hop->mechanisms_secure,
        .authcid = hop->user,
        .password = hop->password,
        .auth_optional = !hop->require_auth,
        .ignore = ignored(hop),
        .chunk = hop->chunk < RELAY_CHUNK_MAX ? hop->chunk : RELAY_CHUNK_MAX,
        .random = fill_random,
        .random_user = (void *)(uintptr_t)rng};
}

/* RFC 3461 5.2.1: RET and ENVID go on as they came. AUTH= does not: that was between the client and us. */
void relay_params(barid_mail_params *params, const struct consignment *c, uint64_t size)
{
    const barid_mail_params *given = &c->mail->params;

    *params = (barid_mail_params){.size_given = true,
                                  .size = size,
                                  .body = given->body,
                                  .smtputf8 = given->smtputf8,
                                  .ret = given->ret,
                                  .envid = given->envid};
}
