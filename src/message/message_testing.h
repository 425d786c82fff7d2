/* message/message_testing.h: a mail made of text, for tests of this folder and of delivery.
 * Test code only. */
#ifndef MESSAGE_TESTING_H
#define MESSAGE_TESTING_H

#include "message/mail.h"

/* A recipient in state ACCEPTED. NULL = no memory or no address. */
struct rcpt *test_rcpt(struct mail *m, const char *address);
bool test_sender(struct mail *m, const char *address);
bool test_slice_is(barid_slice s, const char *text);

#endif
