/* io/tls_client.c: client contexts: opportunistic (any certificate will do) or verifying. */
#include <sys/stat.h>

#include "io/tls_int.h"

/* Of a directory nothing is read before a certificate asks for its issuer. */
static int load_authorities(SSL_CTX *ssl, const char *path)
{
    struct stat st;

    if (path == NULL)
        return SSL_CTX_set_default_verify_paths(ssl);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return SSL_CTX_load_verify_dir(ssl, path);
    return SSL_CTX_load_verify_file(ssl, path);
}

int tls_client_new(struct tls_ctx **ctx_r, const struct tls_client_options *o, struct err *err)
{
    struct tls_ctx *ctx = tls_ctx_make(TLS_client_method(), false, err);

    *ctx_r = NULL;
    if (ctx == NULL)
        return BARID_ENOMEM;
    *ctx_r = ctx;
    if (o->verify == TLS_VERIFY_NONE)
        return 0;
    ctx->verify = true;
    SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
    if (load_authorities(ctx->ssl, o->ca_file) == 1)
        return 0;
    err_set(err, BARID_EIO, "TLS: cannot load CA certificates from %s: %s",
            o->ca_file != NULL ? o->ca_file : "the system's store",
            tls_reason("unknown error"));
    tls_unref(ctx_r);
    return BARID_EIO;
}
