/* TLS contexts: what is refused, and with which line. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "io/tls_int.h"
#include "io/tls_testing.h"

static int setup(void **state)
{
    struct certs *c = calloc(1, sizeof(*c));

    certs_make(c);
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    certs_remove(*state);
    free(*state);
    return 0;
}

static void test_self_signed(void **state)
{
    struct certs *c = *state;
    struct stat st;
    FILE *f = fopen(c->cert, "r");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    struct err err;

    fclose(f);
    assert_non_null(cert);
    assert_int_equal(X509_check_host(cert, "mx.example.com", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(cert, "example.com", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(cert, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(cert, "::1", 0), 1);
    assert_int_equal(X509_get_version(cert), X509_VERSION_3);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(cert)) < 0);
    assert_true(X509_cmp_current_time(X509_get0_notAfter(cert)) > 0);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(cert)), 256);
    X509_free(cert);
    assert_int_equal(stat(c->key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(tls_self_signed("x", "/nonexistent/c.pem", "/nonexistent/k.pem", &err),
                     BARID_EIO);
    assert_non_null(strstr(err.text, "/nonexistent/k.pem"));
}

static void test_server(void **state)
{
    struct certs *c = *state;
    struct tls_server_options o = {.cert_file = c->cert, .key_file = c->key};
    struct tls_ctx *ctx, *second;
    struct err err;

    assert_int_equal(tls_server_new(&ctx, &o, &err), 0);
    assert_string_equal(err.text, ""); /* no warning */
    second = tls_ref(ctx);
    tls_unref(&ctx);
    assert_null(ctx);
    assert_int_equal(SSL_CTX_get_min_proto_version(second->ssl), TLS1_2_VERSION);
    tls_unref(&second);
    tls_unref(&second);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void refused(const struct tls_server_options *o, int code, const char *a, const char *b)
{
    struct tls_ctx *ctx;
    struct err err;

    assert_int_equal(tls_server_new(&ctx, o, &err), code);
    assert_null(ctx);
    if (strstr(err.text, a) == NULL || strstr(err.text, b) == NULL)
        fail_msg("unexpected error line: %s", err.text);
    assert_null(strchr(err.text, '\n'));
    assert_int_equal(ERR_peek_error(), 0); /* nothing is left to confuse the next user */
}

static void write_encrypted_key(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");

    assert_int_equal(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(),
                                          (const unsigned char *)"secret", 6, NULL, NULL),
                     1);
    fclose(f);
    EVP_PKEY_free(key);
}

static void write_rsa_key(const char *path)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    FILE *f = fopen(path, "w");

    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
    EVP_PKEY_free(key);
}

static void test_refused(void **state)
{
    struct certs *c = *state;
    struct tls_server_options o = {.cert_file = c->cert, .key_file = c->key};
    struct tls_sni sni = {"a.example", c->cert2, c->key};

    o.cert_file = "/nonexistent/cert.pem";
    refused(&o, BARID_EIO, "certificate /nonexistent/cert.pem", "No such file");
    o.cert_file = c->cert;
    o.key_file = "/nonexistent/key.pem";
    refused(&o, BARID_EIO, "private key /nonexistent/key.pem", "No such file");
    o.key_file = c->key2;
    refused(&o, BARID_ESYNTAX, c->key2, "does not match the certificate");
    write_file(c->extra, "hello\n");
    o.key_file = c->extra;
    refused(&o, BARID_ESYNTAX, c->extra, "no usable PEM private key");
    o.cert_file = c->extra;
    refused(&o, BARID_ESYNTAX, c->extra, "no usable PEM certificate");
    o.cert_file = c->cert;
    write_encrypted_key(c->extra);
    refused(&o, BARID_ESYNTAX, c->extra, "encrypted");
    write_rsa_key(c->extra);
    refused(&o, BARID_ESYNTAX, c->extra, "does not match the certificate");
    o.key_file = NULL; /* then it should be in the certificate's file */
    refused(&o, BARID_ESYNTAX, c->cert, "no usable PEM private key");
    o.key_file = c->key;
    o.min_version = "SSLv3";
    refused(&o, BARID_ESYNTAX, "SSLv3", "TLSv1.2");
    o.min_version = "TLSv1.3";
    o.ciphers = "NONSENSE";
    refused(&o, BARID_ESYNTAX, "NONSENSE", "cipher");
    o.ciphers = NULL;
    o.client_ca = c->key;
    refused(&o, BARID_ESYNTAX, "client CA", c->key);
    o.client_ca = "/nonexistent/ca.pem";
    refused(&o, BARID_EIO, "client CA", "/nonexistent/ca.pem");
    o.client_ca = NULL;
    o.sni = &sni;
    o.n_sni = 1;
    refused(&o, BARID_ESYNTAX, c->cert2, "does not match");
}

static void test_expired_is_a_warning(void **state)
{
    struct certs *c = *state;
    struct tls_server_options o = {.cert_file = c->extra, .key_file = c->key};
    FILE *f = fopen(c->cert, "r");
    X509 *cert = PEM_read_X509(f, NULL, NULL, NULL);
    EVP_PKEY *key;
    struct tls_ctx *ctx;
    struct err err;

    fclose(f);
    f = fopen(c->key, "r");
    key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    X509_time_adj_ex(X509_getm_notAfter(cert), 0, -60, NULL);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    f = fopen(c->extra, "w");
    PEM_write_X509(f, cert);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
    assert_int_equal(tls_server_new(&ctx, &o, &err), 0);
    assert_int_equal(err.code, 0);
    assert_non_null(strstr(err.text, "has expired"));
    tls_unref(&ctx);
}

static void test_names(void **state)
{
    struct certs *c = *state;
    struct tls_sni sni[] = {{"*.example.net", c->cert2, c->key2},
                            {"MX.example.net", c->cert, c->key}};
    struct tls_server_options o = {
        .cert_file = c->cert, .key_file = c->key, .sni = sni, .n_sni = 2};
    struct tls_ctx *ctx;

    assert_int_equal(tls_server_new(&ctx, &o, NULL), 0);
    assert_ptr_equal(tls_find_name(ctx, "a.EXAMPLE.net"), ctx->names[0].ssl);
    assert_ptr_equal(tls_find_name(ctx, "mx.example.net"),
                     ctx->names[1].ssl); /* exact before wildcard */
    assert_null(tls_find_name(ctx, "a.b.example.net"));
    assert_null(tls_find_name(ctx, "example.net"));
    assert_null(tls_find_name(ctx, ".example.net"));
    assert_null(tls_find_name(ctx, ""));
    tls_unref(&ctx);
}

static void test_client(void **state)
{
    struct certs *c = *state;
    struct tls_client_options o = {TLS_VERIFY_PEER, "/nonexistent/ca.pem"};
    struct tls_ctx *ctx;
    struct err err;

    assert_int_equal(tls_client_new(&ctx, &o, &err), BARID_EIO);
    assert_null(ctx);
    assert_non_null(strstr(err.text, "/nonexistent/ca.pem"));
    o.ca_file = c->cert;
    assert_int_equal(tls_client_new(&ctx, &o, &err), 0);
    tls_unref(&ctx);
    o.ca_file = c->dir;
    assert_int_equal(tls_client_new(&ctx, &o, &err), 0);
    tls_unref(&ctx);
    o.ca_file = NULL;
    assert_int_equal(tls_client_new(&ctx, &o, &err), 0);
    tls_unref(&ctx);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_self_signed),          T(test_server), T(test_refused),
        T(test_expired_is_a_warning), T(test_names),  T(test_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
