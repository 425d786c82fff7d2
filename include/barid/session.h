/*
 * barid/session.h: one server session (SMTP, submission or LMTP) without any I/O.
 *
 *   barid_session_new(&s, &config, &peer, NULL, now_ms);
 *   for (;;) {
 *       while (barid_session_next(s, &event) == 1)            // 1. events until none is left
 *           if (event.token) barid_session_answer(s, event.token, &verdict);   // now or later
 *       n = barid_session_output(s, &p);                      // 2. send what it says
 *       ... write p[0..n), then barid_session_sent(s, n) ...
 *       wants = barid_session_wants(s);                       // 3. do what it wants
 *       if (wants & BARID_WANT_READ) ... barid_session_feed(s, bytes, len, now_ms) ...
 *       if (wants & BARID_WANT_TLS)  ... handshake, barid_session_tls_done(s, &info) ...
 *       if (wants & BARID_WANT_CLOSE) ... close the connection, barid_session_del(&s) ...
 *   }
 *
 * Rules.
 *  - One thread at a time. Nothing is called back: events are pulled.
 *  - A decide or host event holds the session: until it is answered nothing more is parsed and next
 *    returns 0; input fed meanwhile is buffered, up to limits.pipelined, and WANT_READ is withheld above that.
 *  - Each token is answered exactly once; a wrong or stale token is BARID_EINVALID.
 *  - Events whose bit is not in config.events are answered CONTINUE by the session itself without
 *    being raised (host events always are raised).
 *  - The results do not depend on how the input is cut.
 *  - A session that is idle (no command pending, no transaction) holds no buffers.
 *  - Every allocation may fail: the session then answers 451 where it can, else it closes
 *    (BARID_CLOSE_NOMEM); it never crashes and never acknowledges.
 */
#ifndef BARID_SESSION_H
#define BARID_SESSION_H

#include "barid/event.h"
#include "barid/reply.h"
#include "barid/types.h"
#include "barid/verdict.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct barid_session barid_session;

enum barid_protocol { BARID_SMTP = 0, BARID_SUBMISSION, BARID_LMTP };

/* Extensions: advertised when the bit is in config.extensions and the state allows. */
enum barid_extension {
    BARID_EXT_PIPELINING = 1 << 0,          /* RFC 2920 */
    BARID_EXT_SIZE = 1 << 1,                /* RFC 1870; the value is limits.message */
    BARID_EXT_8BITMIME = 1 << 2,            /* RFC 6152 */
    BARID_EXT_SMTPUTF8 = 1 << 3,            /* RFC 6531 */
    BARID_EXT_ENHANCEDSTATUSCODES = 1 << 4, /* RFC 2034 */
    BARID_EXT_CHUNKING = 1 << 5,            /* RFC 3030 */
    BARID_EXT_BINARYMIME = 1 << 6,          /* RFC 3030; needs CHUNKING */
    BARID_EXT_STARTTLS = 1 << 7,            /* RFC 3207; only before TLS */
    BARID_EXT_AUTH = 1 << 8,                /* RFC 4954; mechanisms from config.mechanisms */
    BARID_EXT_LIMITS = 1 << 9,              /* RFC 9422: RCPTMAX (and MAILMAX where set) */
    BARID_EXT_PRDR = 1 << 10,               /* draft-hall-prdr */
    BARID_EXT_DSN = 1 << 11,                /* RFC 3461; parameters are parsed even when not advertised */
    BARID_EXT_XCLIENT = 1 << 12,            /* offered to trusted peers only */
    BARID_EXT_VRFY = 1 << 13,               /* list VRFY in the EHLO reply */
    BARID_EXT_HELP = 1 << 14
};
/* All but STARTTLS, AUTH, DSN, XCLIENT and VRFY: what a server can always honour. */
#define BARID_EXT_DEFAULT                                                                   \
    (BARID_EXT_PIPELINING | BARID_EXT_SIZE | BARID_EXT_8BITMIME | BARID_EXT_SMTPUTF8 |      \
     BARID_EXT_ENHANCEDSTATUSCODES | BARID_EXT_CHUNKING | BARID_EXT_BINARYMIME |            \
     BARID_EXT_LIMITS | BARID_EXT_PRDR | BARID_EXT_HELP)

