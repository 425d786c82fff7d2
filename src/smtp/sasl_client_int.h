/* smtp/sasl_client_int.h: inside of the client exchanges. */
#ifndef SMTP_SASL_CLIENT_INT_H
#define SMTP_SASL_CLIENT_INT_H

#include "smtp/sasl_client.h"
#include "smtp/sasl_scram_common.h"
#include "smtp/sasl_server.h"

struct sasl_client {
    const barid_mem *mem;
    struct sasl_client_config config;
    struct buf out;
    struct buf auth_message; /* SCRAM, as in sasl_scram.c */
    char nonce[SCRAM_NONCE_MAX];
    size_t nonce_n;
    uint8_t signature[BARID_VERIFIER_KEY_MAX]; /* what the server must prove itself with */
    unsigned steps; /* challenges answered */
    bool done;
};

void sasl_client_scram_nonce(struct sasl_client *x);
int sasl_client_scram_first(struct sasl_client *x);
int sasl_client_scram_step(struct sasl_client *x, barid_slice challenge);

#endif
