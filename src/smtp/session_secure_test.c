/* smtp/session_secure_test.c: TLS, AUTH, PROXY and XCLIENT in dialogues. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/session_lines_testing.h"

#define LIST(extra)                                                                            \
    "S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 52428800\nS: 250-8BITMIME\n"            \
    "S: 250-SMTPUTF8\nS: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-BINARYMIME\n" extra  \
    "S: 250-LIMITS RCPTMAX=1000\nS: 250-PRDR\nS: 250 HELP\n"
#define TLS_GO "S: 220 2.0.0 Ready to start TLS\n"

static void test_starttls(void **state)
{
    (void)state;
    check("O: starttls auth\n" GREETING
          "C: EHLO c\n" LIST("S: 250-STARTTLS\nS: 250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 "
                             "CRAM-MD5\n") "C: STARTTLS now\nS: 501 5.5.4 Syntax error: "
                                           "STARTTLS has no argument\n" MAIL
                                           "C: STARTTLS\nS: 503 5.5.1 Bad sequence of "
                                           "commands: a transaction is under way\n" RSET
                                           /* What was pipelined in clear text is never looked
                                              at. */
                                           "C: STARTTLS\nC: MAIL FROM:<evil@x.example>\nR: "
                                           "RCPT TO:<b@\n" TLS_GO "T:\n"
                                           "F: 192.0.2.1:4242 - - - TLSv1.3 - -\n"
                                           "C: MAIL FROM:<a@x.example>\nS: 503 5.5.1 Bad "
                                           "sequence of commands: HELO first\n"
                                           "C: EHLO d\n" LIST(
                                               "S: 250-AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 "
                                               "PLAIN LOGIN\n") "C: STARTTLS\nS: 503 5.5.1 Bad "
                                                                "sequence of commands: TLS is "
                                                                "on already\n" QUIT
                                                                "L: connect\\nhelo verb=EHLO "
                                                                "arg=c\\nmail "
                                                                "arg=FROM:<a@x.example> "
                                                                "<a@x.example>\\n"
                                                                "rset verb=RSET\\ntls\\nhelo "
                                                                "verb=EHLO arg=d\\nquit "
                                                                "verb=QUIT\\ndisconnect "
                                                                "quit\n");
    check("O: starttls\n" GREETING HELO "C: STARTTLS\n" TLS_GO "T: fail\n"
          "L: connect\\nhelo verb=HELO arg=c\\ndisconnect tls\n");
    check("O: starttls tls_required\n" GREETING HELO
          "C: MAIL FROM:<a@x.example>\nS: 530 5.7.0 Must issue a STARTTLS command first\nC: "
          "STARTTLS\n" TLS_GO "T:\n" HELO MAIL QUIT);
}

static void test_tls_verdicts(void **state)
{
    (void)state;
    check("O: starttls\nV: tls reject text=not you\n" GREETING HELO "C: STARTTLS\n" TLS_GO
          "T:\n"
          "C: EHLO c\nS: 554 5.7.1 not you\nC: NOOP\nS: 554 5.7.1 not you\n"
          "C: BDAT 2\nR: \\r\\n\nS: 554 5.7.1 not you\n" QUIT);
    check("O: starttls\nV: tls disconnect\n" GREETING HELO "C: STARTTLS\n" TLS_GO "T:\n"
          "S: 421 4.7.0 mx.example closing: refused by policy\n");
    check("O: implicit_tls\nV: tls reject\nT:\nS: 554 5.7.1 Refused after TLS negotiation\n"
          "C: NOOP\nS: 554 5.7.1 Refused after TLS negotiation\n" QUIT);
}

static void test_implicit_tls(void **state)
{
    (void)state;
    check("O: implicit_tls\nT:\n" GREETING HELO MAIL
          "F: 192.0.2.1:4242 c - - TLSv1.3 - -\nL: connect\\ntls\\nhelo verb=HELO arg=c\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\n");
    /* What connect was answered is said over TLS; a silent end needs none. */
    check("O: implicit_tls\nV: connect accept text=hi\nT:\nS: 220 hi\n" QUIT);
    check("O: implicit_tls\nV: connect reject text=go\nT:\nS: 554 5.7.1 go\n"
          "C: NOOP\nS: 503 5.5.1 Connection was refused, only QUIT is left\n" QUIT);
    check("O: implicit_tls\nV: connect tempfail\nT:\nS: 421 4.3.0 mx.example closing: try "
          "again later\n");
    check("O: implicit_tls\nV: connect disconnect\nL: connect\\ndisconnect policy\n");
    check("O: implicit_tls\nT: fail\nL: connect\\ndisconnect tls\n");
}

#define AUTH_START "O: auth plain_auth\n" GREETING HELO

