/* smtp/session_policy_test.c: what each verdict does, and what is said at the end of a message.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/session_lines_testing.h"

#define DATA    "C: DATA\n" GO MESSAGE
#define REFUSED "S: 503 5.5.1 Connection was refused, only QUIT is left\n"

static void test_connect(void **state)
{
    (void)state;
    check("V: connect accept text=mx.other hello\nS: 220 mx.other hello\n" QUIT);
    check("V: connect reject\nS: 554 5.7.1 mx.example: no mail service for you\n"
          "C: EHLO c\n" REFUSED "C: FOO\n" REFUSED "C: BDAT 6\nR: QUIT\\r\\n\n" REFUSED
          "R: a\\nb\\r\\n\n" REFUSED QUIT "L: connect\\nquit verb=QUIT\\ndisconnect quit\n");
    check("V: connect reject code=521 enh=5.3.2 text=No mail here\nS: 521 5.3.2 No mail "
          "here\n" QUIT);
    check("V: connect tempfail\nS: 421 4.3.0 mx.example closing: try again later\n"
          "L: connect\\ndisconnect policy\n");
    check("V: connect disconnect\nS: 421 4.7.0 mx.example closing: refused by policy\n"
          "L: connect\\ndisconnect policy\n");
    check("V: connect disconnect silent\nL: connect\\ndisconnect policy\n");
    check("V: connect discard\nS: 421 4.3.0 mx.example closing: try again later\n"
          "L: connect\\nwrong\\ndisconnect policy\n");
}

static void test_helo(void **state)
{
    (void)state;
    check(
        "V: helo#1 reject\nV: helo#2 accept hide=0x67fd text=hi there\n" GREETING
        "C: EHLO a\nS: 550 5.7.1 Host name refused\n"
        "C: MAIL FROM:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: HELO first\n"
        "C: EHLO a\nS: 250-hi there\nS: 250 SIZE 52428800\n"
        /* What is hidden is not honoured either, enhanced codes included. */
        "C: MAIL FROM:<a@x.example> BODY=8BITMIME\nS: 555 Parameter not recognized: "
        "BODY=8BITMIME\n"
        "C: MAIL FROM:<a@x.example> SIZE=1\nS: 250 Sender ok\n"
        "C: RCPT TO:<b@x.example>\nS: 250 Recipient ok\n"
        "C: BDAT 6 LAST\nR: QUIT\\r\\n\nS: 502 Command not implemented\nC: QUIT\nS: 221 Bye\n");
}

/* A second one that is refused changes nothing: neither the name, nor what is offered, nor the
 * transaction (RFC 5321 4.1.4). */
static void test_second_helo_refused(void **state)
{
    (void)state;
    check("V: helo#2 reject\n" GREETING EHLO
          "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 Sender ok\n"
          "C: HELO other\nS: 550 5.7.1 Host name refused\n"
          "C: RCPT TO:<b@x.example>\nS: 250 2.1.5 Recipient ok\n"
          "C: MAIL FROM:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: a transaction is "
          "under way\n"
          "C: HELO fourth\nS: 250 mx.example\n"
          "C: RCPT TO:<b@x.example>\nS: 503 5.5.1 Bad sequence of commands: MAIL first\n"
          "C: QUIT\nS: 221 2.0.0 Bye\n");
}

static void test_envelope(void **state)
{
    (void)state;
    check("V: mail#1 reject code=553 enh=5.1.8 text=no such domain\nV: mail#2 tempfail\n"
          "V: mail#3 accept text=welcome\nV: rcpt#1 reject\nV: rcpt#2 tempfail code=450 "
          "text=greylisted\n"
          "V: rcpt#3 accept code=251 text=will forward\nV: rcpt#4 reject code=450\nV: data#1 "
          "tempfail\n" GREETING EHLO "C: MAIL FROM:<a@x.example>\nS: 553 5.1.8 no such domain\n"
          "C: MAIL FROM:<a@x.example>\nS: 451 4.7.1 Try again later\n"
          "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 welcome\n"
          "C: RCPT TO:<b@y.example>\nS: 550 5.7.1 Recipient refused\n"
          "C: DATA\nS: 554 5.5.1 No valid recipients\n"
          "C: RCPT TO:<b@y.example>\nS: 450 4.7.1 greylisted\n"
          "C: RCPT TO:<c@y.example>\nS: 251 2.1.5 will forward\n"
          "C: RCPT TO:<d@y.example>\nS: 451 4.3.0 Local policy error, try again later\n"
          "C: RCPT TO:<e@y.example>\nS: 250 2.1.5 Recipient ok\n"
          "C: DATA\nS: 451 4.7.1 Try again later\n" DATA QUEUED QUIT
          "L: connect\\nhelo verb=EHLO arg=client.example\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\\nmail arg=FROM:<a@x.example> "
          "<a@x.example>\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\nrcpt arg=TO:<b@y.example> <b@y.example> "
          "0\\n"
          "rcpt arg=TO:<c@y.example> <c@y.example> 0\\nrcpt arg=TO:<d@y.example> <d@y.example> "
          "1\\n"
          "wrong\\nrcpt arg=TO:<e@y.example> <e@y.example> 1\\ndata\\ndata\\n"
          "headers 12:Subject: x| blank\\nbody 6:body| last\\nmessage 20\\n"
          "recipient <c@y.example> 0\\nrecipient <e@y.example> 1\\ncommit 20\\n"
          "quit verb=QUIT\\ndisconnect quit\n");
}

