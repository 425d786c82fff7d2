/*
 * io/tls_ctx.c: what server and client contexts share. After it was made a context is only
 * read, and its reference count is atomic, so that all workers may use one; OpenSSL locks the
 * ticket keys within.
 */
#include "io/tls_int.h"

#include <openssl/err.h>

#include "base/mem.h"

const char *tls_reason(const char *other)
{
    const char *reason = ERR_reason_error_string(ERR_get_error());

    ERR_clear_error();
    return reason != NULL ? reason : other;
}

void tls_common_options(SSL_CTX *ssl)
{
    /* A renegotiation is a free handshake for an attacker and changes who the peer is in
     * mid-session. An end without close_notify stays an error (SSL_OP_IGNORE_UNEXPECTED_EOF
     * off): a cut may be an attack. */
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_CLEANSE_PLAINTEXT);
    SSL_CTX_clear_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* Most connections are idle most of the time: without this each holds two records' worth of
     * buffers. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    /* Resumption is by tickets, which cost no memory here. */
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
}

struct tls_ctx *tls_ctx_make(const SSL_METHOD *method, bool server, struct err *err)
{
    struct tls_ctx *ctx = mem_zalloc(NULL, sizeof(*ctx));

    ERR_clear_error();
    if (ctx == NULL) {
        err_set(err, BARID_ENOMEM, "TLS: out of memory");
        return NULL;
    }
    atomic_init(&ctx->refs, 1);
    ctx->server = server;
    ctx->ssl = SSL_CTX_new(method);
    ctx->bio = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (ctx->ssl == NULL || ctx->bio == NULL || tls_bio_setup(ctx->bio) != 0 ||
        SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION) != 1) {
        err_set(err, BARID_ENOMEM, "TLS: no context: %s", tls_reason("out of memory"));
        tls_unref(&ctx);
        return NULL;
    }
    tls_common_options(ctx->ssl);
    return ctx;
}

struct tls_ctx *tls_ref(struct tls_ctx *ctx)
{
    atomic_fetch_add(&ctx->refs, 1);
    return ctx;
}

void tls_unref(struct tls_ctx **ctx_r)
{
    struct tls_ctx *ctx = *ctx_r;

    if (ctx == NULL)
        return;
    *ctx_r = NULL;
    if (atomic_fetch_sub(&ctx->refs, 1) != 1)
        return;
    for (size_t i = 0; i < ctx->n_names; i++) {
        mem_free(NULL, ctx->names[i].name);
        SSL_CTX_free(ctx->names[i].ssl);
    }
    mem_free(NULL, ctx->names);
    SSL_CTX_free(ctx->ssl);
    BIO_meth_free(ctx->bio);
    mem_free(NULL, ctx);
}
