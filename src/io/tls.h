/*
 * io/tls.h: TLS contexts (OpenSSL behind it). A context is immutable after it was made and may
 * be shared by threads.
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include "base/err.h"

struct tls_ctx;

struct tls_server_options {
    const char *cert_file, *key_file; /* PEM; the default certificate */
    const struct tls_sni {            /* further certificates by server name */
        const char *name;             /* "mx.example.com" or "*.example.com" */
        const char *cert_file, *key_file;
    } * sni;
    size_t n_sni;
    const char *min_version; /* "TLSv1.2" (default), "TLSv1.3", "TLSv1" */
    const char *ciphers;     /* OpenSSL list; NULL = default */
    const char *client_ca;   /* verify client certificates if sent; NULL = do not ask */
};
/* 0, or BARID_EIO / ESYNTAX with one line naming the file and what is wrong (unreadable, not
 * PEM, key does not match). An expired certificate is a warning only: then 0 is returned and
 * err->text says so (else it is empty). key_file NULL: it is in cert_file. */
int tls_server_new(struct tls_ctx **ctx_r, const struct tls_server_options *o, struct err *err);

enum tls_verify { TLS_VERIFY_NONE, TLS_VERIFY_PEER };
struct tls_client_options {
    enum tls_verify verify;
    const char *ca_file; /* NULL = the system's store; or a directory, as `openssl rehash` names its files */
};
int tls_client_new(struct tls_ctx **ctx_r, const struct tls_client_options *o, struct err *err);

struct tls_ctx *tls_ref(struct tls_ctx *ctx);
void tls_unref(struct tls_ctx **ctx);

/* A self-signed certificate for hostname, valid 10 years, written as PEM (0600): for a first
 * start and tests. */
int tls_self_signed(const char *hostname, const char *cert_file, const char *key_file,
                    struct err *err);

#endif