static void test_verbs(void **state)
{
    (void)state;
    check("V: noop accept text=yes\nV: vrfy accept text=<bob@x.example>\nV: expn accept "
          "text=a\\nb\n"
          "V: help accept text=one\\n two \\ntwo\\r250 x\nV: unknown#1 accept text=did it\n"
          "V: unknown#2 reject\nV: rset reject\nV: quit accept text=so long\n" GREETING
          "C: NOOP\nS: 250 2.0.0 yes\nC: VRFY bob\nS: 250 2.0.0 <bob@x.example>\n"
          "C: EXPN l\nS: 250-2.0.0 a\nS: 250 2.0.0 b\n"
          "C: HELP\nS: 214-2.0.0 one\nS: 214-2.0.0  two \nS: 214 2.0.0 two?250 x\n"
          "C: DANCE\nS: 250 2.0.0 did it\nC: DANCE\nS: 500 5.5.2 Command not recognized\n"
          "C: RSET\nS: 550 5.7.1 Command refused\nC: QUIT\nS: 221 2.0.0 so long\n");
    check("V: data accept code=250 text=go ahead\nV: rcpt accept code=252\n" GREETING HELO MAIL
          "C: RCPT TO:<b@y.example>\nS: 252 2.1.5 Recipient ok\nC: DATA\nS: 354 go "
          "ahead\n" MESSAGE QUEUED);
    check("V: noop disconnect code=521 text=enough\n" GREETING
          "C: NOOP\nC: NOOP\nS: 521 5.7.0 enough\n"
          "L: connect\\nnoop verb=NOOP\\ndisconnect policy\n");
    /* A verdict of disconnect ends the session at any verb. */
    check("V: vrfy disconnect\n" GREETING
          "C: VRFY bob\nS: 421 4.7.0 mx.example closing: refused by policy\n");
    check("V: expn disconnect silent\n" GREETING
          "C: EXPN list\nL: connect\\nexpn verb=EXPN arg=list\\ndisconnect policy\n");
    check("V: quit disconnect text=go\n" GREETING
          "C: QUIT\nS: 421 4.7.0 go\nL: connect\\nquit verb=QUIT\\ndisconnect policy\n");
    check("V: data disconnect\n" GREETING HELO MAIL RCPT
          "C: BDAT 3\nR: abc\nS: 421 4.7.0 mx.example closing: refused by policy\n");
    check(GREETING "C: EXPN\nS: 501 5.5.4 Syntax error: EXPN list\n" QUIT);
    check("V: noop reject code=571 enh=4.7.1\n" GREETING
          "C: NOOP\nS: 451 4.3.0 Local policy error, try again later\n" QUIT);
    check("V: mail tempfail code=421 text=full\n" GREETING HELO
          "C: MAIL FROM:<a@x.example>\nC: NOOP\nS: 421 4.7.1 full\n");
}

