/*
 * smtp/client_scenarios.h: the dialogues of client_test.c, where the steps of a script are
 * explained.
 */
#ifndef SMTP_CLIENT_SCENARIOS_H
#define SMTP_CLIENT_SCENARIOS_H

#include "barid/client.h"

struct scenario {
    const char *name;
    barid_client_config config; /* size and helo are filled in */
    const barid_client_mail *mails;
    size_t n_mails, piece;
    const char *body, *script, *log, *transcript;
};

#define RCPT(a)                                                                                \
    {                                                                                          \
        .address = { a, sizeof(a) - 1 }                                                        \
    }
static const barid_client_rcpt one[] = {RCPT("b@x")};
static const barid_client_rcpt three[] = {RCPT("b@x"), RCPT("c@x"), RCPT("d@x")};
static const barid_client_rcpt dsn[] = {
    {.address = {"b@x", 3},
     .params = {.notify = BARID_NOTIFY_FAILURE | BARID_NOTIFY_DELAY,
                .orcpt = {"rfc822;q@x", 10}}}};

static const barid_client_mail mail_one = {.sender = {"a@x", 3}, .rcpts = one, .n_rcpts = 1};
static const barid_client_mail mail_two[] = {{.sender = {"a@x", 3}, .rcpts = one, .n_rcpts = 1},
                                             {.sender = {"", 0}, .rcpts = three, .n_rcpts = 3}};
static const barid_client_mail mail_three = {
    .sender = {"a@x", 3}, .rcpts = three, .n_rcpts = 3};
static const barid_client_mail mail_prdr = {
    .sender = {"a@x", 3}, .params = {.prdr = true}, .rcpts = three, .n_rcpts = 3};
static const barid_client_mail mail_full = {.sender = {"a@x", 3},
                                            .params = {.size_given = true,
                                                       .size = 5,
                                                       .body = BARID_BODY_8BITMIME,
                                                       .ret = BARID_RET_HDRS,
                                                       .envid = {"id", 2},
                                                       .auth_given = true,
                                                       .auth = {"<>", 2}},
                                            .rcpts = dsn,
                                            .n_rcpts = 1};
static const barid_client_mail mail_binary = {.sender = {"a@x", 3},
                                              .params = {.body = BARID_BODY_BINARYMIME},
                                              .rcpts = one,
                                              .n_rcpts = 1};
static const barid_client_rcpt utf8_rcpt[] = {RCPT("\xc3\xa4@x")};
static const barid_client_mail mail_utf8 = {
    .sender = {"a@x", 3}, .rcpts = utf8_rcpt, .n_rcpts = 1};
static const barid_client_rcpt evil_rcpt[] = {RCPT("b@x>\r\nDATA")};
static const barid_client_mail mail_evil = {
    .sender = {"a@x", 3}, .rcpts = evil_rcpt, .n_rcpts = 1};

#define HELLO       "S: 220 mx\nC: EHLO me.example\n"
#define PLAIN_EHLO  HELLO "S: 250 mx\n"
#define PIPE_EHLO   HELLO "S: 250-mx\nS: 250 PIPELINING\n"
#define BYE         "C: QUIT\nS: 221 2.0.0 bye\n"
#define CLOSED_221  "CLOSED 0 idle 221  0 \n"
#define SENDS(mail) .mails = &(mail), .n_mails = 1

