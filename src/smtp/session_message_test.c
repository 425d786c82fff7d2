/* smtp/session_message_test.c: DATA and BDAT: what ends a message, what refuses it, what is
 * seen. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "smtp/session_lines_testing.h"

#define BARE_LINE "S: 500 5.5.2 Command line must end with <CR><LF>\n"
#define START     "O: no_events\n" GREETING HELO MAIL RCPT "C: DATA\n" GO
#define BARE      "S: 550 5.6.11 Bare <CR> or <LF> in the message: lines must end with <CR><LF>\n"

static void test_bare_newlines(void **state)
{
    static const char *const bad[] = {
        "\\n.\\n",          "\\r.\\r",    "\\n.\\r\\n",    "\\r\\n.\\n",
        "\\r\\n.\\r",       "\\r.\\r\\n", "\\n\\n.\\n\\n", "\\r\\r.\\r\\r\\n",
        "\\r\\n.\\r\\r\\n", "x\\ny",      "x\\ry",         "x\\r\\ry",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[1024] = START "R: Subject: x\\r\\n\\r\\nbody", *p = text + strlen(text);

        /* In the body, and as the smuggled commands would have it, all of it is one message. */
        strcpy(p, bad[i]);
        strcat(p,
               "MAIL FROM:<evil@x.example>\\r\\nRCPT TO:<b@y.example>\\r\\n.\\r\\n\n" BARE QUIT
               "L: \n");
        check(text);
    }
    check(START "R: a\\nb: c\\r\\n\\r\\nbody\\r\\n.\\r\\n\n" BARE QUIT "L: \n");
    check(START "R: \\n.\\r\\n.\\r\\n\n" BARE QUIT "L: \n");
}

#define EVENTS_START                                                                           \
    GREETING HELO MAIL RCPT "C: DATA\n" GO "L: connect\\nhelo verb=HELO arg=c\\n"              \
                            "mail arg=FROM:<a@x.example> <a@x.example>\\n"                     \
                            "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata\n"
#define AFTER(size) "message " size "\\nrecipient <b@y.example> 0\\ncommit " size "\n"

static void test_normalise(void **state)
{
    (void)state;
    check("O: normalise\n" EVENTS_START
          "R: A: b\\nC: d\\r\\n\\r\\nx\\n.\\n.\\r\\ny\\r.\\r\\n..z\\r\\n.\\r\\n\n" QUEUED
          "L: headers 12:A: b|C: d| blank\\nbody 19:x|.|.|y|.|.z| last\\n" AFTER("33"));
    check("O: normalise\n" EVENTS_START "R: \\nx\\r\\n.\\r\\r\\n.\\r\\n\n" QUEUED
          "L: headers 0: blank\\nbody 7:x||| last\\n" AFTER("9"));
}

static void test_shapes(void **state)
{
    (void)state;
    /* Empty; no blank line; only a blank line; dots. */
    check(EVENTS_START "R: .\\r\\n\n" QUEUED "L: headers 0:\\n" AFTER("0"));
    check(EVENTS_START "R: abc\\r\\n.\\r\\n\n" QUEUED "L: headers 5:abc|\\n" AFTER("5"));
    check(EVENTS_START "R: \\r\\n.\\r\\n\n" QUEUED "L: headers 0: blank\\n" AFTER("2"));
    check(EVENTS_START "R: \\r\\n...\\r\\n.a\\r\\n..\\r\\n.\\r\\n\n" QUEUED
                       "L: headers 0: blank\\nbody 10:..|a|.| last\\n" AFTER("12"));
    check(EVENTS_START "R: ..x: y\\r\\n.z\\r\\n\\r\\n.\\r\\n\n" QUEUED
                       "L: headers 10:.x: y|z| blank\\n" AFTER("12"));
}

static void test_chunks_are_exact(void **state)
{
    (void)state;
    /* A full chunk that is the last says so; one octet more makes another. */
    check(EVENTS_START "R: \\r\\n\nZ: 65534 x\nR: \\r\\n.\\r\\n\n" QUEUED
                       "L: headers 0: blank\\nbody 65536:648e08d5 last\\n" AFTER("65538"));
    /* The boundary between CR and LF. */
    check(EVENTS_START
          "R: \\r\\n\nZ: 65535 x\nR: \\r\\nyy\\r\\n.\\r\\n\n" QUEUED
          "L: headers 0: blank\\nbody 65536:52354112\\nbody 5:<LF>yy| last\\n" AFTER("65543"));
}

static void test_big_body(void **state)
{
    static char text[400000];
    char *p = text;

    (void)state;
    p += strlen(strcpy(p, "O: no_events\n" GREETING HELO MAIL RCPT "C: DATA\n" GO));
    for (unsigned i = 0; i < 5000; i++)
        p += strlen(
            strcpy(p, i % 7 == 0 ? "C: ..a line with a dot\n" : "C: a line of a body\n"));
    strcpy(p, "C: .\n" QUEUED "L: commit 91430\n");
    check(text);
}

