/*
 * message/hop.h: a next hop: where a mail is sent and with which connection. Parsed from text, filled with defaults by the
 * queue, changed by policy at `relay`, obeyed by src/delivery. Pure.
 *
 * As text, one next hop:
 *
 *   example.com               mail exchangers of the domain, port 25
 *   example.com:2525          the same, another port
 *   [mail.example.com]:587    that host itself, no MX
 *   [192.0.2.1]  [IPv6:2001:db8::1]:25    address literals
 *   lmtp:[host]:24  lmtp:unix:/run/lmtp   LMTP instead of SMTP ("smtp:" may be written, too); the port of LMTP is 24
 *
 * A list is next hops with white space between them, tried in order.
 */
#ifndef MESSAGE_HOP_H
#define MESSAGE_HOP_H

#include "barid/endpoint.h"
#include "barid/types.h"
#include "base/arena.h"
#include "base/err.h"

#define HOP_TEXT_MAX 512 /* of one next hop: a domain, a port and a word; or a path of a unix socket */
#define HOP_LIST_MAX 8   /* next hops in one list: each may cost a connect timeout */
#define HOP_UNIX_PATH_MAX 107 /* octets: what struct sockaddr_un takes */

enum hop_protocol { HOP_SMTP = 0, HOP_LMTP };
enum hop_tls {
    HOP_TLS_OFF = 0,
    HOP_TLS_OPPORTUNISTIC, /* STARTTLS where offered, any certificate; refused: without */
    HOP_TLS_REQUIRED,      /* any certificate */
    HOP_TLS_VERIFIED       /* one that names the host, from an authority that is known */
};
/* A body that the server has no extension for (8BITMIME, BINARYMIME). What it needs, BODY= of MAIL says: a body that came without is
 * sent as it is, whatever it holds, as nearly every server takes it. */
enum hop_downgrade {
    HOP_CONVERT = 0, /* parts become quoted-printable or base64 */
    HOP_REFUSE       /* 5.6.3 */
};

struct hop {
    /* Where. */
    barid_slice name;      /* domain, host or literal, lower case; empty with unix_path */
    barid_slice unix_path; /* LMTP only */
    uint16_t port;         /* never 0 */
    bool is_host;          /* no MX */
    enum hop_protocol protocol;

    /* How. */
    barid_slice helo;                /* our name */
    barid_endpoint source4, source6; /* source addresses; family 0 = the system's choice */
    enum hop_tls tls;
    bool implicit_tls;               /* the connection begins with a handshake */
    barid_slice user, password;      /* user empty = no AUTH */
    bool require_auth;               /* fails where the server does not let us authenticate */
    uint32_t mechanisms_plain, mechanisms_secure; /* bit (1 << enum barid_auth_mechanism), without and with TLS */
    bool starttls, pipelining, chunking, eightbit, binary, smtputf8, dsn; /* may be used where offered */
    enum hop_downgrade downgrade;
    size_t chunk; /* octets of one BDAT */

    /* How much. */
    uint32_t connect_ms;      /* for one address */
    uint32_t max_connections; /* to this next hop, at once */
    uint32_t max_rcpts;       /* in one transaction; 0 = no limit but the protocol's */
    uint32_t max_mails;       /* in one connection */
    uint32_t rate, rate_s;    /* at most rate mails in rate_s seconds; 0 = no limit */
};

/* How a next hop begins: everything but name and helo set. */
void hop_init(struct hop *hop);

/* Sets where (name, unix_path, port, is_host, protocol) and leaves the rest alone; slices into arena. 0, BARID_ESYNTAX with *err in
 * words, BARID_ENOMEM. */
int hop_parse(struct hop *hop, struct arena *arena, barid_slice text, struct err *err);
/* The next one of a list, without white space; *rest moves behind it. false: there is none. */
bool hop_list_next(barid_slice *rest, barid_slice *text_r);
/* The list with every next hop in its canonical text and one space between; into arena. 0, BARID_ESYNTAX with *err in words (one is
 * none, or more than HOP_LIST_MAX), BARID_ENOMEM. */
int hop_list_text(struct arena *arena, barid_slice list, barid_slice *text_r, struct err *err);
/* The canonical text of where, as hop_parse reads it, cut at HOP_TEXT_MAX; the length. */
#define HOP_TEXT_SIZE (HOP_TEXT_MAX + 1)
size_t hop_text(const struct hop *hop, char out[HOP_TEXT_SIZE]);
/* Into arena, with what it points to. 0 or BARID_ENOMEM. */
int hop_copy(struct hop *to, struct arena *arena, const struct hop *from);

/* Where mail goes when nobody says otherwise: made of a configuration, read by server and queue. */
struct routing {
    struct hop base;               /* every next hop begins as this one */
    const struct hop *relayhosts;  /* for every domain, tried in order; n_relayhosts 0 = the recipient's domain */
    size_t n_relayhosts;           /* at most HOP_LIST_MAX */
    const char *ca;                /* authorities for HOP_TLS_VERIFIED: file or directory; NULL = the system's */
    uint32_t idle_ms;              /* connections are kept for another mail */
};

/* Where a unit that sends is tried, in order: what its target names, else the relay hosts, else the domain of its recipient (an address
 * literal in brackets). The first max of them (at most HOP_LIST_MAX) into hops, *n_r how many; each is base with that place, all that they
 * point to in arena. routing may be NULL. 0; BARID_ESYNTAX with *err (err may be NULL): that is no next hop; BARID_ENOMEM. */
int routing_hops(const struct routing *routing, struct arena *arena, barid_slice target, barid_slice domain, struct hop *hops,
                 size_t max, size_t *n_r, struct err *err);

/* A name for the queue of mail that waits for this next hop: 32 bits of its text, keyed by the store's key so that nobody outside can
 * choose two that are the same. Never below HOP_GROUP_FIRST, which is SPOOL_GROUP_FIRST of interface/spool.h. */
#define HOP_GROUP_FIRST 2
uint32_t hop_group(const struct hop *hop, const uint8_t key[16]);

#endif
