/* io/tls_int.h: the inside of a TLS context, for tls_*.c and stream_tls.c. */
#ifndef IO_TLS_INT_H
#define IO_TLS_INT_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "io/tls.h"

struct tls_name {
    char *name; /* lower case; "*.example.com" matches one label */
    SSL_CTX *ssl;
};

struct tls_ctx {
    atomic_int refs;
    bool server;
    bool verify; /* client: the peer must prove the name; server: a certificate was asked for */
    SSL_CTX *ssl;
    BIO_METHOD *bio; /* how stream_tls.c feeds OpenSSL; made here as it must not be a global */
    struct tls_name *names;
    size_t n_names;
};

/* stream_tls.c */
int tls_bio_setup(BIO_METHOD *m);

/* A context with what both sides share. NULL with *err. */
struct tls_ctx *tls_ctx_make(const SSL_METHOD *method, bool server, struct err *err);
void tls_common_options(SSL_CTX *ssl);

/* The reason of the oldest queued OpenSSL error of this thread, or other; empties the queue. */
const char *tls_reason(const char *other);

/* The context whose certificate serves name (not NUL-terminated is not possible here: OpenSSL
 * checks), or NULL. */
SSL_CTX *tls_find_name(const struct tls_ctx *ctx, const char *name);

#endif
