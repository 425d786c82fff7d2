/* smtp/sasl_test.c: the server exchanges and stored verifiers, against published vectors
 * too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "barid/verifier.h"
#include "base/encode.h"
#include "base/mem.h"
#include "base/slice.h"
#include "base/testing.h"
#include "smtp/sasl_int.h"
#include "smtp/sasl_testing.h"
#include "smtp/smtp_testing.h"

static const uint8_t seed[32] = "a seed that stays the same here";
static const char *conformance_dir;

static void fill(void *user, void *p, size_t n)
{
    uint8_t *next = user;

    for (size_t i = 0; i < n; i++)
        ((uint8_t *)p)[i] = (*next)++;
}

static int make(struct sasl_server **x_r, enum barid_auth_mechanism mechanism,
                const barid_mem *mem)
{
    uint8_t next = 1;
    struct sasl_server_config config = {.mechanism = mechanism,
                                        .hostname = BARID_S("mx.example"),
                                        .auth_seed = seed,
                                        .random = fill,
                                        .random_user = &next};

    return sasl_server_new(x_r, &config, mem);
}

static struct sasl_server *must_make(enum barid_auth_mechanism mechanism)
{
    struct sasl_server *x;

    assert_int_equal(make(&x, mechanism, NULL), 0);
    return x;
}

/* Step with a copy that is gone afterwards: nothing may point into it. */
static enum sasl_state step(struct sasl_server *x, barid_slice in)
{
    struct exact e = exact_of(in);
    enum sasl_state state = sasl_server_step(x, e.s);

    exact_free(&e);
    return state;
}

static const struct sasl_credential yes = {.known = true}, no = {.known = false};

static void test_plain(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        int error;
        const char *authzid, *authcid, *password;
    } row[] = {
        {"\0tim\0tanstaaf", 13, 0, "", "tim", "tanstaaf"},
        {"Ursel\0Kurt\0x p", 14, 0, "Ursel", "Kurt", "x p"},
        {"\0t\303\244\0\303\244", 7, 0, "", "t\303\244", "\303\244"},
        {"", 0, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0\0", 2, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0tim\0", 5, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0\0x", 3, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0tim", 4, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0tim\0a\0b", 8, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0t\nm\0a", 6, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0t\303\0a", 5, BARID_ESYNTAX, NULL, NULL, NULL},
        {"\0t\0a\303", 5, BARID_ESYNTAX, NULL, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct sasl_server *x = must_make(BARID_AUTH_PLAIN);

        assert_int_equal(sasl_server_start(x, NULL), SASL_CHALLENGE);
        assert_slice(sasl_server_challenge(x), "");
        if (row[i].error != 0) {
            assert_int_equal(step(x, slice_of(row[i].in, row[i].n)), SASL_FAILURE);
            assert_int_equal(sasl_server_error(x), row[i].error);
        } else {
            assert_int_equal(step(x, slice_of(row[i].in, row[i].n)), SASL_CREDENTIAL);
            assert_slice(sasl_server_identity(x)->authzid, row[i].authzid);
            assert_slice(sasl_server_identity(x)->authcid, row[i].authcid);
            assert_slice(sasl_server_identity(x)->password, row[i].password);
            assert_int_equal(sasl_server_answer(x, &yes), SASL_SUCCESS);
            assert_int_equal(sasl_server_identity(x)->password.n, 0);
            /* An end is an end. */
            assert_int_equal(sasl_server_answer(x, &yes), SASL_FAILURE);
        }
        sasl_server_del(&x);
        assert_null(x);
    }
}

static void test_plain_limits(void **state)
{
    struct sasl_server *x = must_make(BARID_AUTH_PLAIN);
    char big[SASL_MESSAGE_MAX + 1];
    barid_slice s = slice_of(big, sizeof(big));

    (void)state;
    memset(big, 'x', sizeof(big));
    assert_int_equal(sasl_server_start(x, &s), SASL_FAILURE);
    assert_int_equal(sasl_server_error(x), BARID_ELIMIT);
    sasl_server_del(&x);
    for (size_t user_n = SASL_NAME_MAX; user_n <= SASL_NAME_MAX + 1; user_n++)
        for (size_t pass_n = SASL_PASSWORD_MAX; pass_n <= SASL_PASSWORD_MAX + 1; pass_n++) {
            bool fits = user_n == SASL_NAME_MAX && pass_n == SASL_PASSWORD_MAX;

            memset(big, 'x', sizeof(big));
            big[0] = big[1 + user_n] = '\0';
            s = slice_of(big, 2 + user_n + pass_n);
            x = must_make(BARID_AUTH_PLAIN);
            assert_int_equal(sasl_server_start(x, &s), fits ? SASL_CREDENTIAL : SASL_FAILURE);
            sasl_server_del(&x);
        }
}

static void test_login(void **state)
{
    struct sasl_server *x = must_make(BARID_AUTH_LOGIN);
    barid_slice name = BARID_S("tim");

    (void)state;
    assert_int_equal(sasl_server_start(x, NULL), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), "Username:");
    assert_int_equal(step(x, name), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), "Password:");
    assert_int_equal(step(x, BARID_S("pw")), SASL_CREDENTIAL);
    assert_slice(sasl_server_identity(x)->authcid, "tim");
    assert_slice(sasl_server_identity(x)->password, "pw");
    assert_int_equal(sasl_server_answer(x, &no), SASL_FAILURE);
    assert_int_equal(sasl_server_error(x), BARID_ENOTFOUND);
    sasl_server_del(&x);

    x = must_make(BARID_AUTH_LOGIN);
    assert_int_equal(sasl_server_start(x, &name), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), "Password:");
    assert_int_equal(step(x, BARID_S("")), SASL_FAILURE);
    sasl_server_del(&x);
}

