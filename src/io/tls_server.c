/*
 * io/tls_server.c: server contexts. All files are read here and never again, so that privileges
 * can be dropped afterwards.
 */
#include "io/tls_int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/slice.h"

/* A chain is a few kilobytes; a peer that sends more is not a mail client. */
#define TLS_MAX_CLIENT_CHAIN (64 * 1024)

/* OpenSSL would ask on the terminal for the passphrase of an encrypted key. */
static int no_passphrase(char *buf, int size, int rwflag, void *user)
{
    (void)buf, (void)size, (void)rwflag;
    *(bool *)user = true;
    return -1;
}

static int check_readable(const char *file, const char *what, struct err *err)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "TLS: cannot read the %s %s", what, file);
    close(fd);
    return 0;
}

static int load_certificate(SSL_CTX *ssl, const char *file, struct err *err)
{
    int rc = check_readable(file, "certificate", err);

    if (rc != 0)
        return rc;
    if (SSL_CTX_use_certificate_chain_file(ssl, file) != 1)
        return err_set(err, BARID_ESYNTAX, "TLS: no usable PEM certificate in %s: %s", file,
                       tls_reason("unknown error"));
    return 0;
}

static int load_key(SSL_CTX *ssl, const char *file, const char *cert_file, struct err *err)
{
    bool asked = false;
    int rc = check_readable(file, "private key", err), loaded;
    unsigned long e;

    if (rc != 0)
        return rc;
    SSL_CTX_set_default_passwd_cb(ssl, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &asked);
    loaded = SSL_CTX_use_PrivateKey_file(ssl, file, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    if (asked)
        rc = err_set(
            err, BARID_ESYNTAX,
            "TLS: the private key %s is encrypted; it must be stored without passphrase", file);
    else if (loaded != 1 && (e = ERR_peek_error(), ERR_GET_LIB(e) != ERR_LIB_X509))
        rc = err_set(err, BARID_ESYNTAX, "TLS: no usable PEM private key in %s: %s", file,
                     tls_reason("unknown error"));
    else if (loaded != 1 || SSL_CTX_check_private_key(ssl) != 1)
        rc = err_set(err, BARID_ESYNTAX,
                     "TLS: the private key %s does not match the certificate %s", file,
                     cert_file);
    ERR_clear_error();
    return rc;
}

/* A warning is text with code 0: the server starts with it. */
static void warn_dates(SSL_CTX *ssl, const char *file, struct err *err)
{
    const X509 *cert = SSL_CTX_get0_certificate(ssl);

    if (err == NULL || err->text[0] != '\0')
        return;
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
        err_set(err, 0, "TLS: the certificate %s has expired", file);
    else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
        err_set(err, 0, "TLS: the certificate %s is not valid yet", file);
}

static int set_version(SSL_CTX *ssl, const char *name, struct err *err)
{
    static const struct {
        const char *name;
        int version;
    } versions[] = {{"TLSv1", TLS1_VERSION},
                    {"TLSv1.1", TLS1_1_VERSION},
                    {"TLSv1.2", TLS1_2_VERSION},
                    {"TLSv1.3", TLS1_3_VERSION}};

    for (size_t i = 0; name != NULL && i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (strcmp(name, versions[i].name) != 0)
            continue;
        SSL_CTX_set_min_proto_version(ssl, versions[i].version);
        /* They sign with SHA-1 and MD5, which OpenSSL 3 offers at level 0 only. */
        if (versions[i].version < TLS1_2_VERSION)
            SSL_CTX_set_security_level(ssl, 0);
        return 0;
    }
    return name == NULL
               ? 0
               : err_set(
                     err, BARID_ESYNTAX,
                     "TLS: unknown version \"%s\": expected TLSv1, TLSv1.1, TLSv1.2 or TLSv1.3",
                     name);
}

/* An unknown or bad client certificate does not end the session: it is as if none had been
 * sent, since the verify result stays an error and no subject is reported. */
static int on_verify(int ok, X509_STORE_CTX *store)
{
    (void)ok, (void)store;
    return 1;
}

static int set_client_ca(SSL_CTX *ssl, const char *file, struct err *err)
{
    int rc = check_readable(file, "client CA file", err);
    STACK_OF(X509_NAME) * names;

    if (rc != 0)
        return rc;
    names = SSL_load_client_CA_file(file);
    if (names == NULL || SSL_CTX_load_verify_locations(ssl, file, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return err_set(err, BARID_ESYNTAX,
                       "TLS: no usable PEM certificate in the client CA file %s: %s", file,
                       tls_reason("unknown error"));
    }
    SSL_CTX_set_client_CA_list(ssl, names);
    SSL_CTX_set_max_cert_list(ssl, TLS_MAX_CLIENT_CHAIN);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verify);
    return 0;
}

static int configure(SSL_CTX *ssl, const struct tls_server_options *o, const char *cert_file,
                     const char *key_file, struct err *err)
{
    int rc;

    if ((rc = set_version(ssl, o->min_version, err)) != 0)
        return rc;
    if (o->ciphers != NULL && SSL_CTX_set_cipher_list(ssl, o->ciphers) != 1) {
        ERR_clear_error();
        return err_set(err, BARID_ESYNTAX, "TLS: no usable cipher in \"%s\"", o->ciphers);
    }
    SSL_CTX_set_dh_auto(ssl, 1);
    SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"barid", 5);
    if ((rc = load_certificate(ssl, cert_file, err)) != 0 ||
        (rc = load_key(ssl, key_file != NULL ? key_file : cert_file, cert_file, err)) != 0 ||
        (o->client_ca != NULL && (rc = set_client_ca(ssl, o->client_ca, err)) != 0))
        return rc;
    warn_dates(ssl, cert_file, err);
    return 0;
}

