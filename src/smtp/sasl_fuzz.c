/*
 * smtp/sasl_fuzz.c: the first octet chooses a mechanism and the answer, the rest are messages
 * parted by '\n'. No message makes an exchange succeed without a password; verifier texts print
 * back.
 */
#include <stdlib.h>

#include "barid/verifier.h"
#include "base/slice.h"
#include "smtp/sasl_client.h"
#include "smtp/sasl_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 3, n);
}

static void serve(enum barid_auth_mechanism mechanism, bool known, barid_slice in)
{
    static const uint8_t seed[32];
    struct sasl_server_config config = {
        .mechanism = mechanism, .hostname = BARID_S("mx"), .auth_seed = seed, .random = fill};
    struct sasl_credential c = {
        .known = known,
        .kind = BARID_SECRET_VERIFIER,
        .secret = BARID_S(
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpc"
            "XkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")};
    struct sasl_server *x;
    enum sasl_state state;

    if (sasl_server_new(&x, &config, NULL) < 0)
        return;
    state = sasl_server_start(x, NULL);
    for (int i = 0; i < 8 && state == SASL_CHALLENGE; i++) {
        state = sasl_server_step(x, slice_cut(in, '\n', &in));
        if (state == SASL_CREDENTIAL) {
            must(sasl_server_identity(x)->authcid.n > 0);
            state = sasl_server_answer(x, &c);
        }
    }
    /* PLAIN and LOGIN do what the host says; the others cannot be right. */
    must(state != SASL_SUCCESS ||
         (known && (mechanism == BARID_AUTH_PLAIN || mechanism == BARID_AUTH_LOGIN)));
    must((state == SASL_FAILURE) == (sasl_server_error(x) != 0));
    sasl_server_del(&x);
}

static void ask(enum barid_auth_mechanism mechanism, barid_slice in)
{
    struct sasl_client_config config = {.mechanism = mechanism,
                                        .authcid = BARID_S("tim"),
                                        .password = BARID_S("pw"),
                                        .random = fill};
    struct sasl_client *x;
    barid_slice out;
    int r = 0;

    if (sasl_client_new(&x, &config, NULL) < 0)
        return;
    if (sasl_client_has_initial(x))
        r = sasl_client_initial(x, &out);
    for (int i = 0; i < 4 && r == 0; i++)
        r = sasl_client_step(x, slice_cut(in, '\n', &in), &out);
    /* A server that does not know the password cannot prove that it does. */
    must(!sasl_client_done(x) || mechanism <= BARID_AUTH_CRAM_MD5);
    sasl_client_del(&x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[BARID_VERIFIER_TEXT_MAX];
    enum barid_auth_mechanism mechanism;
    barid_verifier v;
    barid_slice in;

    if (size == 0)
        return 0;
    mechanism = (enum barid_auth_mechanism)(data[0] & 7);
    in = slice_of(data + 1, size - 1);
    serve(mechanism, (data[0] & 8) != 0, in);
    ask(mechanism, in);
    if (barid_verifier_parse(in, &v) == 0) {
        barid_verifier w;
        size_t n = barid_verifier_format(&v, text);

        must(n < sizeof(text) && barid_verifier_parse(slice_of(text, n), &w) == 0);
        must(memcmp(&v, &w, sizeof(v)) == 0);
    }
    return 0;
}