static void test_cram(void **state)
{
    static const struct {
        const char *response;
        enum sasl_state state;
    } row[] = {
        {"tim b913a602c7eda7a495b4e6e7334d3890", SASL_CREDENTIAL},
        {"tim x b913a602c7eda7a495b4e6e7334d3890", SASL_CREDENTIAL},
        {"tim b913a602c7eda7a495b4e6e7334d389", SASL_FAILURE},
        {"tim b913a602c7eda7a495b4e6e7334d389g", SASL_FAILURE},
        {" b913a602c7eda7a495b4e6e7334d3890", SASL_FAILURE},
        {"b913a602c7eda7a495b4e6e7334d3890", SASL_FAILURE},
        {"", SASL_FAILURE},
    };
    barid_slice initial = BARID_S("x");
    struct sasl_server *x;

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        x = must_make(BARID_AUTH_CRAM_MD5);
        assert_int_equal(sasl_server_start(x, NULL), SASL_CHALLENGE);
        assert_true(sasl_server_challenge(x).p[0] == '<');
        assert_true(slice_ends_nocase(sasl_server_challenge(x), BARID_S("@mx.example>")));
        assert_int_equal(step(x, slice_str(row[i].response)), row[i].state);
        if (row[i].state == SASL_CREDENTIAL) {
            const struct sasl_credential wrong = {true, BARID_SECRET_PLAIN, BARID_S("x")};

            assert_int_equal(sasl_server_answer(x, i == 0 ? &wrong : &no), SASL_FAILURE);
            assert_int_equal(sasl_server_error(x), BARID_ENOTFOUND);
        }
        sasl_server_del(&x);
    }
    x = must_make(BARID_AUTH_CRAM_MD5);
    assert_int_equal(sasl_server_start(x, &initial), SASL_FAILURE);
    assert_int_equal(sasl_server_error(x), BARID_ESYNTAX);
    sasl_server_del(&x);
}

/* --- SCRAM -------------------------------------------------------------------------------- */

