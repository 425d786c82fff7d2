/*
 * smtp/sasl_login.c: LOGIN (draft-murchison-sasl-login): two prompts, name and password. A name
 * as initial response is taken too: many clients send it.
 */
#include "smtp/sasl_int.h"

static enum sasl_state login_begin(struct sasl_server *x)
{
    return sasl_challenge(x, BARID_S("Username:"));
}

static enum sasl_state login_step(struct sasl_server *x, barid_slice in)
{
    if (!x->got_name) {
        if (!sasl_set_name(in, x->authcid, &x->identity.authcid))
            return sasl_fail(x, BARID_ESYNTAX);
        x->got_name = true;
        return sasl_challenge(x, BARID_S("Password:"));
    }
    if (!sasl_set_password(x, in))
        return sasl_fail(x, BARID_ESYNTAX);
    return x->state = SASL_CREDENTIAL;
}

static enum sasl_state login_answer(struct sasl_server *x, const struct sasl_credential *c)
{
    return c->known ? (x->state = SASL_SUCCESS) : sasl_fail(x, BARID_ENOTFOUND);
}

const struct sasl_mech sasl_login = {
    .id = BARID_AUTH_LOGIN,
    .client_first = true,
    .begin = login_begin,
    .step = login_step,
    .answer = login_answer,
};
