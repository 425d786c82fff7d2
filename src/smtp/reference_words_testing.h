/* smtp/reference_words_testing.h: how reference_testing.c (commands) and
 * reference_words_testing.c (arguments and messages) and reference_auth_testing.c divide the
 * work. Nobody else includes it. */
#ifndef SMTP_REFERENCE_WORDS_TESTING_H
#define SMTP_REFERENCE_WORDS_TESTING_H

#include "smtp/reference_testing.h"

#define REFERENCE_RCPTS     1000 /* the default limits of a session */
#define REFERENCE_AUTH_LINE 12288

struct server {
    const struct reference_options *o;
    struct reference *r;
    barid_slice input;
    const size_t *ends;
    size_t n_ends;
    size_t at; /* of the input */
    bool over; /* the connection is closed, or the input ends */

    bool shut, tls, greeted, esmtp, user;
    size_t errors, idle, transactions, auth_failures;

    /* The mail under way. */
    bool mail, tried, bdat, broken, binary, prdr, smtputf8;
    barid_slice sender;
    struct {
        barid_slice address;
        enum barid_verdict_kind kind; /* after the message */
    } rcpt[REFERENCE_RCPTS];
    size_t n_rcpts;

    /* Its content: header block, blank line and body as they are kept. */
    struct buf content;
    bool in_body, cr;
    size_t chunk_at, line_n;
    unsigned refusal;
    uint64_t dropped;
};

void reference_say(struct server *s, unsigned code);
void reference_give_up(struct server *s);
void reference_hang_up(struct server *s);

void reference_auth(struct server *s, barid_slice arg);

/* Nothing but letters, digits and the characters of extra. */
bool reference_all_of(barid_slice s, const char *extra);
/* Whether all of HELO's argument is a name of a host; unsure where it is neither plain nor an
 * address that is known here. */
bool reference_is_host(struct server *s, barid_slice name);

/* The code for MAIL or RCPT as far as the argument decides, 250 when it is right, 0 when the
 * reference gave up. */
unsigned reference_mail_argument(struct server *s, barid_slice arg);
unsigned reference_rcpt_argument(struct server *s, barid_slice arg, barid_slice *address_r);
bool reference_number(barid_slice text, uint64_t max, uint64_t *value_r);

void reference_content_begin(struct server *s);
void reference_take_octet(struct server *s, char c); /* of the message */
bool reference_take_data(struct server *s);          /* false: the input ends, or unsure */
/* After its last octet: the code that refuses it, or 0. */
unsigned reference_content_refusal(struct server *s);

#endif