/* The verifier that matches the salt and count of a server-first message. */
static void verifier_for(enum barid_auth_mechanism mechanism, const char *password,
                         barid_slice server_first, char *text)
{
    barid_verifier v;
    barid_slice nonce, salt, count;
    struct buf raw;
    uint64_t iterations;

    assert_true(scram_attribute(&server_first, 'r', &nonce));
    assert_true(scram_attribute(&server_first, 's', &salt));
    assert_true(scram_attribute(&server_first, 'i', &count));
    assert_int_equal(slice_u64(count, 1000000, &iterations), 0);
    buf_init(&raw, NULL, 0);
    assert_int_equal(base64_decode(&raw, salt), 0);
    assert_int_equal(barid_verifier_make(&v, mechanism, slice_str(password), buf_slice(&raw),
                                         (uint32_t)iterations),
                     0);
    barid_verifier_format(&v, text);
    buf_deinit(&raw);
}

static void scram_vector(json_t *v, enum barid_auth_mechanism mechanism)
{
    struct sasl_server *x = must_make(mechanism);
    const char *client_first = text_of(v, "client_first"),
               *server_first = text_of(v, "server_first");
    barid_slice initial = slice_str(client_first), ours = slice_str(server_first), first, nonce;
    char verifier[BARID_VERIFIER_TEXT_MAX];
    struct sasl_credential c = {true, BARID_SECRET_VERIFIER, {0}};

    /* Our half of the nonce is what the server's adds to the client's. */
    first = slice_from(initial,
                       slice_find(initial, 'r') == 0 ? 0 : slice_find_last(initial, ',') + 1);
    assert_true(scram_attribute(&first, 'r', &nonce));
    ours = slice_from(slice_head(ours, slice_find(ours, ',')), 2 + nonce.n);
    memcpy(x->server_nonce, ours.p, ours.n);
    x->server_nonce_n = ours.n;
    verifier_for(mechanism, text_of(v, "password"), slice_str(server_first), verifier);
    c.secret = slice_str(verifier);

    assert_int_equal(sasl_server_start(x, &initial), SASL_CREDENTIAL);
    assert_slice(sasl_server_identity(x)->authcid, text_of(v, "user"));
    assert_int_equal(sasl_server_answer(x, &c), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), server_first);
    assert_int_equal(step(x, slice_str(text_of(v, "client_final"))), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), text_of(v, "server_final"));
    assert_int_equal(step(x, BARID_S("")), SASL_SUCCESS);
    sasl_server_del(&x);
}

static void cram_vector(json_t *v)
{
    struct sasl_server *x = must_make(BARID_AUTH_CRAM_MD5);
    const char *challenge = text_of(v, "challenge");
    struct sasl_credential c = {true, BARID_SECRET_PLAIN, slice_str(text_of(v, "password"))};

    x->cram_challenge_n = strlen(challenge);
    memcpy(x->cram_challenge, challenge, x->cram_challenge_n);
    assert_int_equal(sasl_server_start(x, NULL), SASL_CHALLENGE);
    assert_slice(sasl_server_challenge(x), challenge);
    assert_int_equal(step(x, slice_str(text_of(v, "response"))), SASL_CREDENTIAL);
    assert_slice(sasl_server_identity(x)->authcid, text_of(v, "user"));
    assert_int_equal(sasl_server_answer(x, &c), SASL_SUCCESS);
    sasl_server_del(&x);
}

static void plain_vector(json_t *v)
{
    json_t *messages = json_object_get(v, "messages"), *m;
    size_t i;

    json_array_foreach(messages, i, m)
    {
        struct sasl_server *x = must_make(BARID_AUTH_PLAIN);
        json_t *raw = json_object_get(m, "raw");
        barid_slice initial = slice_of(json_string_value(raw), json_string_length(raw));

        assert_int_equal(sasl_server_start(x, &initial), SASL_CREDENTIAL);
        assert_slice(sasl_server_identity(x)->authzid, text_of(m, "authzid"));
        assert_slice(sasl_server_identity(x)->authcid, text_of(m, "authcid"));
        assert_slice(sasl_server_identity(x)->password, text_of(m, "password"));
        sasl_server_del(&x);
    }
}

