/*
 * smtp/differential_testing.h: a session against the reference, on a dialogue made of any
 * octets: whole, in cuts, and with answers that come late. Checked, each time:
 *
 *   the codes of all replies, in the order of their commands: each is said when its command
 *   was heard to the end, not before and not later, whatever was sent behind it;
 *   at a commit exactly the replies of the commands before it were said: nothing is
 *   acknowledged before its commit is;
 *   nothing is parsed or said while an event is unanswered;
 *   the mails: envelope, and content to the octet; how many there were;
 *   enhanced codes: of the class of their codes, where they belong and nowhere else;
 *   disconnect once, for the right reason, and then the session wants to close.
 *
 * In cuts and late, output is read in pieces too; late, the client may close its sending half
 * while an event is unanswered.
 */
#ifndef SMTP_DIFFERENTIAL_TESTING_H
#define SMTP_DIFFERENTIAL_TESTING_H

#include "smtp/reference_testing.h"

struct differential_count {
    size_t dialogues, commands, replies, mails;
    size_t unsure; /* dialogues that the reference did not understand to the end */
};

/* NULL, or what differs (static text). count may be NULL. */
const char *differential_run(const uint8_t *data, size_t size, enum reference_fault fault,
                             struct differential_count *count);

#endif
