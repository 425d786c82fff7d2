/*
 * message/reply_text.h: a refusing verdict as the line that a client would have read.
 */
#ifndef MESSAGE_REPLY_TEXT_H
#define MESSAGE_REPLY_TEXT_H

#include "barid/verdict.h"

#define REPLY_TEXT_SIZE                                                                        \
    256 /* a spool keeps 512 octets per unit; a reason for people is shorter */

/* "550 5.2.1 mailbox disabled"; what the verdict leaves open becomes "550 5.7.1 refused" or,
 * for a tempfail, "451 4.7.1 put off". Cut to the size, one line. */
void reply_text(const barid_verdict *v, char out[REPLY_TEXT_SIZE]);

#endif
