/* smtp/session_test.c: whole dialogues with a server session; see session_testing.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "smtp/session_testing.h"

#define GREETING "S: 220 mx.example ESMTP Barid\n"
#define EHLO                                                                               \
    "C: EHLO client.example\n"                                                             \
    "S: 250-mx.example\n"                                                                  \
    "S: 250-PIPELINING\n"                                                                  \
    "S: 250-SIZE 52428800\n"                                                               \
    "S: 250-8BITMIME\n"                                                                    \
    "S: 250-SMTPUTF8\n"                                                                    \
    "S: 250-ENHANCEDSTATUSCODES\n"                                                         \
    "S: 250-CHUNKING\n"                                                                    \
    "S: 250-BINARYMIME\n"                                                                  \
    "S: 250-LIMITS RCPTMAX=1000\n"                                                         \
    "S: 250-PRDR\n"                                                                        \
    "S: 250 HELP\n"
#define MAIL "C: MAIL FROM:<a@x.example>\nS: 250 2.1.0 Sender ok\n"
#define RCPT "C: RCPT TO:<b@y.example>\nS: 250 2.1.5 Recipient ok\n"
#define GO   "S: 354 End data with <CR><LF>.<CR><LF>\n"
#define QUIT "C: QUIT\nS: 221 2.0.0 Bye\n"

static void check(const char *text)
{
    const char *why;

    if (!script_check(text, &why))
        fail_msg("%s", why);
}

static void test_one_mail(void **state)
{
    (void)state;
    check(GREETING EHLO MAIL RCPT "C: DATA\n" GO "C: Subject: hi\nC: \nC: hello\nC: ..dot\nC: .\n"
                                  "S: 250 2.0.0 Ok: queued as Q\n" QUIT
          "L: connect\\nhelo verb=EHLO arg=client.example\\n"
          "mail arg=FROM:<a@x.example> <a@x.example>\\n"
          "rcpt arg=TO:<b@y.example> <b@y.example> 0\\ndata\\n"
          "headers 13:Subject: hi| blank\\n"
          "body 13:hello|.dot| last\\nmessage 28\\nrecipient <b@y.example> 0\\n"
          "commit 28\\nquit verb=QUIT\\ndisconnect quit\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_mail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