/* Everything a peer can make grow. 0 in a field means its default; the default is in barid_limits_default. */
typedef struct barid_limits {
    size_t line;             /* command line with CRLF; 2048: RFC 5321 asks 512, extensions add (RFC 4954: 12288 for AUTH apart) */
    size_t auth_line;        /* AUTH command and response line; 12288 (RFC 4954 4) */
    size_t data_line;        /* message line without CRLF; 0x7fffffff by default = no limit, as real mail breaks 998 */
    size_t commands;         /* per session; 10000 */
    size_t errors;           /* refused commands per session; 20 */
    size_t auth_failures;    /* per session; 3 */
    size_t noops;            /* commands that do nothing useful (NOOP, RSET, VRFY, EHLO, HELP) in a row; 100 */
    size_t recipients;       /* per transaction; 1000 (RFC 5321 4.5.3.1.8 asks at least 100); then 452 */
    size_t transactions;     /* MAIL commands per session; 0 = no limit */
    size_t pipelined;        /* input octets buffered while an event waits; 65536 */
    size_t output;           /* reply octets waiting for a client that does not read; 65536: then parsing pauses */
    size_t header;           /* octets of the header block; 262144 */
    uint64_t message;        /* octets of the message; 52428800 (50 MiB), also SIZE=. After a refusal as many again are
                              * read to hear the end; then it is answered and the session closes */
    uint32_t command_ms;     /* one whole command line must arrive within; 300000 (RFC 5321 4.5.3.2.7) */
    uint32_t data_idle_ms;   /* silence within DATA; 180000 */
    uint32_t data_min_rate;  /* octets per second over any data_rate_window_ms of DATA; 64 */
    uint32_t data_rate_window_ms; /* 60000 */
    uint32_t session_ms;     /* whole session; 0 = no limit */
    uint32_t proxy_ms;       /* PROXY header; 10000 */
    uint32_t tls_ms;         /* handshake; 60000 */
} barid_limits;
BARID_API void barid_limits_default(barid_limits *limits);

enum barid_bare_newline { BARID_BARE_REFUSE = 0, BARID_BARE_NORMALISE };

/* Named protocol switches. Zero is RFC 5321. They let an embedder imitate another server on the wire. */
typedef struct barid_switches {
    bool no_helo_needed;        /* MAIL without HELO/EHLO is accepted */
    bool second_helo_refused;   /* 503 instead of resetting the transaction */
    bool lenient_paths;         /* MAIL FROM: a@b, "Mr X <a@b>", a space after the colon is always accepted */
    bool no_enhanced_codes;     /* never give enhanced codes */
    bool strict_mixed;          /* SMTP, recipients disagree after DATA: 451 for all instead of 250 */
    bool no_null_rcpt_postmaster; /* refuse <postmaster> without a domain */
    bool strict_helo_name;      /* refuse a HELO name that is neither a domain nor a literal (501) */
    enum barid_bare_newline bare_newline;
} barid_switches;

/*
 * Shared by many sessions; borrowed, must not change while a session uses it. Zero-initialise, set
 * size, hostname, and what differs from zero.
 */
typedef struct barid_session_config {
    size_t size; /* sizeof(barid_session_config): lets the struct grow */
    enum barid_protocol protocol;
    barid_slice hostname;
    uint64_t events;     /* BARID_EVENT_BIT set of decide and observe events to raise */
    uint32_t extensions; /* BARID_EXT_... */
    uint32_t mechanisms; /* bit (1 << enum barid_auth_mechanism) */
    bool plain_auth_without_tls; /* offer PLAIN and LOGIN on an unencrypted connection */
    bool tls_required;   /* 530 to MAIL before TLS (STARTTLS must be possible) */
    bool auth_required;  /* 530 to MAIL before AUTH */
    bool proxy;          /* the connection begins with a PROXY v1 or v2 header */
    bool implicit_tls;   /* the connection begins with a TLS handshake (after the PROXY header) */
    bool xclient;        /* this peer may use XCLIENT */
    barid_limits limits;
    barid_switches switches;
    const barid_replies *replies; /* NULL = replies.def */
    uint8_t auth_seed[32];        /* keyed fake salts for unknown SCRAM users: the same for all sessions of a server */
    void (*random)(void *user, void *p, size_t n); /* nonces and challenges; required when AUTH is on */
    void *random_user;
} barid_session_config;

/* mem NULL = malloc. 0, BARID_ENOMEM, BARID_EINVALID (a config that contradicts itself). */
BARID_API int barid_session_new(barid_session **s_r, const barid_session_config *config,
                                const barid_endpoint *peer, const barid_mem *mem, uint64_t now_ms);
BARID_API void barid_session_del(barid_session **s); /* accepts NULL */

