/*
 * smtp/sasl_server.h: the server's half of a SASL exchange, without base64 and without SMTP.
 *
 *   state = sasl_server_start(x, &initial or NULL);
 *   for (;;) switch (state) {
 *   SASL_CHALLENGE:  send sasl_server_challenge(x), read a line, state = sasl_server_step(x,
 * bytes)
 *   SASL_CREDENTIAL: look up sasl_server_identity(x), now or later;
 *                    state = sasl_server_answer(x, &credential)
 *   SASL_SUCCESS, SASL_FAILURE: done, sasl_server_del(&x)
 *   }
 *
 * An exchange for an unknown user has the same steps, sizes and work as one with a wrong
 * password; only the last state tells them apart from success. Secrets are wiped on del.
 * A passed '*' is the session's business (RFC 4954 4): it just deletes the exchange.
 */
#ifndef SMTP_SASL_SERVER_H
#define SMTP_SASL_SERVER_H

#include "barid/event.h"
#include "barid/types.h"
#include "barid/verdict.h"

struct sasl_server;

/* A decoded client message: RFC 4954 4 bounds a line by 12288 octets of base64. */
#define SASL_MESSAGE_MAX 9216
/* authcid, authzid, password: longer is a failure (RFC 4616 2 bounds them by 255 each;
 * passwords of password managers are longer, so this is generous). */
#define SASL_NAME_MAX     255
#define SASL_PASSWORD_MAX 1024

enum sasl_state {
    SASL_CHALLENGE,  /* send the challenge (may be empty) and step with the response */
    SASL_CREDENTIAL, /* the identity is known: answer */
    SASL_SUCCESS,
    SASL_FAILURE, /* cause: sasl_server_error */
};

struct sasl_server_config {
    enum barid_auth_mechanism mechanism; /* not NONE */
    barid_slice hostname;                /* CRAM-MD5 challenge; copied */
    const uint8_t *auth_seed;            /* 32 octets: fake salts; borrowed during new only */
    /* SCRAM count shown for unknown users; 0 = BARID_VERIFIER_ITERATIONS */
    uint32_t fake_iterations;
    void (*random)(void *user, void *p, size_t n); /* called during new only */
    void *random_user;
};

struct sasl_identity {
    barid_slice authcid;  /* valid UTF-8, not empty, no NUL */
    barid_slice authzid;  /* empty = not given */
    barid_slice password; /* PLAIN and LOGIN; else empty */
};

/*
 * The answer. For PLAIN and LOGIN `known` alone decides: the host has compared the password
 * (barid_verifier_check on a thread that may block). For CRAM-MD5 secret is the password
 * (BARID_SECRET_PLAIN), for SCRAM a verifier of the same hash (BARID_SECRET_VERIFIER); not
 * known, or another kind, goes through the motions and fails. The secret is not kept.
 */
struct sasl_credential {
    bool known;
    enum barid_secret_kind kind;
    barid_slice secret;
};

/* 0, BARID_ENOMEM, BARID_EINVALID (mechanism). */
int sasl_server_new(struct sasl_server **x_r, const struct sasl_server_config *config,
                    const barid_mem *mem);
void sasl_server_del(struct sasl_server **x); /* accepts NULL */

/* initial NULL = no initial response; an empty slice is one ("=" on the wire). */
enum sasl_state sasl_server_start(struct sasl_server *x, const barid_slice *initial);
enum sasl_state sasl_server_step(struct sasl_server *x, barid_slice response);
enum sasl_state sasl_server_answer(struct sasl_server *x, const struct sasl_credential *c);

/* In state CHALLENGE: what to send (to be base64-encoded); valid until the next call. */
barid_slice sasl_server_challenge(const struct sasl_server *x);
/* From state CREDENTIAL on; valid until del (the password: until answer). */
const struct sasl_identity *sasl_server_identity(const struct sasl_server *x);
/* In state FAILURE: BARID_ESYNTAX (a message outside the mechanism's grammar: 501),
 * BARID_ENOTFOUND (wrong credentials or unknown user: 535), BARID_ENOMEM (454),
 * BARID_ELIMIT (too long: 500), BARID_EUNSUPPORTED (channel binding asked for: 535). */
int sasl_server_error(const struct sasl_server *x);

#endif
