/*
 * barid/client.h: one client session (SMTP, submission or LMTP) without any I/O: the mirror
 * image of session.h. It greets, starts TLS, authenticates, then sends one mail after another.
 *
 *   barid_client_new(&c, &config, NULL, now_ms);
 *   for (;;) {
 *       while (barid_client_next(c, &event) == 1) switch (event.id) {      // 1. events
 *           BARID_CLIENT_READY:     barid_client_send(c, &mail, now) or barid_client_quit(c, now)
 *           BARID_CLIENT_WANT_BODY: barid_client_body(c, piece, n, last, now)   // now or later
 *           BARID_CLIENT_RESULT:    what became of recipient event.rcpt
 *           BARID_CLIENT_DONE:      the mail is over; READY follows, or CLOSED
 *           BARID_CLIENT_CLOSED:    the session is over, and why
 *       }
 *       n = barid_client_output(c, &p);                                     // 2. send
 *       ... write p[0..n), then barid_client_sent(c, n, now) ...
 *       ... 3. what barid_client_wants says: read and feed, TLS, close; tick at the deadline ...
 *   }
 *
 * Rules.
 *  - One thread at a time; events are pulled; the results do not depend on how the input is cut.
 *  - Nothing is sent that the server did not offer; a mail that needs what is not offered fails before
 *    MAIL, with stage LOCAL.
 *  - Nothing ambiguous is sent: a bare CR or LF in the body (BINARYMIME apart) is made CRLF or ends the
 *    mail with stage LOCAL, 5.6.11, as config.bare_newline says.
 *  - What the body is the host says (params.body); octets above 127 are not looked for.
 *  - A message is never held: WANT_BODY asks for at most config.chunk octets at a time.
 *  - After READY no recipient is without exactly one RESULT when DONE comes, whatever happens.
 */
#ifndef BARID_CLIENT_H
#define BARID_CLIENT_H

#include "barid/address.h"
#include "barid/event.h"
#include "barid/reply.h"
#include "barid/session.h"
#include "barid/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct barid_client barid_client;

/* Against hostile servers, besides the limits of a reply: 4096 octets a line, 512 lines, 64 KiB in all. */
#define BARID_CLIENT_INPUT_MAX      131072 /* octets fed and not yet read: then WANT_READ is withheld */
#define BARID_CLIENT_KEYWORDS_MAX   128    /* lines of an EHLO reply */
#define BARID_CLIENT_TEXT_MAX       512    /* octets kept of a reply's text for a result */
#define BARID_CLIENT_CHALLENGES_MAX 8      /* rounds of one AUTH: no mechanism has more than three */
#define BARID_CLIENT_CHUNK_DEFAULT  65536
#define BARID_CLIENT_TRANSCRIPT_MAX 262144 /* octets of dialogue waiting to be pulled; more are dropped */

enum barid_client_tls {
    BARID_CLIENT_TLS_NONE = 0,
    BARID_CLIENT_TLS_OPPORTUNISTIC, /* STARTTLS where offered; refused: go on without */
    BARID_CLIENT_TLS_REQUIRED       /* STARTTLS, or the session fails */
};

/* Milliseconds; 0 = the default, which is RFC 5321 4.5.3.2. */
typedef struct barid_client_timeouts {
    uint32_t greeting_ms; /* 300000 (.1) */
    uint32_t helo_ms;     /* 300000 */
    uint32_t tls_ms;      /* 120000: STARTTLS reply, and again the handshake */
    uint32_t auth_ms;     /* 300000 */
    uint32_t mail_ms;     /* 300000 (.2) */
    uint32_t rcpt_ms;     /* 300000 (.3) */
    uint32_t data_ms;     /* 120000 (.4) */
    uint32_t block_ms;    /* 180000 (.5): without progress while the message is sent; each BDAT reply */
    uint32_t final_ms;    /* 600000 (.6) */
    uint32_t quit_ms;     /* 5000: RSET apart nothing depends on the reply */
} barid_client_timeouts;

/* Borrowed, with what it points to, until del. Zero-initialise, set size, helo, and the rest. */
typedef struct barid_client_config {
    size_t size; /* sizeof(barid_client_config) */
    enum barid_protocol protocol;
    barid_slice helo; /* our name, a domain or an address literal */
    enum barid_client_tls tls;
    bool implicit_tls;          /* the connection begins with a handshake */
    uint32_t mechanisms_plain;  /* bit (1 << enum barid_auth_mechanism): allowed without TLS */
    uint32_t mechanisms_secure; /* allowed with TLS */
    barid_slice authcid;        /* empty = do not authenticate */
    barid_slice authzid, password;
    bool auth_optional; /* no mechanism in common, or AUTH not offered: go on without. A refusal still ends the session */
    bool no_pipelining, no_chunking, no_ehlo; /* do without, even where offered */
    uint32_t ignore;            /* BARID_EXT_... bits: as if the server did not offer them */
    size_t chunk;               /* octets asked for at a time, and of a BDAT; 0 = the default */
    enum barid_bare_newline bare_newline;
    bool transcript; /* raise TRANSCRIPT events */
    barid_client_timeouts timeouts;
    void (*random)(void *user, void *p, size_t n); /* needed for SCRAM */
    void *random_user;
} barid_client_config;

