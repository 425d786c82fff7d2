/*
 * barid/address.h: paths and mailboxes (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3) and the parameters
 * of MAIL and RCPT. Pure functions over slices; results point into the input.
 */
#ifndef BARID_ADDRESS_H
#define BARID_ADDRESS_H

#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Named limits: RFC 5321 4.5.3.1.1 to .3 (octets; for UTF-8 they count octets too). */
#define BARID_LOCAL_PART_MAX 64
#define BARID_DOMAIN_MAX     255
#define BARID_PATH_MAX       256
#define BARID_LABEL_MAX      63 /* RFC 1035 2.3.4 */

/* A parsed reverse-path, forward-path or mailbox. Slices point into the text that was parsed. */
typedef struct barid_path {
    barid_slice raw;    /* as written between the angle brackets, source route left out; empty for <> */
    barid_slice local;  /* local part as written, quotes included */
    barid_slice domain; /* domain or address literal as written; empty for <> and <postmaster> */
    barid_slice route;  /* source route "@a,@b" (accepted and ignored, RFC 5321 4.1.2), else empty */
    bool null;          /* <> */
    bool quoted;        /* the local part is a quoted string */
    bool literal;       /* the domain is an address literal */
    bool utf8;          /* has bytes above 127: needs SMTPUTF8 */
} barid_path;

/* How forgiving path parsing is. Zero is the letter of RFC 5321. */
enum barid_path_flags {
    BARID_PATH_NULL_OK = 1,       /* <> is a value (MAIL FROM) */
    BARID_PATH_POSTMASTER_OK = 2, /* <postmaster> without a domain (RCPT TO, RFC 5321 4.1.1.3) */
    BARID_PATH_UTF8_OK = 4,       /* UTF-8 in local part and domain (RFC 6531) */
    BARID_PATH_LENIENT = 8,       /* no angle brackets, or a display name before them: Mr X <a@b> */
    BARID_PATH_LOCAL_OK = 16      /* <user> without a domain: LMTP and submission habits */
};

/*
 * Parse a path at the start of text. *used_r gets the octets consumed (up to the closing '>', or to
 * the first space in lenient form). 0, BARID_ESYNTAX, BARID_ELIMIT (a length above the limits),
 * BARID_EUNSUPPORTED (UTF-8 without BARID_PATH_UTF8_OK).
 */
BARID_API int barid_path_parse(barid_slice text, unsigned flags, barid_path *path_r, size_t *used_r);

/* A bare mailbox (no angle brackets) that must fill text, e.g. from a policy or the command line. */
BARID_API int barid_mailbox_parse(barid_slice text, unsigned flags, barid_path *path_r);

/* A domain name by RFC 5321 (or, with utf8, RFC 6531) that fills text; or an address literal with its
 * brackets: IPv4 or IPv6, as no other tag is registered (RFC 5321 4.1.3). */
BARID_API bool barid_domain_valid(barid_slice text, bool utf8);
BARID_API bool barid_address_literal_valid(barid_slice text);

/*
 * The local part with quoting undone: "a\ b"@x gives a b. Written to out (at least local.n octets);
 * returns the length. Two spellings of one mailbox unquote to equal octets (RFC 5321 4.1.2).
 */
BARID_API size_t barid_local_unquote(const barid_path *path, char *out);

/* --- parameters of MAIL and RCPT ------------------------------------------------------------ */

enum barid_body_type { BARID_BODY_DEFAULT = 0, BARID_BODY_7BIT, BARID_BODY_8BITMIME, BARID_BODY_BINARYMIME };
enum barid_ret { BARID_RET_DEFAULT = 0, BARID_RET_FULL, BARID_RET_HDRS };
enum barid_notify { BARID_NOTIFY_NEVER = 1, BARID_NOTIFY_SUCCESS = 2, BARID_NOTIFY_FAILURE = 4, BARID_NOTIFY_DELAY = 8 };

typedef struct barid_mail_params {
    bool size_given;
    uint64_t size;             /* SIZE= (RFC 1870) */
    enum barid_body_type body; /* BODY= (RFC 6152, 3030) */
    bool smtputf8;             /* SMTPUTF8 (RFC 6531) */
    bool prdr;                 /* PRDR */
    enum barid_ret ret;        /* RET= (RFC 3461 4.3) */
    barid_slice envid;         /* ENVID= as written, xtext (RFC 3461 4.4) */
    bool auth_given;
    barid_slice auth;          /* AUTH= as written, xtext or "<>" (RFC 4954 5) */
} barid_mail_params;

typedef struct barid_rcpt_params {
    unsigned notify;   /* BARID_NOTIFY_... bits, 0 = not given (RFC 3461 4.1) */
    barid_slice orcpt; /* ORCPT= as written, "rfc822;xtext" (RFC 3461 4.2) */
} barid_rcpt_params;

/*
 * Parse what follows the path. allowed: BARID_EXT_... bits (session.h) whose parameters are legal now; DSN parameters
 * are always parsed. 0; BARID_ESYNTAX (bad value, given twice); BARID_ENOTFOUND (a parameter not
 * known or not allowed); BARID_EUNSUPPORTED (BODY type unknown); *bad_r gets the offender.
 */
BARID_API int barid_mail_params_parse(barid_slice text, uint32_t allowed, barid_mail_params *params_r, barid_slice *bad_r);
BARID_API int barid_rcpt_params_parse(barid_slice text, uint32_t allowed, barid_rcpt_params *params_r, barid_slice *bad_r);

#ifdef __cplusplus
}
#endif
#endif
