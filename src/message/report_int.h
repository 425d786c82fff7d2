/* message/report_int.h: what the files of reports share. */
#ifndef MESSAGE_REPORT_INT_H
#define MESSAGE_REPORT_INT_H

#include "message/report.h"

/* Octets of ASCII on one line: with the field's name below 998 (RFC 5322 2.1.1); longer is cut. */
#define REPORT_SUBJECT_MAX 900
/* Octets of ORCPT and ENVID that are looked at: a command line holds no more. Longer is left out. */
#define REPORT_XTEXT_MAX 1024

/* Appends until the first failure, which stays. */
struct report_out {
    struct buf *buf;
    int rc;
};
void report_put(struct report_out *o, barid_slice s);
void report_put_str(struct report_out *o, const char *s);
/* Text from outside on one line: control octets become spaces, and what is not UTF-8, or not ASCII where utf8 is false, "?". */
void report_put_line(struct report_out *o, barid_slice s, bool utf8);

/* The address as the sender wrote it. */
barid_slice report_address(const struct report_rcpt *r);

/* report_people.c: the text for people, CRLF-ended lines of any length, UTF-8. */
void report_put_people(struct report_out *o, const struct report *r);
/* report_status.c: fields of the message and of each recipient. global: RFC 6533's kind. */
void report_put_status(struct report_out *o, const struct report *r, bool global);
/* report_encode.c */
void report_put_quoted(struct report_out *o,
                       barid_slice text); /* quoted-printable (RFC 2045 6.7) */
void report_put_subject(struct report_out *o,
                        barid_slice text); /* RFC 2047 where it is not ASCII */

#endif