static void test_vectors(void **state)
{
    (void)state;
    sasl_vectors(conformance_dir,
                 &(struct sasl_vectors){cram_vector, plain_vector, scram_vector});
}

#define NONCE "rOprNGfwEbeRWgbNEkqO"

static void test_scram_first(void **state)
{
    static const struct {
        const char *in;
        enum sasl_state state;
        int error;
        const char *authcid, *authzid;
    } row[] = {
        {"n,,n=user,r=" NONCE, SASL_CREDENTIAL, 0, "user", ""},
        {"y,,n=user,r=" NONCE, SASL_CREDENTIAL, 0, "user", ""},
        {"n,a=boss,n=us=2Cer=3D,r=" NONCE, SASL_CREDENTIAL, 0, "us,er=", "boss"},
        {"n,,n=user,r=" NONCE ",x=ext", SASL_CREDENTIAL, 0, "user", ""},
        {"p=tls-unique,,n=user,r=" NONCE, SASL_FAILURE, BARID_EUNSUPPORTED, NULL, NULL},
        {"n,,m=x,n=user,r=" NONCE, SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=us=2cer,r=" NONCE, SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=us=,r=" NONCE, SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=,r=" NONCE, SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=user,r=", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=user,r=a b", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,,n=user", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,a=,n=user,r=x", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,b=x,n=user,r=x", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"x,,n=user,r=x", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n,", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"n", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
        {"", SASL_FAILURE, BARID_ESYNTAX, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct sasl_server *x = must_make(BARID_AUTH_SCRAM_SHA_256);

        assert_int_equal(sasl_server_start(x, NULL), SASL_CHALLENGE);
        if (step(x, slice_str(row[i].in)) != row[i].state)
            fail_msg("%s", row[i].in);
        assert_int_equal(sasl_server_error(x), row[i].error);
        if (row[i].state == SASL_CREDENTIAL) {
            assert_slice(sasl_server_identity(x)->authcid, row[i].authcid);
            assert_slice(sasl_server_identity(x)->authzid, row[i].authzid);
        }
        sasl_server_del(&x);
    }
}

/* Server-first for an unknown user: text in out. */
static void first_for(const char *user, enum barid_auth_mechanism mechanism,
                      const struct sasl_credential *c, char *out, size_t size)
{
    struct sasl_server *x = must_make(mechanism);
    char message[128];
    barid_slice in, got;

    snprintf(message, sizeof(message), "n,,n=%s,r=abc", user);
    in = slice_str(message);
    assert_int_equal(sasl_server_start(x, &in), SASL_CREDENTIAL);
    assert_int_equal(sasl_server_answer(x, c), SASL_CHALLENGE);
    got = sasl_server_challenge(x);
    snprintf(out, size, "%.*s", (int)got.n, got.p);
    sasl_server_del(&x);
}

static void test_scram_unknown(void **state)
{
    char a[256], b[256], c[256], known[256], text[BARID_VERIFIER_TEXT_MAX];
    struct sasl_credential cred = {true, BARID_SECRET_VERIFIER, {0}};
    barid_verifier v;

    (void)state;
    first_for("ghost", BARID_AUTH_SCRAM_SHA_256, &no, a, sizeof(a));
    first_for("ghost", BARID_AUTH_SCRAM_SHA_256, &no, b, sizeof(b));
    first_for("other", BARID_AUTH_SCRAM_SHA_256, &no, c, sizeof(c));
    assert_string_equal(a, b); /* the same salt every time */
    assert_string_not_equal(a, c);
    first_for("ghost", BARID_AUTH_SCRAM_SHA_1, &no, c, sizeof(c));
    assert_string_not_equal(a, c);

    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_256, BARID_S("pw"),
                                         BARID_S("0123456789abcdef"),
                                         BARID_VERIFIER_ITERATIONS),
                     0);
    cred.secret = slice_of(text, barid_verifier_format(&v, text));
    first_for("real", BARID_AUTH_SCRAM_SHA_256, &cred, known, sizeof(known));
    assert_int_equal(strlen(known), strlen(a)); /* the same shape */
    /* A verifier of the other hash, or a plain secret, is as good as none. */
    first_for("ghost", BARID_AUTH_SCRAM_SHA_1, &cred, b, sizeof(b));
    assert_string_equal(b, c);
    cred.kind = BARID_SECRET_PLAIN;
    first_for("ghost", BARID_AUTH_SCRAM_SHA_256, &cred, b, sizeof(b));
    assert_string_equal(a, b);
}

