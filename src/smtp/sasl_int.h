/* smtp/sasl_int.h: inside of the server exchanges, for the sasl_*.c files and their tests. */
#ifndef SMTP_SASL_INT_H
#define SMTP_SASL_INT_H

#include "base/buf.h"
#include "smtp/sasl_server.h"
#include "smtp/sasl_scram_common.h"

/* "<" 32 digits "." 16 digits "@" host ">" of a CRAM-MD5 challenge */
#define CRAM_CHALLENGE_MAX 320

struct sasl_server;

/* One mechanism. Functions return the next state, by way of the helpers below. */
struct sasl_mech {
    enum barid_auth_mechanism id;
    bool client_first; /* an initial response is possible; without one the challenge is empty */
    enum sasl_state (*begin)(struct sasl_server *x); /* not client_first: make the challenge */
    enum sasl_state (*step)(struct sasl_server *x, barid_slice in);
    enum sasl_state (*answer)(struct sasl_server *x, const struct sasl_credential *c);
};
extern const struct sasl_mech sasl_plain, sasl_login, sasl_cram_md5, sasl_scram_sha_1,
    sasl_scram_sha_256;

struct scram_server {
    enum { SCRAM_FIRST, SCRAM_FINAL, SCRAM_LAST } phase;
    char gs2[2 * SASL_NAME_MAX * 3 + 8]; /* gs2-header as sent: c= must repeat it */
    size_t gs2_n;
    char nonce[2 * SCRAM_NONCE_MAX]; /* the client's, then ours */
    size_t client_nonce_n, nonce_n;
    struct buf auth_message; /* client-first-bare "," server-first, later "," client-final */
    uint32_t fake_iterations;
    uint8_t auth_seed[32];
    barid_verifier verifier; /* the stored one, or the fake */
};

struct sasl_server {
    const barid_mem *mem;
    const struct sasl_mech *mech;
    enum sasl_state state;
    int error;
    struct buf challenge;
    struct sasl_identity identity; /* into the arrays below */
    char authcid[SASL_NAME_MAX], authzid[SASL_NAME_MAX], password[SASL_PASSWORD_MAX];
    bool got_name; /* LOGIN: the next response is the password */
    bool known;    /* the answer held something usable */
    char server_nonce[SCRAM_NONCE_MAX]; /* our half, printable */
    size_t server_nonce_n;
    char cram_challenge[CRAM_CHALLENGE_MAX];
    size_t cram_challenge_n;
    uint8_t cram_digest[16]; /* the client's */
    struct scram_server scram;
};

enum sasl_state sasl_fail(struct sasl_server *x, int error);
/* Remember the challenge text and ask for a response. */
enum sasl_state sasl_challenge(struct sasl_server *x, barid_slice text);
/* Take a name (valid UTF-8, no controls, 1 to SASL_NAME_MAX octets) or a password. */
bool sasl_set_name(barid_slice in, char *room, barid_slice *name_r);
bool sasl_set_password(struct sasl_server *x, barid_slice in);

#endif