static void test_message_refused(void **state)
{
    (void)state;
    check("V: headers reject text=no\n" GREETING HELO MAIL RCPT DATA "S: 550 5.7.1 no\n" QUIT
          "L: connect\\nhelo verb=HELO arg=c\\nmail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata\\nheaders 12:Subject: x| blank\\n"
          "quit verb=QUIT\\ndisconnect quit\n");
    check("V: body tempfail\n" GREETING HELO MAIL RCPT DATA
          "S: 451 4.7.1 Try again later\n" QUIT);
    check("V: message reject\n" GREETING HELO MAIL RCPT DATA
          "S: 550 5.7.1 Message refused\n" MAIL QUIT);
    check("V: headers disconnect\n" GREETING HELO MAIL RCPT "C: DATA\n" GO
          "C: A: b\nC: \nC: x\n"
          "S: 421 4.7.0 mx.example closing: refused by policy\n");
    check("V: message disconnect silent\n" GREETING HELO MAIL RCPT DATA);
    check("V: headers discard\nV: body quarantine\nV: message hold\n" GREETING HELO MAIL RCPT
              DATA QUEUED);
    check("V: body accept code=451\n" GREETING HELO MAIL RCPT DATA
          "S: 451 4.3.0 Local policy error, try again later\n");
    /* LMTP hears it once per recipient; with BDAT the chunk under way does. */
    check(LHLO "V: message reject text=no\n" MAIL RCPT RCPT DATA
               "S: 550 5.7.1 no\nS: 550 5.7.1 no\n" QUIT);
    check(LHLO
          "V: headers reject text=no\n" MAIL RCPT RCPT
          "C: BDAT 4\nR: \\r\\nab\nS: 550 5.7.1 no\n"
          "C: BDAT 2\nR: ab\nS: 503 5.5.1 Transaction failed by an earlier chunk: RSET first\n"
          "C: BDAT 2 LAST\nR: ab\nS: 503 5.5.1 Transaction failed by an earlier chunk: RSET "
          "first\n"
          "S: 503 5.5.1 Transaction failed by an earlier chunk: RSET first\n" RSET);
    check(
        "V: data reject\n" GREETING HELO MAIL RCPT
        "C: BDAT 3\nR: abc\nS: 550 5.7.1 Message refused\n"
        "C: BDAT 0 LAST\nS: 503 5.5.1 Transaction failed by an earlier chunk: RSET first\n" RSET
            MAIL RCPT "C: BDAT 3 LAST\nR: abc\nS: 550 5.7.1 Message refused\n" MAIL QUIT);
}

static void test_plain_results(void **state)
{
    (void)state;
    check("V: recipient#1 reject\n" GREETING HELO MAIL RCPT RCPT DATA QUEUED);
    check("V: recipient#1 tempfail\nV: recipient#2 reject text=never\nV: recipient#3 "
          "reject\n" GREETING HELO MAIL RCPT RCPT RCPT DATA "S: 550 5.7.1 never\n"
          "L: connect\\nhelo verb=HELO arg=c\\nmail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\nrcpt arg=TO:<b@y.example> <b@y.example> "
          "1\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 2\\ndata\\nheaders 12:Subject: x| blank\\n"
          "body 6:body| last\\nmessage 20\\nrecipient <b@y.example> 0\\n"
          "recipient <b@y.example> 1\\nrecipient <b@y.example> 2\n");
    check("V: recipient tempfail text=later\n" GREETING HELO MAIL RCPT RCPT DATA
          "S: 451 4.7.1 later\n");
    check("V: recipient discard\n" GREETING HELO MAIL RCPT DATA QUEUED);
    check("O: strict_mixed\nV: recipient#1 tempfail\n" GREETING HELO MAIL RCPT RCPT DATA
          "S: 451 4.3.0 Recipients disagree about this message, send to fewer at a time\n" MAIL
              RCPT RCPT DATA QUEUED);
}

static void test_commit(void **state)
{
    (void)state;
    check("V: commit tempfail\n" GREETING HELO MAIL RCPT DATA
          "S: 451 4.3.0 Local error, try again later\n" MAIL QUIT);
    check("V: commit tempfail code=452 enh=4.3.1 text=full\n" GREETING HELO MAIL RCPT DATA
          "S: 452 4.3.1 full\n");
    check("V: commit reject\n" GREETING HELO MAIL RCPT DATA "S: 550 5.7.1 Message refused\n");
    check("V: commit continue\n" GREETING HELO MAIL RCPT DATA
          "S: 451 4.3.0 Local policy error, try again later\n");
    check("V: commit hold\n" GREETING HELO MAIL RCPT DATA
          "S: 451 4.3.0 Local policy error, try again later\n");
    check("V: commit accept\n" GREETING HELO MAIL RCPT DATA "S: 250 2.0.0 Ok\n");
    check("V: commit accept id=Q text=stored\n" GREETING HELO MAIL RCPT DATA
          "S: 250 2.0.0 stored\n");
    check("V: message accept text=thanks\n" GREETING HELO MAIL RCPT DATA
          "S: 250 2.0.0 thanks\n");
}

