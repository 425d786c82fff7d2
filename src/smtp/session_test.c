/* smtp/session_test.c: commands and their order; see session_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/session_lines_testing.h"

static void test_one_mail(void **state)
{
    (void)state;
    check(GREETING EHLO MAIL RCPT
          "C: DATA\n" GO "C: Subject: hi\nC: \nC: hello\nC: ..dot\nC: .\n" QUEUED QUIT
          "L: connect\\nhelo verb=EHLO arg=client.example\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata\\n"
          "headers 13:Subject: hi| blank\\n"
          "body 13:hello|.dot| last\\nmessage 28\\nrecipient <b@y.example> 0\\n"
          "commit 28\\nquit verb=QUIT\\ndisconnect quit\n");
}

static void test_no_events(void **state)
{
    (void)state;
    /* Nobody is asked but the host. */
    check("O: no_events\n" GREETING EHLO MAIL RCPT RCPT "C: DATA\n" GO MESSAGE QUEUED
          "C: NOOP\nS: 250 2.0.0 Ok\nC: WHAT\nS: 500 5.5.2 Command not recognized\n" QUIT
          "L: commit 20\n");
}

static void test_pipelining(void **state)
{
    (void)state;
    check(GREETING
          "C: EHLO c\n"
          "C: MAIL FROM:<>\nC: RCPT TO:<postmaster>\nC: RCPT TO:<@r.example:b@y.example>\nC: "
          "DATA\n"
          "C: x\nC: .\nC: mail from:<a@x.example> SIZE=10 BODY=8BITMIME\nC: RSET\nC: NOOP "
          "x\nC: QUIT\n"
          "S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 52428800\nS: 250-8BITMIME\n"
          "S: 250-SMTPUTF8\nS: 250-ENHANCEDSTATUSCODES\nS: 250-CHUNKING\nS: 250-BINARYMIME\n"
          "S: 250-LIMITS RCPTMAX=1000\nS: 250-PRDR\nS: 250 HELP\n"
          "S: 250 2.1.0 Sender ok\nS: 250 2.1.5 Recipient ok\nS: 250 2.1.5 Recipient ok\n" GO
              QUEUED "S: 250 2.1.0 Sender ok\nS: 250 2.0.0 Ok\nS: 250 2.0.0 Ok\n" BYE);
}

static void test_order(void **state)
{
    (void)state;
    check(GREETING
          "C: MAIL FROM:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: HELO first\n"
          "C: RCPT TO:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: HELO first\n"
          "C: DATA\nS: 503 5.5.1 Bad sequence of commands: HELO first\n" EHLO
          "C: RCPT TO:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: MAIL first\n"
          "C: DATA\nS: 503 5.5.1 Bad sequence of commands: MAIL first\n" MAIL
          "C: MAIL FROM:<a@x.example>\n"
          "S: 503 5.5.1 Bad sequence of commands: a transaction is under way\n"
          "C: DATA\nS: 503 5.5.1 Bad sequence of commands: RCPT first\n" RCPT
          "C: DATA now\nS: 501 5.5.4 Syntax error: DATA has no argument\n"
          "C: RSET\nS: 250 2.0.0 Ok\n"
          "C: RCPT TO:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: MAIL first\n" MAIL
              EHLO
          "C: RCPT TO:<a@x.example>\nS: 503 5.5.1 Bad sequence of commands: MAIL first\n" QUIT);
}

static void test_other_verbs(void **state)
{
    (void)state;
    check(GREETING
          "C: NOOP\nS: 250 2.0.0 Ok\n"
          "C: VRFY\nS: 501 5.5.4 Syntax error: VRFY name\n"
          "C: VRFY bob\n"
          "S: 252 2.5.2 Cannot verify, but will accept the message and attempt delivery\n"
          "C: EXPN staff\nS: 502 5.5.1 Command not implemented\n"
          "C: HELP me\nS: 214 2.0.0 See RFC 5321\n"
          "C: RSET now\nS: 501 5.5.4 Syntax error: RSET has no argument\n"
          "C: AUTH PLAIN\nS: 502 5.5.1 Command not implemented\n"
          "C: STARTTLS\nS: 502 5.5.1 Command not implemented\n"
          "C: LHLO c\nS: 500 5.5.2 Command not recognized\n"
          "C: XCLIENT ADDR=192.0.2.9\nS: 500 5.5.2 Command not recognized\n"
          "C: FOO bar\nS: 500 5.5.2 Command not recognized\n"
          "C: \nS: 500 5.5.2 Command not recognized\n" QUIT
          "L: connect\\nnoop verb=NOOP\\nvrfy verb=VRFY arg=bob\\nexpn verb=EXPN arg=staff\\n"
          "help verb=HELP arg=me\\nunknown verb=XCLIENT arg=XCLIENT ADDR=192.0.2.9\\n"
          "unknown verb=FOO arg=FOO bar\\nunknown\\nquit verb=QUIT\\ndisconnect quit\n");
}

static void test_helo(void **state)
{
    (void)state;
    check(GREETING
          "C: EHLO\nS: 501 5.5.4 Syntax error: a host name is needed\n"
          "C: helo c d\nS: 250 mx.example\n"
          "C: MAIL FROM:<a@x.example> SIZE=1\nS: 555 5.5.4 Parameter not recognized: "
          "SIZE=1\n" MAIL RCPT "C: DATA\n" GO MESSAGE QUEUED
          "L: connect\\nhelo verb=helo arg=c\\nmail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata\\nheaders 12:Subject: x| blank\\n"
          "body 6:body| last\\nmessage 20\\nrecipient <b@y.example> 0\\ncommit 20\n");
}

