/* smtp/sasl_plain.c: PLAIN (RFC 4616): [authzid] NUL authcid NUL passwd, in one message. */
#include "smtp/sasl_int.h"

#include "base/slice.h"

static enum sasl_state plain_step(struct sasl_server *x, barid_slice in)
{
    size_t first = slice_find(in, '\0'), second;
    barid_slice authzid = slice_head(in, first), rest = slice_from(in, first + 1), password;

    second = slice_find(rest, '\0');
    if (first == in.n || second == rest.n)
        return sasl_fail(x, BARID_ESYNTAX);
    /* A third NUL is refused with the characters that a password cannot hold. */
    password = slice_from(rest, second + 1);
    if (authzid.n > 0 && !sasl_set_name(authzid, x->authzid, &x->identity.authzid))
        return sasl_fail(x, BARID_ESYNTAX);
    if (!sasl_set_name(slice_head(rest, second), x->authcid, &x->identity.authcid) ||
        !sasl_set_password(x, password))
        return sasl_fail(x, BARID_ESYNTAX);
    return x->state = SASL_CREDENTIAL;
}

static enum sasl_state plain_answer(struct sasl_server *x, const struct sasl_credential *c)
{
    return c->known ? (x->state = SASL_SUCCESS) : sasl_fail(x, BARID_ENOTFOUND);
}

const struct sasl_mech sasl_plain = {
    .id = BARID_AUTH_PLAIN,
    .client_first = true,
    .step = plain_step,
    .answer = plain_answer,
};