static void test_auth_plain(void **state)
{
    (void)state;
    check("V: auth#1 accept\n" AUTH_START
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 235 2.7.0 Authentication successful\n"
          "F: 192.0.2.1:4242 c tim PLAIN - - -\n"
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\n"
          "S: 503 5.5.1 Bad sequence of commands: already authenticated\n"
          "C: EHLO d\n" LIST("") QUIT
          "L: connect\\nhelo verb=HELO arg=c\\nauth PLAIN authcid=tim password=secret\\n"
          "helo verb=EHLO arg=d\\nquit verb=QUIT\\ndisconnect quit\n");
    check("V: auth accept user=tim@x.example text=hello tim\n" AUTH_START
          "C: auth plain\nS: 334 \nC: d2hvAHRpbQBzZWNyZXQ=\nS: 235 2.7.0 hello tim\n"
          "F: 192.0.2.1:4242 c tim@x.example PLAIN - - -\n"
          "L: connect\\nhelo verb=HELO arg=c\\nauth PLAIN authcid=tim authzid=who "
          "password=secret\n");
    check("V: auth accept\n" AUTH_START
          "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dGlt\nS: 334 UGFzc3dvcmQ6\n"
          "C: c2VjcmV0\nS: 235 2.7.0 Authentication successful\n"
          "F: 192.0.2.1:4242 c tim LOGIN - - -\n");
}

static void test_auth_refused(void **state)
{
    (void)state;
    /* Only accept lets anybody in: no opinion does not, nor a wrong answer. */
    check("V: auth#2 reject text=wrong\nV: auth#3 tempfail\nV: auth#4 hold\n" AUTH_START
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 535 5.7.8 Authentication credentials invalid\n"
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 535 5.7.8 wrong\n"
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 454 4.7.0 Temporary authentication failure\n"
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 454 4.7.0 Temporary authentication failure\n"
          "F: 192.0.2.1:4242 c - - - - -\n" QUIT);
    check("O: auth_failures=1\n" AUTH_START
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 535 5.7.8 Authentication credentials invalid\n"
          "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\nS: 421 4.7.0 mx.example closing: too many errors\n");
    check("V: auth disconnect\n" AUTH_START "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\n"
          "S: 421 4.7.0 mx.example closing: refused by policy\n");
    check("O: auth_required\n" AUTH_START
          "C: MAIL FROM:<a@x.example>\nS: 530 5.7.0 Authentication required\n" QUIT);
}

static void test_auth_syntax(void **state)
{
    (void)state;
    check(AUTH_START
          "C: AUTH\nS: 501 5.5.4 Syntax error: AUTH mechanism [initial-response]\n"
          "C: AUTH GSSAPI\nS: 504 5.5.4 Authentication mechanism not available\n"
          "C: AUTH PLAIN !\nS: 501 5.5.2 Cannot decode base64\n"
          "C: AUTH PLAIN =\nS: 501 5.5.4 Syntax error: malformed authentication response\n"
          "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: *\nS: 501 5.7.0 Authentication cancelled\n"
          "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nR: dGlt\\ndGlt\\r\\n\n"
          "S: 500 5.5.2 Command line must end with <CR><LF>\n"
          "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nZ: 12300 A\nC: \n"
          "S: 500 5.5.6 Authentication exchange line is too long\n"
          "R: AUTH LOGIN \nZ: 12300 A\nC: \nS: 500 5.5.6 Authentication exchange line is too "
          "long\n"
          "R: AUTH LOGIN \nZ: 4000 A\nC: \nS: 501 5.5.4 Syntax error: malformed authentication "
          "response\n" MAIL "C: AUTH PLAIN\nS: 503 5.5.1 Bad sequence of commands: a "
                            "transaction is under way\n" QUIT);
    check("O: auth\n" GREETING HELO "C: AUTH PLAIN AHRpbQBzZWNyZXQ=\n"
          "S: 538 5.7.11 Encryption required for this authentication mechanism\n" QUIT);
}

#define CRAM    "C: AUTH CRAM-MD5\nS: 334 PHl5eXl5eXl5eXl5eXl5eXl5eUBteC5leGFtcGxlPg==\n"
#define CRAM_OK "C: dGltIDNkZGU3YzNlNTRlNmU1MzFkYTc1ZDBkMDk2ZDRkMGFj\n"
#define SCRAM                                                                                  \
    "C: AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9Y2xpZW50bm9uY2U=\n"                                 \
    "S: 334 "                                                                                  \
    "cj1jbGllbnRub25jZXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eSxzPWMyRnNkSE5oYkhSellXeDAsaT00MDk2\n"
#define SCRAM_USER                                                                             \
    "V: auth accept "                                                                          \
    "verifier=SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0$"                                            \
    "XyVqHySI4GC0OcZEHGCs7mYXnBE7rwiyIWAKA8sSG9I=:c/"                                          \
    "Ro9xfg9NNu4KYqzXn4fjCmBHReHiRSXNtU1bjDRFs=\n"

