/*
 * io/tls_self_signed.c: a certificate that signs itself (ECDSA P-256), so that a first start
 * has TLS at all. Both files are written beside their names and renamed, the key first: no
 * half-written pair is ever found.
 */
#include "io/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "io/tls_int.h"

#define TEN_YEARS_DAYS 3650
/* A clock that is a little slow must not find it invalid. */
#define EARLIER_DAYS 1
/* RFC 5280 appendix A.1, ub-common-name. */
#define COMMON_NAME_MAX 64

/* Takes ip, 4 or 16 octets. */
static bool add_ip(GENERAL_NAMES *names, const void *ip, int n)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();

    if (g == NULL || s == NULL || ASN1_OCTET_STRING_set(s, ip, n) != 1) {
        GENERAL_NAME_free(g);
        ASN1_OCTET_STRING_free(s);
        return false;
    }
    GENERAL_NAME_set0_value(g, GEN_IPADD, s);
    if (sk_GENERAL_NAME_push(names, g) > 0)
        return true;
    GENERAL_NAME_free(g);
    return false;
}

static bool add_dns(GENERAL_NAMES *names, const char *name)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *s = ASN1_IA5STRING_new();

    if (g == NULL || s == NULL || ASN1_STRING_set(s, name, -1) != 1) {
        GENERAL_NAME_free(g);
        ASN1_IA5STRING_free(s);
        return false;
    }
    GENERAL_NAME_set0_value(g, GEN_DNS, s);
    if (sk_GENERAL_NAME_push(names, g) > 0)
        return true;
    GENERAL_NAME_free(g);
    return false;
}

static bool add_names(X509 *cert, const char *hostname)
{
    static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    uint8_t ip[16];
    bool ok = names != NULL;

    if (inet_pton(AF_INET, hostname, ip) == 1)
        ok = ok && add_ip(names, ip, 4);
    else if (inet_pton(AF_INET6, hostname, ip) == 1)
        ok = ok && add_ip(names, ip, 16);
    else if (strcmp(hostname, "localhost") != 0)
        ok = ok && add_dns(names, hostname);
    ok = ok && add_dns(names, "localhost") && add_ip(names, loopback4, 4) &&
         add_ip(names, loopback6, 16) &&
         X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    GENERAL_NAMES_free(names);
    return ok;
}

static bool add_constraints(X509 *cert)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new(); /* not a CA */
    bool ok = bc != NULL &&
              X509_add1_ext_i2d(cert, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1;

    BASIC_CONSTRAINTS_free(bc);
    return ok;
}

static bool set_serial(X509 *cert)
{
    unsigned char bytes[8];
    uint64_t serial = 0;

    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        return false;
    for (size_t i = 0; i < sizeof(bytes); i++)
        serial = serial << 8 | bytes[i];
    return ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1) == 1;
}

static X509 *make_certificate(const char *hostname, EVP_PKEY *key)
{
    X509 *cert = X509_new();
    const char *cn = strlen(hostname) <= COMMON_NAME_MAX ? hostname : "localhost";
    X509_NAME *name;

    if (cert == NULL)
        return NULL;
    name = X509_get_subject_name(cert);
    if (X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
        X509_time_adj_ex(X509_getm_notBefore(cert), -EARLIER_DAYS, 0, NULL) != NULL &&
        X509_time_adj_ex(X509_getm_notAfter(cert), TEN_YEARS_DAYS, 0, NULL) != NULL &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1,
                                   0) == 1 &&
        X509_set_issuer_name(cert, name) == 1 && X509_set_pubkey(cert, key) == 1 &&
        add_names(cert, hostname) && add_constraints(cert) &&
        X509_sign(cert, key, EVP_sha256()) > 0)
        return cert;
    X509_free(cert);
    return NULL;
}

/* cert NULL: the key. */
static int write_pem(const char *file, X509 *cert, EVP_PKEY *key, struct err *err)
{
    char temp[4096];
    int n = snprintf(temp, sizeof(temp), "%s.new", file), fd;
    FILE *out;
    bool ok;

    if (n < 0 || (size_t)n >= sizeof(temp))
        return err_set(err, BARID_ELIMIT, "TLS: the file name %.80s... is too long", file);
    unlink(temp);
    fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, BARID_EIO, errno, "TLS: cannot write %s", temp);
    out = fdopen(fd, "w");
    if (out == NULL) {
        close(fd);
        return err_set(err, BARID_ENOMEM, "TLS: cannot write %s: out of memory", temp);
    }
    ok = cert != NULL ? PEM_write_X509(out, cert) == 1
                      : PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    ok = fflush(out) == 0 && fsync(fd) == 0 && ok;
    ok = fclose(out) == 0 && ok;
    if (ok && rename(temp, file) == 0)
        return 0;
    err_errno(err, BARID_EIO, errno, "TLS: cannot write %s", file);
    unlink(temp);
    return BARID_EIO;
}

int tls_self_signed(const char *hostname, const char *cert_file, const char *key_file,
                    struct err *err)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key != NULL ? make_certificate(hostname, key) : NULL;
    int rc;

    if (cert == NULL)
        rc = err_set(err, BARID_EIO, "TLS: cannot make a certificate for %s: %s", hostname,
                     tls_reason("out of memory"));
    else if ((rc = write_pem(key_file, NULL, key, err)) == 0)
        rc = write_pem(cert_file, cert, NULL, err);
    X509_free(cert);
    EVP_PKEY_free(key);
    return rc;
}
