/*
 * smtp/sasl_client.h: the client's half of a SASL exchange, without base64 and without SMTP.
 * SCRAM runs PBKDF2 in place, for which reason the server's iteration count is bounded.
 */
#ifndef SMTP_SASL_CLIENT_H
#define SMTP_SASL_CLIENT_H

#include "barid/event.h"
#include "base/buf.h"

/* RFC 7677 4: at least 4096; fewer would let a false server guess the password cheaply. */
#define SASL_CLIENT_ITERATIONS_MIN 4096
/* Some 50 ms of CPU; a false server could ask for minutes. */
#define SASL_CLIENT_ITERATIONS_MAX 200000

struct sasl_client;

struct sasl_client_config {
    enum barid_auth_mechanism mechanism;
    barid_slice authcid, authzid, password; /* borrowed until del */
    void (*random)(void *user, void *p, size_t n); /* SCRAM; called during new only */
    void *random_user;
};

/* 0, BARID_ENOMEM, BARID_EINVALID (mechanism; an identity that the mechanism cannot carry). */
int sasl_client_new(struct sasl_client **x_r, const struct sasl_client_config *config,
                    const barid_mem *mem);
void sasl_client_del(struct sasl_client **x); /* accepts NULL; wipes */

/* PLAIN, LOGIN and SCRAM speak first, CRAM-MD5 and LOGIN's password answer a challenge. */
bool sasl_client_has_initial(const struct sasl_client *x);
/* The initial response, where there is one, before any step; the same again when asked again. 0
 * and *out_r, or BARID_ENOMEM. */
int sasl_client_initial(struct sasl_client *x, barid_slice *out_r);
/* The response to a challenge, valid until the next call. 0; BARID_ESYNTAX (a challenge outside
 * the mechanism), BARID_ELIMIT (iterations), BARID_ENOTFOUND (the server does not know the
 * password either: it is not who it claims), BARID_ENOMEM. */
int sasl_client_step(struct sasl_client *x, barid_slice challenge, barid_slice *out_r);
/* The server may say success now: for SCRAM only after it proved itself. */
bool sasl_client_done(const struct sasl_client *x);

#endif