static void test_limits(void **state)
{
    (void)state;
    check("O: message=10\n" START "R: 0123456789\\r\\n.\\r\\n\n"
          "S: 552 5.3.4 Message size exceeds the limit of 10 octets\n" QUIT);
    check("O: message=12\n" START "R: 0123456789\\r\\n.\\r\\n\n" QUEUED QUIT);
    check("O: header=8\n" START "R: A: b\\r\\nC: d\\r\\n\\r\\n.\\r\\n\n"
          "S: 552 5.3.4 Message header exceeds the limit of 8 octets\n" QUIT);
    check("O: data_line=5\n" START "R: 12345\\r\\n\\r\\n123456\\r\\n.\\r\\n\n"
          "S: 552 5.6.0 Message line exceeds the limit of 5 octets\n" QUIT);
    check("O: data_line=5\n" START
          "R: 12345\\r\\n\\r\\n12345\\r\\n..234\\r\\n.\\r\\n\n" QUEUED QUIT);
    /* One who goes on after a refusal is not read for ever. */
    check("O: message=10\n" START "R: 0123456789\\r\\nabcdefghij\\r\\nklmn\n"
          "S: 552 5.3.4 Message size exceeds the limit of 10 octets\n"
          "L: \n");
}

static void test_bdat(void **state)
{
    (void)state;
    check(GREETING HELO MAIL RCPT
          "C: BDAT 6\nR: A: b\\r\\n\nS: 250 2.0.0 6 octets received\n"
          "C: BDAT 0\nS: 250 2.0.0 0 octets received\n"
          "C: DATA\nS: 503 5.5.1 Bad sequence of commands: BDAT has begun\n"
          "C: RCPT TO:<b@y.example>\nS: 503 5.5.1 Bad sequence of commands: BDAT has begun\n"
          "C: BDAT 8 last\nR: \\r\\n.\\r\\n.\\r\\n\nC: NOOP\n" QUEUED "S: 250 2.0.0 Ok\n" QUIT
          "L: connect\\nhelo verb=HELO arg=c\\nmail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata bdat\\nheaders 6:A: b| blank\\n"
          "body 6:.|.| last\\nmessage 14\\nrecipient <b@y.example> 0\\ncommit 14\\n"
          "noop verb=NOOP\\nquit verb=QUIT\\ndisconnect quit\n");
    check("O: no_events\n" GREETING HELO MAIL RCPT "C: BDAT 0 LAST\n" QUEUED MAIL RCPT
          "C: BDAT 3\nR: a\\r\\n\nS: 250 2.0.0 3 octets received\nC: BDAT 0 LAST\n" QUEUED
          "L: commit 0\\ncommit 3\n");
}

static void test_bdat_out_of_place(void **state)
{
    (void)state;
    check(GREETING
          "C: BDAT 6\nR: QUIT\\r\\n\nS: 503 5.5.1 Bad sequence of commands: HELO first\n" HELO
          "C: BDAT 6 LAST\nR: QUIT\\r\\n\nS: 503 5.5.1 Bad sequence of commands: MAIL "
          "first\n" MAIL "C: BDAT 6 LAST\nR: QUIT\\r\\n\nS: 503 5.5.1 Bad sequence of "
          "commands: RCPT first\n" QUIT);
    check("O: no_chunking\n" GREETING HELO MAIL RCPT
          "C: BDAT 6 LAST\nR: QUIT\\r\\n\nS: 502 5.5.1 Command not implemented\n" QUIT);
    /* A limit that a line end passes with its LF is met in that chunk, not in the next. */
    check("O: no_events header=8\n" GREETING HELO MAIL RCPT "C: BDAT 9\nR: A: b\\r\\nx\\r\\n\n"
          "S: 552 5.3.4 Message header exceeds the limit of 8 octets\nC: RSET\nS: 250 2.0.0 "
          "Ok\n" QUIT);
    check("O: no_events message=10\n" GREETING HELO MAIL RCPT
          "C: BDAT 11\nR: A: b\\r\\n\\r\\nx\\r\\n\n"
          "S: 552 5.3.4 Message size exceeds the limit of 10 octets\nC: RSET\nS: 250 2.0.0 "
          "Ok\n" QUIT);
    /* Without a size nobody knows what is a command. */
    check(GREETING HELO "C: BDAT x\nC: NOOP\nS: 501 5.5.4 Syntax error: BDAT size [LAST]\n"
                        "L: connect\\nhelo verb=HELO arg=c\\ndisconnect errors\n");
    check(GREETING HELO "C: BDAT 5 FIRST\nS: 501 5.5.4 Syntax error: BDAT size [LAST]\n"
                        "L: connect\\nhelo verb=HELO arg=c\\ndisconnect errors\n");
    check("O: no_events\n" GREETING HELO "C: BDAT 99999999999999999999\n"
          "S: 501 5.5.4 Syntax error: BDAT size [LAST]\n");
    check("O: no_events\n" GREETING HELO MAIL RCPT
          "R: BDAT 6\\n LAST\\r\\nQUIT\\r\\n\n" BARE_LINE);
    check("O: no_events\n" GREETING HELO MAIL RCPT "R: BDAT\\r6\\r\\nQUIT\\r\\n\n" BARE_LINE);
    check("O: no_events\n" GREETING HELO MAIL RCPT "R: bdat 6\\0\\r\\nQUIT\\r\\n\n"
          "S: 501 5.5.4 Syntax error: NUL in command\n");
    check("O: no_events line=64\n" GREETING HELO MAIL RCPT
          "R: BDAT 6 \nZ: 60 x\nR: \\r\\nQUIT\\r\\n\nS: 500 5.5.2 Line too long\n");
    check("V: connect reject\nS: 554 5.7.1 mx.example: no mail service for you\n"
          "R: BDAT 6\\n\\r\\nQUIT\\r\\n\nS: 503 5.5.1 Connection was refused, only "
          "QUIT is left\nL: connect\\ndisconnect errors\n");
    check("O: message=10\n" GREETING HELO "C: BDAT 11\nR: 01234567890\n"
          "S: 421 4.7.0 mx.example closing: too many errors\n");
}

