/* io/tls_testing.h: certificates in a temporary directory. Test code only. */
#ifndef IO_TLS_TESTING_H
#define IO_TLS_TESTING_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tls.h"

struct certs {
    char dir[64];
    char cert[128], key[128];   /* mx.example.com */
    char cert2[128], key2[128]; /* other.example.net */
    char extra[128];            /* whatever a test writes */
};

static inline void certs_make(struct certs *c)
{
    struct err err;

    snprintf(c->dir, sizeof(c->dir), "/tmp/barid-tls-XXXXXX");
    assert_non_null(mkdtemp(c->dir));
    snprintf(c->cert, sizeof(c->cert), "%s/cert.pem", c->dir);
    snprintf(c->key, sizeof(c->key), "%s/key.pem", c->dir);
    snprintf(c->cert2, sizeof(c->cert2), "%s/cert2.pem", c->dir);
    snprintf(c->key2, sizeof(c->key2), "%s/key2.pem", c->dir);
    snprintf(c->extra, sizeof(c->extra), "%s/extra.pem", c->dir);
    assert_int_equal(tls_self_signed("mx.example.com", c->cert, c->key, &err), 0);
    assert_int_equal(tls_self_signed("other.example.net", c->cert2, c->key2, &err), 0);
}

static inline void certs_remove(struct certs *c)
{
    unlink(c->cert);
    unlink(c->key);
    unlink(c->cert2);
    unlink(c->key2);
    unlink(c->extra);
    assert_int_equal(rmdir(c->dir), 0);
}

#endif
