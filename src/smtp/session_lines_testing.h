/* smtp/session_lines_testing.h: lines that many dialogues of session_testing.h share. Test code
 * only; include after cmocka.h. */
#ifndef SMTP_SESSION_LINES_TESTING_H
#define SMTP_SESSION_LINES_TESTING_H

#include "smtp/session_testing.h"

#define GREETING "S: 220 mx.example ESMTP Barid\n"
#define EHLO                                                                                   \
    "C: EHLO client.example\n"                                                                 \
    "S: 250-mx.example\n"                                                                      \
    "S: 250-PIPELINING\n"                                                                      \
    "S: 250-SIZE 52428800\n"                                                                   \
    "S: 250-8BITMIME\n"                                                                        \
    "S: 250-SMTPUTF8\n"                                                                        \
    "S: 250-ENHANCEDSTATUSCODES\n"                                                             \
    "S: 250-CHUNKING\n"                                                                        \
    "S: 250-BINARYMIME\n"                                                                      \
    "S: 250-LIMITS RCPTMAX=1000\n"                                                             \
    "S: 250-PRDR\n"                                                                            \
    "S: 250 HELP\n"
#define MAIL "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 Sender ok\n"
#define RCPT "C: RCPT TO:<b@y.example>\nS: 250 2.1.5 Recipient ok\n"
#define GO   "S: 354 End data with <CR><LF>.<CR><LF>\n"
#define QUIT "C: QUIT\nS: 221 2.0.0 Bye\n"

#define BYE     "S: 221 2.0.0 Bye\n"
#define RSET    "C: RSET\nS: 250 2.0.0 Ok\n"
#define QUEUED  "S: 250 2.0.0 Ok: queued as Q\n"
#define MESSAGE "C: Subject: x\nC: \nC: body\nC: .\n"
#define LHLO                                                                                   \
    "O: lmtp\n"                                                                                \
    "S: 220 mx.example LMTP Barid\n"                                                           \
    "C: LHLO client.example\n"                                                                 \
    "S: 250-mx.example\n"                                                                      \
    "S: 250-PIPELINING\n"                                                                      \
    "S: 250-SIZE 52428800\n"                                                                   \
    "S: 250-8BITMIME\n"                                                                        \
    "S: 250-SMTPUTF8\n"                                                                        \
    "S: 250-ENHANCEDSTATUSCODES\n"                                                             \
    "S: 250-CHUNKING\n"                                                                        \
    "S: 250-BINARYMIME\n"                                                                      \
    "S: 250-LIMITS RCPTMAX=1000\n"                                                             \
    "S: 250 HELP\n"
/* A greeting without a list. */
#define HELO "C: HELO c\nS: 250 mx.example\n"

static inline void check(const char *text)
{
    const char *why;

    if (!script_check(text, &why))
        fail_msg("%s", why);
}

#endif