enum barid_client_stage {
    BARID_STAGE_CONNECT = 0, /* greeting */
    BARID_STAGE_HELO,
    BARID_STAGE_TLS,
    BARID_STAGE_AUTH,
    BARID_STAGE_MAIL,
    BARID_STAGE_RCPT,
    BARID_STAGE_DATA,  /* DATA, or a BDAT but the last */
    BARID_STAGE_FINAL, /* the message was sent: a lost connection here may mean a delivered mail */
    BARID_STAGE_IDLE,  /* no mail under way, QUIT included */
    BARID_STAGE_LOCAL  /* decided here, nothing was asked of the server */
};
BARID_API const char *barid_client_stage_name(enum barid_client_stage stage);

enum barid_client_event_id {
    BARID_CLIENT_NONE = 0,
    BARID_CLIENT_RESULT,
    BARID_CLIENT_DONE,
    BARID_CLIENT_READY,
    BARID_CLIENT_WANT_BODY,
    BARID_CLIENT_TRANSCRIPT,
    BARID_CLIENT_CLOSED
};

/* Slices are valid until the next call on the client. */
typedef struct barid_client_event {
    enum barid_client_event_id id;
    size_t rcpt;                   /* RESULT: index in mail.rcpts */
    enum barid_client_stage stage; /* RESULT, CLOSED: where it was decided */
    /* RESULT, CLOSED: the server's reply, or for stage LOCAL ours. code 0: there was none, see error.
     * CLOSED after QUIT: code 221. */
    barid_reply reply;
    int error;     /* 0, or BARID_ECLOSED, ETIMEOUT, ESYNTAX, ELIMIT, ENOMEM, EUNSUPPORTED, ENOTFOUND */
    size_t want;   /* WANT_BODY: at most so many octets */
    bool from_server; /* TRANSCRIPT */
    barid_slice line; /* TRANSCRIPT: one line; secrets read "*", the message is only counted */
} barid_client_event;

typedef struct barid_client_rcpt {
    barid_slice address;     /* without angle brackets */
    barid_rcpt_params params; /* given where the server offers DSN, else left out (RFC 3461 5.2.2) */
} barid_client_rcpt;

/* Borrowed, with what it points to, until DONE. */
typedef struct barid_client_mail {
    barid_slice sender; /* without angle brackets; empty = the null sender */
    /* size, RET, ENVID and AUTH are given where offered, else left out. body and smtputf8 are needs:
     * without 8BITMIME, BINARYMIME with CHUNKING, SMTPUTF8, or above the server's SIZE, the mail fails. prdr is a
     * wish. */
    barid_mail_params params;
    const barid_client_rcpt *rcpts;
    size_t n_rcpts; /* at least 1 */
} barid_client_mail;

/* 0, BARID_ENOMEM, BARID_EINVALID (helo not a name, protocol, a contradiction). */
BARID_API int barid_client_new(barid_client **c_r, const barid_client_config *config,
                               const barid_mem *mem, uint64_t now_ms);
BARID_API void barid_client_del(barid_client **c); /* accepts NULL; wipes secrets */

/* Bytes from the server (after TLS where it is on). 0; BARID_ELIMIT or BARID_ENOMEM: nothing was taken, and
 * the session is lost. */
BARID_API int barid_client_feed(barid_client *c, const void *p, size_t n, uint64_t now_ms);
BARID_API void barid_client_eof(barid_client *c);
BARID_API int barid_client_next(barid_client *c, barid_client_event *event_r); /* 1, 0 = none now */

BARID_API size_t barid_client_output(barid_client *c, const uint8_t **p_r); /* valid until the next call */
BARID_API void barid_client_sent(barid_client *c, size_t n, uint64_t now_ms);
BARID_API unsigned barid_client_wants(const barid_client *c); /* enum barid_want */
/* The handshake ended. After a failed one nothing can be said: CLOSED, stage TLS. */
BARID_API void barid_client_tls_done(barid_client *c, bool ok, uint64_t now_ms);
BARID_API uint64_t barid_client_deadline(const barid_client *c); /* UINT64_MAX = none */
BARID_API void barid_client_tick(barid_client *c, uint64_t now_ms);

/* Once after each READY. 0; BARID_EINVALID (not ready, no recipient); BARID_ESYNTAX (an address or
 * parameter that cannot stand in a command): still ready; BARID_ENOMEM. */
BARID_API int barid_client_send(barid_client *c, const barid_client_mail *mail, uint64_t now_ms);
/* The answer to WANT_BODY: n at most event.want; last ends the message. 0, or BARID_EINVALID. What goes wrong
 * otherwise comes as RESULT events. */
BARID_API int barid_client_body(barid_client *c, const void *p, size_t n, bool last, uint64_t now_ms);
/* Between mails: QUIT. In a mail: give up at once, CLOSED without QUIT; a message half sent is never ended. */
BARID_API void barid_client_quit(barid_client *c, uint64_t now_ms);

/* Facts from the last EHLO reply, without what config.ignore names. */
BARID_API uint32_t barid_client_extensions(const barid_client *c); /* BARID_EXT_... */
BARID_API bool barid_client_is_esmtp(const barid_client *c);
/* Is the keyword offered, ignored or not? *value_r: what follows it. */
BARID_API bool barid_client_extension(const barid_client *c, barid_slice keyword, barid_slice *value_r);
BARID_API bool barid_client_is_tls(const barid_client *c);
BARID_API enum barid_auth_mechanism barid_client_mechanism(const barid_client *c); /* authenticated with */
/* Where the session is now. FINAL: the end of the message is in the output, or was sent. */
BARID_API enum barid_client_stage barid_client_at(const barid_client *c);

#ifdef __cplusplus
}
#endif
#endif