static void test_bdat_bare(void **state)
{
    (void)state;
    check("O: no_events\n" GREETING HELO MAIL RCPT "C: BDAT 3\nR: a\\nb\n" BARE
          "C: BDAT 3\nR: abc\nS: 503 5.5.1 Transaction failed by an earlier chunk: RSET first\n"
          "C: BDAT 3 LAST\nR: abc\nS: 503 5.5.1 Transaction failed by an earlier chunk: RSET "
          "first\n"
          "C: MAIL FROM:<a@x.example>\n"
          "S: 503 5.5.1 Bad sequence of commands: a transaction is under way\n"
          "C: RSET\nS: 250 2.0.0 Ok\n" MAIL RCPT "C: BDAT 2 LAST\nR: a\\r\n" BARE MAIL RCPT
          /* CR and LF in two chunks are a line end. */
          "C: BDAT 2\nR: a\\r\nS: 250 2.0.0 2 octets received\nC: BDAT 1 LAST\nR: \\n\n" QUEUED
              QUIT);
    check("O: normalise\n" EVENTS_START "C: .\n" QUEUED "L: headers 0:\\n" AFTER("0") MAIL RCPT
          "C: BDAT 5 LAST\nR: \\r\\na\\nb\n" QUEUED MAIL RCPT
          "C: BDAT 4 LAST\nR: \\r\\na\\r\n" QUEUED
          "L: mail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata bdat\\nheaders 0: blank\\n"
          "body 4:a|b last\\nmessage 6\\nrecipient <b@y.example> 0\\ncommit 6\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata bdat\\nheaders 0: blank\\n"
          "body 3:a| last\\nmessage 5\\nrecipient <b@y.example> 0\\ncommit 5\n");
}

static void test_binary(void **state)
{
    (void)state;
    check(GREETING EHLO
          "C: MAIL FROM:<a@x.example> BODY=BINARYMIME\nS: 250 2.1.0 Sender ok\n" RCPT
          "C: DATA\nS: 503 5.5.1 BODY=BINARYMIME needs BDAT\n"
          "L: connect\\nhelo verb=EHLO arg=client.example\\n"
          "mail arg=FROM:<a@x.example> BODY=BINARYMIME <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\n"
          "C: BDAT 10 LAST\nR: A\\nB\\rC\\r\\n\\r\\n\\r\n" QUEUED
          "L: data bdat\\nheaders 7:A<LF>B<CR>C| blank\\nbody 1:<CR> last\\n" AFTER("10"));
    check("O: no_events\n" GREETING EHLO
          "C: MAIL FROM:<a@x.example> BODY=BINARYMIME\nS: 250 2.1.0 Sender ok\n" RCPT
          "C: BDAT 70004 LAST\nR: \\r\\n\nZ: 70000 \\n\nR: \\r\\r\n" QUEUED
          "L: commit 70004\n");
}

static void test_eof(void **state)
{
    (void)state;
    /* A message in receipt is dropped; commands that came whole are carried out. */
    check(EVENTS_START "C: Subject: x\nE:\nL: disconnect peer\n");
    check(GREETING HELO MAIL RCPT
          "C: BDAT 5\nR: abc\nE:\n"
          "L: connect\\nhelo verb=HELO arg=c\\nmail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata bdat\\ndisconnect peer\n");
    check("O: no_events\n" GREETING HELO MAIL RCPT "C: DATA\n" GO MESSAGE QUEUED
          "E:\nL: commit 20\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_newlines), cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_shapes),        cmocka_unit_test(test_chunks_are_exact),
        cmocka_unit_test(test_big_body),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_bdat),          cmocka_unit_test(test_bdat_out_of_place),
        cmocka_unit_test(test_bdat_bare),     cmocka_unit_test(test_binary),
        cmocka_unit_test(test_eof),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