static void test_scram_final(void **state)
{
    static const char *const bad[] = {
        "",
        "c=biws",
        "c=biws,r=x,p=AAAA",
        ("c=eSws,r=%s,p="
         "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        "c=biws,r=%s,p=AAAA",
        "c=biws,r=%s",
        "c=biws,r=%s,x=1",
        "r=%s,c=biws,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "c=biws,r=%sx,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    };

    (void)state;
    /* The last round is well-formed, with a wrong proof. */
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        bool formed = i == sizeof(bad) / sizeof(bad[0]);
        struct sasl_server *x = must_make(BARID_AUTH_SCRAM_SHA_256);
        barid_slice in = BARID_S("n,,n=user,r=abc"), first, nonce;
        char format[200], message[400], *mark;

        assert_int_equal(sasl_server_start(x, &in), SASL_CREDENTIAL);
        assert_int_equal(sasl_server_answer(x, &no), SASL_CHALLENGE);
        first = sasl_server_challenge(x);
        assert_true(scram_attribute(&first, 'r', &nonce));
        snprintf(format, sizeof(format), "%s",
                 formed ? "c=biws,r=%s,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
                        : bad[i]);
        mark = strstr(format, "%s");
        if (mark != NULL) {
            *mark = '\0';
            snprintf(message, sizeof(message), "%s%.*s%s", format, (int)nonce.n, nonce.p,
                     mark + 2);
        } else {
            snprintf(message, sizeof(message), "%s", format);
        }
        assert_int_equal(step(x, slice_str(message)), SASL_FAILURE);
        assert_int_equal(sasl_server_error(x), formed ? BARID_ENOTFOUND : BARID_ESYNTAX);
        sasl_server_del(&x);
    }
}

