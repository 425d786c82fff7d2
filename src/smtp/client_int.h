/*
 * smtp/client_int.h: inside of the client session. One file per phase:
 *
 *   client.c        the public face: input, events, output, time
 *   client_out.c    command lines and the transcript
 *   client_end.c    results of recipients, and how a mail or the session ends
 *   client_greet.c  greeting, EHLO and HELO, STARTTLS
 *   client_auth.c   AUTH
 *   client_mail.c   send: what the server must offer, MAIL, RCPT, DATA; RSET and QUIT
 *   client_data.c   the message by DATA or BDAT, and the replies to it
 *   client_body.c   line ends and dots of the message
 *
 *   GREETING -> EHLO [-> HELO] [-> STARTTLS -> TLS -> EHLO] [-> AUTH] -> READY
 *   READY -> ENVELOPE -> BODY -> FINAL -> READY, or RSET first where the server has half a mail
 *   any -> QUIT -> CLOSED, any -> CLOSED
 */
#ifndef SMTP_CLIENT_INT_H
#define SMTP_CLIENT_INT_H

#include "barid/client.h"
#include "base/arena.h"
#include "base/buf.h"
#include "smtp/reply_parse.h"
#include "smtp/sasl_client.h"

enum client_phase {
    PHASE_GREETING,
    PHASE_EHLO,
    PHASE_HELO,
    PHASE_STARTTLS,
    PHASE_TLS, /* the host shakes hands */
    PHASE_AUTH,
    PHASE_READY,
    PHASE_ENVELOPE,
    PHASE_BODY,
    PHASE_FINAL,
    PHASE_RSET,
    PHASE_QUIT,
    PHASE_CLOSED,
    PHASES
};

/* Commands are added to the output only below it: a server that does not read stops us. */
#define CLIENT_WINDOW 65536
/* BDAT chunks whose replies are outstanding, with PIPELINING. */
#define CLIENT_CHUNKS 4

/* What became of a recipient, or of the session. text is in an arena or static. */
struct client_answer {
    enum barid_client_stage stage;
    uint16_t code;
    int error;
    char enhanced[12];
    barid_slice text;
};

struct client_rcpt {
    bool accepted; /* RCPT was; still waiting for the message */
    bool decided;
    struct client_answer answer;
};

struct client_body {
    bool asked;      /* WANT_BODY was raised and not answered */
    bool ended;      /* the last piece was given */
    bool cr;         /* a CR came, what follows is not known yet */
    bool mid_line;   /* octets since the last line end */
    bool failed;     /* a chunk was refused, or the body cannot be sent: no more */
    size_t chunks;   /* BDAT replies outstanding */
    uint64_t octets; /* sent so far, for the transcript */
};

struct barid_client {
    const barid_mem *mem;
    const barid_client_config *config;
    enum client_phase phase;
    uint64_t now, deadline;
    bool eof;
    struct buf in, out, ehlo, transcript;
    size_t transcript_at;
    struct reply_parser reply;

    bool esmtp, tls;
    uint32_t extensions;
    uint64_t size_limit;
    uint32_t offered; /* mechanisms, by bit */
    struct sasl_client *sasl;
    enum barid_auth_mechanism mechanism; /* under way, then done */
    bool auth_done, auth_initial_later;
    unsigned auth_rounds;
    int auth_error; /* why we cancelled */

    const barid_client_mail *mail; /* NULL between mails */
    struct client_rcpt *rcpts;
    struct arena texts; /* of the answers */
    bool mail_failed, use_utf8, use_bdat, use_prdr, prdr_begun;
    size_t sent, replied; /* of the sequence MAIL, RCPT..., DATA */
    size_t accepted;
    size_t final; /* LMTP, PRDR: the recipient that the next reply is for */
    struct client_body body;

    bool emitting; /* RESULT events, the next is for recipient emit */
    size_t emit;
    unsigned pending; /* 1 << enum barid_client_event_id; the lowest first */
    struct client_answer closed;
    char closed_text[BARID_CLIENT_TEXT_MAX];
};

/* client.c */
void client_enter(struct barid_client *c, enum client_phase phase); /* and set the deadline */
enum barid_client_stage client_stage(const struct barid_client *c);

/* client_out.c: a line without CRLF. shown: for the transcript where it holds a secret, else
 * empty. When memory fails the session is lost; nothing needs to be checked. */
void client_line(struct barid_client *c, barid_slice line, barid_slice shown);
void client_fmt(struct barid_client *c, const char *fmt, ...) BARID_PRINTF(2, 3);
void client_transcript(struct barid_client *c, bool from_server, barid_slice line);
void client_transcript_reply(struct barid_client *c);

/* client_end.c */
/* The reply at hand becomes the answer of one, or of every undecided recipient. */
void client_decide(struct barid_client *c, size_t rcpt, enum barid_client_stage stage);
void client_decide_all(struct barid_client *c, enum barid_client_stage stage);
void client_decide_local(struct barid_client *c, uint16_t code, const char *enhanced,
                         const char *text);
/* PRDR: what was accepted one by one is undecided until the last reply. */
void client_take_back(struct barid_client *c);
void client_finish(struct barid_client *c, bool rset); /* the mail is over */
void client_lost(struct barid_client *c, int error);   /* nothing more can be said */
void client_lost_reply(struct barid_client *c);        /* ... because of the reply at hand */
/* The session fails politely: remember the reply at hand (error 0) or the error, then QUIT. */
void client_give_up(struct barid_client *c, int error, const char *text);
void client_leave(struct barid_client *c); /* QUIT */

/* replies, per phase */
void client_reply_greeting(struct barid_client *c);
void client_reply_ehlo(struct barid_client *c);
void client_reply_helo(struct barid_client *c);
void client_reply_starttls(struct barid_client *c);
void client_reply_auth(struct barid_client *c);
void client_reply_envelope(struct barid_client *c);
void client_reply_body(struct barid_client *c);
void client_reply_final(struct barid_client *c);
void client_reply_rset(struct barid_client *c);
void client_reply_quit(struct barid_client *c);

void client_ehlo(struct barid_client *c);
void client_auth(struct barid_client *c);     /* or READY, when there is no need */
void client_envelope(struct barid_client *c); /* send what may be sent now */
void client_want_body(struct barid_client *c); /* raise WANT_BODY when there is room */
/* Append a piece as it goes on the wire. 0, BARID_ENOMEM, BARID_ESYNTAX (bare CR or LF). */
int client_body_put(struct barid_client *c, struct buf *out, barid_slice piece, bool last);

static inline bool client_can(const struct barid_client *c, uint32_t extension)
{
    return (c->extensions & extension) != 0;
}

#endif