static const struct scenario scenarios[] = {
    {.name = "quit", .script = PLAIN_EHLO BYE, .log = CLOSED_221},
    {.name = "refused",
     .script = "S: 554-5.7.1 no\nS: 554 5.7.1 way\nC: QUIT\nE:\n",
     .log = "CLOSED 0 connect 554 5.7.1 0 no\nway\n"},
    {.name = "not smtp",
     .script = "S: HTTP/1.1 400\n",
     .log = "CLOSED 0 connect 0  -3 not in the grammar\n"},
    {.name = "helo",
     .script = HELLO "S: 502 what\nC: HELO me.example\nS: 250 mx\n" BYE,
     .log = CLOSED_221},
    {.name = "lmtp has no helo",
     .config = {.protocol = BARID_LMTP},
     .script = "S: 220 mx\nC: LHLO me.example\nS: 500 what\nC: QUIT\nS: 221 x\n",
     .log = "CLOSED 0 helo 500  0 what\n"},
    {.name = "lockstep",
     SENDS(mail_one),
     .body = "Subject: x\r\n\r\n.dot\r\n..\r\nend",
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n"
     "C: Subject: x\nC: \nC: ..dot\nC: ...\nC: end\nC: .\nS: 250 2.0.0 kept\n" BYE,
     .log = "RESULT 0 final 250 2.0.0 0 kept\nDONE\n" CLOSED_221},
    {.name = "small pieces",
     .piece = 1,
     SENDS(mail_one),
     .body = "a\r\n.\r\n.b\r\n",
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n"
     "C: a\nC: ..\nC: ..b\nC: .\nS: 250 ok\n" BYE,
     .log = "RESULT 0 final 250  0 ok\nDONE\n" CLOSED_221},
    {.name = "empty",
     SENDS(mail_one),
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n"
     "C: .\nS: 250 ok\n" BYE,
     .log = "RESULT 0 final 250  0 ok\nDONE\n" CLOSED_221},
    {.name = "pipelining, two mails",
     .mails = mail_two,
     .n_mails = 2,
     .body = "x\r\n",
     .script = PIPE_EHLO
     "C: MAIL FROM:<a@x>\nC: RCPT TO:<b@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
     "C: x\nC: .\nS: 250 one\nC: MAIL FROM:<>\nC: RCPT TO:<b@x>\nC: RCPT TO:<c@x>\nC: RCPT "
     "TO:<d@x>\n"
     "C: DATA\nS: 250 ok\nS: 250 ok\nS: 550 5.1.1 who\nS: 452 4.5.3 more\nS: 354 go\n"
     "C: x\nC: .\nS: 250 two\n" BYE,
     .log = "RESULT 0 final 250  0 one\nDONE\nRESULT 0 final 250  0 two\nRESULT 1 rcpt 550 "
            "5.1.1 0 who\n"
            "RESULT 2 rcpt 452 4.5.3 0 more\nDONE\n" CLOSED_221},
    {.name = "mail refused, pipelined",
     SENDS(mail_one),
     .script = PIPE_EHLO
     "C: MAIL FROM:<a@x>\nC: RCPT TO:<b@x>\nC: DATA\nS: 550 5.7.1 no\nS: 503 x\nS: 503 y\n"
     "C: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 mail 550 5.7.1 0 no\nDONE\n" CLOSED_221},
    {.name = "nobody, yet 354",
     SENDS(mail_one),
     .script = PIPE_EHLO
     "C: MAIL FROM:<a@x>\nC: RCPT TO:<b@x>\nC: DATA\nS: 250 ok\nS: 550 no\nS: 354 go\n"
     "C: .\nS: 554 none\n" BYE,
     .log = "RESULT 0 rcpt 550  0 no\nDONE\n" CLOSED_221},
    {.name = "nobody, lockstep",
     SENDS(mail_one),
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 550 no\nC: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 rcpt 550  0 no\nDONE\n" CLOSED_221},
    {.name = "data refused",
     SENDS(mail_one),
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 451 4.3.0 no\n"
     "C: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 data 451 4.3.0 0 no\nDONE\n" CLOSED_221},
    {.name = "lmtp",
     .config = {.protocol = BARID_LMTP},
     SENDS(mail_three),
     .body = "x\r\n",
     .script = "S: 220 mx\nC: LHLO me.example\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL "
               "FROM:<a@x>\nC: RCPT TO:<b@x>\n"
               "C: RCPT TO:<c@x>\nC: RCPT TO:<d@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 550 "
               "no\nS: 250 ok\nS: 354 go\n"
               "C: x\nC: .\nS: 250 first\nS: 452 4.2.2 full\n" BYE,
     .log = "RESULT 0 final 250  0 first\nRESULT 1 rcpt 550  0 no\nRESULT 2 final 452 4.2.2 0 "
            "full\nDONE\n" CLOSED_221},
    {.name = "lmtp lost half way",
     .config = {.protocol = BARID_LMTP},
     SENDS(mail_three),
     .body = "x\r\n",
     .script = "S: 220 mx\nC: LHLO me.example\nS: 250-mx\nS: 250 PIPELINING\nC: MAIL "
               "FROM:<a@x>\nC: RCPT TO:<b@x>\n"
               "C: RCPT TO:<c@x>\nC: RCPT TO:<d@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 "
               "ok\nS: 250 ok\nS: 354 go\n"
               "C: x\nC: .\nS: 250 first\nE:\n",
     .log = "RESULT 0 final 250  0 first\nRESULT 1 final 0  -5 closed\nRESULT 2 final 0  -5 "
            "closed\nDONE\n"
            "CLOSED 0 final 0  -5 closed\n"},
    {.name = "prdr",
     SENDS(mail_prdr),
     .body = "x\r\n",
     .script = HELLO
     "S: 250-mx\nS: 250 PRDR\nC: MAIL FROM:<a@x> PRDR\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\n"
     "C: RCPT TO:<c@x>\nS: 250 ok\nC: RCPT TO:<d@x>\nS: 550 no\nC: DATA\nS: 354 go\nC: x\nC: "
     ".\n"
     "S: 353 wait\nS: 250 b\nS: 550 5.7.1 c\nS: 250 all\n" BYE,
     .log = "RESULT 0 final 250  0 b\nRESULT 1 final 550 5.7.1 0 c\nRESULT 2 rcpt 550  0 "
            "no\nDONE\n" CLOSED_221},
    {.name = "prdr taken back",
     SENDS(mail_prdr),
     .body = "x\r\n",
     .script = HELLO
     "S: 250-mx\nS: 250-PIPELINING\nS: 250 PRDR\nC: MAIL FROM:<a@x> PRDR\nC: RCPT TO:<b@x>\n"
     "C: RCPT TO:<c@x>\nC: RCPT TO:<d@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 "
     "ok\nS: 354 go\n"
     "C: x\nC: .\nS: 353 wait\nS: 250 b\nS: 550 c\nS: 250 d\nS: 451 4.3.0 disk\n" BYE,
     .log = "RESULT 0 final 451 4.3.0 0 disk\nRESULT 1 final 550  0 c\nRESULT 2 final 451 "
            "4.3.0 0 disk\nDONE\n" CLOSED_221},
    {.name = "prdr, server of one mind",
     SENDS(mail_prdr),
     .body = "x\r\n",
     .script = HELLO
     "S: 250-mx\nS: 250-PIPELINING\nS: 250 PRDR\nC: MAIL FROM:<a@x> PRDR\nC: RCPT TO:<b@x>\n"
     "C: RCPT TO:<c@x>\nC: RCPT TO:<d@x>\nC: DATA\nS: 250 ok\nS: 250 ok\nS: 250 ok\nS: 250 "
     "ok\nS: 354 go\n"
     "C: x\nC: .\nS: 550 all\n" BYE,
     .log = "RESULT 0 final 550  0 all\nRESULT 1 final 550  0 all\nRESULT 2 final 550  0 "
            "all\nDONE\n" CLOSED_221},
    {.name = "parameters",
     SENDS(mail_full),
     .body = "x\r\n",
     .script =
         HELLO "S: 250-mx\nS: 250-SIZE 10\nS: 250-8BITMIME\nS: 250-DSN\nS: 250 AUTH PLAIN\n"
               "C: MAIL FROM:<a@x> SIZE=5 BODY=8BITMIME RET=HDRS ENVID=id AUTH=<>\nS: 250 ok\n"
               "C: RCPT TO:<b@x> NOTIFY=FAILURE,DELAY ORCPT=rfc822;q@x\nS: 550 no\nC: RSET\nS: "
               "250 ok\n" BYE,
     .log = "RESULT 0 rcpt 550  0 no\nDONE\n" CLOSED_221},
    {.name = "parameters, extensions ignored",
     .config = {.ignore = BARID_EXT_SIZE | BARID_EXT_DSN | BARID_EXT_AUTH},
     SENDS(mail_full),
     .body = "x\r\n",
     .script = HELLO "S: 250-mx\nS: 250-SIZE 4\nS: 250-8BITMIME\nS: 250-DSN\nS: 250 AUTH PLAIN\n"
                     "C: MAIL FROM:<a@x> BODY=8BITMIME\nS: 250 ok\n"
                     "C: RCPT TO:<b@x>\nS: 550 no\nC: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 rcpt 550  0 no\nDONE\n" CLOSED_221},
    {.name = "8bitmime ignored",
     .config = {.ignore = BARID_EXT_8BITMIME},
     SENDS(mail_full),
     .script = HELLO "S: 250-mx\nS: 250 8BITMIME\n" BYE,
     .log = "RESULT 0 local 554 5.6.3 0 the server does not offer 8BITMIME\nDONE\n" CLOSED_221},
    {.name = "too big",
     SENDS(mail_full),
     .script = HELLO "S: 250-mx\nS: 250-8BITMIME\nS: 250 SIZE 4\n" BYE,
     .log = "RESULT 0 local 552 5.3.4 0 the message is larger than the server "
            "takes\nDONE\n" CLOSED_221},
    {.name = "no 8bitmime",
     SENDS(mail_full),
     .script = PLAIN_EHLO BYE,
     .log = "RESULT 0 local 554 5.6.3 0 the server does not offer 8BITMIME\nDONE\n" CLOSED_221},
    {.name = "no smtputf8",
     SENDS(mail_utf8),
     .script = PLAIN_EHLO BYE,
     .log = "RESULT 0 local 550 5.6.7 0 the server does not offer SMTPUTF8\nDONE\n" CLOSED_221},
    {.name = "smtputf8",
     SENDS(mail_utf8),
     .script = HELLO "S: 250-mx\nS: 250 SMTPUTF8\nC: MAIL FROM:<a@x> SMTPUTF8\nS: 250 ok\nC: "
                     "RCPT TO:<\xc3\xa4@x>\n"
                     "S: 550 no\nC: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 rcpt 550  0 no\nDONE\n" CLOSED_221},
    {.name = "no binarymime",
     SENDS(mail_binary),
     .script = HELLO "S: 250-mx\nS: 250 BINARYMIME\n" BYE,
     .log =
         "RESULT 0 local 554 5.6.3 0 the server does not offer BINARYMIME\nDONE\n" CLOSED_221},
    {.name = "evil", SENDS(mail_evil), .script = PLAIN_EHLO BYE, .log = "send -3\n" CLOSED_221},
    {.name = "chunks",
     .config = {.chunk = 4},
     SENDS(mail_one),
     .body = "ab\r\n.c\r\nd\r\n",
     .script = HELLO "S: 250-mx\nS: 250-PIPELINING\nS: 250 CHUNKING\nC: MAIL FROM:<a@x>\nC: "
                     "RCPT TO:<b@x>\nS: 250 ok\n"
                     "S: 250 ok\nC: BDAT 4\nC: ab\nC: BDAT 4\nC: .c\nC: BDAT 3 LAST\nC: d\nS: "
                     "250 1\nS: 250 2\nS: 250 done\n" BYE,
     .log = "RESULT 0 final 250  0 done\nDONE\n" CLOSED_221},
    {.name = "chunk refused",
     .config = {.chunk = 4},
     SENDS(mail_one),
     .body = "ab\r\n.c\r\nd\r\n",
     .script = HELLO "S: 250-mx\nS: 250-PIPELINING\nS: 250 CHUNKING\nC: MAIL FROM:<a@x>\nC: "
                     "RCPT TO:<b@x>\nS: 250 ok\n"
                     "S: 250 ok\nC: BDAT 4\nC: ab\nC: BDAT 4\nC: .c\nC: BDAT 3 LAST\nC: d\nS: "
                     "250 1\nS: 552 5.3.4 big\nS: 503 x\n"
                     "C: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 data 552 5.3.4 0 big\nDONE\n" CLOSED_221},
    {.name = "chunk refused, lockstep",
     .config = {.chunk = 4},
     SENDS(mail_one),
     .body = "ab\r\n.c\r\nd\r\n",
     .script = HELLO
     "S: 250-mx\nS: 250 CHUNKING\nC: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\n"
     "C: BDAT 4\nC: ab\nS: 552 5.3.4 big\nC: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 data 552 5.3.4 0 big\nDONE\n" CLOSED_221},
    {.name = "bare lf in data",
     SENDS(mail_one),
     .body = "a\nb\r\n",
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n",
     .log = "RESULT 0 local 550 5.6.11 0 the message has a bare CR or LF\nDONE\n"
            "CLOSED 0 data 0  -3 not in the grammar\n"},
    {.name = "bare cr at the end, bdat",
     SENDS(mail_one),
     .body = "a\r",
     .script = HELLO
     "S: 250-mx\nS: 250 CHUNKING\nC: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\n"
     "C: RSET\nS: 250 ok\n" BYE,
     .log = "RESULT 0 local 550 5.6.11 0 the message has a bare CR or LF\nDONE\n" CLOSED_221},
    {.name = "normalise",
     .piece = 1,
     .config = {.bare_newline = BARID_BARE_NORMALISE},
     SENDS(mail_one),
     .body = "a\n.\nb\r.\r\r\n\n.\r",
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 250 ok\nC: DATA\nS: 354 go\n"
     "C: a\nC: ..\nC: b\nC: ..\nC: \nC: \nC: ..\nC: .\nS: 250 ok\n" BYE,
     .log = "RESULT 0 final 250  0 ok\nDONE\n" CLOSED_221},
    {.name = "421",
     SENDS(mail_three),
     .script = PLAIN_EHLO "C: MAIL FROM:<a@x>\nS: 250 ok\nC: RCPT TO:<b@x>\nS: 550 no\nC: RCPT "
                          "TO:<c@x>\nS: 421 4.3.2 gone\n",
     .log = "RESULT 0 rcpt 550  0 no\nRESULT 1 rcpt 421 4.3.2 0 gone\nRESULT 2 rcpt 421 4.3.2 "
            "0 gone\nDONE\n"
            "CLOSED 0 rcpt 421 4.3.2 0 gone\n"},
    {.name = "timeout",
     SENDS(mail_one),
     .script = PLAIN_EHLO
     "C: MAIL FROM:<a@x>\nN: 299999\nS: 250 ok\nC: RCPT TO:<b@x>\nN: 299999\nN: 1\n",
     .log = "RESULT 0 rcpt 0  -14 took too long\nDONE\nCLOSED 0 rcpt 0  -14 took too long\n"},
    {.name = "greeting timeout",
     .config = {.timeouts = {.greeting_ms = 10}},
     .script = "N: 10\n",
     .log = "CLOSED 0 connect 0  -14 took too long\n"},
    {.name = "silent quit", .script = PLAIN_EHLO "C: QUIT\nN: 5000\n", .log = CLOSED_221},
    {.name = "starttls",
     .config = {.tls = BARID_CLIENT_TLS_REQUIRED},
     .script = HELLO "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nT:\nC: EHLO "
                     "me.example\nS: 250 mx\n" BYE,
     .log = CLOSED_221},
    {.name = "starttls injection",
     .config = {.tls = BARID_CLIENT_TLS_REQUIRED,
                .authcid = {"u", 1},
                .password = {"p", 1},
                .mechanisms_secure = 1 << BARID_AUTH_PLAIN},
     .script = HELLO "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nS: 250 AUTH "
                     "PLAIN\nT:\nC: EHLO me.example\n"
                     "S: 250 mx\nC: QUIT\nE:\n",
     .log = "CLOSED 0 auth 0  -15 no authentication mechanism in common\n"},
    {.name = "tls missing",
     .config = {.tls = BARID_CLIENT_TLS_REQUIRED},
     .script = PLAIN_EHLO "C: QUIT\nE:\n",
     .log = "CLOSED 0 tls 0  -15 TLS is required and not offered\n"},
    {.name = "tls refused",
     .config = {.tls = BARID_CLIENT_TLS_OPPORTUNISTIC},
     .script = HELLO "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 454 no\n" BYE,
     .log = CLOSED_221},
    {.name = "tls failed",
     .config = {.tls = BARID_CLIENT_TLS_OPPORTUNISTIC},
     .script = HELLO "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nF:\n",
     .log = "CLOSED 0 tls 0  -6 input or output failed\n"},
    {.name = "implicit tls",
     .config = {.implicit_tls = true},
     .script = "T:\n" PLAIN_EHLO BYE,
     .log = CLOSED_221},
    {.name = "auth plain",
     .config = {.authcid = {"tim", 3},
                .password = {"tanstaaftanstaaf", 16},
                .mechanisms_plain = 1 << BARID_AUTH_PLAIN | 1 << BARID_AUTH_LOGIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH LOGIN PLAIN SCRAM-SHA-256\nC: AUTH PLAIN "
                     "AHRpbQB0YW5zdGFhZnRhbnN0YWFm\n"
                     "S: 235 ok\n" BYE,
     .log = CLOSED_221,
     .transcript =
         "S: 220 mx\nC: EHLO me.example\nS: 250-mx\nS: 250 AUTH LOGIN PLAIN SCRAM-SHA-256\n"
         "C: AUTH PLAIN *\nS: 235 ok\nC: QUIT\nS: 221 2.0.0 bye\n"},
    {.name = "auth optional",
     .config = {.authcid = {"tim", 3},
                .password = {"pw", 2},
                .auth_optional = true,
                .mechanisms_plain = 1 << BARID_AUTH_LOGIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH PLAIN\n" BYE,
     .log = CLOSED_221},
    {.name = "auth optional, ignored",
     .config = {.authcid = {"tim", 3},
                .password = {"pw", 2},
                .auth_optional = true,
                .ignore = BARID_EXT_AUTH,
                .mechanisms_plain = 1 << BARID_AUTH_LOGIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH LOGIN\n" BYE,
     .log = CLOSED_221},
    {.name = "auth optional, refused",
     .config = {.authcid = {"tim", 3},
                .password = {"pw", 2},
                .auth_optional = true,
                .mechanisms_plain = 1 << BARID_AUTH_PLAIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH PLAIN\nC: AUTH PLAIN AHRpbQBwdw==\n"
                     "S: 535 5.7.8 no\nC: QUIT\nE:\n",
     .log = "CLOSED 0 auth 535 5.7.8 0 no\n"},
    {.name = "auth login",
     .config = {.authcid = {"tim", 3},
                .password = {"pw", 2},
                .mechanisms_plain = 1 << BARID_AUTH_LOGIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH=LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: "
                     "dGlt\nS: 334 UGFzc3dvcmQ6\n"
                     "C: cHc=\nS: 535 5.7.8 no\nC: QUIT\nE:\n",
     .log = "CLOSED 0 auth 535 5.7.8 0 no\n"},
    {.name = "auth cram",
     .config = {.authcid = {"tim", 3},
                .password = {"tanstaaftanstaaf", 16},
                .mechanisms_plain = 1 << BARID_AUTH_CRAM_MD5 | 1 << BARID_AUTH_PLAIN},
     .script = HELLO "S: 250-mx\nS: 250 AUTH PLAIN CRAM-MD5\nC: AUTH CRAM-MD5\n"
                     "S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+\n"
                     "C: dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw\nS: 235 ok\n" BYE,
     .log = CLOSED_221},
    {.name = "scram without proof",
     .config = {.authcid = {"tim", 3},
                .password = {"x", 1},
                .mechanisms_plain = 1 << BARID_AUTH_SCRAM_SHA_256},
     .script =
         HELLO "S: 250-mx\nS: 250 AUTH SCRAM-SHA-256\n"
               "C: AUTH SCRAM-SHA-256 biwsbj10aW0scj1Cd2NIQndjSEJ3Y0hCd2NIQndjSEJ3Y0g=\nS: 235 "
               "trust me\nC: QUIT\nE:\n",
     .log = "CLOSED 0 auth 0  -8 the server did not prove its identity\n"},
    {.name = "scram, wrong nonce",
     .config = {.authcid = {"tim", 3},
                .password = {"x", 1},
                .mechanisms_plain = 1 << BARID_AUTH_SCRAM_SHA_256},
     .script =
         HELLO "S: 250-mx\nS: 250 AUTH SCRAM-SHA-256\n"
               "C: AUTH SCRAM-SHA-256 biwsbj10aW0scj1Cd2NIQndjSEJ3Y0hCd2NIQndjSEJ3Y0g=\nS: 334 "
               "cj14LHM9QUFBQSxpPTQwOTY=\n"
               "C: *\nS: 501 ok\nC: QUIT\nE:\n",
     .log = "CLOSED 0 auth 0  -3 the server's side of the exchange is wrong\n"},
};

#endif
