/* smtp/sasl_client_test.c: the client's exchanges, against published vectors and our own
 * server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "barid/verifier.h"
#include "base/slice.h"
#include "base/testing.h"
#include "smtp/sasl_client_int.h"
#include "smtp/sasl_server.h"
#include "smtp/sasl_testing.h"

static const char *conformance_dir;

static void fill(void *user, void *p, size_t n)
{
    (void)user;
    memset(p, 9, n);
}

static int make(struct sasl_client **x_r, enum barid_auth_mechanism mechanism, const char *user,
                const char *password, const barid_mem *mem)
{
    struct sasl_client_config config = {.mechanism = mechanism,
                                        .authcid = slice_str(user),
                                        .password = slice_str(password),
                                        .random = fill};

    return sasl_client_new(x_r, &config, mem);
}

static void scram_vector(json_t *v, enum barid_auth_mechanism mechanism)
{
    struct sasl_client *x;
    barid_slice first = slice_str(text_of(v, "client_first")), nonce, out;

    assert_int_equal(make(&x, mechanism, text_of(v, "user"), text_of(v, "password"), NULL), 0);
    nonce = slice_from(first, slice_find_last(first, ',') + 3);
    memcpy(x->nonce, nonce.p, nonce.n);
    x->nonce_n = nonce.n;
    assert_int_equal(sasl_client_initial(x, &out), 0);
    assert_slice(out, text_of(v, "client_first"));
    assert_int_equal(sasl_client_step(x, slice_str(text_of(v, "server_first")), &out), 0);
    assert_slice(out, text_of(v, "client_final"));
    assert_false(sasl_client_done(x));
    assert_int_equal(sasl_client_step(x, slice_str(text_of(v, "server_final")), &out), 0);
    assert_int_equal(out.n, 0);
    assert_true(sasl_client_done(x));
    sasl_client_del(&x);
}

static void cram_vector(json_t *v)
{
    struct sasl_client *x;
    barid_slice out;

    assert_int_equal(
        make(&x, BARID_AUTH_CRAM_MD5, text_of(v, "user"), text_of(v, "password"), NULL), 0);
    assert_false(sasl_client_has_initial(x));
    assert_int_equal(sasl_client_step(x, slice_str(text_of(v, "challenge")), &out), 0);
    assert_slice(out, text_of(v, "response"));
    assert_int_equal(sasl_client_step(x, slice_str(text_of(v, "challenge")), &out),
                     BARID_ESYNTAX);
    sasl_client_del(&x);
}

static void plain_vector(json_t *v)
{
    json_t *messages = json_object_get(v, "messages"), *m;
    size_t i;

    json_array_foreach(messages, i, m)
    {
        struct sasl_client_config config = {.mechanism = BARID_AUTH_PLAIN,
                                            .authcid = slice_str(text_of(m, "authcid")),
                                            .authzid = slice_str(text_of(m, "authzid")),
                                            .password = slice_str(text_of(m, "password"))};
        json_t *raw = json_object_get(m, "raw");
        struct sasl_client *x;
        barid_slice out;

        assert_int_equal(sasl_client_new(&x, &config, NULL), 0);
        assert_int_equal(sasl_client_initial(x, &out), 0);
        assert_true(slice_eq(out, slice_of(json_string_value(raw), json_string_length(raw))));
        sasl_client_del(&x);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    sasl_vectors(conformance_dir,
                 &(struct sasl_vectors){cram_vector, plain_vector, scram_vector});
}

/* A false or careless server. The client's nonce of fill() is CQkJ... */
static void test_scram_server_wrong(void **state)
{
#define OURS "CQkJCQkJCQkJCQkJCQkJCQkJ"
    static const struct {
        const char *first;
        int result;
    } row[] = {
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92,i=4096", 0},
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92,i=4096,ext=1", 0},
        {"r=" OURS ",s=QSXCR+Q6sek8bf92,i=4096", BARID_ESYNTAX}, /* added nothing */
        {"r=x" OURS ",s=QSXCR+Q6sek8bf92,i=4096", BARID_ESYNTAX},
        {"m=x,r=" OURS "x,s=QSXCR+Q6sek8bf92,i=4096", BARID_ESYNTAX},
        {"r=" OURS "x,s=,i=4096", BARID_ESYNTAX},
        {"r=" OURS "x,s=QQ,i=4096", BARID_ESYNTAX},
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92,i=x", BARID_ESYNTAX},
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92", BARID_ESYNTAX},
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92,i=4095", BARID_ELIMIT},
        {"r=" OURS "x,s=QSXCR+Q6sek8bf92,i=200001", BARID_ELIMIT},
        {"", BARID_ESYNTAX},
    };
    static const struct {
        const char *final;
        int result;
    } last[] = {
        {"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", BARID_ENOTFOUND},
        {"v=AAAA", BARID_ENOTFOUND},
        {"v=!", BARID_ESYNTAX},
        {"e=invalid-proof", BARID_ESYNTAX},
        {"", BARID_ESYNTAX},
    };
    struct sasl_client *x;
    barid_slice out;

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        assert_int_equal(make(&x, BARID_AUTH_SCRAM_SHA_256, "tim", "pw", NULL), 0);
        assert_int_equal(sasl_client_initial(x, &out), 0);
        assert_slice(out, "n,,n=tim,r=" OURS);
        if (sasl_client_step(x, slice_str(row[i].first), &out) != row[i].result)
            fail_msg("%s", row[i].first);
        assert_false(sasl_client_done(x));
        sasl_client_del(&x);
    }
    for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
        assert_int_equal(make(&x, BARID_AUTH_SCRAM_SHA_256, "tim", "pw", NULL), 0);
        assert_int_equal(sasl_client_initial(x, &out), 0);
        assert_int_equal(sasl_client_step(x, slice_str(row[0].first), &out), 0);
        assert_int_equal(sasl_client_step(x, slice_str(last[i].final), &out), last[i].result);
        assert_false(sasl_client_done(x));
        sasl_client_del(&x);
    }
}