static void test_lmtp_results(void **state)
{
    (void)state;
    check(LHLO "V: recipient#1 reject\nV: recipient#2 accept text=for you\nV: recipient#4 "
               "tempfail\n" MAIL RCPT RCPT RCPT RCPT DATA
               "S: 550 5.7.1 Recipient refused\nS: 250 2.0.0 for you\n" QUEUED
               "S: 451 4.7.1 Try again later\n" QUIT);
    check(LHLO
          "V: recipient#1 reject\nV: commit tempfail\n" MAIL RCPT RCPT DATA
          "S: 550 5.7.1 Recipient refused\nS: 451 4.3.0 Local error, try again later\n" QUIT);
    check(LHLO "V: recipient reject\n" MAIL RCPT RCPT DATA
               "S: 550 5.7.1 Recipient refused\nS: 550 5.7.1 Recipient refused\n" QUIT);
}

#define PRDR_MAIL "C: MAIL FROM:<a@x.example> PRDR\nS: 250 2.1.0 Sender ok\n"
#define PRDR_GO   "S: 353 Content analysis complete, recipient replies follow\n"

static void test_prdr(void **state)
{
    (void)state;
    check("V: recipient#1 reject\n" GREETING EHLO PRDR_MAIL RCPT RCPT DATA PRDR_GO
          "S: 550 5.7.1 Recipient refused\n" QUEUED QUEUED MAIL RCPT DATA QUEUED QUIT);
    check("V: recipient reject\n" GREETING EHLO PRDR_MAIL RCPT RCPT
          "C: BDAT 2 LAST\nR: \\r\\n\n" PRDR_GO
          "S: 550 5.7.1 Recipient refused\nS: 550 5.7.1 Recipient refused\n"
          "S: 550 5.7.1 Recipient refused\n" QUIT);
    check(
        "V: commit tempfail\nO: strict_mixed\nV: recipient#2 tempfail text=busy\n" GREETING EHLO
            PRDR_MAIL RCPT RCPT DATA PRDR_GO
        "S: 451 4.3.0 Local error, try again later\nS: 451 4.7.1 busy\n"
        "S: 451 4.3.0 Local error, try again later\n" QUIT);
    check("V: message reject\n" GREETING EHLO PRDR_MAIL RCPT RCPT DATA
          "S: 550 5.7.1 Message refused\n" QUIT);
}

static void test_long_texts(void **state)
{
    (void)state;
#define TEN     "word word "
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
    check("V: noop accept code=299 enh=2.0.0 text=" HUNDRED HUNDRED HUNDRED "end\n" GREETING
          "C: NOOP\nS: 299 2.0.0 " HUNDRED HUNDRED HUNDRED "end\n" QUIT);
    check("V: noop accept text=" HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED "end\n" GREETING
          "C: NOOP\n"
          "S: 250-2.0.0 " HUNDRED HUNDRED HUNDRED HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN
          "word word\nS: 250 2.0.0 end\n" QUIT);
    check("V: noop accept text=\\xc3\\xa4\\xff\\x07\\tx\n" GREETING
          "C: NOOP\nS: 250 2.0.0 \\xc3\\xa4??\\tx\n" QUIT);
    /* Without a space: between two octets, but not within a character. */
#define X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X499                                                                                   \
    X50 X50 X50 X50 X50 X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
    check("V: noop accept text=" X499 "abcd\n" GREETING "C: NOOP\nS: 250-2.0.0 " X499
          "a\nS: 250 2.0.0 bcd\n" QUIT);
    check("V: noop accept text=" X499 "\\xc3\\xa4b\n" GREETING "C: NOOP\nS: 250-2.0.0 " X499
          "\nS: 250 2.0.0 \\xc3\\xa4b\n" QUIT);
    check("V: noop accept text=one\\n\n" GREETING "C: NOOP\nS: 250 2.0.0 one\n" QUIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect),
        cmocka_unit_test(test_helo),
        cmocka_unit_test(test_second_helo_refused),
        cmocka_unit_test(test_envelope),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_message_refused),
        cmocka_unit_test(test_plain_results),
        cmocka_unit_test(test_commit),
        cmocka_unit_test(test_lmtp_results),
        cmocka_unit_test(test_prdr),
        cmocka_unit_test(test_long_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