static void test_helo_switches(void **state)
{
    (void)state;
    check("O: strict_helo_name second_helo_refused\n" GREETING
          "C: HELO a_b\nS: 501 5.5.4 Syntax error: neither a host name nor an address literal\n"
          "C: HELO [192.0.2.1]\nS: 250 mx.example\n"
          "C: HELO c\nS: 503 5.5.1 Bad sequence of commands: already greeted\n" MAIL QUIT);
    check("O: no_helo_needed no_enhanced_codes lenient_paths\n" GREETING
          "C: MAIL FROM: Mr X <a@x.example>\nS: 250 Sender ok\n"
          "C: RCPT TO: b@y.example\nS: 250 Recipient ok\nC: QUIT\nS: 221 Bye\n");
    check("O: no_null_rcpt_postmaster\n" GREETING HELO MAIL
          "C: RCPT TO:<postmaster>\nS: 553 5.1.3 Bad recipient address syntax\n" QUIT);
}

static void test_addresses(void **state)
{
    (void)state;
    check(GREETING EHLO
          "C: MAIL\nS: 501 5.5.4 Syntax error: MAIL FROM:<address>\n"
          "C: MAIL TO:<a@x.example>\nS: 501 5.5.4 Syntax error: MAIL FROM:<address>\n"
          "C: MAIL FROM:a@x.example\nS: 553 5.1.7 Bad sender address syntax\n"
          "C: MAIL FROM:<a@x.example>SIZE=1\nS: 553 5.1.7 Bad sender address syntax\n"
          "C: MAIL FROM:<\\xc3\\xa4@x.example>\nS: 553 5.6.7 Sender address needs SMTPUTF8\n"
          "C: MAIL FROM:<\\xc3\\xa4@x.example> SMTPUTF8\nS: 250 2.1.0 Sender ok\n"
          "C: RCPT TO:<\\xc3\\xb6@y.example>\nS: 250 2.1.5 Recipient ok\nC: RSET\nS: 250 2.0.0 "
          "Ok\n"
          "C: MAIL FROM: <a@x.example>\nS: 250 2.1.0 Sender ok\n"
          "C: RCPT TO:<>\nS: 553 5.1.3 Bad recipient address syntax\n"
          "C: RCPT\nS: 501 5.5.4 Syntax error: RCPT TO:<address>\n"
          "C: RCPT TO:<\\xc3\\xb6@y.example>\nS: 553 5.6.7 Recipient address needs SMTPUTF8\n"
          "C: RCPT TO:<\"b c\"@[192.0.2.1]>\nS: 250 2.1.5 Recipient ok\n" QUIT);
}

static void test_parameters(void **state)
{
    (void)state;
    check(GREETING EHLO
          "C: MAIL FROM:<a@x.example> FOO=1\nS: 555 5.5.4 Parameter not recognized: FOO=1\n"
          "C: MAIL FROM:<a@x.example> SIZE=x\nS: 501 5.5.4 Syntax error: SIZE=x\n"
          "C: MAIL FROM:<a@x.example> BODY=9BIT\nS: 504 5.5.4 BODY type not supported here\n"
          "C: MAIL FROM:<a@x.example> SIZE=52428801\n"
          "S: 552 5.3.4 Message size exceeds the limit of 52428800 octets\n"
          "C: MAIL FROM:<a@x.example> SIZE=52428800 RET=HDRS ENVID=x\nS: 250 2.1.0 Sender ok\n"
          "C: RCPT TO:<b@y.example> NOTIFY=NEVER ORCPT=rfc822;b@y.example\nS: 250 2.1.5 "
          "Recipient ok\n"
          "C: RCPT TO:<b@y.example> FOO\nS: 555 5.5.4 Parameter not recognized: FOO\n" QUIT);
}

static void test_line_ends(void **state)
{
    (void)state;
    check(GREETING "R: NOOP\\nNOOP\\r\\n\nS: 500 5.5.2 Command line must end with <CR><LF>\n"
                   "R: NOOP\\rNOOP\\r\\n\nS: 500 5.5.2 Command line must end with <CR><LF>\n"
                   "R: NOOP\\r\\r\\n\nS: 500 5.5.2 Command line must end with <CR><LF>\n"
                   "R: NO\\0P\\r\\n\nS: 501 5.5.4 Syntax error: NUL in command\n" QUIT);
}

static void test_lmtp(void **state)
{
    (void)state;
    check(LHLO "C: EHLO c\nS: 500 5.5.2 Command not recognized\n"
               "C: HELO c\nS: 500 5.5.2 Command not recognized\n" MAIL
               "C: DATA\nS: 503 5.5.1 Bad sequence of commands: RCPT first\n" RCPT RCPT
               "C: RCPT TO:<>\nS: 553 5.1.3 Bad recipient address syntax\n"
               "C: RCPT TO:<user>\nS: 250 2.1.5 Recipient ok\n"
               "C: DATA\n" GO MESSAGE QUEUED QUEUED QUEUED MAIL RCPT RCPT
               "C: BDAT 3 LAST\nR: abc\n" QUEUED QUEUED QUIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_mail),      cmocka_unit_test(test_no_events),
        cmocka_unit_test(test_pipelining),    cmocka_unit_test(test_order),
        cmocka_unit_test(test_other_verbs),   cmocka_unit_test(test_helo),
        cmocka_unit_test(test_helo_switches), cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_parameters),    cmocka_unit_test(test_line_ends),
        cmocka_unit_test(test_lmtp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