static void test_config(void **state)
{
    struct sasl_client *x;

    (void)state;
    assert_int_equal(make(&x, BARID_AUTH_NONE, "a", "b", NULL), BARID_EINVALID);
    assert_int_equal(make(&x, BARID_AUTH_PLAIN, "", "b", NULL), BARID_EINVALID);
    sasl_client_del(&x);
}

/* --- with our server ---------------------------------------------------------------------- */

/* The state that the server ends in; -1 when memory was short on the client's side. */
static int pair(enum barid_auth_mechanism mechanism, const char *user, const char *right,
                const char *used, const barid_mem *mem)
{
    static const uint8_t seed[32] = {1};
    struct sasl_server_config config = {
        .mechanism = mechanism, .hostname = BARID_S("mx"), .auth_seed = seed, .random = fill};
    char text[BARID_VERIFIER_TEXT_MAX];
    barid_verifier v;
    struct sasl_credential c = {
        .known = true, .kind = BARID_SECRET_PLAIN, .secret = slice_str(right)};
    struct sasl_server *server;
    struct sasl_client *client;
    enum sasl_state state;
    barid_slice out = {0};
    int r = 0;

    if (make(&client, mechanism, user, used, mem) < 0)
        return -1;
    assert_int_equal(sasl_server_new(&server, &config, NULL), 0);
    if (scram_key_size(mechanism) > 0) {
        assert_int_equal(
            barid_verifier_make(&v, mechanism, slice_str(right), BARID_S("salt"), 4096), 0);
        c.secret = slice_of(text, barid_verifier_format(&v, text));
        c.kind = BARID_SECRET_VERIFIER;
    }
    if (sasl_client_has_initial(client))
        r = sasl_client_initial(client, &out);
    state = r < 0 ? SASL_FAILURE : sasl_server_start(server, out.n > 0 ? &out : NULL);
    while (r == 0 && (state == SASL_CHALLENGE || state == SASL_CREDENTIAL)) {
        if (state == SASL_CREDENTIAL) {
            const struct sasl_identity *id = sasl_server_identity(server);

            assert_slice(id->authcid, user);
            if (id->password.n > 0)
                c.known = slice_eq(id->password, slice_str(right));
            state = sasl_server_answer(server, &c);
        } else if ((r = sasl_client_step(client, sasl_server_challenge(server), &out)) == 0) {
            state = sasl_server_step(server, out);
        }
    }
    if (r == 0 && state == SASL_SUCCESS)
        assert_true(sasl_client_done(client));
    sasl_client_del(&client);
    sasl_server_del(&server);
    return r < 0 ? -1 : (int)state;
}

static void test_pair(void **state)
{
    (void)state;
    for (int m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++) {
        enum barid_auth_mechanism mechanism = (enum barid_auth_mechanism)m;

        assert_int_equal(pair(mechanism, "us,er=", "p\xc3\xa4ss w", "p\xc3\xa4ss w", NULL),
                         SASL_SUCCESS);
        assert_int_equal(pair(mechanism, "tim", "right", "wrong", NULL), SASL_FAILURE);
    }
}

static void test_nomem(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    for (int m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++)
        while (fail_mem_next(&fm)) {
            int r = pair((enum barid_auth_mechanism)m, "tim", "pw", "pw", &fm.mem);
            assert_int_equal(r, fm.failed ? -1 : (int)SASL_SUCCESS);
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors), cmocka_unit_test(test_scram_server_wrong),
        cmocka_unit_test(test_config),  cmocka_unit_test(test_pair),
        cmocka_unit_test(test_nomem),
    };

    conformance_dir = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