/* Bytes from the peer (after TLS where TLS is on). All are taken. 0; BARID_ELIMIT when more than the buffers
 * allow is fed although WANT_READ was off (a bug of the caller: stop reading). */
BARID_API int barid_session_feed(barid_session *s, const void *p, size_t n, uint64_t now_ms);
/* The peer closed its side, or cannot be written to. Commands that were fed are still carried out (a client may
 * close only its sending half); then a `disconnect` event follows. A message not yet complete is dropped. */
BARID_API void barid_session_eof(barid_session *s);
/* 1 = *event_r is filled, 0 = none now. */
BARID_API int barid_session_next(barid_session *s, barid_event *event_r);
/* 0, or BARID_EINVALID (token, or a verdict that the event does not allow: the session then acts as on
 * POLICY_FAILED, so a wrong answer is a 451, never an accident). */
BARID_API int barid_session_answer(barid_session *s, barid_token token, const barid_verdict *verdict);

/* Replies to send, valid until the next call on s. sent(n) drops the first n octets. */
BARID_API size_t barid_session_output(barid_session *s, const uint8_t **p_r);
BARID_API void barid_session_sent(barid_session *s, size_t n);

enum barid_want {
    BARID_WANT_READ = 1,
    BARID_WANT_WRITE = 2, /* output is waiting */
    BARID_WANT_TLS = 4,   /* output is drained: start the handshake; feed nothing before tls_done */
    BARID_WANT_CLOSE = 8  /* output is drained, disconnect was raised: close and delete */
};
BARID_API unsigned barid_session_wants(const barid_session *s);

/* Why it ended; BARID_CLOSE_NONE before that. Unless it is QUIT or PEER, the client did not ask for the end and may be
 * sending still: close only the sending half first and read away what comes, for a moment, or a reset of the connection
 * takes from the client the replies that it has not read. */
BARID_API enum barid_close_reason barid_session_close_reason(const barid_session *s);

/* In WANT_TLS, octets that were fed behind a PROXY header: the beginning of the handshake (implicit TLS only; what
 * follows STARTTLS is discarded). Valid until tls_done. */
BARID_API size_t barid_session_tls_input(const barid_session *s, const uint8_t **p_r);
/* The handshake ended. info NULL = it failed: the session closes. */
BARID_API void barid_session_tls_done(barid_session *s, const barid_tls_info *info, uint64_t now_ms);

/* Time: call tick at or after the deadline (UINT64_MAX = none), and before calls that bring no time (answer, sent)
 * when some has passed since the last that did: waits that begin in them are measured from it. Deadlines only move when the session
 * is called. A passed deadline gives 421 and closes. While an event is unanswered only limits.session_ms counts,
 * and closes after the answer. Replies that a peer does not read hold the deadline of its next command. */
BARID_API uint64_t barid_session_deadline(const barid_session *s);
BARID_API void barid_session_tick(barid_session *s, uint64_t now_ms);

/* Stop: an idle session gets 421 and closes now; one with a transaction (MAIL accepted, or later) closes
 * with 421 after it. force closes at once, with 421 where a reply is due; an event that is unanswered then is void:
 * its token is stale, its slices are gone. */
BARID_API void barid_session_stop(barid_session *s, bool force);
BARID_API bool barid_session_idle(const barid_session *s);

/* Facts, valid until the next call on s. */
BARID_API const barid_endpoint *barid_session_peer(const barid_session *s);  /* after PROXY and XCLIENT */
BARID_API const barid_endpoint *barid_session_proxy_dest(const barid_session *s); /* family NONE without PROXY */
BARID_API barid_slice barid_session_peer_name(const barid_session *s);       /* XCLIENT NAME=, else empty */
BARID_API barid_slice barid_session_helo(const barid_session *s);            /* empty = none */
BARID_API bool barid_session_is_esmtp(const barid_session *s);               /* EHLO or LHLO */
BARID_API const barid_tls_info *barid_session_tls(const barid_session *s);   /* NULL = none */
BARID_API barid_slice barid_session_user(const barid_session *s);            /* authenticated, else empty */
BARID_API enum barid_auth_mechanism barid_session_mechanism(const barid_session *s);
BARID_API size_t barid_session_commands(const barid_session *s);             /* so far */
BARID_API size_t barid_session_errors(const barid_session *s);
BARID_API size_t barid_session_auth_failures(const barid_session *s);        /* credentials that were wrong */

#ifdef __cplusplus
}
#endif
#endif
