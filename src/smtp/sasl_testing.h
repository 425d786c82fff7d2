/*
 * smtp/sasl_testing.h: the published SASL vectors (sasl/vectors.json of the conformance data), for
 * the client's and the server's exchanges. Test code only; include after cmocka.h.
 */
#ifndef SMTP_SASL_TESTING_H
#define SMTP_SASL_TESTING_H

#include <jansson.h>

#include "barid/event.h"

struct sasl_vectors {
    void (*cram)(json_t *vector);
    void (*plain)(json_t *vector);
    void (*scram)(json_t *vector, enum barid_auth_mechanism mechanism);
};
/* Each vector to its function; nothing when the data is not there (conformance_read). */
void sasl_vectors(const char *fallback, const struct sasl_vectors *to);

const char *text_of(json_t *o, const char *key);
void assert_slice(barid_slice got, const char *want);

#endif