static void test_auth_exchanges(void **state)
{
    (void)state;
    check("V: auth accept plain=secret\n" AUTH_START CRAM CRAM_OK
          "S: 235 2.7.0 Authentication successful\nF: 192.0.2.1:4242 c tim CRAM-MD5 - - -\n");
    check("V: auth accept plain=other\n" AUTH_START CRAM CRAM_OK
          "S: 535 5.7.8 Authentication credentials invalid\nF: 192.0.2.1:4242 c - - - - -\n");
    check(SCRAM_USER AUTH_START SCRAM
          "C: "
          "Yz1iaXdzLHI9Y2xpZW50bm9uY2V5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXkscD1YOXFQMytuQk1wVjFDZzBr"
          "V2VNT2pZNDNDSUlIWUx6Y1pmc0dQQUw2UHJrPQ==\n"
          "S: 334 dj1ISkRqNnBEUVBzQmdKcElkVzhzalpHK0dnYlRyd1VkbDZOckx6SnUra2hrPQ==\nC: \n"
          "S: 235 2.7.0 Authentication successful\nF: 192.0.2.1:4242 c user SCRAM-SHA-256 - - "
          "-\n" MAIL "L: connect\\nhelo verb=HELO arg=c\\nauth SCRAM-SHA-256 authcid=user\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\n");
    check(SCRAM_USER AUTH_START SCRAM
          "C: "
          "Yz1iaXdzLHI9Y2xpZW50bm9uY2V5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXkscD1kdmUxWTN1dUw4dm5MQ2FQ"
          "TDBHMEZoNkJIOFJWRXRRMXhtSld2VUplOCtRPQ==\n"
          "S: 535 5.7.8 Authentication credentials invalid\nF: 192.0.2.1:4242 c - - - - -\n");
}

static void test_proxy(void **state)
{
    (void)state;
    check("O: proxy\nC: PROXY TCP4 198.51.100.7 203.0.113.9 1025 25\n" GREETING HELO
          "F: 198.51.100.7:1025 c - - - - 203.0.113.9:25\n");
    check("O: proxy\nC: PROXY UNKNOWN\nC: HELO c\n" GREETING
          "S: 250 mx.example\nF: 192.0.2.1:4242 c - - - - -\n");
    check("O: proxy\nR: "
          "\\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x21\\x11\\0\\x0c\\xc6\\x33\\x64\\x07\\xcb\\0\\x71\\x09"
          "\\x04\\x01\\0\\x19\n" GREETING "F: 198.51.100.7:1025 - - - - - 203.0.113.9:25\n");
    check("O: proxy\nR: \\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x20\\0\\0\\0\nC: HELO c\n" GREETING
          "S: 250 mx.example\nF: 192.0.2.1:4242 c - - - - -\n");
    check("O: proxy\nC: EHLO c\nL: disconnect proxy\n");
    check("O: proxy proxy_ms=10000\nR: PROXY TCP4\nW: 9999\nR:  1\nW: 1\nL: disconnect "
          "timeout\n");
    check("O: proxy implicit_tls\nC: PROXY TCP4 198.51.100.7 203.0.113.9 1025 25\nT:\n" GREETING
          "F: 198.51.100.7:1025 - - - TLSv1.3 - 203.0.113.9:25\n");
}

static void test_xclient(void **state)
{
    (void)state;
    check("O: xclient with_xclient\n" GREETING "C: EHLO c\n"
          "S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 52428800\nS: 250-8BITMIME\n"
          "S: 250-SMTPUTF8\nS: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-BINARYMIME\n"
          "S: 250-LIMITS RCPTMAX=1000\nS: 250-PRDR\n"
          "S: 250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\nS: 250 HELP\n"
          "C: XCLIENT\nS: 501 5.5.4 Syntax error: XCLIENT attribute=value ...\n"
          "C: XCLIENT FOO=1\nS: 501 5.5.4 Syntax error: FOO=1\n" MAIL
          "C: XCLIENT NAME=x\nS: 503 5.5.1 Bad sequence of commands: a transaction is under "
          "way\n" RSET "C: XCLIENT NAME=spike.example ADDR=198.51.100.7 PORT=99 HELO=spike "
                       "PROTO=ESMTP LOGIN=bob\n" GREETING
          "F: 198.51.100.7:99 spike/esmtp bob - - spike.example -\n" MAIL
          "L: connect\\nhelo verb=EHLO arg=c\\nmail arg=FROM:<a@x.example> "
          "<a@x.example>\\nrset verb=RSET\\n"
          "connect\\nmail arg=FROM:<a@x.example> <a@x.example>\n");
    check("O: xclient with_xclient\nV: connect#2 reject\n" GREETING
          "C: XCLIENT NAME=[UNAVAILABLE] ADDR=198.51.100.7 DESTADDR=203.0.113.9 DESTPORT=25\n"
          "S: 554 5.7.1 mx.example: no mail service for you\n"
          "F: 198.51.100.7:0 - - - - - 203.0.113.9:25\n" QUIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starttls),       cmocka_unit_test(test_tls_verdicts),
        cmocka_unit_test(test_implicit_tls),   cmocka_unit_test(test_auth_plain),
        cmocka_unit_test(test_auth_refused),   cmocka_unit_test(test_auth_syntax),
        cmocka_unit_test(test_auth_exchanges), cmocka_unit_test(test_proxy),
        cmocka_unit_test(test_xclient),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