static void test_verifier(void **state)
{
    static const struct {
        const char *text;
        int result;
    } row[] = {
        {"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
         "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
         ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
         0},
        {"SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+"
         "qs2/fTE=",
         0},
        {"SCRAM-SHA-512$1:AA==$AA==:AA==", BARID_EUNSUPPORTED},
        {"secret", BARID_EUNSUPPORTED},
        {"", BARID_EUNSUPPORTED},
        {"SCRAM-SHA-256$", BARID_ESYNTAX},
        {"SCRAM-SHA-1$0:QSXC$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
         BARID_ESYNTAX},
        {"SCRAM-SHA-1$1:$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
         BARID_ESYNTAX},
        {"SCRAM-SHA-1$10000001:QSXC$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
         BARID_ELIMIT},
        {"SCRAM-SHA-1$4096:QSXC$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:AAAA", BARID_ESYNTAX},
        {"SCRAM-SHA-1$4096:QSXC$6dlGYMOdZcOPutkcNY8U2g7vK9Y=", BARID_ESYNTAX},
        {"SCRAM-SHA-1$4096:QS!C$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=",
         BARID_ESYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct exact e = exact_of(slice_str(row[i].text));
        char text[BARID_VERIFIER_TEXT_MAX];
        barid_verifier v;

        if (barid_verifier_parse(e.s, &v) != row[i].result)
            fail_msg("%s", row[i].text);
        exact_free(&e);
        if (row[i].result != 0)
            continue;
        barid_verifier_format(&v, text);
        assert_string_equal(text, row[i].text);
        assert_int_equal(barid_verifier_check(&v, BARID_S("pencil")), 1);
        assert_int_equal(barid_verifier_check(&v, BARID_S("pencil ")), 0);
        assert_int_equal(barid_verifier_check(&v, BARID_S("")), 0);
    }
}

static void test_verifier_make(void **state)
{
    barid_verifier v;
    char salt[BARID_VERIFIER_SALT_MAX + 1] = {1}, text[BARID_VERIFIER_TEXT_MAX];
    barid_slice s = slice_of(salt, 16);

    (void)state;
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_PLAIN, BARID_S("x"), s, 1),
                     BARID_EINVALID);
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_1, BARID_S("x"), s, 0),
                     BARID_EINVALID);
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_1, BARID_S("x"),
                                         slice_of(salt, sizeof(salt)), 1),
                     BARID_EINVALID);
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_1, BARID_S("\n"), s, 1),
                     BARID_ESYNTAX);
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_1, BARID_S("\xff"), s, 1),
                     BARID_ESYNTAX);
    /* The longest text there is fits. */
    s.n = BARID_VERIFIER_SALT_MAX;
    assert_int_equal(barid_verifier_make(&v, BARID_AUTH_SCRAM_SHA_256, BARID_S("x"), s, 1), 0);
    v.iterations = BARID_VERIFIER_ITERATIONS_MAX;
    assert_true(barid_verifier_format(&v, text) < BARID_VERIFIER_TEXT_MAX);
    v.iterations = 1;
    barid_verifier_format(&v, text);
    assert_int_equal(barid_verifier_parse(slice_str(text), &v), 0);
    assert_int_equal(barid_verifier_check(&v, BARID_S("x")), 1);
}

/* --- allocation --------------------------------------------------------------------------- */

static void exchange(enum barid_auth_mechanism mechanism, const barid_mem *mem)
{
    struct sasl_server *x;
    enum sasl_state state;

    if (make(&x, mechanism, mem) < 0)
        return;
    state = sasl_server_start(x, NULL);
    for (int i = 0; state == SASL_CHALLENGE && i < 4; i++)
        state = sasl_server_step(x, mechanism == BARID_AUTH_PLAIN   ? BARID_S("\0a\0b")
                                    : mechanism == BARID_AUTH_LOGIN ? BARID_S("a")
                                    : mechanism == BARID_AUTH_CRAM_MD5
                                        ? BARID_S("t b913a602c7eda7a495b4e6e7334d3890")
                                        : BARID_S("n,,n=user,r=abc"));
    if (state == SASL_CREDENTIAL)
        state = sasl_server_answer(x, &no);
    if (state == SASL_CHALLENGE)
        state = sasl_server_step(x, BARID_S("c=biws,r=abc"));
    assert_int_equal(state, SASL_FAILURE);
    sasl_server_del(&x);
}

static void test_nomem(void **state)
{
    struct fail_mem fm = {0};

    (void)state;
    for (int m = BARID_AUTH_PLAIN; m <= BARID_AUTH_SCRAM_SHA_256; m++)
        while (fail_mem_next(&fm))
            exchange((enum barid_auth_mechanism)m, &fm.mem);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),         cmocka_unit_test(test_plain_limits),
        cmocka_unit_test(test_login),         cmocka_unit_test(test_cram),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_scram_first),
        cmocka_unit_test(test_scram_unknown), cmocka_unit_test(test_scram_final),
        cmocka_unit_test(test_verifier),      cmocka_unit_test(test_verifier_make),
        cmocka_unit_test(test_nomem),
    };

    conformance_dir = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