static int add_name(struct tls_ctx *ctx, const struct tls_server_options *o,
                    const struct tls_sni *sni, struct err *err)
{
    struct tls_name *n = &ctx->names[ctx->n_names];

    n->ssl = SSL_CTX_new(TLS_server_method());
    n->name = mem_strdup(NULL, slice_str(sni->name));
    ctx->n_names++;
    if (n->ssl == NULL || n->name == NULL)
        return err_set(err, BARID_ENOMEM, "TLS: out of memory");
    tls_common_options(n->ssl);
    return configure(n->ssl, o, sni->cert_file, sni->key_file, err);
}

SSL_CTX *tls_find_name(const struct tls_ctx *ctx, const char *name)
{
    const char *dot = strchr(name, '.');

    for (size_t i = 0; i < ctx->n_names; i++)
        if (strcasecmp(ctx->names[i].name, name) == 0)
            return ctx->names[i].ssl;
    for (size_t i = 0; dot != NULL && dot > name && i < ctx->n_names; i++)
        if (ctx->names[i].name[0] == '*' && strcasecmp(ctx->names[i].name + 1, dot) == 0)
            return ctx->names[i].ssl;
    return NULL;
}

/* An unknown name gets the default certificate: mail clients come with all kinds of names and
 * few check. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_CTX *found = name != NULL ? tls_find_name(arg, name) : NULL;

    (void)alert;
    if (found != NULL)
        SSL_set_SSL_CTX(ssl, found);
    return SSL_TLSEXT_ERR_OK;
}

int tls_server_new(struct tls_ctx **ctx_r, const struct tls_server_options *o, struct err *err)
{
    struct tls_ctx *ctx = tls_ctx_make(TLS_server_method(), true, err);
    int rc = 0;

    *ctx_r = NULL;
    if (ctx == NULL)
        return BARID_ENOMEM;
    if (err != NULL)
        *err = (struct err){0};
    if (o->n_sni > 0 && (ctx->names = mem_array(NULL, o->n_sni, sizeof(*ctx->names))) == NULL)
        rc = err_set(err, BARID_ENOMEM, "TLS: out of memory");
    if (rc == 0)
        rc = configure(ctx->ssl, o, o->cert_file, o->key_file, err);
    for (size_t i = 0; rc == 0 && i < o->n_sni; i++)
        rc = add_name(ctx, o, &o->sni[i], err);
    if (rc != 0) {
        tls_unref(&ctx);
        return rc;
    }
    ctx->verify = o->client_ca != NULL;
    SSL_CTX_set_tlsext_servername_callback(ctx->ssl, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(ctx->ssl, ctx);
    *ctx_r = ctx;
    return 0;
}
